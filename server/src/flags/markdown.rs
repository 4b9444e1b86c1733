//! The table of flags as a page of the documentation: `triune flags --markdown`, kept in `docs/flags.md`.

use std::fmt::Write;

use super::{
    Disposition::{Implemented, NoEffect, Refused},
    table::GROUPS,
};

const INTRODUCTION: &str = "\
# kube-apiserver's flags

`triune kube-apiserver`, `triune serve`, and the binary called by the name `kube-apiserver`, take every flag of
kube-apiserver v1.37.2. A flag works; or it is accepted, and one line is logged that says why it has no effect; or, where
leaving it out would make the server less safe than asked for, the start is refused.

This page is made by `triune flags --markdown > docs/flags.md`.
";

/// The page.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for group in GROUPS {
        // Writing to a String never fails.
        let _ = write!(page, "\n## {}\n\n| flag | | |\n|---|---|---|\n", group.name);
        for flag in group.flags {
            let (disposition, text) = match flag.disposition {
                Implemented(what) => ("works", what.to_owned()),
                NoEffect(because) => ("no effect", format!("because {because}")),
                Refused(because) => ("refused", format!("because {because}")),
            };
            let _ = writeln!(page, "| `--{}` | {disposition} | {text} |", flag.name);
        }
    }
    page
}

/// The table for a terminal: one line a flag.
pub fn plain() -> String {
    let mut lines = String::new();
    for flag in GROUPS.iter().flat_map(|group| group.flags) {
        let (disposition, text) = match flag.disposition {
            Implemented(what) => ("works", what),
            NoEffect(because) => ("no effect", because),
            Refused(because) => ("refused", because),
        };
        let _ = writeln!(lines, "--{:<46} {disposition:<10} {text}", flag.name);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Kind;

    #[test]
    fn documentation_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/flags.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page(), "docs/flags.md is stale: run `cargo run -- flags --markdown > docs/flags.md`");
    }

    #[test]
    fn table_is_the_references() {
        let facts = include_str!("../../testdata/kube-apiserver-flags.tsv");
        let expected: Vec<(&str, &str, String, &str)> = facts
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                (fields[0], fields[1], fields[2].trim_matches('"').to_owned(), fields[3])
            })
            .collect();
        let found: Vec<(&str, &str, String, &str)> = GROUPS
            .iter()
            .flat_map(|group| group.flags.iter().map(|flag| (group.name, flag)))
            .zip(&expected)
            .map(|((group, flag), expected)| (flag.name, type_name(flag.kind, expected.1), flag.default.into(), group))
            .collect();
        assert_eq!(GROUPS.iter().map(|group| group.flags.len()).sum::<usize>(), expected.len());
        assert_eq!(found, expected);
    }

    /// The reference's name of a kind where `expected` is one of its names.
    fn type_name(kind: Kind, expected: &'static str) -> &'static str {
        let names: &[&'static str] = match kind {
            Kind::Bool => &["bool"],
            Kind::Switch => &["?"],
            Kind::Int => &["int"],
            Kind::Float => &["float", "float32"],
            Kind::Duration => &["duration"],
            Kind::Text => &["string", "pattern=N,..."],
            Kind::Texts => &["strings", "?"],
            Kind::TextArray => &["stringArray"],
            Kind::Ip => &["ip"],
            Kind::Map => &["mapStringString", "stringToString"],
            Kind::Features => &["colonSeparatedMultimapStringString"],
            Kind::PortRange => &["portRange"],
            Kind::Quantity => &["quantity"],
            Kind::NamedCertificate => &["namedCertKey"],
        };
        names.iter().find(|name| **name == expected).unwrap_or(&names[0])
    }
}
