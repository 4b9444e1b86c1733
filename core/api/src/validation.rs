//! Names, labels, annotations, finalizers, owner references and managed fields: what is valid, and the sentences of the
//! reference about what is not (apimachinery `pkg/api/validate/content`, `pkg/util/validation`, `pkg/api/validation`).
//!
//! In reading order: the formats of single values are here, the rules of `metadata` are in `object_meta`,
//! formats of other fields in [`formats`], addresses and ranges in [`network`].

pub mod formats;
pub mod network;
mod object_meta;

pub use object_meta::{
    ANNOTATIONS_BYTES_MAX, FINALIZER_DELETE_DEPENDENTS, FINALIZER_ORPHAN_DEPENDENTS, validate_annotations,
    validate_field_manager, validate_finalizers, validate_immutable, validate_labels, validate_managed_fields,
    validate_object_meta, validate_object_meta_update, validate_owner_references,
};

/// Longest DNS subdomain.
pub const DNS_SUBDOMAIN_BYTES_MAX: usize = 253;
/// Longest DNS label, RFC 1123 and RFC 1035.
pub const DNS_LABEL_BYTES_MAX: usize = 63;
/// Longest label value, and longest name part of a label key.
pub const LABEL_BYTES_MAX: usize = 63;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035_FORMAT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const KEY_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE_FORMAT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// What is wrong with a DNS subdomain name (RFC 1123), as the reference words it; empty is fine.
pub fn dns_subdomain(name: &str) -> Vec<String> {
    subdomain_errors(name, "characters")
}

fn subdomain_errors(name: &str, unit: &str) -> Vec<String> {
    let mut errors = too_long(name, DNS_SUBDOMAIN_BYTES_MAX, unit);
    if !is_subdomain(name) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FORMAT,
            &["example.com"],
        ));
    }
    errors
}

/// What is wrong with a DNS label (RFC 1123); empty is fine.
pub fn dns_label(name: &str) -> Vec<String> {
    let mut errors = too_long(name, DNS_LABEL_BYTES_MAX, "characters");
    if !is_label(name) {
        errors.push(if is_subdomain(name) {
            "must not contain dots".into()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_FORMAT,
                &["my-name", "123-abc"],
            )
        });
    }
    errors
}

