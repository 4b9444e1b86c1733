//! Lays an applied configuration over an object, and takes fields out of objects.
//!
//! Merging removes nothing: what the configuration does not have stays. Items of merged lists come in the
//! configuration's order where it names them, and keep their places between those that it does not name.

use serde_json::{Map, Value};

use super::{
    compare::next_pair,
    element::PathElement,
    schema::{At, Form, ListOf, MapType},
    set::Set,
    validate::TypedErrors,
};

/// The live object with the configuration laid over it.
///
/// # Errors
/// Lists whose items cannot be told apart.
pub(super) fn merge(at: At<'_>, live: &Value, applied: &Value) -> Result<Value, TypedErrors> {
    let mut errors = TypedErrors::default();
    let merged = visit(at, live, applied, &mut errors);
    if errors.is_empty() { Ok(merged.unwrap_or_default()) } else { Err(errors) }
}

/// None is nothing at all: the place goes.
fn visit(at: At<'_>, live: &Value, applied: &Value, errors: &mut TypedErrors) -> Option<Value> {
    match at.atom().deduce(Some(applied)).form() {
        Some(Form::Map(map)) => {
            let (lives, applieds) = (live.as_object(), applied.as_object());
            let empty = |object: Option<&Map<String, Value>>| object.is_none_or(Map::is_empty);
            if map.atomic || empty(lives) && empty(applieds) {
                return Some(applied.clone());
            }
            maps(map, lives, applieds, errors)
        }
        Some(Form::List(list)) => {
            let lives = live.as_array().map(Vec::as_slice).unwrap_or_default();
            let applieds = applied.as_array().map(Vec::as_slice).unwrap_or_default();
            if list.atomic() || lives.is_empty() && applieds.is_empty() {
                return Some(applied.clone());
            }
            lists(list, lives, applieds, errors)
        }
        Some(Form::Scalar(_)) => Some(applied.clone()),
        None => {
            errors.add("schema error: invalid atom: inlined");
            None
        }
    }
}

