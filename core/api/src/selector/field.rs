//! Field selectors: `metadata.name=web,status.phase!=Running`, with `\` before `\`, `,` and `=` in values.

use std::{collections::BTreeMap, fmt};

use super::{SelectorError, check_length};

/// A field selector; the default selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Path, such as `metadata.name`.
    pub field: String,
    /// Whether the field must have the value (`=`, `==`), or must not (`!=`).
    pub equal: bool,
    /// The value, unescaped. A field that is absent has the value "".
    pub value: String,
}

impl FieldSelector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        check_length(text)?;
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let (field, operator, value) = split_term(term)
                .ok_or_else(|| SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")))?;
            let requirement =
                FieldRequirement { field: field.into(), equal: operator != "!=", value: unescape(value)? };
            // The term "=" asks for nothing.
            if !(requirement.field.is_empty() && requirement.value.is_empty()) {
                requirements.push(requirement);
            }
        }
        Ok(FieldSelector { requirements })
    }

    /// Selects one value of one field.
    pub fn one(field: &str, value: &str) -> FieldSelector {
        let requirement = FieldRequirement { field: field.into(), equal: true, value: value.into() };
        FieldSelector { requirements: vec![requirement] }
    }

    /// The terms, all of which must hold.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these fields is selected.
    pub fn matches(&self, fields: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = fields.get(&requirement.field).map_or("", String::as_str);
            (value == requirement.value) == requirement.equal
        })
    }

    /// The value that the field must have, if one term says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self.requirements.iter().find(|requirement| requirement.equal && requirement.field == field);
        found.map(|requirement| requirement.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            let operator = if requirement.equal { "=" } else { "!=" };
            write!(formatter, "{}{operator}{}", requirement.field, escape(&requirement.value))?;
        }
        Ok(())
    }
}

/// At commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// At the first operator.
fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    let at = term.bytes().enumerate().find_map(|(index, byte)| match byte {
        b'=' => Some(index),
        b'!' if term.as_bytes().get(index + 1) == Some(&b'=') => Some(index),
        _ => None,
    })?;
    let (field, rest) = term.split_at(at);
    let operator = ["!=", "==", "="].into_iter().find(|operator| rest.starts_with(operator))?;
    Some((field, operator, &rest[operator.len()..]))
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: {sequence}")));
                }
            },
            ',' | '=' => {
                // The reference prints the character's number.
                let number = u32::from(character);
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {number}")));
            }
            other => text.push(other),
        }
    }
    Ok(text)
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_as_the_reference() {
        let check = |text: &str, expect: &str| {
            let got = FieldSelector::parse(text).map_or_else(|error| error.to_string(), |found| found.to_string());
            assert_eq!(got, expect, "{text}");
        };
        check("", "");
        check(",", "");
        check("=", "");
        check("a=b", "a=b");
        check("b==c,a!=d", "a!=d,b=c");
        check("a=", "a=");
        check(r"a=x\,y\=z\\", r"a=x\,y\=z\\");
        check("a!b=c", "a!b=c");
        check("a", "invalid selector: 'a'; can't understand 'a'");
        check(r"a=\x", r"invalid field selector: invalid escape sequence: \x");
        check(r"a=x\", r"invalid field selector: invalid escape sequence: \");
        check("a===b", "invalid field selector: unescaped character in value: 61");
        assert!(FieldSelector::parse(&"a".repeat(1 << 20)).is_err());
    }

    #[test]
    fn matches_fields() {
        let fields = BTreeMap::from([("a".to_string(), "1".to_string())]);
        let check = |text: &str, expect: bool| {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(&fields), expect, "{text}");
        };
        check("", true);
        check("a=1", true);
        check("a=2", false);
        check("a!=2", true);
        check("b=", true);
        check("b!=", false);
        check("a=1,b=2", false);
        assert_eq!(FieldSelector::parse("b!=2,a=1").unwrap().exact("a"), Some("1"));
        assert_eq!(FieldSelector::parse("a!=1").unwrap().exact("a"), None);
        assert_eq!(FieldSelector::one("a", "1"), FieldSelector::parse("a=1").unwrap());
        assert!(FieldSelector::default().is_empty());
    }
}
