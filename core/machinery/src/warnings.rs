//! `Warning: 299 - "text"` headers (RFC 7234 section 5.5; KEP-1693), bounded as in the reference.
//!
//! Invariant: the texts of an answer hold no more than about 4096 characters together: if they would, each is cut to 256,
//! and what still does not fit is left out.

use http::{HeaderMap, HeaderValue, header};

const CHARACTERS_MAX: usize = 4 * 1024;
const CUT_CHARACTERS: usize = 256;

/// Adds a header for each text, in order. Texts with control characters are left out.
pub fn add_warnings(headers: &mut HeaderMap, texts: &[String]) {
    let total: usize = texts.iter().map(|text| text.chars().count()).sum();
    let each_max = if total > CHARACTERS_MAX { CUT_CHARACTERS } else { usize::MAX };
    let mut written = 0;
    for text in texts.iter().filter(|text| !text.is_empty() && !text.chars().any(char::is_control)) {
        if written >= CHARACTERS_MAX {
            return;
        }
        let cut: String = text.chars().take(each_max).collect();
        written += cut.chars().count();
        let value = format!("299 - \"{}\"", cut.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], expect: &[&str]) {
        let mut headers = HeaderMap::new();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        add_warnings(&mut headers, &texts);
        let found: Vec<&[u8]> = headers.get_all(header::WARNING).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(found, expect.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn warnings_are_quoted_and_bounded() {
        check(&[], &[]);
        check(&["a", "", "b\n"], &["299 - \"a\""]);
        check(&["say \"hi\" \\"], &["299 - \"say \\\"hi\\\" \\\\\""]);
        check(&["über"], &["299 - \"über\""]);
        let (long, cut) = ("x".repeat(4000), format!("299 - \"{}\"", "x".repeat(256)));
        check(&[&long, "b"], &[&format!("299 - \"{long}\""), "299 - \"b\""]);
        check(&[&long, &long], &[&cut, &cut]);
        check(&vec![long.as_str(); 100], &vec![cut.as_str(); 16]);
    }
}
