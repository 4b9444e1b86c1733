//! JSON patch (RFC 6902).

use serde_json::Value;

use super::PatchError;
use crate::decode::{self, DEPTH_MAX};

/// How many operations a patch may have.
pub const OPERATIONS_MAX: usize = 10_000;
/// How many bytes of JSON all `copy` operations of a patch may add.
const COPY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// How many list items may be shifted and nodes looked at by all operations of a patch: some hundred milliseconds.
const WORK_MAX: usize = 50_000_000;

/// A patch that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPatch {
    operations: Vec<Value>,
    /// What a strict reader says about the text, such as `json patch unknown field "[0].x"`.
    pub strict_errors: Vec<String>,
}

impl JsonPatch {
    /// Reads a patch: a JSON list of operations.
    pub fn parse(text: &[u8]) -> Result<JsonPatch, PatchError> {
        let malformed = |why: String| PatchError::Malformed(format!("error decoding patch: {why}"));
        let decoded = decode::json_strict(text).map_err(|error| malformed(error.to_string()))?;
        let operations = match decoded.value {
            Value::Array(operations) => operations,
            Value::Null => Vec::new(),
            other => {
                let found = decode::json_type(&other);
                return Err(malformed(format!(
                    "json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
                )));
            }
        };
        let mut strict_errors: Vec<String> =
            decoded.strict_errors.iter().map(|error| format!("json patch {error}")).collect();
        for (index, operation) in operations.iter().enumerate() {
            check_operation(index, operation, &mut strict_errors).map_err(malformed)?;
        }
        if operations.len() > OPERATIONS_MAX {
            return Err(PatchError::TooLarge(format!(
                "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
                operations.len()
            )));
        }
        Ok(JsonPatch { operations, strict_errors })
    }

    /// The document after all operations, in order. An error leaves nothing applied.
    pub fn apply(&self, document: Value) -> Result<Value, PatchError> {
        let mut applying = Applying { document, copied_bytes: 0, work: 0 };
        for operation in &self.operations {
            applying.operation(operation).map_err(PatchError::NotApplicable)?;
        }
        Ok(applying.document)
    }
}

/// That the members are of the right types; names that are unknown are strict errors.
fn check_operation(index: usize, operation: &Value, strict_errors: &mut Vec<String>) -> Result<(), String> {
    let members = match operation {
        Value::Object(members) => members,
        Value::Null => return Ok(()),
        other => {
            let found = decode::json_type(other);
            return Err(format!("json: cannot unmarshal {found} into Go value of type handlers.jsonPatchOp"));
        }
    };
    for (name, value) in members {
        match name.as_str() {
            "op" | "path" | "from" if !(value.is_string() || value.is_null()) => {
                let found = decode::json_type(value);
                return Err(format!(
                    "json: cannot unmarshal {found} into Go struct field jsonPatchOp.{name} of type string"
                ));
            }
            "op" | "path" | "from" | "value" => {}
            _ if strict_errors.len() < decode::STRICT_ERRORS_MAX => {
                strict_errors.push(format!("json patch unknown field {:?}", format!("[{index}].{name}")));
            }
            _ => {}
        }
    }
    Ok(())
}

struct Applying {
    document: Value,
    copied_bytes: usize,
    work: usize,
}

/// The object or list that holds what a path points at, and the last step.
struct Place<'a> {
    container: &'a mut Value,
    key: String,
}

impl Applying {
    fn operation(&mut self, operation: &Value) -> Result<(), String> {
        let text = |name: &str| operation.get(name).and_then(Value::as_str);
        let value = || operation.get("value").cloned().unwrap_or_default();
        let path = |kind: &str| {
            let missing = "operation missing path field: missing value";
            // Two of the operations drop the first half of the sentence.
            let why = if matches!(kind, "add" | "remove") { "missing value" } else { missing };
            text("path").ok_or_else(|| format!("{kind} operation failed to decode path: {why}"))
        };
        let from = |kind: &str| {
            let missing = "operation, missing from field: missing value";
            text("from").ok_or_else(|| format!("{kind} operation failed to decode from: {missing}"))
        };
        match text("op").unwrap_or("unknown") {
            "add" => self.add(path("add")?, value()),
            "remove" => self.remove(path("remove")?),
            "replace" => self.replace(path("replace")?, value()),
            "move" => self.relocate(from("move")?, path("move")),
            "copy" => self.copy(from("copy")?, text("path")),
            "test" => self.test(path("test")?, operation.get("value").unwrap_or(&Value::Null)),
            other => Err(format!("Unexpected kind: {other}")),
        }
    }

