//! Objects of the table's types, and small changes of them, made from a string of bytes: each choice takes one.
//!
//! Bytes that are used up choose nothing, so every string is an object, and a shorter one is a smaller object: what a
//! property test shrinks and what a fuzzer mutates is the same. The fuzz targets use this file too.

use serde_json::{Map, Value, json};
use triune_schema::{
    TypeRef,
    facts::{Facts, Field, Kind, ListType, ShapeIndex},
};

/// How deep generated values nest; schemas of schemas have no end of their own.
const DEPTH_MAX: usize = 12;

const TEXTS: &[&str] = &["a", "b", "c", "", "http", "v1", "app/x~y", "é\u{2028}\"", "0", "2026-11-24T08:00:00Z"];
const NUMBERS: &[i64] = &[1, 0, 80, 443, -1, 2, i32::MAX as i64, i32::MIN as i64];
const QUANTITIES: &[&str] = &["1", "0", "100m", "1000m", "1Gi", "0.5", "1e3", "-2k"];
const TIMES: &[&str] = &["2026-11-24T08:00:00Z", "2026-11-24T09:30:00+01:00", "1969-12-31T23:59:59Z"];
const MICRO_TIMES: &[&str] = &["2026-11-24T08:00:00.000000Z", "2026-11-24T08:00:00.123456Z"];

/// A string of choices.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// All choices of a string.
    pub fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices(bytes)
    }

    /// A number below `count`; 0 when the bytes are used up.
    pub fn below(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % count.max(1)
    }

    /// One of some values, the first when the bytes are used up.
    pub fn one<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len())]
    }
}

/// Any JSON value, without nulls (which patches do not keep) unless they are asked for.
pub fn tree(choices: &mut Choices<'_>, depth: usize, nulls: bool) -> Value {
    match choices.below(if depth < DEPTH_MAX { 8 } else { 5 }) {
        0 if nulls => Value::Null,
        0 | 1 => (*choices.one(TEXTS)).into(),
        2 => (*choices.one(NUMBERS)).into(),
        3 => Value::Bool(choices.below(2) == 1),
        4 => json!(1.5),
        5 => Value::Array((0..choices.below(4)).map(|_| tree(choices, depth + 1, nulls)).collect()),
        _ => Value::Object(tree_object(choices, depth, nulls)),
    }
}

/// Any JSON object.
pub fn tree_object(choices: &mut Choices<'_>, depth: usize, nulls: bool) -> Map<String, Value> {
    (0..choices.below(5)).map(|_| ((*choices.one(TEXTS)).into(), tree(choices, depth + 1, nulls))).collect()
}

/// An object that differs here and there.
pub fn changed_tree(choices: &mut Choices<'_>, value: &Value, nulls: bool) -> Value {
    match (choices.below(4), value) {
        (0, value) => value.clone(),
        (1 | 2, Value::Object(object)) => {
            let mut changed = object.clone();
            changed.retain(|_, _| choices.below(4) != 3);
            for member in changed.values_mut() {
                *member = changed_tree(choices, member, nulls);
            }
            if choices.below(2) == 1 {
                changed.insert((*choices.one(TEXTS)).into(), tree(choices, DEPTH_MAX - 2, nulls));
            }
            Value::Object(changed)
        }
        (1 | 2, Value::Array(items)) => {
            let changed = items.iter().map(|item| changed_tree(choices, item, nulls)).collect();
            Value::Array(rearranged(choices, changed, |choices| tree(choices, DEPTH_MAX - 2, nulls)))
        }
        _ => tree(choices, DEPTH_MAX - 2, nulls),
    }
}

/// A list of which items went, came or moved.
fn rearranged<'a>(
    choices: &mut Choices<'a>,
    mut items: Vec<Value>,
    fresh: impl Fn(&mut Choices<'a>) -> Value,
) -> Vec<Value> {
    if choices.below(3) == 2 && !items.is_empty() {
        items.remove(choices.below(items.len()));
    }
    if choices.below(3) == 2 {
        let item = fresh(choices);
        items.insert(choices.below(items.len() + 1), item);
    }
    if choices.below(3) == 2 && !items.is_empty() {
        let middle = choices.below(items.len());
        items.rotate_left(middle);
    }
    items
}

