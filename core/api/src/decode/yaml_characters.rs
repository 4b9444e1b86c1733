//! Which characters a YAML document may have, in the words of the reference's reader.
//!
//! All of the text is looked at first, also what follows the first document; the reference reads on in portions. UTF-16,
//! which it takes after a byte order mark, is refused.

use super::DecodeError;

/// The document as text.
pub(super) fn read(text: &[u8]) -> Result<&str, DecodeError> {
    let (readable, unreadable) = match str::from_utf8(text) {
        Ok(readable) => (readable, &[][..]),
        Err(error) => {
            let (readable, unreadable) = text.split_at(error.valid_up_to());
            (str::from_utf8(readable).unwrap_or_default(), unreadable)
        }
    };
    let problem = if readable.chars().all(is_allowed) {
        encoding_problem(unreadable)
    } else {
        Some("control characters are not allowed")
    };
    problem.map_or(Ok(readable), |problem| Err(DecodeError(format!("yaml: {problem}"))))
}

fn is_allowed(character: char) -> bool {
    matches!(character, ' '..='~' | '\t' | '\n' | '\r' | '\u{85}' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// What is wrong with bytes that do not begin with a character of UTF-8; None if there are none.
fn encoding_problem(bytes: &[u8]) -> Option<&'static str> {
    let first = *bytes.first()?;
    let (width, bits) = match first {
        0xC0..=0xDF => (2, first & 0x1F),
        0xE0..=0xEF => (3, first & 0x0F),
        0xF0..=0xF7 => (4, first & 0x07),
        _ => return Some("invalid leading UTF-8 octet"),
    };
    let Some(trailing) = bytes.get(1..width) else { return Some("incomplete UTF-8 octet sequence") };
    if trailing.iter().any(|byte| byte & 0xC0 != 0x80) {
        return Some("invalid trailing UTF-8 octet");
    }
    let value = trailing.iter().fold(u32::from(bits), |value, byte| value << 6 | u32::from(byte & 0x3F));
    let shortest = [0, 0, 0x80, 0x800, 0x1_0000][width];
    Some(if value < shortest { "invalid length of a UTF-8 sequence" } else { "invalid Unicode character" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters() {
        let check = |text: &[u8], expect: &str| {
            let got = read(text).map_or_else(|error| error.to_string(), str::to_string);
            assert_eq!(got, expect, "{text:x?}");
        };
        check(
            "\u{FEFF}a\t\r\n é\u{85}\u{2028}\u{FEFF}\u{1F600}".as_bytes(),
            "\u{FEFF}a\t\r\n é\u{85}\u{2028}\u{FEFF}\u{1F600}",
        );
        check(b"", "");
        for control in ["\u{1}", "\u{7F}", "\u{81}", "\u{FFFE}"] {
            check(format!("a: \"x{control}y\"").as_bytes(), "yaml: control characters are not allowed");
        }
        check(b"a\x7F\xFF", "yaml: control characters are not allowed");
        check(b"a\xFF\x7F", "yaml: invalid leading UTF-8 octet");
        check(b"a\x80", "yaml: invalid leading UTF-8 octet");
        check(b"\xF8\x80", "yaml: invalid leading UTF-8 octet");
        check(b"\xC3y", "yaml: invalid trailing UTF-8 octet");
        check(b"\xE2\x28\xA1", "yaml: invalid trailing UTF-8 octet");
        check(b"\xE2\x80", "yaml: incomplete UTF-8 octet sequence");
        check(b"\xC0\x80", "yaml: invalid length of a UTF-8 sequence");
        check(b"\xED\xA0\x80", "yaml: invalid Unicode character");
        check(b"\xF4\x90\x80\x80", "yaml: invalid Unicode character");
    }
}