    fn add(&mut self, path: &str, value: Value) -> Result<(), String> {
        let missing = || format!("add operation does not apply: doc is missing path: \"{path}\": missing value");
        self.check_depth(path, &value)?;
        let place = find(&mut self.document, path).ok_or_else(missing)?;
        let shifted = insert(place, value).map_err(|why| format!("error in add for path: '{path}': {why}"))?;
        self.spend(shifted)
    }

    fn remove(&mut self, path: &str) -> Result<(), String> {
        let missing = || format!("remove operation does not apply: doc is missing path: \"{path}\": missing value");
        let place = find(&mut self.document, path).ok_or_else(missing)?;
        let (_, shifted) = take(place).map_err(|why| format!("error in remove for path: '{path}': {why}"))?;
        self.spend(shifted)
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), String> {
        if path.is_empty() {
            if !(value.is_object() || value.is_array()) {
                return Err("replace operation value must be object or array: %!w(<nil>)".into());
            }
            self.document = value;
            return Ok(());
        }
        let missing =
            |what: &str| format!("replace operation does not apply: doc is missing {what}: {path}: missing value");
        self.check_depth(path, &value)?;
        let place = find(&mut self.document, path).ok_or_else(|| missing("path"))?;
        match place.container {
            Value::Object(map) => {
                map.insert(place.key, value);
            }
            Value::Array(items) => {
                let index = existing_index(&place.key, items.len()).map_err(|_| missing("key"))?;
                items[index] = value;
            }
            _ => return Err(missing("path")),
        }
        Ok(())
    }

    fn relocate(&mut self, from: &str, path: Result<&str, String>) -> Result<(), String> {
        let missing = || format!("move operation does not apply: doc is missing from path: {from}: missing value");
        let place = find(&mut self.document, from).ok_or_else(missing)?;
        let key = place.key.clone();
        let (value, shifted) = take(place).map_err(|why| format!("error in move for path: '{key}': {why}"))?;
        self.spend(shifted)?;
        let path = path?;
        self.check_depth(path, &value)?;
        let missing =
            || format!("move operation does not apply: doc is missing destination path: {path}: missing value");
        let place = find(&mut self.document, path).ok_or_else(missing)?;
        let shifted = insert(place, value).map_err(|why| format!("error in move for path: '{path}': {why}"))?;
        self.spend(shifted)
    }

    fn copy(&mut self, from: &str, path: Option<&str>) -> Result<(), String> {
        let missing = || format!("copy operation does not apply: doc is missing from path: {from}: missing value");
        let place = find(&mut self.document, from).ok_or_else(missing)?;
        let source = get(&place).map_err(|why| format!("error in copy for from: '{from}': {why}"))?;
        let path = path.ok_or("copy operation failed to decode path: missing value")?;
        let source = source.unwrap_or(&Value::Null);
        self.copied_bytes = self.copied_bytes.saturating_add(json_bytes(source, COPY_BYTES_MAX));
        if self.copied_bytes > COPY_BYTES_MAX {
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {COPY_BYTES_MAX}",
                self.copied_bytes
            ));
        }
        let value = source.clone();
        self.check_depth(path, &value)?;
        let missing =
            || format!("copy operation does not apply: doc is missing destination path: {path}: missing value");
        let place = find(&mut self.document, path).ok_or_else(missing)?;
        let shifted = insert(place, value).map_err(|why| format!("error while adding value during copy: {why}"))?;
        self.spend(shifted)
    }

    fn test(&mut self, path: &str, expect: &Value) -> Result<(), String> {
        let failed = || format!("testing value {path} failed: test failed");
        if path.is_empty() {
            return if self.document == *expect { Ok(()) } else { Err(failed()) };
        }
        let missing = || format!("test operation does not apply: is missing path: {path}: missing value");
        let place = find(&mut self.document, path).ok_or_else(missing)?;
        let found = get(&place).map_err(|why| format!("error in test for path: '{path}': {why}"))?;
        if found.unwrap_or(&Value::Null) == expect { Ok(()) } else { Err(failed()) }
    }

    /// That the tree stays as shallow as the decoder promises, so that recursion over it is safe.
    fn check_depth(&mut self, path: &str, value: &Value) -> Result<(), String> {
        let (depth, nodes) = depth_and_nodes(value);
        self.spend(nodes)?;
        let steps = path.bytes().filter(|byte| *byte == b'/').count();
        if steps + depth <= DEPTH_MAX { Ok(()) } else { Err("exceeded max depth".into()) }
    }

    fn spend(&mut self, work: usize) -> Result<(), String> {
        self.work = self.work.saturating_add(work);
        if self.work <= WORK_MAX { Ok(()) } else { Err("the patch moves too much data".into()) }
    }
}

