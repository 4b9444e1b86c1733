//! Patches that turn one object into another, made independently of the code that applies them.
//!
//! What a kind of patch cannot say is said one level up: a strategic merge patch replaces the map or list with
//! `$patch: replace`. Objects have no nulls, which neither kind of merge patch can set.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use triune_schema::{
    TypeRef,
    facts::{Facts, Field, Kind, PatchStrategy, ShapeIndex},
};

type Object = Map<String, Value>;

/// A JSON patch of `add`, `remove` and `replace`.
pub fn json_patch(from: &Value, to: &Value) -> Value {
    let mut operations = Vec::new();
    json_operations(from, to, "", &mut operations);
    Value::Array(operations)
}

fn json_operations(from: &Value, to: &Value, path: &str, operations: &mut Vec<Value>) {
    match (from, to) {
        _ if from == to => {}
        (Value::Object(from), Value::Object(to)) => {
            for (key, value) in from {
                let path = format!("{path}/{}", escape(key));
                match to.get(key) {
                    Some(wanted) => json_operations(value, wanted, &path, operations),
                    None => operations.push(json!({"op": "remove", "path": path})),
                }
            }
            for (key, value) in to.iter().filter(|(key, _)| !from.contains_key(*key)) {
                operations.push(json!({"op": "add", "path": format!("{path}/{}", escape(key)), "value": value}));
            }
        }
        (Value::Array(from), Value::Array(to)) => {
            let common = from.iter().zip(to).take_while(|(from, to)| from == to).count();
            let (from, to) = (&from[common..], &to[common..]);
            let behind = from.iter().rev().zip(to.iter().rev()).take_while(|(from, to)| from == to).count();
            let (from, to) = (&from[..from.len() - behind], &to[..to.len() - behind]);
            for (at, (from, to)) in from.iter().zip(to).enumerate() {
                json_operations(from, to, &format!("{path}/{}", common + at), operations);
            }
            let kept = from.len().min(to.len());
            for _ in kept..from.len() {
                operations.push(json!({"op": "remove", "path": format!("{path}/{}", common + kept)}));
            }
            for (at, item) in to.iter().enumerate().skip(kept) {
                let path = if behind == 0 { format!("{path}/-") } else { format!("{path}/{}", common + at) };
                operations.push(json!({"op": "add", "path": path, "value": item}));
            }
        }
        _ => operations.push(json!({"op": "replace", "path": path, "value": to})),
    }
}

/// RFC 6901.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A JSON merge patch between two objects.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Object::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, wanted) in to {
        match from.get(key) {
            Some(value) if value == wanted => {}
            Some(value) => {
                patch.insert(key.clone(), merge_patch(value, wanted));
            }
            None => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    Value::Object(patch)
}

/// A strategic merge patch between two objects of a type.
pub fn strategic_patch(declared: &TypeRef, from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let diff = Diff { facts: &declared.facts };
    Value::Object(diff.object(Some(declared.index), from, to, false).unwrap_or_else(|| replacing(to)))
}

/// The map that takes the place of another.
fn replacing(to: &Object) -> Object {
    let mut patch = to.clone();
    patch.insert("$patch".into(), "replace".into());
    patch
}

struct Diff<'a> {
    facts: &'a Facts,
}

/// The type whose fields an object has; None for maps and free-form values, within which only scalars can be merged.
type Scope = Option<u32>;

