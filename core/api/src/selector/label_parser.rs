//! The grammar of label selectors and its complaints. `in` and `notin` are words of the grammar only where an operator
//! is expected; elsewhere they are keys and values.

use std::collections::BTreeSet;

use serde_json::json;

use super::{LabelRequirement, Operator, SelectorError};
use crate::{field::FieldError, validation};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Error,
    End,
    ClosedParenthesis,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    GreaterThan,
    Identifier,
    In,
    LessThan,
    NotEquals,
    NotIn,
    OpenParenthesis,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expecting {
    Operator,
    KeyOrValue,
}

/// Reads the terms in the order of the text.
pub(super) fn parse(text: &str) -> Result<Vec<LabelRequirement>, SelectorError> {
    let mut parser = Parser { items: scan(text), position: 0 };
    parser.terms().map_err(SelectorError)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn special_token(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::ClosedParenthesis,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::GreaterThan,
        "<" => Token::LessThan,
        "!=" => Token::NotEquals,
        "(" => Token::OpenParenthesis,
        _ => return None,
    })
}

/// Cuts the text into tokens; the last is always [`Token::End`]. A zero byte ends the text.
fn scan(text: &str) -> Vec<(Token, &str)> {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (mut items, mut at) = (Vec::new(), 0);
    while at < end {
        if is_space(bytes[at]) {
            at += 1;
            continue;
        }
        let mut stop = at + 1;
        let token = if is_special(bytes[at]) {
            // The longest operator wins; every special byte is one, and the long ones have two bytes.
            if stop < end && is_special(bytes[stop]) && special_token(&text[at..=stop]).is_some() {
                stop += 1;
            }
            special_token(&text[at..stop]).unwrap_or(Token::Error)
        } else {
            while stop < end && !is_special(bytes[stop]) && !is_space(bytes[stop]) {
                stop += 1;
            }
            match &text[at..stop] {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            }
        };
        items.push((token, &text[at..stop]));
        at = stop;
    }
    items.push((Token::End, ""));
    items
}

struct Parser<'a> {
    items: Vec<(Token, &'a str)>,
    position: usize,
}

impl<'a> Parser<'a> {
    fn look_ahead(&self, expecting: Expecting) -> (Token, &'a str) {
        let (token, text) = self.items.get(self.position).copied().unwrap_or((Token::End, ""));
        let word = matches!(token, Token::In | Token::NotIn);
        (if word && expecting == Expecting::KeyOrValue { Token::Identifier } else { token }, text)
    }

    fn consume(&mut self, expecting: Expecting) -> (Token, &'a str) {
        let item = self.look_ahead(expecting);
        self.position += 1;
        item
    }

    fn terms(&mut self) -> Result<Vec<LabelRequirement>, String> {
        let mut terms = Vec::new();
        loop {
            match self.look_ahead(Expecting::KeyOrValue) {
                (Token::Identifier | Token::Not, _) => {
                    let term = self.term().map_err(|error| format!("unable to parse requirement: {error}"))?;
                    terms.push(term);
                    match self.consume(Expecting::KeyOrValue) {
                        (Token::End, _) => return Ok(terms),
                        (Token::Comma, _) => {
                            let (token, text) = self.look_ahead(Expecting::KeyOrValue);
                            if !matches!(token, Token::Identifier | Token::Not) {
                                return Err(format!("found '{text}', expected: identifier after ','"));
                            }
                        }
                        (_, text) => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
                    }
                }
                (Token::End, _) => return Ok(terms),
                (_, text) => return Err(format!("found '{text}', expected: !, identifier, or 'end of string'")),
            }
        }
    }

