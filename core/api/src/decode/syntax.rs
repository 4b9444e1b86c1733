//! What Go's JSON scanner says about a text that is not JSON. Clients and tests match on these sentences, so they are
//! made from its states; this runs only when decoding has failed.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeginValue,
    BeginValueOrEmpty,
    BeginKey,
    BeginKeyOrEmpty,
    EndValue,
    InString,
    Escape,
    /// So many hexadecimal digits are still to come.
    Hexadecimal(u8),
    Negative,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// Within `true`, `false` or `null`: what is still to come.
    Word(&'static str, &'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Key,
    Member,
    List,
}

struct Scanner {
    state: State,
    within: Vec<Within>,
}

/// The complaint, or None where the text is well formed.
pub(super) fn complaint(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { state: State::BeginValue, within: Vec::new() };
    for byte in text {
        if let Err(context) = scanner.step(*byte) {
            return Some(format!("invalid character {} {context}", quote(*byte)));
        }
    }
    // The end is taken for a space.
    if let Err(context) = scanner.step(b' ') {
        return Some(format!("invalid character ' ' {context}"));
    }
    let complete = scanner.state == State::EndValue && scanner.within.is_empty();
    if complete { None } else { Some("unexpected end of JSON input".into()) }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl Scanner {
    fn step(&mut self, byte: u8) -> Result<(), String> {
        let fail = |context: &str| Err(context.to_string());
        self.state = match self.state {
            State::BeginValue | State::BeginValueOrEmpty | State::BeginKey | State::BeginKeyOrEmpty
                if is_space(byte) =>
            {
                self.state
            }
            State::BeginValueOrEmpty if byte == b']' => return self.end_value(byte),
            State::BeginValue | State::BeginValueOrEmpty => return self.begin_value(byte),
            State::BeginKeyOrEmpty if byte == b'}' => {
                self.replace_within(Within::Member);
                return self.end_value(byte);
            }
            State::BeginKey | State::BeginKeyOrEmpty if byte == b'"' => State::InString,
            State::BeginKey | State::BeginKeyOrEmpty => return fail("looking for beginning of object key string"),
            State::EndValue => return self.end_value(byte),
            State::InString => match byte {
                b'"' => State::EndValue,
                b'\\' => State::Escape,
                0..0x20 => return fail("in string literal"),
                _ => State::InString,
            },
            State::Escape => match byte {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => State::InString,
                b'u' => State::Hexadecimal(4),
                _ => return fail("in string escape code"),
            },
            State::Hexadecimal(left) if byte.is_ascii_hexdigit() => match left {
                1 => State::InString,
                _ => State::Hexadecimal(left - 1),
            },
            State::Hexadecimal(_) => return fail("in \\u hexadecimal character escape"),
            State::Word(word, left) => match left.as_bytes() {
                [next] if *next == byte => State::EndValue,
                [next, ..] if *next == byte => State::Word(word, &left[1..]),
                _ => {
                    return Err(format!(
                        "in literal {word} (expecting {})",
                        quote(left.bytes().next().unwrap_or(b' '))
                    ));
                }
            },
            _ => return self.number(byte),
        };
        Ok(())
    }

    fn number(&mut self, byte: u8) -> Result<(), String> {
        let digit = byte.is_ascii_digit();
        self.state = match (self.state, byte) {
            (State::Negative, b'0') => State::Zero,
            (State::Negative, _) if digit => State::Integer,
            (State::Negative, _) => return Err("in numeric literal".into()),
            (State::Integer, _) if digit => State::Integer,
            (State::Zero | State::Integer, b'.') => State::Point,
            (State::Point, _) if digit => State::Fraction,
            (State::Point, _) => return Err("after decimal point in numeric literal".into()),
            (State::Fraction, _) if digit => State::Fraction,
            (State::Zero | State::Integer | State::Fraction, b'e' | b'E') => State::Exponent,
            (State::Exponent, b'+' | b'-') => State::ExponentSign,
            (State::Exponent | State::ExponentSign | State::ExponentDigits, _) if digit => State::ExponentDigits,
            (State::Exponent | State::ExponentSign, _) => return Err("in exponent of numeric literal".into()),
            _ => return self.end_value(byte),
        };
        Ok(())
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), String> {
        self.state = match byte {
            b'{' => {
                self.within.push(Within::Key);
                State::BeginKeyOrEmpty
            }
            b'[' => {
                self.within.push(Within::List);
                State::BeginValueOrEmpty
            }
            b'"' => State::InString,
            b'-' => State::Negative,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Integer,
            b't' => State::Word("true", "rue"),
            b'f' => State::Word("false", "alse"),
            b'n' => State::Word("null", "ull"),
            _ => return Err("looking for beginning of value".into()),
        };
        Ok(())
    }

    fn end_value(&mut self, byte: u8) -> Result<(), String> {
        self.state = State::EndValue;
        if is_space(byte) {
            return Ok(());
        }
        match (self.within.last(), byte) {
            (None, _) => return Err("after top-level value".into()),
            (Some(Within::Key), b':') => {
                self.replace_within(Within::Member);
                self.state = State::BeginValue;
            }
            (Some(Within::Key), _) => return Err("after object key".into()),
            (Some(Within::Member), b',') => {
                self.replace_within(Within::Key);
                self.state = State::BeginKey;
            }
            (Some(Within::List), b',') => self.state = State::BeginValue,
            (Some(Within::Member), b'}') | (Some(Within::List), b']') => {
                self.within.pop();
            }
            (Some(Within::Member), _) => return Err("after object key:value pair".into()),
            (Some(Within::List), _) => return Err("after array element".into()),
        }
        Ok(())
    }

    fn replace_within(&mut self, within: Within) {
        if let Some(last) = self.within.last_mut() {
            *last = within;
        }
    }
}

/// As Go quotes a byte taken for a character.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'\\' => r"'\\'".into(),
        0x07 => r"'\a'".into(),
        0x08 => r"'\b'".into(),
        0x0b => r"'\v'".into(),
        0x0c => r"'\f'".into(),
        b'\n' => r"'\n'".into(),
        b'\r' => r"'\r'".into(),
        b'\t' => r"'\t'".into(),
        0..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_those_of_go() {
        let check = |text: &str, expect: &str| {
            assert_eq!(complaint(text.as_bytes()).unwrap_or_default(), expect, "{text:?}");
        };
        for fine in ["{}", " [1, -0.5e+3,\"a\\u00e9\\n\",true,false,null,{\"a\":[]}] ", "0", "12", "1e5", "1.5"] {
            check(fine, "");
        }
        for cut in ["", " ", "{", "[", "[1,", "{\"a\"", "{\"a\":", "\"a"] {
            check(cut, "unexpected end of JSON input");
        }
        check("tru", "invalid character ' ' in literal true (expecting 'e')");
        check("[-", "invalid character ' ' in numeric literal");
        check("\"\\u12", "invalid character ' ' in \\u hexadecimal character escape");
        check("x", "invalid character 'x' looking for beginning of value");
        check("\u{1}", "invalid character '\\x01' looking for beginning of value");
        check("é", "invalid character 'Ã' looking for beginning of value");
        check("{a", "invalid character 'a' looking for beginning of object key string");
        check("{\"a\":1,}", "invalid character '}' looking for beginning of object key string");
        check("{\"a\" 1", "invalid character '1' after object key");
        check("{\"a\":1 \"", "invalid character '\"' after object key:value pair");
        check("[1 2", "invalid character '2' after array element");
        check("[1,]", "invalid character ']' looking for beginning of value");
        check("[1}", "invalid character '}' after array element");
        check("{} x", "invalid character 'x' after top-level value");
        check("{}}", "invalid character '}' after top-level value");
        check("\"\n", "invalid character '\\n' in string literal");
        check("\"\\x", "invalid character 'x' in string escape code");
        check("\"\\u00g", "invalid character 'g' in \\u hexadecimal character escape");
        check("-a", "invalid character 'a' in numeric literal");
        check("01", "invalid character '1' after top-level value");
        check("1.a", "invalid character 'a' after decimal point in numeric literal");
        check("1ea", "invalid character 'a' in exponent of numeric literal");
        check("trie", "invalid character 'i' in literal true (expecting 'u')");
        check("nul'", "invalid character '\\'' in literal null (expecting 'l')");
        assert_eq!(complaint(&[b'['; 100_000]).as_deref(), Some("unexpected end of JSON input"));
    }
}