/// Walks to the container of what the path points at; None where there is no such container.
fn find<'a>(document: &'a mut Value, path: &str) -> Option<Place<'a>> {
    // What stands before the first slash is not looked at.
    let (_, steps) = path.split_once('/')?;
    let mut steps = steps.split('/').map(unescape).peekable();
    let mut container = document;
    loop {
        let key = steps.next()?;
        if steps.peek().is_none() {
            return matches!(container, Value::Object(_) | Value::Array(_)).then_some(Place { container, key });
        }
        container = match container {
            Value::Object(map) => map.get_mut(&key)?,
            Value::Array(items) => {
                let index = existing_index(&key, items.len()).ok()?;
                items.get_mut(index)?
            }
            _ => return None,
        };
    }
}

/// RFC 6901: `~1` is a slash, `~0` is a tilde.
fn unescape(step: &str) -> String {
    if step.contains('~') { step.replace("~1", "/").replace("~0", "~") } else { step.to_string() }
}

fn get<'a>(place: &'a Place<'_>) -> Result<Option<&'a Value>, String> {
    match &*place.container {
        Value::Object(map) => Ok(map.get(&place.key)),
        Value::Array(items) => existing_index(&place.key, items.len()).map(|index| items.get(index)),
        _ => Ok(None),
    }
}

/// Returns how many items were shifted.
fn insert(place: Place<'_>, value: Value) -> Result<usize, String> {
    match place.container {
        Value::Object(map) => {
            map.insert(place.key, value);
            Ok(0)
        }
        Value::Array(items) if place.key == "-" => {
            items.push(value);
            Ok(0)
        }
        Value::Array(items) => {
            let why = |error: String| match error.strip_prefix("strconv") {
                Some(_) => format!("value was not a proper array index: '{}': {error}", place.key),
                None => error,
            };
            let index = existing_index(&place.key, items.len() + 1).map_err(why)?;
            items.insert(index, value);
            Ok(items.len() - index)
        }
        _ => Ok(0),
    }
}

/// Returns what was there and how many items were shifted.
fn take(place: Place<'_>) -> Result<(Value, usize), String> {
    match place.container {
        Value::Object(map) => match map.remove(&place.key) {
            Some(value) => Ok((value, 0)),
            None => Err(format!("Unable to remove nonexistent key: {}: missing value", place.key)),
        },
        Value::Array(items) => {
            let index = existing_index(&place.key, items.len())?;
            let shifted = items.len() - index;
            Ok((items.remove(index), shifted))
        }
        _ => Err(format!("Unable to remove nonexistent key: {}: missing value", place.key)),
    }
}

/// A list index below `length`; negative ones count from the end.
fn existing_index(key: &str, length: usize) -> Result<usize, String> {
    let index: i64 = key.parse().map_err(|_| format!("strconv.Atoi: parsing {key:?}: invalid syntax"))?;
    let length = length as i64;
    let found = if index < 0 { index.saturating_add(length) } else { index };
    if (0..length).contains(&found) {
        Ok(found as usize)
    } else {
        Err(format!("Unable to access invalid index: {index}: invalid index referenced"))
    }
}

