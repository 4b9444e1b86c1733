//! Whether an object is of a type, in the words of structured-merge-diff's `typed` package, and which fields it sets.

use std::fmt;

use serde_json::{Map, Value};

use super::{
    element::PathElement,
    schema::{At, Form, ListOf, MapType, ScalarType},
    set::Set,
};
use crate::strategic::GoPrint;

/// What is wrong with an object, place by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TypedErrors(Vec<(String, String)>);

impl TypedErrors {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, message: impl Into<String>) {
        self.0.push((String::new(), message.into()));
    }

    /// How many there are: a mark for [`TypedErrors::below`].
    pub(super) fn mark(&self) -> usize {
        self.0.len()
    }

    /// Says that those after the mark are below a step.
    pub(super) fn below(&mut self, mark: usize, element: impl FnOnce() -> String) {
        if self.0.len() > mark {
            let element = element();
            self.0[mark..].iter_mut().for_each(|(path, _)| path.insert_str(0, &element));
        }
    }
}

/// One as `.spec.a: message`, several below `errors:`.
impl fmt::Display for TypedErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = |formatter: &mut fmt::Formatter<'_>, (path, message): &(String, String)| match path.as_str() {
            "" => formatter.write_str(message),
            path => write!(formatter, "{path}: {message}"),
        };
        if let [one] = self.0.as_slice() {
            return print(formatter, one);
        }
        formatter.write_str("errors:")?;
        for error in &self.0 {
            formatter.write_str("\n  ")?;
            print(formatter, error)?;
        }
        Ok(())
    }
}

/// Checks an object against a type.
pub(super) fn validate(at: At<'_>, value: &Value, allow_duplicates: bool) -> Result<(), TypedErrors> {
    let mut errors = TypedErrors::default();
    Validation { allow_duplicates, errors: &mut errors }.visit(at, value);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

struct Validation<'e> {
    allow_duplicates: bool,
    errors: &'e mut TypedErrors,
}

impl Validation<'_> {
    fn visit(&mut self, at: At<'_>, value: &Value) {
        match at.atom().deduce(Some(value)).form() {
            Some(Form::Map(map)) => match value {
                Value::Object(object) => self.map(map, object),
                Value::Null => {}
                other => self.errors.add(format!("expected map, got {}", Held(other))),
            },
            Some(Form::Scalar(scalar)) => self.errors.0.extend(check_scalar(scalar, value, "").map(unplaced)),
            Some(Form::List(list)) => match value {
                Value::Array(items) => self.list(list, items),
                Value::Null => {}
                other => self.errors.add(format!("expected list, got {}", Held(other))),
            },
            None => self.errors.add("schema error: invalid atom: inlined"),
        }
    }

    fn map(&mut self, map: MapType<'_>, object: &Map<String, Value>) {
        let mut fields = map.fields();
        for (key, value) in object {
            let mark = self.errors.mark();
            let (at, _) = fields.seek(key);
            if at.is_undeclared() {
                self.errors.add("field not declared in schema");
            } else {
                self.visit(at, value);
            }
            self.errors.below(mark, || format!(".{key}"));
            if at.is_undeclared() {
                return;
            }
        }
    }

    fn list(&mut self, list: ListOf<'_>, items: &[Value]) {
        let mut seen = Set::new();
        for (at, item) in items.iter().enumerate() {
            let element = if list.atomic() {
                PathElement::Index(i64::try_from(at).unwrap_or(i64::MAX))
            } else {
                match list.element(item) {
                    Ok(element) => element,
                    Err(message) => return self.errors.add(format!("element {at}: {message}")),
                }
            };
            let mark = self.errors.mark();
            self.visit(list.items, item);
            self.errors.below(mark, || element.to_string());
            if !list.atomic() && !self.allow_duplicates {
                if seen.get(&element).is_some() {
                    let duplicate = (String::new(), format!("duplicate entries for key {element}"));
                    self.errors.0.insert(mark, duplicate);
                }
                seen.push(element, true, Set::new());
            }
        }
    }
}

