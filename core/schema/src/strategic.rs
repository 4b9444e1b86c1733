//! Strategic merge patches, as apimachinery `pkg/util/strategicpatch` applies them to built-in types.
//!
//! A patch is merged into an object field by field. The facts say which lists are merged (by a key, or as sets of
//! scalars); directives in the patch do the rest: `$patch: replace|delete`, `$retainKeys`, `$setElementOrder/list`,
//! `$deleteFromPrimitiveList/list`. Unlike the reference, which walks Go's unordered maps, a patch is walked in the order
//! of its sorted keys, ordering directives first.
//!
//! Invariants: values outside the patch are moved, not copied; the work grows with n log n of the lists' lengths.

mod lists;

use std::{fmt, mem};

use serde_json::{Map, Value};
use triune_api::status::Status;

use crate::facts::{Facts, Field, Kind, PatchStrategy, ShapeIndex};
use lists::{ElementKind, element_kind};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";

/// Why a strategic merge patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The patch's format is wrong: 400.
    #[error("{0}")]
    BadFormat(String),
    /// The patch asks for what merging cannot do: 422.
    #[error("{0}")]
    Unprocessable(String),
    /// Patch and object do not fit: the reference answers 500.
    #[error("{0}")]
    Failed(String),
}

impl MergeError {
    /// What the reference answers.
    pub fn status(&self) -> Status {
        match self {
            MergeError::BadFormat(message) => Status::bad_request(message.clone()),
            MergeError::Unprocessable(_) => {
                Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
            }
            // An error that is no Status of its own keeps its words and has no reason.
            MergeError::Failed(message) => Status::new(500, "", message.clone()),
        }
    }
}

impl From<MergeError> for String {
    fn from(error: MergeError) -> String {
        error.to_string()
    }
}

type Merged<T> = Result<T, MergeError>;

/// What the facts say about the values at one place.
#[derive(Clone, Copy)]
enum Scope {
    Type(u32),
    Shape(ShapeIndex),
}

/// Applies a patch to a whole object.
pub(crate) fn merge(facts: &Facts, index: u32, original: Value, patch: Value) -> Merged<Value> {
    let merger = Merger { facts };
    let original = match original {
        Value::Object(object) => object,
        other => return Err(bad_argument("map[string]interface {}", &other)),
    };
    match patch {
        Value::Object(patch) => merger.merge_map(original, patch, Scope::Type(index)).map(Value::Object),
        _ => Err(MergeError::BadFormat("invalid JSON document".into())),
    }
}

struct Merger<'a> {
    facts: &'a Facts,
}