    fn term(&mut self) -> Result<LabelRequirement, String> {
        let (mut token, mut key) = self.consume(Expecting::KeyOrValue);
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.consume(Expecting::KeyOrValue);
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let errors = validation::qualified_name(key);
        if !errors.is_empty() {
            return Err(FieldError::invalid("<nil>", &json!(key), errors.join("; ")).to_string());
        }
        let (next, _) = self.look_ahead(Expecting::KeyOrValue);
        let (operator, values) = match (negated, next) {
            (true, _) => (Operator::DoesNotExist, BTreeSet::new()),
            (false, Token::End | Token::Comma) => (Operator::Exists, BTreeSet::new()),
            (false, _) => {
                let operator = self.operator()?;
                let set = matches!(operator, Operator::In | Operator::NotIn);
                (operator, if set { self.values()? } else { BTreeSet::from([self.value()?]) })
            }
        };
        let values = values.into_iter().map(str::to_string).collect();
        LabelRequirement::new(key, operator, values).map_err(|error| error.0)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        Ok(match self.consume(Expecting::Operator) {
            (Token::In, _) => Operator::In,
            (Token::Equals, _) => Operator::Equals,
            (Token::DoubleEquals, _) => Operator::DoubleEquals,
            (Token::GreaterThan, _) => Operator::GreaterThan,
            (Token::LessThan, _) => Operator::LessThan,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::NotEquals, _) => Operator::NotEquals,
            (_, text) => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn value(&mut self) -> Result<&'a str, String> {
        match self.look_ahead(Expecting::KeyOrValue) {
            (Token::End | Token::Comma, _) => Ok(""),
            (Token::Identifier, _) => Ok(self.consume(Expecting::KeyOrValue).1),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<&'a str>, String> {
        match self.consume(Expecting::KeyOrValue) {
            (Token::OpenParenthesis, _) => {}
            (_, text) => return Err(format!("found '{text}' expected: '('")),
        }
        match self.look_ahead(Expecting::KeyOrValue) {
            (Token::Identifier | Token::Comma, text) => {
                let values = self.list()?;
                match self.consume(Expecting::KeyOrValue) {
                    (Token::ClosedParenthesis, _) => Ok(values),
                    _ => Err(format!("found '{text}', expected: ')'")),
                }
            }
            (Token::ClosedParenthesis, _) => {
                self.consume(Expecting::KeyOrValue);
                Ok(BTreeSet::from([""]))
            }
            (_, text) => Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    /// Values between parentheses; what is missing around a comma is the empty value.
    fn list(&mut self) -> Result<BTreeSet<&'a str>, String> {
        let mut values = BTreeSet::new();
        loop {
            match self.consume(Expecting::KeyOrValue) {
                (Token::Identifier, value) => {
                    values.insert(value);
                    match self.look_ahead(Expecting::KeyOrValue) {
                        (Token::Comma, _) => {}
                        (Token::ClosedParenthesis, _) => return Ok(values),
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.insert("");
                    }
                    match self.look_ahead(Expecting::KeyOrValue) {
                        (Token::ClosedParenthesis, _) => {
                            values.insert("");
                            return Ok(values);
                        }
                        (Token::Comma, _) => {
                            values.insert("");
                        }
                        _ => {}
                    }
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LabelSelector;

    #[test]
    fn parses_as_the_reference() {
        let check = |text: &str, expect: &str| {
            let got = LabelSelector::parse(text).map_or_else(|error| error.to_string(), |found| found.to_string());
            assert_eq!(got, expect, "{text:?}");
        };
        check("", "");
        check(" \t\r\n", "");
        check("x=a,y=b,z=c", "x=a,y=b,z=c");
        check("z = c , y==b", "y==b,z=c");
        check("x!=a,y", "x!=a,y");
        check("x=", "x=");
        check("x=,z= ", "x=,z=");
        check("!x", "!x");
        check("x>1,y<2", "x>1,y<2");
        check("x in (b,a,b)", "x in (a,b)");
        check("x in ()", "x in ()");
        check("x in (,a)", "x in (,a)");
        check("x in (a,,b)", "x in (,a,b)");
        check("x notin (a, b),y in (in,notin)", "x notin (a,b),y in (in,notin)");
        check("in in (in)", "in in (in)");
        check("in,notin", "in,notin");
        check("example.com/x=1", "example.com/x=1");
        check(
            "x=a||y=b",
            r#"unable to parse requirement: values[0][x]: Invalid value: "a||y": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#,
        );
        check("x==a==b", "found '==', expected: ',' or 'end of string'");
        check("=a", "found '=', expected: !, identifier, or 'end of string'");
        check("x,", "found '', expected: identifier after ','");
        check(",x", "found ',', expected: !, identifier, or 'end of string'");
        check("x a", "unable to parse requirement: found 'a', expected: in, notin, =, ==, !=, gt, lt");
        check("x in a", "unable to parse requirement: found 'a' expected: '('");
        check("x in (a", "unable to parse requirement: found '', expected: ',' or ')'");
        check("x in (=", "unable to parse requirement: found '=', expected: ',', ')' or identifier");
        check("!x=a", "found '=', expected: ',' or 'end of string'");
        check("!,x", "unable to parse requirement: found ',', expected: identifier");
        check(
            "x>a",
            r#"unable to parse requirement: values[0]: Invalid value: "a": for 'Gt', 'Lt' operators, the value must be an integer"#,
        );
        check(
            "a/b/c=1",
            r#"unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"#,
        );
    }
}
