//! What differs between two objects of a type: which fields one of them adds, changes or removes.

use std::iter::Peekable;

use serde_json::{Map, Value};

use super::{
    ResetFields,
    element::{PathElement, same},
    schema::{At, Form, ListOf, MapType},
    set::Set,
    validate::{TypedErrors, check_scalar},
};

/// What the second of two objects does to the first. No path is in more than one of the sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes<'a> {
    pub(super) removed: Set<'a>,
    pub(super) modified: Set<'a>,
    pub(super) added: Set<'a>,
}

impl<'a> Changes<'a> {
    /// Those of fields that requests do set.
    pub(super) fn without(self, reset: Option<&ResetFields>) -> Changes<'a> {
        let Some(reset) = reset else { return self };
        Changes {
            removed: reset.leave(self.removed),
            modified: reset.leave(self.modified),
            added: reset.leave(self.added),
        }
    }

    fn push(&mut self, element: PathElement<'a>, own: Own, below: Changes<'a>) {
        let Changes { removed, modified, added } = below;
        let mut element = Some(element);
        let parts = [
            (&mut self.removed, own.removed, removed),
            (&mut self.modified, own.modified, modified),
            (&mut self.added, own.added, added),
        ];
        let mut left = parts.iter().filter(|(_, own, below)| *own || !below.is_empty()).count();
        for (set, own, below) in parts.into_iter().filter(|(_, own, below)| *own || !below.is_empty()) {
            left -= 1;
            // The last one may have it.
            let step = if left == 0 { element.take() } else { element.clone() };
            if let Some(step) = step {
                set.push(step, own, below);
            }
        }
    }
}

/// What happened to a place itself.
#[derive(Default, Clone, Copy)]
struct Own {
    removed: bool,
    modified: bool,
    added: bool,
}

/// Compares two objects.
///
/// # Errors
/// Lists whose items cannot be told apart, scalars that are wrong on both sides.
pub(super) fn compare<'a>(at: At<'a>, left: &'a Value, right: &'a Value) -> Result<Changes<'a>, TypedErrors> {
    let mut walk = Walk { errors: TypedErrors::default() };
    let mut changes = Changes::default();
    walk.visit(at, Some(left), Some(right), &mut changes);
    if walk.errors.is_empty() { Ok(changes) } else { Err(walk.errors) }
}

struct Walk {
    errors: TypedErrors,
}