fn unplaced(message: String) -> (String, String) {
    (String::new(), message)
}

/// What is wrong with a scalar; null is none.
pub(super) fn check_scalar(scalar: ScalarType, value: &Value, side: &str) -> Option<String> {
    let message = match (scalar, value) {
        (_, Value::Null)
        | (ScalarType::Numeric, Value::Number(_))
        | (ScalarType::Text, Value::String(_))
        | (ScalarType::Boolean, Value::Bool(_))
        | (ScalarType::Any, Value::Number(_) | Value::String(_) | Value::Bool(_)) => return None,
        (ScalarType::Numeric, other) => format!("expected numeric (int or float), got {}", go_type(other)),
        (ScalarType::Text, other) => {
            format!("expected string, got &value.valueUnstructured{{Value:{}}}", GoSyntax(other))
        }
        (ScalarType::Boolean, other) => format!("expected boolean, got {}", Held(other)),
        (ScalarType::Any, other) => format!("expected any scalar, got {}", Held(other)),
    };
    Some(format!("{side}{message}"))
}

/// Go's name for the type of a decoded value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` prints the pointer to the struct that holds it.
struct Held<'a>(&'a Value);

impl fmt::Display for Held<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "&{{{}}}", GoPrint(self.0))
    }
}

/// A value as Go's `%#v` prints it.
struct GoSyntax<'a>(&'a Value);

impl fmt::Display for GoSyntax<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => formatter.write_str("interface {}(nil)"),
            Value::String(text) => write!(formatter, "{text:?}"),
            Value::Array(items) => {
                formatter.write_str("[]interface {}{")?;
                for (at, item) in items.iter().enumerate() {
                    write!(formatter, "{}{}", if at == 0 { "" } else { ", " }, GoSyntax(item))?;
                }
                formatter.write_str("}")
            }
            Value::Object(object) => {
                formatter.write_str("map[string]interface {}{")?;
                for (at, (key, value)) in object.iter().enumerate() {
                    write!(formatter, "{}{key:?}:{}", if at == 0 { "" } else { ", " }, GoSyntax(value))?;
                }
                formatter.write_str("}")
            }
            other => write!(formatter, "{other}"),
        }
    }
}

/// The fields that a valid object sets: its leaves, the keys of maps, the items of lists.
pub(super) fn field_set<'a>(at: At<'a>, value: &'a Value) -> Set<'a> {
    let mut set = Set::new();
    collect(at, value, &mut set);
    set
}

/// Adds what is below a value; true if the value itself is a field that is set.
fn collect<'a>(at: At<'a>, value: &'a Value, set: &mut Set<'a>) -> bool {
    match (at.atom().deduce(Some(value)).form(), value) {
        (Some(Form::Scalar(_)), _) => true,
        (Some(Form::Map(map)), _) if map.atomic => true,
        (Some(Form::List(list)), _) if list.atomic() => true,
        (Some(Form::Map(map)), Value::Object(object)) => {
            let mut fields = map.fields();
            for (key, value) in object {
                let (at, declared) = fields.seek(key);
                let mut children = Set::new();
                let own = collect(at, value, &mut children);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                set.push(PathElement::Field(key.as_str().into()), own || empty || !declared, children);
            }
            false
        }
        (Some(Form::List(list)), Value::Array(items)) => {
            collect_items(list, items, set);
            false
        }
        _ => false,
    }
}

fn collect_items<'a>(list: ListOf<'a>, items: &'a [Value], set: &mut Set<'a>) {
    let mut found: Vec<(PathElement<'a>, &'a Value)> =
        items.iter().filter_map(|item| Some((list.element(item).ok()?, item))).collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    let mut found = found.into_iter().peekable();
    while let Some((element, item)) = found.next() {
        let mut children = Set::new();
        // Of items that there are several of, nothing but their step is known.
        let mut several = false;
        while found.next_if(|next| next.0 == element).is_some() {
            several = true;
        }
        if !several {
            collect(list.items, item, &mut children);
        }
        set.push(element, true, children);
    }
}