fn maps(
    map: MapType<'_>,
    live: Option<&Map<String, Value>>,
    applied: Option<&Map<String, Value>>,
    errors: &mut TypedErrors,
) -> Option<Value> {
    let mut lives = live.into_iter().flatten().peekable();
    let mut applieds = applied.into_iter().flatten().peekable();
    let mut merged = Map::new();
    let mut fields = map.fields();
    while let Some((key, live, applied)) = next_pair(&mut lives, &mut applieds) {
        let value = match (live, applied) {
            (Some(live), Some(applied)) => {
                let mark = errors.mark();
                let value = visit(fields.seek(key).0, live, applied, errors);
                errors.below(mark, || format!(".{key}"));
                value
            }
            (one, None) | (None, one) => one.cloned(),
        };
        if let Some(value) = value {
            merged.insert(key.clone(), value);
        }
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// Items of one side, with their steps in two orders.
struct Indexed<'a> {
    elements: Vec<PathElement<'a>>,
    /// Positions in `elements`, by step; of equal steps the first.
    sorted: Vec<usize>,
    items: Vec<&'a Value>,
}

impl<'a> Indexed<'a> {
    fn new(list: ListOf<'a>, items: &'a [Value], errors: &mut TypedErrors) -> Indexed<'a> {
        let mut indexed = Indexed { elements: Vec::with_capacity(items.len()), sorted: Vec::new(), items: Vec::new() };
        for (at, item) in items.iter().enumerate() {
            match list.element(item) {
                Ok(element) => {
                    indexed.elements.push(element);
                    indexed.items.push(item);
                }
                Err(message) => errors.add(format!("element {at}: {message}")),
            }
        }
        indexed.sorted = (0..indexed.elements.len()).collect();
        let elements = &indexed.elements;
        indexed.sorted.sort_by(|left, right| elements[*left].cmp(&elements[*right]));
        indexed
    }

    /// Where in `sorted` those of a step are.
    fn range(&self, element: &PathElement<'_>) -> std::ops::Range<usize> {
        let start = self.sorted.partition_point(|at| self.elements[*at] < *element);
        let end = self.sorted.partition_point(|at| self.elements[*at] <= *element);
        start..end
    }

    fn has(&self, element: &PathElement<'_>) -> bool {
        !self.range(element).is_empty()
    }

    /// The item of a step; null if there are several.
    fn get(&self, element: &PathElement<'_>) -> Option<&'a Value> {
        let range = self.range(element);
        match range.len() {
            0 => None,
            1 => Some(self.items[self.sorted[range.start]]),
            _ => Some(&Value::Null),
        }
    }
}

fn lists(list: ListOf<'_>, live: &[Value], applied: &[Value], errors: &mut TypedErrors) -> Option<Value> {
    let mark = errors.mark();
    let right = Indexed::new(list, applied, errors);
    for pair in right.sorted.windows(2) {
        if right.elements[pair[0]] == right.elements[pair[1]] {
            errors.add(format!("duplicate entries for key {}", right.elements[pair[1]]));
        }
    }
    let left = Indexed::new(list, live, errors);
    if errors.mark() > mark {
        return None;
    }
    let merge_item = |element: &PathElement<'_>| match (left.get(element), right.get(element)) {
        // Errors below an item are not reported by the reference.
        (Some(live), Some(applied)) => visit(list.items, live, applied, &mut TypedErrors::default()),
        (one, None) | (None, one) => one.cloned(),
    };
    let mut shared = right.elements.iter().filter(|element| left.has(element));
    let mut next_shared = shared.next();
    let mut taken: Vec<bool> = vec![false; right.elements.len()];
    let position = |element: &PathElement<'_>| right.sorted.get(right.range(element).start).copied();
    let mut merged = Vec::with_capacity(left.elements.len().max(right.elements.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.elements.len() || r < right.elements.len() {
        if let (Some(ours), Some(theirs)) = (left.elements.get(l), right.elements.get(r)) {
            if ours == theirs {
                taken[r] = true;
                merged.extend(merge_item(ours));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if right.has(ours) && next_shared.is_some_and(|next| next != ours) {
                // It comes where the configuration has it.
                l += 1;
                continue;
            }
        }
        if let Some(ours) = left.elements.get(l) {
            if !right.has(ours) {
                merged.push(left.items[l].clone());
                l += 1;
                continue;
            }
            if position(ours).is_some_and(|at| taken[at]) {
                l += 1;
            }
        }
        if let Some(theirs) = right.elements.get(r) {
            taken[r] = true;
            merged.extend(merge_item(theirs));
            r += 1;
            if next_shared == Some(theirs) {
                next_shared = shared.next();
            }
        }
    }
    (!merged.is_empty()).then_some(Value::Array(merged))
}

/// An object without some of its fields and items. Maps and lists that nothing is left of become null.
pub(super) fn remove(at: At<'_>, value: &Value, paths: &Set<'_>) -> Value {
    match (at.atom().deduce(Some(value)).form(), value) {
        (Some(Form::Scalar(_)), _) => value.clone(),
        (Some(Form::Map(map)), Value::Object(object)) if !map.atomic => remove_fields(map, object, paths),
        (Some(Form::List(list)), Value::Array(items)) if !list.atomic() => remove_items(list, items, paths),
        _ => Value::Null,
    }
}

fn remove_fields(map: MapType<'_>, object: &Map<String, Value>, paths: &Set<'_>) -> Value {
    let mut kept = Map::new();
    for (key, value) in object {
        let value = match paths.get(&PathElement::Field(key.as_str().into())) {
            Some(node) if node.member => continue,
            Some(node) => remove(map.field(key).0, value, &node.children),
            None => value.clone(),
        };
        kept.insert(key.clone(), value);
    }
    if kept.is_empty() { Value::Null } else { Value::Object(kept) }
}

fn remove_items(list: ListOf<'_>, items: &[Value], paths: &Set<'_>) -> Value {
    let mut kept = Vec::new();
    for item in items {
        let node = list.element(item).ok().and_then(|element| paths.get(&element));
        match node {
            Some(node) if node.member => {}
            Some(node) => kept.push(remove(list.items, item, &node.children)),
            None => kept.push(item.clone()),
        }
    }
    if kept.is_empty() { Value::Null } else { Value::Array(kept) }
}

/// Adds the declared fields that lead to paths of a set.
pub(super) fn with_declared_parents<'a>(mut set: Set<'a>, at: At<'_>) -> Set<'a> {
    let atom = at.atom();
    for node in &mut set.nodes {
        let mut below = At::Undeclared;
        match (&node.element, atom.map, atom.list) {
            (PathElement::Field(name), Some(map), _) => {
                below = map.field(name).0;
                node.member |= !node.children.is_empty() && map.declares(name);
            }
            (PathElement::Key(_), _, Some(list)) => below = list.items,
            _ => {}
        }
        if !node.children.is_empty() {
            node.children = with_declared_parents(std::mem::take(&mut node.children), below);
        }
    }
    set
}

/// Brings a set to a schema that has changed since: of what is owned as a whole now, nothing below is owned. True if
/// that changed the set.
pub(super) fn reconcile(set: &mut Set<'_>, at: At<'_>) -> bool {
    let mut changed = false;
    let form = at.atom().form();
    for node in set.nodes.iter_mut().filter(|node| !node.children.is_empty()) {
        let below = match (&node.element, form) {
            (PathElement::Field(name), Some(Form::Map(map))) => map.field(name).0,
            (_, Some(Form::Map(map))) => map.each_or_undeclared(),
            (_, Some(Form::List(list))) => list.items,
            _ => continue,
        };
        let whole = match below.atom().form() {
            Some(Form::Map(map)) if map.is_deduced() => continue,
            Some(Form::Map(map)) => map.atomic,
            Some(Form::List(list)) => list.atomic(),
            _ => continue,
        };
        if whole {
            node.member = true;
            node.children = Set::new();
            changed = true;
        } else {
            changed |= reconcile(&mut node.children, below);
        }
    }
    changed
}
