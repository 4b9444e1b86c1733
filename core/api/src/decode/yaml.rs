//! One YAML document to a tree, from the parser's events. Depth is bounded, what aliases add is bounded, anchors that
//! contain themselves are refused. Documents after the first are not looked at, as in the reference.

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Tag};

use super::{DEPTH_MAX, DecodeError, Decoded, STRICT_ERRORS_MAX, yaml_scalar};
use crate::{Map, Value};

/// How many bytes (about) all aliases of a document may add.
const ALIASED_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) fn decode(text: &str) -> Result<Decoded, DecodeError> {
    let mut options = Options::default();
    options.emit_comments = false;
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| DecodeError(format!("yaml: line {}: {}", error.marker().line(), error.info())))?;
        let line = span.start.line();
        match builder.event(event, line) {
            Ok(Some(value)) => return Ok(Decoded { value, strict_errors: builder.strict_errors() }),
            Ok(None) => {}
            Err(why) => return Err(DecodeError(why)),
        }
    }
    Ok(Decoded { value: Value::Null, strict_errors: Vec::new() })
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Nodes that aliases may ask for.
    anchored: BTreeMap<usize, Value>,
    aliased_bytes: usize,
    duplicates: Vec<String>,
}

/// A list or mapping whose end has not come.
struct Open {
    anchor: usize,
    node: Node,
}

enum Node {
    List(Vec<Value>),
    Mapping {
        map: Map,
        /// What `<<` brought; what the mapping says itself wins.
        merged: Map,
        key: Option<Key>,
    },
}

enum Key {
    Name(String),
    Merge,
}

impl Builder {
    /// Returns the tree when it is complete.
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<Option<Value>, String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), line),
            Event::SequenceStart(_, anchor, _) => self.start(anchor, Node::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.start(anchor, Node::Mapping { map: Map::new(), merged: Map::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(line),
            Event::Alias(anchor) => {
                let value = self.anchored.get(&anchor).ok_or("yaml: anchor value contains itself")?;
                self.aliased_bytes = self.aliased_bytes.saturating_add(approximate_bytes(value));
                if self.aliased_bytes > ALIASED_BYTES_MAX {
                    return Err("yaml: document contains excessive aliasing".into());
                }
                if self.open.len() + depth(value) > DEPTH_MAX {
                    return Err(super::too_deep());
                }
                let value = value.clone();
                self.complete(value, line)
            }
            Event::DocumentEnd | Event::StreamEnd => Ok(Some(Value::Null)),
            _ => Ok(None),
        }
    }

    fn start(&mut self, anchor: usize, node: Node) -> Result<Option<Value>, String> {
        if matches!(self.open.last(), Some(Open { node: Node::Mapping { key: None, .. }, .. })) {
            return Err("yaml: invalid map key: keys are scalars".into());
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(super::too_deep());
        }
        self.open.push(Open { anchor, node });
        Ok(None)
    }

    fn end(&mut self, line: usize) -> Result<Option<Value>, String> {
        let Some(Open { anchor, node }) = self.open.pop() else { return Ok(None) };
        let value = match node {
            Node::List(items) => Value::Array(items),
            Node::Mapping { map, mut merged, .. } => {
                merged.extend(map);
                Value::Object(merged)
            }
        };
        self.remember(anchor, &value)?;
        self.complete(value, line)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<Option<Value>, String> {
        let plain = style == ScalarStyle::Plain;
        let at_key = matches!(self.open.last(), Some(Open { node: Node::Mapping { key: None, .. }, .. }));
        if at_key && plain && tag.is_none() && text == "<<" {
            if let Some(Open { node: Node::Mapping { key, .. }, .. }) = self.open.last_mut() {
                *key = Some(Key::Merge);
            }
            return Ok(None);
        }
        let value = tagged(text, plain, tag)?;
        self.remember(anchor, &value)?;
        self.complete(value, line)
    }

    fn remember(&mut self, anchor: usize, value: &Value) -> Result<(), String> {
        if anchor != 0 {
            self.aliased_bytes = self.aliased_bytes.saturating_add(approximate_bytes(value));
            if self.aliased_bytes > ALIASED_BYTES_MAX {
                return Err("yaml: document contains excessive aliasing".into());
            }
            self.anchored.insert(anchor, value.clone());
        }
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, value: Value, line: usize) -> Result<Option<Value>, String> {
        match self.open.last_mut().map(|open| &mut open.node) {
            None => return Ok(Some(value)),
            Some(Node::List(items)) => items.push(value),
            Some(Node::Mapping { key: key @ None, .. }) => *key = Some(Key::Name(key_text(&value)?)),
            Some(Node::Mapping { map, merged, key: key @ Some(_) }) => match key.take() {
                Some(Key::Name(name)) => {
                    if map.contains_key(&name) && self.duplicates.len() < STRICT_ERRORS_MAX {
                        self.duplicates.push(format!("line {line}: key {name:?} already set in map"));
                    }
                    map.insert(name, value);
                }
                _ => merge(merged, value)?,
            },
        }
        Ok(None)
    }

    /// One sentence for all duplicates, as the reference gives it.
    fn strict_errors(&self) -> Vec<String> {
        if self.duplicates.is_empty() {
            return Vec::new();
        }
        vec![format!("yaml: unmarshal errors:\n  {}", self.duplicates.join("\n  "))]
    }
}

/// `<<: *one` or `<<: [*one, *two]`: the first that has a key gives it.
fn merge(merged: &mut Map, value: Value) -> Result<(), String> {
    let maps = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    for map in maps {
        let Value::Object(map) = map else {
            return Err("yaml: map merge requires map or sequence of maps as the value".into());
        };
        for (key, value) in map {
            merged.entry(key).or_insert(value);
        }
    }
    Ok(())
}

fn tagged(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let suffix = tag.and_then(Tag::core_suffix);
    let value = match (tag, suffix) {
        (None, _) if plain => return yaml_scalar::resolve(text),
        (Some(_), Some("bool" | "int" | "float" | "null" | "timestamp")) => yaml_scalar::resolve(text)?,
        (Some(_), Some("binary")) => return Err("yaml: !!binary is not supported: write the text".into()),
        _ => return Ok(Value::String(text.into())),
    };
    let fits = match suffix {
        Some("bool") => value.is_boolean(),
        Some("int") => value.is_i64() || value.is_u64(),
        Some("float") => value.is_number(),
        Some("null") => value.is_null(),
        _ => value.is_string(),
    };
    let name = suffix.unwrap_or_default();
    if fits { Ok(value) } else { Err(format!("yaml: cannot decode `{text}` as a !!{name}")) }
}

fn key_text(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return Err("unsupported map key of type: null".into()),
    })
}