/// What is wrong with a DNS label (RFC 1035: starts with a letter); empty is fine.
pub fn dns_1035_label(name: &str) -> Vec<String> {
    let mut errors = too_long(name, DNS_LABEL_BYTES_MAX, "characters");
    if !(is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())) {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            LABEL_1035_FORMAT,
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// What is wrong with a qualified name, such as a label key: `name` or `example.com/name`; empty is fine.
pub fn qualified_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let format_error = || {
        regex_error(
            "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            KEY_FORMAT,
            &["MyName", "my.name", "123-abc"],
        )
    };
    let parts: Vec<&str> = value.splitn(4, '/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        ["", name] => {
            errors.push("prefix part must be non-empty".into());
            name
        }
        [prefix, name] => {
            let prefix_errors = subdomain_errors(prefix, "bytes").into_iter();
            errors.extend(prefix_errors.map(|error| format!("prefix part {error}")));
            name
        }
        _ => {
            let error = format_error();
            errors.push(format!(
                "a valid label key {error} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > LABEL_BYTES_MAX {
        errors.push(format!("name part must be no more than {LABEL_BYTES_MAX} bytes"));
    }
    if !is_key(name) {
        errors.push(format!("name part {}", format_error()));
    }
    errors
}

/// What is wrong with the value of a label; empty is fine.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = too_long(value, LABEL_BYTES_MAX, "bytes");
    if !(value.is_empty() || is_key(value)) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            VALUE_FORMAT,
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// What is wrong with a name that becomes a segment of a path; empty is fine.
pub fn path_segment_name(name: &str) -> Vec<String> {
    match name {
        "." | ".." => vec![format!("may not be '{name}'")],
        _ => path_segment_prefix(name),
    }
}

/// What is wrong with the start of a name that becomes a segment of a path; empty is fine.
pub fn path_segment_prefix(name: &str) -> Vec<String> {
    let found = ['/', '%'].into_iter().filter(|illegal| name.contains(*illegal));
    found.map(|illegal| format!("may not contain '{illegal}'")).collect()
}

/// The prefix of generated names is checked as a name, its dash at the end hidden (as the reference does it: the two
/// last characters become an `a`).
pub fn mask_trailing_dash(prefix: &str) -> String {
    let mut masked = prefix.to_string();
    if masked.len() > 1 && masked.ends_with('-') {
        masked.pop();
        masked.pop();
        masked.push('a');
    }
    masked
}

/// `must be ...` with format and examples, as the reference prints it.
pub fn regex_error(message: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{format}')");
    }
    let quoted: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{format}')", quoted.join(" or "))
}

/// Bytes are counted; the reference calls them characters where it checks names.
fn too_long(value: &str, bytes_max: usize, unit: &str) -> Vec<String> {
    if value.len() > bytes_max { vec![format!("must be no more than {bytes_max} {unit}")] } else { Vec::new() }
}

fn is_label(name: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    starts_and_ends(name, lower) && name.bytes().all(|byte| lower(byte) || byte == b'-')
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

fn is_key(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    starts_and_ends(name, plain) && name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

fn starts_and_ends(name: &str, with: impl Fn(u8) -> bool) -> bool {
    matches!(name.as_bytes(), [one] if with(*one))
        || matches!(name.as_bytes(), [first, .., last] if with(*first) && with(*last))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    const KEY: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

    fn check(format: fn(&str) -> Vec<String>, cases: &[(&str, &[&str])]) {
        for (value, expect) in cases {
            assert_eq!(format(value), *expect, "{value:?}");
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(254);
        check(
            dns_subdomain,
            &[
                ("a", &[]),
                ("0.a-b.c", &[]),
                ("", &[SUBDOMAIN]),
                ("A", &[SUBDOMAIN]),
                ("a..b", &[SUBDOMAIN]),
                ("a-.b", &[SUBDOMAIN]),
                ("a_b", &[SUBDOMAIN]),
                ("é", &[SUBDOMAIN]),
                (&long[1..], &[]),
                (&long, &["must be no more than 253 characters"]),
            ],
        );
        check(
            dns_label,
            &[
                ("a", &[]),
                ("1-b", &[]),
                ("a.b", &["must not contain dots"]),
                ("-a", &[LABEL]),
                (&long[..63], &[]),
                (&long[..64], &["must be no more than 63 characters"]),
            ],
        );
        assert!(dns_1035_label("a-1").is_empty());
        assert!(dns_1035_label("1a")[0].starts_with("a DNS-1035 label must consist"));
        check(
            path_segment_name,
            &[
                ("a:b", &[]),
                (".", &["may not be '.'"]),
                ("..", &["may not be '..'"]),
                ("a/b%c", &["may not contain '/'", "may not contain '%'"]),
            ],
        );
    }

    #[test]
    fn labels() {
        let long = "a".repeat(64);
        let (name_part, prefix_part) = (format!("name part {KEY}"), format!("prefix part {SUBDOMAIN}"));
        let three = format!(
            "a valid label key {KEY} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        );
        check(
            qualified_name,
            &[
                ("a", &[]),
                ("example.com/My.Name_1", &[]),
                ("", &["name part must be non-empty", &name_part]),
                ("/a", &["prefix part must be non-empty"]),
                ("A/a", &[&prefix_part]),
                ("a/", &["name part must be non-empty", &name_part]),
                ("a/b/c", &[&three]),
                ("-a", &[&name_part]),
                (&long, &["name part must be no more than 63 bytes"]),
            ],
        );
        assert!(label_value("").is_empty() && label_value("A.b_c-1").is_empty());
        assert!(label_value("a b")[0].starts_with("a valid label must be an empty string or consist of"));
        assert_eq!(label_value(&long), ["must be no more than 63 bytes"]);
    }

    #[test]
    fn prefixes_are_masked() {
        let cases = [("a-", "a"), ("ab-", "aa"), ("-", "-"), ("ab", "ab"), ("é-", "a")];
        cases.into_iter().for_each(|(prefix, masked)| assert_eq!(mask_trailing_dash(prefix), masked));
    }
}