impl Walk {
    fn visit<'a>(
        &mut self,
        at: At<'a>,
        left: Option<&'a Value>,
        right: Option<&'a Value>,
        changes: &mut Changes<'a>,
    ) -> Own {
        let atom = at.atom();
        let (of_left, of_right) = (atom.deduce(left), atom.deduce(right));
        let mut own = Own::default();
        let is_leaf = match (left, right) {
            (_, None) => self.form(of_left.form(), left, right, changes, &mut own),
            (Some(_), _) if !of_left.like(of_right) => {
                self.form(of_left.form(), left, right, changes, &mut own);
                self.form(of_right.form(), left, right, changes, &mut own)
            }
            _ => self.form(of_right.form(), left, right, changes, &mut own),
        };
        if !is_leaf {
            own.added |= left.is_none();
            own.removed |= left.is_some() && right.is_none();
        }
        own
    }

    /// Compares as one form; true if the whole is a leaf.
    fn form<'a>(
        &mut self,
        form: Option<Form<'a>>,
        left: Option<&'a Value>,
        right: Option<&'a Value>,
        changes: &mut Changes<'a>,
        own: &mut Own,
    ) -> bool {
        match form {
            Some(Form::Map(map)) => {
                let (lefts, rights) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
                let empty = |object: Option<&Map<String, Value>>| object.is_none_or(Map::is_empty);
                if map.atomic || empty(lefts) && empty(rights) {
                    return leaf(left, right, own);
                }
                self.maps(map, lefts, rights, changes);
                false
            }
            Some(Form::List(list)) => {
                let items = |value: Option<&'a Value>| value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let (lefts, rights) = (items(left), items(right));
                if list.atomic() || lefts.is_empty() && rights.is_empty() {
                    return leaf(left, right, own);
                }
                if lefts != rights || !list.has_keys(rights) {
                    self.lists(list, lefts, rights, changes);
                }
                false
            }
            Some(Form::Scalar(scalar)) => {
                let wrong = |value: Option<&Value>, side| value.and_then(|value| check_scalar(scalar, value, side));
                if let (Some(left), Some(right)) = (wrong(left, "lhs: "), wrong(right, "rhs: ")) {
                    self.errors.add(left);
                    self.errors.add(right);
                    return false;
                }
                leaf(left, right, own)
            }
            None => {
                self.errors.add("schema error: invalid atom: inlined");
                false
            }
        }
    }

    fn maps<'a>(
        &mut self,
        map: MapType<'a>,
        left: Option<&'a Map<String, Value>>,
        right: Option<&'a Map<String, Value>>,
        changes: &mut Changes<'a>,
    ) {
        let mut lefts = left.into_iter().flatten().peekable();
        let mut rights = right.into_iter().flatten().peekable();
        let mut fields = map.fields();
        while let Some((key, left, right)) = next_pair(&mut lefts, &mut rights) {
            // Equal scalars need no type.
            match (left, right) {
                (Some(Value::String(left)), Some(Value::String(right))) if left == right => continue,
                (Some(Value::Bool(left)), Some(Value::Bool(right))) if left == right => continue,
                (Some(Value::Number(left)), Some(Value::Number(right))) if left == right => continue,
                (Some(Value::Null), Some(Value::Null)) => continue,
                _ => {}
            }
            let mark = self.errors.mark();
            let mut below = Changes::default();
            let own = self.visit(fields.seek(key).0, left, right, &mut below);
            self.errors.below(mark, || format!(".{key}"));
            changes.push(PathElement::Field(key.as_str().into()), own, below);
        }
    }

    fn lists<'a>(&mut self, list: ListOf<'a>, left: &'a [Value], right: &'a [Value], changes: &mut Changes<'a>) {
        let mut lefts = self.index(list, left).into_iter().peekable();
        let mut rights = self.index(list, right).into_iter().peekable();
        loop {
            let element = match (lefts.peek(), rights.peek()) {
                (Some(left), Some(right)) => (&left.0).min(&right.0).clone(),
                (Some(one), None) | (None, Some(one)) => one.0.clone(),
                (None, None) => return,
            };
            let all = |items: &mut Peekable<std::vec::IntoIter<(PathElement<'a>, &'a Value)>>| {
                std::iter::from_fn(|| items.next_if(|next| next.0 == element).map(|next| next.1)).collect::<Vec<_>>()
            };
            let (left, right) = (all(&mut lefts), all(&mut rights));
            let mark = self.errors.mark();
            let mut below = Changes::default();
            let mut own = Own::default();
            match (left.as_slice(), right.as_slice()) {
                ([] | [_], [] | [_]) => {
                    own = self.visit(list.items, left.first().copied(), right.first().copied(), &mut below);
                }
                ([_, _, ..], [_, _, ..]) => {
                    let equal =
                        left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| same(left, right));
                    own.modified = !equal;
                }
                ([_, _, ..], _) => {
                    if let Some(right) = right.first() {
                        own = self.visit(list.items, None, Some(right), &mut below);
                    }
                    own.removed = true;
                }
                (_, _) => {
                    if let Some(left) = left.first() {
                        own = self.visit(list.items, Some(left), None, &mut below);
                    }
                    own.added = true;
                }
            }
            self.errors.below(mark, || element.to_string());
            changes.push(element, own, below);
        }
    }

    /// Items with their steps, in the order of the steps.
    fn index<'a>(&mut self, list: ListOf<'a>, items: &'a [Value]) -> Vec<(PathElement<'a>, &'a Value)> {
        let mut indexed = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            match list.element(item) {
                Ok(element) => indexed.push((element, item)),
                Err(message) => self.errors.add(format!("element {at}: {message}")),
            }
        }
        indexed.sort_by(|left, right| left.0.cmp(&right.0));
        indexed
    }
}

fn leaf(left: Option<&Value>, right: Option<&Value>, own: &mut Own) -> bool {
    match (left, right) {
        (None, _) => own.added = true,
        (_, None) => own.removed = true,
        (Some(left), Some(right)) => own.modified |= !same(left, right),
    }
    true
}

/// The next key of two sorted maps with its values.
pub(super) fn next_pair<'a>(
    left: &mut Peekable<impl Iterator<Item = (&'a String, &'a Value)>>,
    right: &mut Peekable<impl Iterator<Item = (&'a String, &'a Value)>>,
) -> Option<(&'a String, Option<&'a Value>, Option<&'a Value>)> {
    let order = match (left.peek(), right.peek()) {
        (Some(left), Some(right)) => left.0.cmp(right.0),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => return None,
    };
    if order.is_lt() {
        left.next().map(|(key, value)| (key, Some(value), None))
    } else if order.is_gt() {
        right.next().map(|(key, value)| (key, None, Some(value)))
    } else {
        let left = left.next().map(|(_, value)| value);
        right.next().map(|(key, value)| (key, left, Some(value)))
    }
}
