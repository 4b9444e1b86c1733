//! JSON values as YAML, in blocks that are indented as Go's library indents them. Text of words is plain; other text is in
//! quotes, also where Go's library would leave it plain or put it on lines of its own.

use serde_json::Value;

/// The text of a value, with a line end.
pub(super) fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(object) if !object.is_empty() => write_block(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => write_block(value, 0, &mut out),
        scalar => {
            out.push_str(&scalar_text(scalar));
            out.push('\n');
        }
    }
    out
}

/// Writes lines of which the first is not indented: it follows a dash or stands at the margin.
fn write_block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(object) => {
            for (index, (key, value)) in object.iter().enumerate() {
                if index > 0 {
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                out.push_str(&text(key));
                out.push(':');
                // To the next column that is a multiple of four.
                write_nested(value, (indent + 4) / 4 * 4, out);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                out.push_str("- ");
                if is_block(item) {
                    write_block(item, indent + 2, out);
                } else {
                    out.push_str(&scalar_text(item));
                    out.push('\n');
                }
            }
        }
        _ => {}
    }
}

fn write_nested(value: &Value, indent: usize, out: &mut String) {
    if is_block(value) {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
        write_block(value, indent, out);
    } else {
        out.push(' ');
        out.push_str(&scalar_text(value));
        out.push('\n');
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(given) => text(given),
        other => other.to_string(),
    }
}

/// Plain where no reader takes it for anything but text; else in quotes: single ones, and JSON's where the text could be
/// a number or a word of YAML, or needs escapes.
fn text(given: &str) -> String {
    const WORDS: [&str; 3] = ["true", "false", "null"];
    let is_word = WORDS.contains(&given.to_ascii_lowercase().as_str());
    let plain = given.starts_with(|first: char| first.is_ascii_alphabetic())
        && !given.ends_with(' ')
        && given
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || matches!(one, ' ' | '-' | '+' | '_' | '.' | '/' | ','));
    let may_be_scalar = given.is_empty() || given == "~" || given.contains(|one: char| one.is_ascii_digit());
    if plain && !is_word {
        given.to_string()
    } else if is_word || may_be_scalar || !given.chars().all(|one| one == ' ' || one.is_ascii_graphic()) {
        Value::from(given).to_string()
    } else {
        format!("'{}'", given.replace('\'', "''"))
    }
}