impl Diff<'_> {
    /// None if merging cannot make `to`.
    fn object(&self, scope: Scope, from: &Object, to: &Object, retain_keys: bool) -> Option<Object> {
        let mut patch = Object::new();
        for key in from.keys().filter(|key| !retain_keys && !to.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
        for (key, wanted) in to {
            match (from.get(key), wanted) {
                (Some(value), _) if value == wanted => {}
                (Some(Value::Object(value)), Value::Object(wanted)) => {
                    let field = self.field(scope, key)?;
                    patch.insert(key.clone(), Value::Object(self.member(field, value, wanted)));
                }
                (Some(Value::Array(items)), Value::Array(wanted)) => {
                    let field = self.field(scope, key)?;
                    self.list(field, key, items, wanted, &mut patch)?;
                }
                _ => {
                    patch.insert(key.clone(), wanted.clone());
                }
            }
        }
        if retain_keys && from != to {
            patch.insert("$retainKeys".into(), to.keys().cloned().collect());
        }
        Some(patch)
    }

    fn member(&self, field: &Field, from: &Object, to: &Object) -> Object {
        let strategy = field.patch();
        if strategy.is_some_and(|strategy| strategy.replace) {
            return to.clone();
        }
        let retain_keys = strategy.is_some_and(|strategy| strategy.retain_keys);
        self.object(self.scope(field.shape), from, to, retain_keys).unwrap_or_else(|| replacing(to))
    }

    fn list(&self, field: &Field, key: &str, from: &[Value], to: &[Value], patch: &mut Object) -> Option<()> {
        let Kind::List(items) = self.facts.pointee(field.shape).0.kind else { return None };
        match field.patch() {
            Some(strategy) if strategy.merge && strategy.merge_key.is_some() => {
                self.keyed_list(strategy, items, key, from, to, patch)
            }
            Some(strategy) if strategy.merge => scalars(key, from, to, patch),
            _ => {
                patch.insert(key.into(), to.into());
                Some(())
            }
        }
    }

    fn keyed_list(
        &self,
        strategy: &PatchStrategy,
        items: ShapeIndex,
        key: &str,
        from: &[Value],
        to: &[Value],
        patch: &mut Object,
    ) -> Option<()> {
        let merge_key = strategy.merge_key.as_deref()?;
        if !are_distinct(to, |item| item.get(merge_key)) {
            return None;
        }
        let merged = are_distinct(from, |item| item.get(merge_key))
            .then(|| self.items(strategy, items, merge_key, from, to))
            .flatten();
        let Some(changes) = merged else {
            let replace = std::iter::once(json!({"$patch": "replace"}));
            patch.insert(key.into(), replace.chain(to.iter().cloned()).collect());
            return Some(());
        };
        if !changes.is_empty() {
            patch.insert(key.into(), changes.into());
        }
        let order = to.iter().map(|item| json!({merge_key: item[merge_key]})).collect();
        patch.insert(format!("$setElementOrder/{key}"), order);
        Some(())
    }

    /// Changes of items that are told apart by a key.
    fn items(
        &self,
        strategy: &PatchStrategy,
        items: ShapeIndex,
        merge_key: &str,
        from: &[Value],
        to: &[Value],
    ) -> Option<Vec<Value>> {
        let find = |list: &'_ [Value], key: &Value| list.iter().position(|item| item.get(merge_key) == Some(key));
        let mut changes = Vec::new();
        for wanted in to {
            let item_key = &wanted[merge_key];
            match find(from, item_key) {
                Some(at) if from[at] == *wanted => {}
                Some(at) => {
                    let (from, to) = (from[at].as_object()?, wanted.as_object()?);
                    let mut change = self.object(self.scope(items), from, to, strategy.retain_keys)?;
                    change.insert(merge_key.into(), item_key.clone());
                    changes.push(Value::Object(change));
                }
                None => changes.push(wanted.clone()),
            }
        }
        for item in from {
            if find(to, &item[merge_key]).is_none() {
                changes.push(json!({"$patch": "delete", merge_key: item[merge_key]}));
            }
        }
        Some(changes)
    }

    fn field(&self, scope: Scope, key: &str) -> Option<&Field> {
        self.facts.json_field(self.facts.get(scope?), key)
    }

    fn scope(&self, shape: ShapeIndex) -> Scope {
        match self.facts.pointee(shape).0.kind {
            Kind::Struct(index) => Some(index),
            _ => None,
        }
    }
}

/// Lists of scalars, which are merged as sets.
fn scalars(key: &str, from: &[Value], to: &[Value], patch: &mut Object) -> Option<()> {
    if !are_distinct(from, Some) || !are_distinct(to, Some) {
        return None;
    }
    let without = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter().filter(|item| !other.contains(item)).cloned().collect()
    };
    let (deleted, added) = (without(from, to), without(to, from));
    if !deleted.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), deleted.into());
    }
    if !added.is_empty() {
        patch.insert(key.into(), added.into());
    }
    patch.insert(format!("$setElementOrder/{key}"), to.into());
    Some(())
}

/// Whether all items have an identity of their own.
fn are_distinct<'v>(items: &'v [Value], identity: impl Fn(&'v Value) -> Option<&'v Value>) -> bool {
    let mut seen = BTreeSet::new();
    items.iter().all(|item| identity(item).is_some_and(|identity| seen.insert(identity.to_string())))
}