impl<'a> Merger<'a> {
    fn merge_map(
        &self,
        mut original: Map<String, Value>,
        mut patch: Map<String, Value>,
        scope: Scope,
    ) -> Merged<Map<String, Value>> {
        if let Some(directive) = patch.remove(DIRECTIVE) {
            return match directive.as_str() {
                Some("replace") => Ok(patch),
                Some("delete") => Ok(Map::new()),
                _ => {
                    patch.insert(DIRECTIVE.into(), directive.clone());
                    Err(unknown_directive(&directive, &patch))
                }
            };
        }
        retain_keys(&mut original, &mut patch)?;
        self.merge_ordered_lists(&mut original, &mut patch, scope)?;
        for (key, mut value) in patch {
            let (key, is_delete_list) = match key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
                Some(rest) => (rest.strip_prefix('/').ok_or_else(bad_primitive_list)?.to_string(), true),
                None => (key, false),
            };
            if value.is_null() {
                original.remove(&key);
                continue;
            }
            match original.get_mut(&key) {
                Some(before) if go_type(before) == go_type(&value) => {
                    *before = self.merge_value(mem::take(before), value, scope, &key, is_delete_list)?;
                }
                _ if is_delete_list => {}
                _ => {
                    discard_nulls(&mut value);
                    match without_directives(value) {
                        Some(value) => original.insert(key, value),
                        None => original.remove(&key),
                    };
                }
            }
        }
        Ok(original)
    }

    /// Merges two values of one JSON type.
    fn merge_value(
        &self,
        original: Value,
        patch: Value,
        scope: Scope,
        key: &str,
        is_delete_list: bool,
    ) -> Merged<Value> {
        match (original, patch) {
            (Value::Object(original), Value::Object(patch)) => {
                let field = self.field(scope, key)?;
                if is_replaced(field.patch()) {
                    return Ok(Value::Object(patch));
                }
                self.merge_map(original, patch, Scope::Shape(field.shape)).map(Value::Object)
            }
            (Value::Array(original), Value::Array(patch)) => {
                let (field, items) = self.list_field(scope, key)?;
                if is_merged(field.patch()) || is_delete_list {
                    let merge_key = merge_key(field.patch());
                    return self.merge_list(original, patch, items, merge_key, is_delete_list).map(Value::Array);
                }
                Ok(Value::Array(patch))
            }
            (_, patch) => Ok(patch),
        }
    }

    /// Merges the lists that a `$setElementOrder` orders, and takes both out of the patch.
    fn merge_ordered_lists(
        &self,
        original: &mut Map<String, Value>,
        patch: &mut Map<String, Value>,
        scope: Scope,
    ) -> Merged<()> {
        let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
        for directive in directives {
            let order = into_list(patch.remove(&directive).unwrap_or_default())?;
            let key = directive[SET_ELEMENT_ORDER.len()..].strip_prefix('/').ok_or_else(bad_element_order)?;
            let before = original.remove(key).map(into_list).transpose()?;
            let change = patch.remove(key).map(into_list).transpose()?;
            let (field, items) = self.list_field(scope, key)?;
            let merge_key = merge_key(field.patch());
            lists::check_order(change.as_deref().unwrap_or_default(), &order, merge_key)?;
            let kind = match (&before, &change) {
                (None, None) => continue,
                (before, change) => {
                    element_kind(&[before.as_deref().unwrap_or_default(), change.as_deref().unwrap_or_default()])?
                }
            };
            let server_order = lists::Order::new(before.as_deref().unwrap_or_default(), kind, merge_key);
            let merged = match (before, change) {
                (Some(before), Some(change)) if is_merged(field.patch()) => {
                    self.merge_list(before, change, items, merge_key, false)?
                }
                (Some(_), Some(change)) => change,
                (None, Some(change)) => change.into_iter().filter_map(without_directives).collect(),
                (before, None) => before.unwrap_or_default(),
            };
            let ordered = lists::in_order(merged, &order, &server_order, kind, merge_key)?;
            original.insert(key.to_string(), Value::Array(ordered));
        }
        Ok(())
    }

    fn merge_list(
        &self,
        original: Vec<Value>,
        patch: Vec<Value>,
        items: Scope,
        merge_key: &str,
        is_delete_list: bool,
    ) -> Merged<Vec<Value>> {
        if original.is_empty() && patch.is_empty() {
            return Ok(original);
        }
        let kind = element_kind(&[&original, &patch])?;
        if kind == ElementKind::Scalar {
            if is_delete_list {
                return Ok(lists::without(original, &patch));
            }
            let server_order = lists::Order::new(&original, kind, merge_key);
            let merged = lists::united(original, patch.clone());
            return lists::in_order(merged, &patch, &server_order, kind, merge_key);
        }
        if merge_key.is_empty() {
            let name = self.go_kind(items);
            return Err(MergeError::Failed(format!("cannot merge lists without merge key for {name}")));
        }
        let (original, patch) = lists::apply_item_directives(original, patch, merge_key)?;
        let server_order = lists::Order::new(&original, kind, merge_key);
        let patch_order: Vec<Value> = patch.iter().map(|item| lists::only_key(item, merge_key)).collect();
        let merged = self.merge_items(original, patch, items, merge_key)?;
        lists::in_order(merged, &patch_order, &server_order, kind, merge_key)
    }

    /// Merges each item of a patch into the item with the same key, or appends it.
    fn merge_items(
        &self,
        mut original: Vec<Value>,
        patch: Vec<Value>,
        items: Scope,
        merge_key: &str,
    ) -> Merged<Vec<Value>> {
        let mut positions = lists::positions(&original, merge_key);
        for item in patch {
            let Value::Object(item) = item else { continue };
            let Some(key) = item.get(merge_key) else { return Err(no_merge_key(&item, merge_key)) };
            let key = key.to_string();
            if let Some(at) = positions.get(&key) {
                if let Value::Object(before) = mem::take(&mut original[*at]) {
                    original[*at] = Value::Object(self.merge_map(before, item, items)?);
                }
            } else {
                positions.insert(key, original.len());
                original.push(Value::Object(item));
            }
        }
        Ok(original)
    }

    fn field(&self, scope: Scope, key: &str) -> Merged<&'a Field> {
        let (name, found) = match self.type_index(scope) {
            Some(index) => {
                let declared = self.facts.get(index);
                (&*declared.name, self.facts.json_field(declared, key))
            }
            None if self.go_kind(scope) == "struct" => (self.go_type_name(scope), None),
            None => {
                let kind = self.go_kind(scope);
                let message = format!("merging an object in json but data type is not struct, instead is: {kind}");
                return Err(MergeError::Failed(message));
            }
        };
        found.ok_or_else(|| {
            MergeError::Failed(format!("unable to find api field in struct {name} for the json field {key:?}"))
        })
    }

    /// A list's field and what its items are.
    fn list_field(&self, scope: Scope, key: &str) -> Merged<(&'a Field, Scope)> {
        let field = self.field(scope, key)?;
        match self.facts.pointee(field.shape).0.kind {
            Kind::List(items) if matches!(self.facts.shape(items).kind, Kind::List(_) | Kind::Bytes) => {
                Err(MergeError::Failed("unexpected slice of slice".into()))
            }
            Kind::List(items) => Ok((field, Scope::Shape(items))),
            _ => Err(MergeError::Failed("expected slice or array type, but got: struct".into())),
        }
    }

    fn type_index(&self, scope: Scope) -> Option<u32> {
        match scope {
            Scope::Type(index) => Some(index),
            Scope::Shape(shape) => match self.facts.pointee(shape).0.kind {
                Kind::Struct(index) => Some(index),
                _ => None,
            },
        }
    }

    fn go_type_name(&self, scope: Scope) -> &'a str {
        match scope {
            Scope::Type(index) => &self.facts.get(index).name,
            Scope::Shape(shape) => {
                let go_type = &self.facts.pointee(shape).0.go_type;
                go_type.rsplit('.').next().unwrap_or(go_type)
            }
        }
    }

    fn go_kind(&self, scope: Scope) -> &'static str {
        let Scope::Shape(shape) = scope else { return "struct" };
        match self.facts.pointee(shape).0.kind {
            Kind::String => "string",
            Kind::Bool => "bool",
            Kind::Integer(32) => "int32",
            Kind::Integer(_) => "int64",
            Kind::Float => "float64",
            Kind::Bytes | Kind::List(_) => "slice",
            Kind::Map(_) => "map",
            Kind::Any => "interface",
            _ => "struct",
        }
    }
}

