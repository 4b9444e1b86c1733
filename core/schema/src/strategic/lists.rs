//! Lists in strategic merge patches: item directives, membership, and the order of what is merged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{DIRECTIVE, GoPrint, MergeError, Merged, bad_argument, go_type, no_merge_key, unknown_directive};

/// Whether a list's items are merged by key or compared as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementKind {
    Map,
    Scalar,
}

/// What kind the items of some lists have, all of them.
pub(super) fn element_kind(lists: &[&[Value]]) -> Merged<ElementKind> {
    let mut items = lists.iter().flat_map(|list| list.iter());
    let first = items.next().ok_or_else(|| MergeError::Failed("no elements in any of the given slices".into()))?;
    if first.is_array() {
        return Err(MergeError::Unprocessable("lists of lists are not supported".into()));
    }
    if items.any(|item| go_type(item) != go_type(first)) {
        let lists = Value::Array(lists.iter().map(|list| Value::Array(list.to_vec())).collect());
        return Err(MergeError::Failed(format!("list element types are not identical: {}", GoPrint(&lists))));
    }
    Ok(if first.is_object() { ElementKind::Map } else { ElementKind::Scalar })
}

/// What tells an item from the others, as text that can be sorted: its merge key's value, or itself.
fn identity(item: &Value, kind: ElementKind, merge_key: &str) -> String {
    match (kind, item) {
        (ElementKind::Map, Value::Object(object)) => object.get(merge_key).map(Value::to_string).unwrap_or_default(),
        _ => item.to_string(),
    }
}

/// Positions of the items that have a merge key, the first of equal ones.
pub(super) fn positions(items: &[Value], merge_key: &str) -> BTreeMap<String, usize> {
    let mut positions = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        if let Some(key) = item.get(merge_key) {
            positions.entry(key.to_string()).or_insert(at);
        }
    }
    positions
}

/// A map with nothing but an item's merge key.
pub(super) fn only_key(item: &Value, merge_key: &str) -> Value {
    let key = item.get(merge_key).map(|key| (merge_key.to_string(), key.clone()));
    Value::Object(Map::from_iter(key))
}

/// The order of a list's items.
pub(super) struct Order(BTreeMap<String, usize>);

impl Order {
    pub(super) fn new(items: &[Value], kind: ElementKind, merge_key: &str) -> Order {
        let mut places = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            places.entry(identity(item, kind, merge_key)).or_insert(at);
        }
        Order(places)
    }

    fn place(&self, identity: &str) -> Option<usize> {
        self.0.get(identity).copied()
    }
}

/// Puts merged items in order: those that `order` names as it says, between them those that only the server knows, each
/// before the first named item that followed it on the server.
pub(super) fn in_order(
    merged: Vec<Value>,
    order: &[Value],
    server_order: &Order,
    kind: ElementKind,
    merge_key: &str,
) -> Merged<Vec<Value>> {
    let by_map = !merge_key.is_empty();
    for item in merged.iter().chain(order) {
        match item {
            Value::Object(object) if by_map && !object.contains_key(merge_key) => {
                return Err(no_merge_key(object, merge_key));
            }
            Value::Object(_) => {}
            other if by_map => return Err(bad_argument("map[string]interface {}", other)),
            _ => {}
        }
    }
    let order = Order::new(order, kind, merge_key);
    let named = |item: &(String, Value)| order.place(&item.0).is_some();
    let merged = merged.into_iter().map(|item| (identity(&item, kind, merge_key), item));
    let (mut patched, mut server_only): (Vec<_>, Vec<_>) = merged.partition(named);
    patched.sort_by_key(|item| order.place(&item.0));
    server_only.sort_by_key(|item| server_order.place(&item.0).unwrap_or(usize::MAX));
    let mut ordered = Vec::with_capacity(patched.len() + server_only.len());
    let mut server_only = server_only.into_iter().peekable();
    for (identity, item) in patched {
        if let Some(place) = server_order.place(&identity) {
            let before = |kept: &(String, Value)| server_order.place(&kept.0).is_some_and(|kept| kept < place);
            while let Some((_, kept)) = server_only.next_if(before) {
                ordered.push(kept);
            }
        }
        ordered.push(item);
    }
    ordered.extend(server_only.map(|(_, item)| item));
    Ok(ordered)
}

/// Checks that a patch's items come in the order of its `$setElementOrder`.
pub(super) fn check_order(patch: &[Value], order: &[Value], merge_key: &str) -> Merged<()> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut wanted = order.iter();
    for item in patch {
        if !merge_key.is_empty() && !item.is_object() {
            return Err(bad_argument("map[string]interface {}", item));
        }
        if item.get(DIRECTIVE).is_some() {
            continue;
        }
        loop {
            let Some(next) = wanted.next() else {
                let (patch, order) = (Value::Array(patch.to_vec()), Value::Array(order.to_vec()));
                let (patch, order) = (GoPrint(&patch), GoPrint(&order));
                let message =
                    format!("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n");
                return Err(MergeError::Failed(message));
            };
            if keys_equal(item, next, merge_key)? {
                break;
            }
        }
    }
    Ok(())
}

fn keys_equal(left: &Value, right: &Value, merge_key: &str) -> Merged<bool> {
    if merge_key.is_empty() {
        return Ok(left == right);
    }
    let key = |item: &Value| match item {
        Value::Object(object) => object.get(merge_key).cloned().ok_or_else(|| no_merge_key(object, merge_key)),
        other => Err(bad_argument("map[string]interface {}", other)),
    };
    Ok(key(left)? == key(right)?)
}

/// Obeys the `$patch` directives of a list's items: `delete` an item of the original, or `replace` all of it.
pub(super) fn apply_item_directives(
    original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Merged<(Vec<Value>, Vec<Value>)> {
    let (mut replace, mut deleted, mut plain) = (false, BTreeSet::new(), Vec::new());
    for item in patch {
        let Value::Object(object) = &item else { continue };
        match object.get(DIRECTIVE).map(|directive| (directive.as_str(), directive)) {
            None => plain.push(item),
            Some((Some("delete"), _)) => match object.get(merge_key) {
                Some(key) => {
                    deleted.insert(key.to_string());
                }
                None => return Err(no_merge_key(object, merge_key)),
            },
            Some((Some("replace"), _)) => replace = true,
            Some((Some("merge"), _)) => {
                return Err(MergeError::Failed("merging lists cannot yet be specified in the patch".into()));
            }
            Some((_, directive)) => return Err(unknown_directive(directive, object)),
        }
    }
    if replace {
        return Ok((plain, Vec::new()));
    }
    let mut original = original;
    original.retain(|item| item.get(merge_key).is_none_or(|key| !deleted.contains(&key.to_string())));
    Ok((original, plain))
}

/// Both lists, each value once.
pub(super) fn united(original: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut united = original;
    united.extend(patch);
    united.retain(|item| seen.insert(item.to_string()));
    united
}

/// The values that are not to be deleted.
pub(super) fn without(original: Vec<Value>, deleted: &[Value]) -> Vec<Value> {
    let deleted: BTreeSet<String> = deleted.iter().map(Value::to_string).collect();
    original.into_iter().filter(|item| !deleted.contains(&item.to_string())).collect()
}
