//! Continue tokens: base64url of `{"v":"meta.k8s.io/v1","rv":N,"start":"namespace/name\u0000"}`, as apiserver
//! `pkg/storage/continue.go` makes them. `start` is relative to the listed prefix and is the first key not yet given;
//! `rv` -1 goes on at the newest revision.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{Revision, types::ReadError};

const VERSION: &str = "meta.k8s.io/v1";

/// Where a chunked list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// None: at the newest revision.
    pub(crate) revision: Option<Revision>,
    /// First key that may come, relative to the listed prefix.
    pub(crate) start: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

impl Token {
    /// A token that goes on after `last`.
    pub(crate) fn after(last: &str, revision: Revision) -> Token {
        Token { revision: Some(revision), start: format!("{last}\0") }
    }

    pub(crate) fn encode(&self) -> String {
        let rv = self.revision.map_or(-1, |revision| i64::try_from(revision.0).unwrap_or(i64::MAX));
        let wire = Wire { v: VERSION.into(), rv, start: self.start.clone() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    pub(crate) fn decode(token: &str) -> Result<Token, ReadError> {
        let invalid = |detail: String| ReadError::InvalidContinue(format!("invalid continue token: {detail}"));
        let generic = |detail: &str| invalid(format!("continue key is not valid: {detail}"));
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| generic(&error.to_string()))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| generic(&error.to_string()))?;
        if wire.v != VERSION {
            let text = "continue key is not valid: server does not recognize this encoded version";
            return Err(invalid(format!("{text} {}", wire.v)));
        }
        if wire.rv == 0 {
            return Err(generic("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if wire.start.is_empty() {
            return Err(generic("encoded start key empty (version meta.k8s.io/v1)"));
        }
        let start = wire.start.strip_prefix('/').unwrap_or(&wire.start);
        if !is_clean(start) {
            return Err(generic(&wire.start));
        }
        let revision = u64::try_from(wire.rv).ok().map(Revision);
        Ok(Token { revision, start: start.into() })
    }
}

/// Whether a path has no `.`, `..` or empty segment: a start key never leads out of what is listed.
fn is_clean(path: &str) -> bool {
    path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<(i64, &str), &str>) {
        let decoded = Token::decode(&URL_SAFE_NO_PAD.encode(json));
        let shown = match &decoded {
            Ok(token) => Ok((token.revision.map_or(-1, |revision| revision.0 as i64), token.start.as_str())),
            Err(ReadError::InvalidContinue(message)) => Err(message.strip_prefix("invalid continue token: ").unwrap()),
            Err(other) => panic!("{other}"),
        };
        match (shown, expected) {
            (Err(message), Err(start)) => assert!(message.starts_with(start), "{json}: {message}"),
            (shown, expected) => assert_eq!(shown, expected, "{json}"),
        }
    }

    #[test]
    fn tokens_read_as_the_reference_reads_them() {
        check(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"a/b\u0000"}"#, Ok((7, "a/b\0")));
        check(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"/a/b"}"#, Ok((7, "a/b")));
        check(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"a"}"#, Ok((-1, "a")));
        let rv = "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)";
        check(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#, Err(rv));
        check(r#"{"v":"meta.k8s.io/v1","start":"a"}"#, Err(rv));
        let empty = "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)";
        check(r#"{"v":"meta.k8s.io/v1","rv":1}"#, Err(empty));
        let version = "continue key is not valid: server does not recognize this encoded version v9";
        check(r#"{"v":"v9","rv":1,"start":"a"}"#, Err(version));
        for start in ["../a", "a/../b", "a//b", "./a", "a/", ".."] {
            let json = format!(r#"{{"v":"meta.k8s.io/v1","rv":1,"start":"{start}"}}"#);
            check(&json, Err(&format!("continue key is not valid: {start}")));
        }
        check("nonsense", Err("continue key is not valid: "));
        assert!(Token::decode("!").is_err() && Token::decode("").is_err());
    }

    #[test]
    fn tokens_round_trip() {
        for revision in [Some(Revision(1)), Some(Revision(u64::MAX >> 1)), None] {
            let token = Token { revision, start: "kube-system/a.b\0".into() };
            assert_eq!(Token::decode(&token.encode()), Ok(token));
        }
        assert_eq!(Token::after("a", Revision(3)).start, "a\0");
    }
}