/// Objects of one table.
pub struct Objects<'f> {
    facts: &'f Facts,
}

impl<'f> Objects<'f> {
    /// Objects of a table.
    pub fn of(facts: &'f Facts) -> Objects<'f> {
        Objects { facts }
    }

    /// An object of a kind, in normal form, without `apiVersion` and `kind`.
    pub fn object(&self, declared: &TypeRef, choices: &mut Choices<'_>) -> Value {
        let mut object = self.structure(declared.index, choices, 0);
        // Most of what there is to merge is in the specification.
        if let Some(field) = self.facts.json_field(self.facts.get(declared.index), "spec") {
            object.insert("spec".into(), self.value(field, field.shape, choices, 1));
        }
        normal(declared, Value::Object(object))
    }

    /// The object with small changes, in normal form.
    pub fn changed(&self, declared: &TypeRef, object: &Value, choices: &mut Choices<'_>) -> Value {
        let Value::Object(object) = object else { return object.clone() };
        normal(declared, Value::Object(self.changed_structure(declared.index, object, choices)))
    }

    fn structure(&self, index: u32, choices: &mut Choices<'_>, depth: usize) -> Map<String, Value> {
        let mut object = Map::new();
        for _ in 0..choices.below(7) {
            if let Some(field) = self.some_field(index, choices) {
                object.insert(field.name.to_string(), self.value(field, field.shape, choices, depth + 1));
            }
        }
        object
    }

    /// A field of a type, rather one that patches merge in their own way.
    fn some_field(&self, index: u32, choices: &mut Choices<'_>) -> Option<&'f Field> {
        let fields: Vec<&Field> = self.facts.json_fields(self.facts.get(index)).collect();
        let merged: Vec<&Field> =
            fields.iter().copied().filter(|field| field.patch().is_some() || field.list().is_some()).collect();
        let fields = if choices.below(2) == 1 && !merged.is_empty() { merged } else { fields };
        let at = choices.below(fields.len());
        fields.get(at).copied()
    }

    fn value(&self, field: &Field, shape: ShapeIndex, choices: &mut Choices<'_>, depth: usize) -> Value {
        match self.facts.shape(shape).kind {
            Kind::String if !field.enumeration().is_empty() && choices.below(4) > 0 => {
                (&**choices.one(field.enumeration())).into()
            }
            Kind::String => (*choices.one(TEXTS)).into(),
            Kind::Bool => Value::Bool(choices.below(2) == 1),
            Kind::Integer(_) => (*choices.one(NUMBERS)).into(),
            Kind::Float => json!(choices.one(&[0.5, 1.0, -2.25])),
            Kind::Bytes => (*choices.one(&["YQ==", "", "AQID"])).into(),
            Kind::Quantity => (*choices.one(QUANTITIES)).into(),
            Kind::IntOrString => choices.one(&[json!(80), json!("http"), json!("50%")]).clone(),
            Kind::Time => (*choices.one(TIMES)).into(),
            Kind::MicroTime => (*choices.one(MICRO_TIMES)).into(),
            Kind::Any | Kind::Raw => Value::Object(tree_object(choices, depth, false)),
            Kind::Pointer(to) => self.value(field, to, choices, depth),
            Kind::Struct(index) if depth < DEPTH_MAX => Value::Object(self.structure(index, choices, depth)),
            Kind::Struct(_) => Value::Object(Map::new()),
            Kind::List(items) if depth < DEPTH_MAX => {
                Value::Array((0..choices.below(5)).map(|_| self.item(field, items, choices, depth)).collect())
            }
            Kind::List(_) => Value::Array(Vec::new()),
            Kind::Map(values) => (0..choices.below(4))
                .map(|_| ((*choices.one(TEXTS)).to_string(), self.value(field, values, choices, depth + 1)))
                .collect(),
            Kind::SchemaOrBool(_) if choices.below(2) == 1 => Value::Bool(choices.below(2) == 1),
            Kind::SchemaOrStrings(_) if choices.below(2) == 1 => json!(["a", "b"]),
            Kind::SchemaOrArray(index) if choices.below(2) == 1 => {
                json!([self.structure(index, choices, depth + 1), self.structure(index, choices, depth + 1)])
            }
            Kind::SchemaOrBool(index) | Kind::SchemaOrStrings(index) | Kind::SchemaOrArray(index) => {
                Value::Object(if depth < DEPTH_MAX { self.structure(index, choices, depth) } else { Map::new() })
            }
        }
    }

    /// An item of a list, mostly with the keys that it is merged by.
    fn item(&self, field: &Field, items: ShapeIndex, choices: &mut Choices<'_>, depth: usize) -> Value {
        let mut item = self.value(field, items, choices, depth + 1);
        let (Value::Object(object), Kind::Struct(index)) = (&mut item, self.facts.pointee(items).0.kind) else {
            return item;
        };
        let of_list: &[_] = if let Some(ListType::Map(keys)) = field.list() { keys } else { &[] };
        let of_patch = field.patch().and_then(|patch| patch.merge_key.as_ref());
        for key in of_list.iter().chain(of_patch) {
            let key_field = self.facts.json_field(self.facts.get(index), key);
            if let Some(key_field) = key_field.filter(|_| choices.below(16) != 15) {
                object.insert(key.to_string(), self.value(key_field, key_field.shape, choices, DEPTH_MAX));
            }
        }
        item
    }

    fn changed_structure(
        &self,
        index: u32,
        object: &Map<String, Value>,
        choices: &mut Choices<'_>,
    ) -> Map<String, Value> {
        let mut changed = Map::new();
        for (key, value) in object {
            let Some(field) = self.facts.json_field(self.facts.get(index), key) else { continue };
            match choices.below(8) {
                7 => {}
                6 => {
                    changed.insert(key.clone(), self.value(field, field.shape, choices, DEPTH_MAX - 2));
                }
                0 => {
                    changed.insert(key.clone(), value.clone());
                }
                _ => {
                    changed.insert(key.clone(), self.changed_value(field, field.shape, value, choices));
                }
            }
        }
        if choices.below(3) == 2
            && let Some(field) = self.some_field(index, choices)
        {
            changed.insert(field.name.to_string(), self.value(field, field.shape, choices, DEPTH_MAX - 3));
        }
        changed
    }

    fn changed_value(&self, field: &Field, shape: ShapeIndex, value: &Value, choices: &mut Choices<'_>) -> Value {
        match (self.facts.pointee(shape).0.kind, value) {
            (Kind::Struct(index), Value::Object(object)) => {
                Value::Object(self.changed_structure(index, object, choices))
            }
            (Kind::Map(values), Value::Object(object)) => {
                let mut changed = object.clone();
                changed.retain(|_, _| choices.below(4) != 3);
                for value in changed.values_mut() {
                    if choices.below(2) == 1 {
                        *value = self.changed_value(field, values, value, choices);
                    }
                }
                if choices.below(3) == 2 {
                    changed.insert((*choices.one(TEXTS)).into(), self.value(field, values, choices, DEPTH_MAX - 2));
                }
                Value::Object(changed)
            }
            (Kind::List(items), Value::Array(values)) => {
                let changed = values.iter().map(|item| match choices.below(2) {
                    1 => self.changed_value(field, items, item, choices),
                    _ => item.clone(),
                });
                let changed = changed.collect();
                Value::Array(rearranged(choices, changed, |choices| self.item(field, items, choices, DEPTH_MAX - 2)))
            }
            (Kind::Raw | Kind::Any, value) => changed_tree(choices, value, false),
            _ if choices.below(3) == 0 => value.clone(),
            _ => self.value(field, shape, choices, DEPTH_MAX - 2),
        }
    }
}

/// The form in which the server keeps objects.
pub fn normal(declared: &TypeRef, mut object: Value) -> Value {
    declared.normalise(&mut object);
    object
}