fn approximate_bytes(value: &Value) -> usize {
    const NODE: usize = 32;
    match value {
        Value::String(text) => NODE + text.len(),
        Value::Array(items) => items.iter().map(approximate_bytes).fold(NODE, usize::saturating_add),
        Value::Object(map) => {
            map.iter().map(|(key, value)| NODE + key.len() + approximate_bytes(value)).fold(NODE, usize::saturating_add)
        }
        _ => NODE,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents() {
        let check = |text: &str, expect: Value| assert_eq!(decode(text).unwrap().value, expect, "{text}");
        check("", json!(null));
        check("# nothing\n", json!(null));
        check("a: 1\nb: [x, \"1\", '2', yes]\n", json!({"a": 1, "b": ["x", "1", "2", true]}));
        check("a: 1\n---\nb: 2\n", json!({"a": 1}));
        check("---\na: |\n  x\n  y\n", json!({"a": "x\ny\n"}));
        check("mode: 0644\n1: x\ntrue: y\n", json!({"mode": 420, "1": "x", "true": true}));
        check("a: !!str 1\nb: !!int \"1\"\nc: !custom x\n", json!({"a": "1", "b": 1, "c": "x"}));
        check(
            "a: &x {k: 1}\nb: *x\nc: {<<: *x, m: 2, k: 3}\n",
            json!({"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 3, "m": 2}}),
        );
        check("{\"a\": [1.5, null]}", json!({"a": [1.5, null]}));
        check("5", json!(5));
    }

    #[test]
    fn refusals() {
        let check = |text: &str, expect: &str| {
            let error = decode(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        };
        check("a: [", "yaml: line ");
        check("a: *gone\n", "yaml: line ");
        check("a: &x [*x]\n", "anchor value contains itself");
        check("? {a: b}\n: c\n", "invalid map key");
        check("~: 1\n", "unsupported map key of type: null");
        check("a: .nan\n", "json: unsupported value: NaN");
        check("a: !!int x\n", "cannot decode `x` as a !!int");
        check("a: {<<: 3}\n", "map merge requires map");
        check(&"[".repeat(100_000), "");
        check(&"- ".repeat(100_000), "");
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let item = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![item; 9].join(", ")));
        }
        check(&bomb, "excessive aliasing");
        let (open, close) = ("[".repeat(300), "]".repeat(300));
        let deep = format!("a: &x {open}{close}\nb: {open}*x{close}\n");
        check(&deep, "exceeded max depth");
    }

    #[test]
    fn duplicates_are_reported() {
        let decoded = decode("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").unwrap();
        assert_eq!(decoded.value, json!({"a": 3, "b": {"c": 2}}));
        let expect =
            "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 5: key \"a\" already set in map";
        assert_eq!(decoded.strict_errors, [expect]);
    }
}