fn is_merged(strategy: Option<&PatchStrategy>) -> bool {
    strategy.is_some_and(|strategy| strategy.merge)
}

fn is_replaced(strategy: Option<&PatchStrategy>) -> bool {
    strategy.is_some_and(|strategy| strategy.replace)
}

fn merge_key(strategy: Option<&PatchStrategy>) -> &str {
    strategy.and_then(|strategy| strategy.merge_key.as_deref()).unwrap_or_default()
}

/// `$retainKeys`: drops the fields of the object that the list does not name.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Merged<()> {
    let Some(kept) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || MergeError::BadFormat("invalid patch format of retainKeys".into());
    let Value::Array(kept) = kept else { return Err(malformed()) };
    let is_kept = |key: &str| kept.iter().any(|kept| kept.as_str() == Some(key));
    let is_directive = |key: &str| key.starts_with(DELETE_FROM_PRIMITIVE_LIST) || key.starts_with(SET_ELEMENT_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_directive(key) && !is_kept(key)) {
        return Err(malformed());
    }
    original.retain(|key, _| is_kept(key));
    Ok(())
}

fn into_list(value: Value) -> Merged<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(bad_argument("[]interface {}", &other)),
    }
}

/// Drops nulls from the maps of a value that is new.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => object.retain(|_, value| {
            discard_nulls(value);
            !value.is_null()
        }),
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// A new value without the maps that hold a `$patch`; None if it is one.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(object) if object.contains_key(DIRECTIVE) => None,
        Value::Object(object) => {
            let kept = object.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        scalar => Some(scalar),
    }
}

/// A JSON value's type in Go.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Prints a value as Go's `%v` does: `map[a:1 b:[x y]]`.
pub(crate) struct GoPrint<'a>(pub(crate) &'a Value);

impl fmt::Display for GoPrint<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => formatter.write_str("<nil>"),
            Value::String(text) => formatter.write_str(text),
            Value::Object(object) => print_map(object, formatter),
            Value::Array(items) => print_list(items, formatter),
            other => write!(formatter, "{other}"),
        }
    }
}

fn print_map(object: &Map<String, Value>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    formatter.write_str("map[")?;
    for (at, (key, value)) in object.iter().enumerate() {
        write!(formatter, "{}{key}:{}", if at == 0 { "" } else { " " }, GoPrint(value))?;
    }
    formatter.write_str("]")
}

fn print_list(items: &[Value], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    formatter.write_str("[")?;
    for (at, item) in items.iter().enumerate() {
        write!(formatter, "{}{}", if at == 0 { "" } else { " " }, GoPrint(item))?;
    }
    formatter.write_str("]")
}

fn bad_argument(expected: &str, actual: &Value) -> MergeError {
    MergeError::Failed(format!("expected a {expected}, but received a {}", go_type(actual)))
}

fn bad_primitive_list() -> MergeError {
    MergeError::BadFormat("invalid patch format of primitive list".into())
}

fn bad_element_order() -> MergeError {
    MergeError::BadFormat("invalid patch format of setElementOrder list".into())
}

fn no_merge_key(item: &Map<String, Value>, merge_key: &str) -> MergeError {
    let item = Value::Object(item.clone());
    MergeError::Failed(format!("map: {} does not contain declared merge key: {merge_key}", GoPrint(&item)))
}

fn unknown_directive(directive: &Value, patch: &Map<String, Value>) -> MergeError {
    let patch = Value::Object(patch.clone());
    MergeError::Failed(format!("unknown patch type: {} in map: {}", GoPrint(directive), GoPrint(&patch)))
}

#[cfg(test)]
mod tests;