/// How deep a tree is (a scalar is 0), and its number of nodes.
fn depth_and_nodes(value: &Value) -> (usize, usize) {
    let of_all = |values: &mut dyn Iterator<Item = &Value>| {
        values.map(depth_and_nodes).fold((0, 1), |(depth, nodes), (below, more)| (depth.max(below), nodes + more))
    };
    let (depth, nodes) = match value {
        Value::Object(map) => of_all(&mut map.values()),
        Value::Array(items) => of_all(&mut items.iter()),
        _ => return (0, 1),
    };
    (depth + 1, nodes)
}

/// The size of a tree as JSON; counting stops above `limit`.
fn json_bytes(value: &Value, limit: usize) -> usize {
    let mut counter = Counter { bytes: 0, limit };
    // Writing fails when the limit is exceeded, and then the count is above it.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.bytes
}

struct Counter {
    bytes: usize,
    limit: usize,
}

impl std::io::Write for Counter {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.bytes += text.len();
        if self.bytes > self.limit { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(text.len()) }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(document: Value, patch: Value) -> Result<Value, String> {
        let patch = JsonPatch::parse(patch.to_string().as_bytes()).map_err(|error| error.to_string())?;
        patch.apply(document).map_err(|error| error.to_string())
    }

    /// RFC 6902, appendix A, where the reference does not deviate.
    #[test]
    fn cases_of_the_rfc() {
        let check = |document: Value, patch: Value, expect: Value| {
            assert_eq!(apply(document, json!([patch])), Ok(expect), "{patch}");
        };
        check(
            json!({"foo": "bar"}),
            json!({"op": "add", "path": "/baz", "value": "qux"}),
            json!({"foo": "bar", "baz": "qux"}),
        );
        check(
            json!({"foo": ["bar", "baz"]}),
            json!({"op": "add", "path": "/foo/1", "value": "qux"}),
            json!({"foo": ["bar", "qux", "baz"]}),
        );
        check(json!({"baz": "qux", "foo": "bar"}), json!({"op": "remove", "path": "/baz"}), json!({"foo": "bar"}));
        check(json!({"foo": ["bar", "qux"]}), json!({"op": "remove", "path": "/foo/1"}), json!({"foo": ["bar"]}));
        check(json!({"baz": "qux"}), json!({"op": "replace", "path": "/baz", "value": "boo"}), json!({"baz": "boo"}));
        check(
            json!({"foo": {"waldo": "fred"}, "qux": {}}),
            json!({"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}),
            json!({"foo": {}, "qux": {"thud": "fred"}}),
        );
        check(
            json!({"foo": ["all", "grass", "cows", "eat"]}),
            json!({"op": "move", "from": "/foo/1", "path": "/foo/3"}),
            json!({"foo": ["all", "cows", "eat", "grass"]}),
        );
        let two = json!({"baz": "qux", "foo": ["a", 2, "c"]});
        check(two.clone(), json!({"op": "test", "path": "/foo/1", "value": 2}), two);
        check(
            json!({"foo": ["bar"]}),
            json!({"op": "add", "path": "/foo/-", "value": ["abc", "def"]}),
            json!({"foo": ["bar", ["abc", "def"]]}),
        );
        let tilde = json!({"/": 9, "~1": 10});
        check(tilde.clone(), json!({"op": "test", "path": "/~01", "value": 10}), tilde);
        check(json!({"a": [1]}), json!({"op": "copy", "from": "/a", "path": "/b"}), json!({"a": [1], "b": [1]}));
        check(json!({"a": null}), json!({"op": "test", "path": "/a", "value": null}), json!({"a": null}));
    }

    #[test]
    fn deviations_of_the_reference() {
        let check = |document: Value, patch: Value, expect: Value| {
            assert_eq!(apply(document, json!([patch])), Ok(expect), "{patch}");
        };
        check(json!({"a": [1, 2]}), json!({"op": "remove", "path": "/a/-1"}), json!({"a": [1]}));
        check(json!({"a": [1, 2]}), json!({"op": "add", "path": "/a/-1", "value": 3}), json!({"a": [1, 2, 3]}));
        check(json!({}), json!({"op": "replace", "path": "/a", "value": 1}), json!({"a": 1}));
        check(json!({"b": 1}), json!({"op": "replace", "path": "", "value": {"a": 1}}), json!({"a": 1}));
        check(json!({}), json!({"op": "test", "path": "/gone", "value": null}), json!({}));
    }

    #[test]
    fn refusals() {
        let check = |document: Value, patch: Value, expect: &str| {
            assert_eq!(apply(document, patch.clone()), Err(expect.to_string()), "{patch}");
        };
        let one = |op: Value| json!([op]);
        check(
            json!({}),
            one(json!({"op": "add", "path": "/a/b", "value": 1})),
            r#"add operation does not apply: doc is missing path: "/a/b": missing value"#,
        );
        check(
            json!({"a": 1}),
            one(json!({"op": "add", "path": "/a/b", "value": 1})),
            r#"add operation does not apply: doc is missing path: "/a/b": missing value"#,
        );
        check(
            json!({}),
            one(json!({"op": "add", "path": "", "value": {}})),
            r#"add operation does not apply: doc is missing path: "": missing value"#,
        );
        check(
            json!({"a": []}),
            one(json!({"op": "add", "path": "/a/2", "value": 1})),
            "error in add for path: '/a/2': Unable to access invalid index: 2: invalid index referenced",
        );
        check(
            json!({"a": []}),
            one(json!({"op": "add", "path": "/a/x", "value": 1})),
            r#"error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing "x": invalid syntax"#,
        );
        check(
            json!({}),
            one(json!({"op": "remove", "path": "/a"})),
            "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value",
        );
        check(
            json!({"a": []}),
            one(json!({"op": "replace", "path": "/a/0", "value": 1})),
            "replace operation does not apply: doc is missing key: /a/0: missing value",
        );
        check(
            json!({"a": 1}),
            one(json!({"op": "test", "path": "/a", "value": 2})),
            "testing value /a failed: test failed",
        );
        check(
            json!({"a": 1}),
            one(json!({"op": "test", "path": "/b/c", "value": 2})),
            "test operation does not apply: is missing path: /b/c: missing value",
        );
        check(json!({}), one(json!({"op": "jump", "path": "/a"})), "Unexpected kind: jump");
        check(json!({}), one(json!({"op": "add"})), "add operation failed to decode path: missing value");
        check(
            json!({}),
            one(json!({"op": "move", "path": "/a"})),
            "move operation failed to decode from: operation, missing from field: missing value",
        );
        check(
            json!({}),
            json!({"op": "add"}),
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        );
        check(
            json!({}),
            json!([3]),
            "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
        );
        check(
            json!({}),
            json!([{"op": 3}]),
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        );
        let many: Vec<Value> = (0..=OPERATIONS_MAX).map(|_| json!({"op": "test", "path": "", "value": {}})).collect();
        check(json!({}), json!(many), "The allowed maximum operations in a JSON patch is 10000, got 10001");
    }

    #[test]
    fn work_is_bounded() {
        let nest = json!({"op": "copy", "from": "/a", "path": "/a/a"});
        let error = apply(json!({"a": {}}), json!(vec![nest; 600])).unwrap_err();
        assert_eq!(error, "exceeded max depth");
        let double =
            [json!({"op": "copy", "from": "/a", "path": "/a/-"}), json!({"op": "copy", "from": "/a/0", "path": "/b"})];
        let error =
            apply(json!({"a": ["x".repeat(1 << 20)]}), json!(double.iter().cycle().take(9).collect::<Vec<_>>()));
        assert!(error.unwrap_err().starts_with("Unable to complete the copy"));
        let front = json!({"op": "add", "path": "/a/0", "value": 1});
        let error = apply(json!({"a": vec![1; 100_000]}), json!(vec![front; 5_000])).unwrap_err();
        assert_eq!(error, "the patch moves too much data");
    }

    #[test]
    fn strict_errors_are_reported() {
        let patch = JsonPatch::parse(br#"[{"op":"add","path":"/a","value":1,"x":1,"op":"add"}]"#).unwrap();
        assert_eq!(
            patch.strict_errors,
            [r#"json patch duplicate field "[0].op""#, r#"json patch unknown field "[0].x""#]
        );
    }
}
