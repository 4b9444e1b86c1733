//! PEM blocks, found as Go's `encoding/pem` finds them: what stands between blocks, and blocks that are none, are skipped.

use base64::Engine as _;

/// A block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// What it says it is, such as `CERTIFICATE`.
    pub kind: String,
    /// Whether it has headers.
    pub has_headers: bool,
    /// What it encodes.
    pub bytes: Vec<u8>,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "\n-----END ";
const DASHES: &str = "-----";

/// All blocks of a text.
pub fn blocks(mut text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    while let Some((block, rest)) = next(text) {
        found.extend(block);
        text = rest;
    }
    found
}

/// The next block, or none where there should be one, and what follows it; None at the end.
fn next(text: &str) -> Option<(Option<Block>, &str)> {
    let end = text.find(END)?;
    let after = &text[end + END.len()..];
    let skipped = Some((None, after));
    // The last beginning before the end: one without an end is skipped.
    let Some(begin) = text[..end].rfind(BEGIN) else { return skipped };
    if begin > 0 && !text[..begin].ends_with('\n') {
        return skipped;
    }
    let (kind, body) = line(&text[begin + BEGIN.len()..]);
    let Some(kind) = kind.strip_suffix(DASHES) else { return skipped };
    // The body ends with the newline that the end starts with.
    let body_length = (end + 1).saturating_sub(text.len() - body.len());
    let mut body = body.get(..body_length).unwrap_or_default();
    let mut has_headers = false;
    while let (header, rest) = line(body)
        && header.contains(':')
    {
        (body, has_headers) = (rest, true);
    }
    let Some(rest) = after.strip_prefix(kind).and_then(|rest| rest.strip_prefix(DASHES)) else { return skipped };
    let (trailer, rest) = line(rest);
    if !trailer.is_empty() {
        return skipped;
    }
    let encoded: String = body.chars().filter(|char| !matches!(char, ' ' | '\t' | '\r' | '\n')).collect();
    match base64::engine::general_purpose::STANDARD.decode(encoded) {
        Ok(bytes) => Some((Some(Block { kind: kind.into(), has_headers, bytes }), rest)),
        Err(_) => skipped,
    }
}

/// The first line without trailing blanks, and the rest.
fn line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (line.trim_end_matches(['\r', ' ', '\t']), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_as_in_go() {
        let check = |text: &str, expect: &[(&str, bool, &[u8])]| {
            let found = blocks(text);
            let found: Vec<(&str, bool, &[u8])> =
                found.iter().map(|block| (&*block.kind, block.has_headers, &*block.bytes)).collect();
            assert_eq!(found, expect, "{text}");
        };
        check("", &[]);
        check("YQ==", &[]);
        check("-----BEGIN A-----\nYQ==\n-----END A-----\n", &[("A", false, b"a")]);
        check("-----BEGIN A-----\nYQ==\n-----END A-----", &[("A", false, b"a")]);
        check("-----BEGIN A-----\r\nY Q\r\n==\r\n-----END A-----\r\n", &[("A", false, b"a")]);
        check("-----BEGIN A-----\n-----END A-----\n", &[("A", false, b"")]);
        check("-----BEGIN A-----\nk: v\n\nYQ==\n-----END A-----\n", &[("A", true, b"a")]);
        check("-----BEGIN A-----\nYQ==\n-----END B-----\n", &[]);
        check("-----BEGIN A-----\n?\n-----END A-----\n", &[]);
        check("x -----BEGIN A-----\nYQ==\n-----END A-----\n", &[]);
        check("note\n-----BEGIN A-----\nYQ==\n-----END A-----\n", &[("A", false, b"a")]);
        check("-----BEGIN A-----\n-----BEGIN B-----\nYg==\n-----END B-----\n", &[("B", false, b"b")]);
        let two = "-----BEGIN A-----\nYQ==\n-----END A-----\n-----BEGIN B-----\nYg==\n-----END B-----\n";
        check(two, &[("A", false, b"a"), ("B", false, b"b")]);
    }
}
