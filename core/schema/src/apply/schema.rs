//! How objects of a type are merged: what is owned as a whole, what item by item, and what a value may be.
//!
//! The answers are those of the schema that the reference's field manager makes of OpenAPI documents (kube-openapi
//! `pkg/schemaconv`): maps and structs are granular unless `x-kubernetes-map-type: atomic` says otherwise, lists are
//! atomic unless a list type or a patch strategy does.

use std::{borrow::Cow, cmp::Ordering, sync::Arc};

use serde_json::{Value, json};
use triune_api::names::GroupVersion;

use super::element::{PathElement, Scalar};
use crate::{
    TypeRef,
    facts::{Facts, Field, Kind, ListType, ShapeIndex},
};

/// How objects of a type are merged.
#[derive(Clone)]
pub struct MergeSchema(Source);

#[derive(Clone)]
enum Source {
    /// A type of the table.
    Facts(Arc<Facts>, u32),
    /// No schema: objects are merged field by field, lists are owned as a whole.
    Deduced,
}

impl From<TypeRef> for MergeSchema {
    fn from(declared: TypeRef) -> MergeSchema {
        MergeSchema(Source::Facts(declared.facts, declared.index))
    }
}

impl MergeSchema {
    /// For objects that nothing is known of: merged field by field, lists owned as a whole.
    pub fn deduced() -> MergeSchema {
        MergeSchema(Source::Deduced)
    }

    pub(super) fn root(&self) -> At<'_> {
        match &self.0 {
            Source::Facts(facts, index) => At::Struct { facts, index: *index, relation: None },
            Source::Deduced => At::Deduced,
        }
    }

    /// An object of the type in which nothing is set: with Go's zero values where there are structs.
    pub(super) fn empty_object(&self, api_version: &str, kind: &str) -> Value {
        let mut object = json!({"apiVersion": api_version, "kind": kind});
        if let Some(declared) = self.declared() {
            declared.normalise(&mut object);
        }
        object
    }

    /// The type in the table, if it is one.
    pub(super) fn declared(&self) -> Option<TypeRef> {
        match &self.0 {
            Source::Facts(facts, index) => Some(facts.type_ref(*index)),
            Source::Deduced => None,
        }
    }
}

/// A place in a schema.
#[derive(Clone, Copy)]
pub(super) enum At<'s> {
    /// A struct of the table; `relation` overrides what the type says.
    Struct { facts: &'s Facts, index: u32, relation: Option<Relation> },
    /// What a field of the table holds, or, if not `direct`, what a list or map in it does.
    Shape { facts: &'s Facts, shape: ShapeIndex, field: &'s Field, direct: bool },
    /// Any value: maps merged by key, lists owned as a whole.
    Deduced,
    /// Any value, owned as a whole.
    Untyped,
    /// A field that the type does not have.
    Undeclared,
}

/// Whether a map or list is owned as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Atomic,
    Granular,
}

/// What a scalar may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarType {
    Numeric,
    Text,
    Boolean,
    Any,
}

/// What a value of a type may be.
#[derive(Clone, Copy, Default)]
pub(super) struct Atom<'s> {
    pub(super) map: Option<MapType<'s>>,
    pub(super) scalar: Option<ScalarType>,
    pub(super) list: Option<ListOf<'s>>,
}

/// A map or struct.
#[derive(Clone, Copy)]
pub(super) struct MapType<'s> {
    pub(super) atomic: bool,
    fields: Fields<'s>,
}

#[derive(Clone, Copy)]
enum Fields<'s> {
    Struct(&'s Facts, u32),
    /// All keys hold the same.
    Each(At<'s>),
}

/// The fields of a map, for keys that come sorted.
pub(super) enum FieldCursor<'s> {
    Each(At<'s>),
    Struct { facts: &'s Facts, fields: &'s [u32] },
}

impl<'s> FieldCursor<'s> {
    /// What a key holds, and whether it is a declared field. Keys must not come before the last one.
    pub(super) fn seek(&mut self, key: &str) -> (At<'s>, bool) {
        match self {
            FieldCursor::Each(at) => (*at, false),
            FieldCursor::Struct { facts, fields } => {
                while let Some((first, rest)) = fields.split_first() {
                    let field = facts.field_at(*first);
                    match (*field.name).cmp(key) {
                        Ordering::Less => *fields = rest,
                        Ordering::Equal => return (At::of_field(facts, field), true),
                        Ordering::Greater => break,
                    }
                }
                (At::Undeclared, false)
            }
        }
    }
}

/// A list.
#[derive(Clone, Copy)]
pub(super) struct ListOf<'s> {
    pub(super) items: At<'s>,
    pub(super) merged: ListMerge<'s>,
}

/// How a list is merged.
#[derive(Clone, Copy)]
pub(super) enum ListMerge<'s> {
    /// As a whole.
    Atomic,
    /// Items are unique scalars.
    Set,
    /// Items are objects, unique by these fields.
    Keys(&'s [Arc<str>]),
}

impl ListOf<'_> {
    pub(super) fn atomic(&self) -> bool {
        matches!(self.merged, ListMerge::Atomic)
    }
}

impl<'s> MapType<'s> {
    /// What a key holds, and whether it is a declared field.
    pub(super) fn field(&self, name: &str) -> (At<'s>, bool) {
        match self.fields {
            Fields::Each(at) => (at, false),
            Fields::Struct(facts, index) => match facts.json_field(facts.get(index), name) {
                Some(field) => (At::of_field(facts, field), true),
                None => (At::Undeclared, false),
            },
        }
    }

    /// For keys that come sorted.
    pub(super) fn fields(&self) -> FieldCursor<'s> {
        match self.fields {
            Fields::Each(at) => FieldCursor::Each(at),
            Fields::Struct(facts, index) => {
                FieldCursor::Struct { facts, fields: facts.sorted_fields(facts.get(index)) }
            }
        }
    }

    /// Whether a key is a declared field.
    pub(super) fn declares(&self, name: &str) -> bool {
        match self.fields {
            Fields::Each(_) => false,
            Fields::Struct(facts, index) => facts.json_field(facts.get(index), name).is_some(),
        }
    }

    /// The default of a declared field.
    pub(super) fn default_of(&self, name: &str) -> Option<Cow<'s, Value>> {
        match self.fields {
            Fields::Each(_) => None,
            Fields::Struct(facts, index) => facts.stated_default(facts.json_field(facts.get(index), name)?),
        }
    }

    /// What a step that is no name leads to.
    pub(super) fn each_or_undeclared(&self) -> At<'s> {
        match self.fields {
            Fields::Each(at) => at,
            Fields::Struct(..) => At::Undeclared,
        }
    }

    /// A map of anything without declared fields, whose sets are left as they are when schemas change.
    pub(super) fn is_deduced(&self) -> bool {
        matches!(self.fields, Fields::Each(At::Deduced))
    }

    fn each(at: At<'s>, atomic: bool) -> MapType<'s> {
        MapType { atomic, fields: Fields::Each(at) }
    }
}

fn relation(declared: Option<&str>) -> Option<Relation> {
    match declared? {
        "atomic" => Some(Relation::Atomic),
        _ => Some(Relation::Granular),
    }
}

impl<'s> At<'s> {
    fn of_field(facts: &'s Facts, field: &'s Field) -> At<'s> {
        At::Shape { facts, shape: field.shape, field, direct: true }
    }

    /// What a value here may be.
    pub(super) fn atom(self) -> Atom<'s> {
        match self {
            At::Struct { facts, index, relation: over } => {
                let atomic = match over {
                    Some(over) => over == Relation::Atomic,
                    None => relation(facts.get(index).map_type.as_deref()) == Some(Relation::Atomic),
                };
                // OpenAPI says of a struct without fields that it is an object, and no more.
                let fields = match facts.json_fields(facts.get(index)).len() {
                    0 => Fields::Each(At::Deduced),
                    _ => Fields::Struct(facts, index),
                };
                Atom { map: Some(MapType { atomic, fields }), ..Atom::default() }
            }
            At::Shape { facts, shape, field, direct } => shape_atom(facts, shape, field, direct),
            At::Deduced | At::Untyped => Atom {
                map: Some(match self {
                    At::Untyped => MapType::each(At::Untyped, true),
                    _ => MapType::each(At::Deduced, false),
                }),
                scalar: Some(ScalarType::Any),
                list: Some(ListOf { items: At::Untyped, merged: ListMerge::Atomic }),
            },
            At::Undeclared => Atom::default(),
        }
    }

    /// Whether the type has no such field.
    pub(super) fn is_undeclared(self) -> bool {
        matches!(self, At::Undeclared)
    }
}

fn shape_atom<'s>(facts: &'s Facts, shape: ShapeIndex, field: &'s Field, direct: bool) -> Atom<'s> {
    let (pointee, _) = facts.pointee(shape);
    let scalar = |scalar| Atom { scalar: Some(scalar), ..Atom::default() };
    let inner = |shape| At::Shape { facts, shape, field, direct: false };
    let declared = direct.then(|| relation(field.map_type())).flatten();
    match pointee.kind {
        Kind::String if field.format().is_some() => scalar(ScalarType::Any),
        Kind::String | Kind::Bytes => scalar(ScalarType::Text),
        Kind::Bool => scalar(ScalarType::Boolean),
        Kind::Integer(_) | Kind::Float => scalar(ScalarType::Numeric),
        Kind::Quantity | Kind::Time | Kind::MicroTime => scalar(ScalarType::Any),
        Kind::IntOrString | Kind::SchemaOrArray(_) | Kind::SchemaOrBool(_) | Kind::SchemaOrStrings(_) => {
            At::Deduced.atom()
        }
        Kind::Any => Atom { map: Some(MapType::each(At::Deduced, false)), ..Atom::default() },
        Kind::Raw => match &*pointee.go_type {
            "v1.JSON" => At::Deduced.atom(),
            "v1.FieldsV1" => Atom { map: Some(MapType::each(At::Deduced, false)), ..Atom::default() },
            _ => At::Untyped.atom(),
        },
        Kind::Struct(index) => At::Struct { facts, index, relation: declared }.atom(),
        Kind::Map(values) => {
            Atom { map: Some(MapType::each(inner(values), declared == Some(Relation::Atomic))), ..Atom::default() }
        }
        Kind::List(items) => Atom {
            list: Some(ListOf {
                items: inner(items),
                merged: if direct { list_merge(field) } else { ListMerge::Atomic },
            }),
            ..Atom::default()
        },
        // `pointee` saw through it.
        Kind::Pointer(_) => Atom::default(),
    }
}

fn list_merge(field: &Field) -> ListMerge<'_> {
    match (field.list(), field.patch()) {
        (Some(ListType::Atomic), _) | (None, None) => ListMerge::Atomic,
        (Some(ListType::Set), _) => ListMerge::Set,
        (Some(ListType::Map(keys)), _) => ListMerge::Keys(keys),
        (None, Some(patch)) if patch.merge => match &patch.merge_key {
            Some(key) => ListMerge::Keys(std::slice::from_ref(key)),
            None => ListMerge::Set,
        },
        (None, Some(_)) => ListMerge::Atomic,
    }
}

/// Group and version of an `apiVersion`, as Go prints a kind: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`.
pub(super) fn print_kind(api_version: &str, kind: &str) -> String {
    match GroupVersion::parse(api_version) {
        Some(gv) => format!("{}/{}, Kind={kind}", gv.group, gv.version),
        None => format!("{api_version}, Kind={kind}"),
    }
}

impl<'s> Atom<'s> {
    /// What a value is, of what it may be: nothing is ruled out for null, absent values and those of a wrong type.
    pub(super) fn deduce(self, value: Option<&Value>) -> Atom<'s> {
        match value {
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if self.scalar.is_some() => {
                Atom { map: None, list: None, ..self }
            }
            Some(Value::Array(_)) if self.list.is_some() => Atom { map: None, scalar: None, ..self },
            Some(Value::Object(_)) if self.map.is_some() => Atom { scalar: None, list: None, ..self },
            _ => self,
        }
    }

    /// What a value is merged as.
    pub(super) fn form(self) -> Option<Form<'s>> {
        match self {
            Atom { map: Some(map), .. } => Some(Form::Map(map)),
            Atom { scalar: Some(scalar), .. } => Some(Form::Scalar(scalar)),
            Atom { list: Some(list), .. } => Some(Form::List(list)),
            _ => None,
        }
    }

    /// Whether two deductions from one atom came to the same.
    pub(super) fn like(self, other: Atom<'_>) -> bool {
        (self.map.is_some(), self.scalar.is_some(), self.list.is_some())
            == (other.map.is_some(), other.scalar.is_some(), other.list.is_some())
    }
}

/// One of the things that an [`Atom`] may be.
#[derive(Clone, Copy)]
pub(super) enum Form<'s> {
    Map(MapType<'s>),
    Scalar(ScalarType),
    List(ListOf<'s>),
}

impl<'s> ListOf<'s> {
    /// The step of a path that leads to an item of a list that is not atomic.
    ///
    /// # Errors
    /// Items that cannot be told from others, in the reference's words.
    pub(super) fn element<'a>(&self, item: &'a Value) -> Result<PathElement<'a>, String>
    where
        's: 'a,
    {
        match self.merged {
            ListMerge::Atomic => Err("invalid indexing of non-associative list".into()),
            ListMerge::Keys(keys) => self.keyed(keys, item),
            ListMerge::Set => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
                scalar => Ok(PathElement::Value(Scalar::of(scalar))),
            },
        }
    }

    /// Whether all items have a key of their own, so that there is nothing to say of a list that did not change.
    pub(super) fn has_keys(&self, items: &[Value]) -> bool {
        match self.merged {
            ListMerge::Keys(keys) => items.iter().all(|item| keys.iter().any(|key| item.get(&**key).is_some())),
            _ => true,
        }
    }

    fn keyed<'a>(&self, keys: &'a [Arc<str>], item: &'a Value) -> Result<PathElement<'a>, String>
    where
        's: 'a,
    {
        let object = match item {
            Value::Object(object) => object,
            Value::Null => return Err("associative list with keys may not have a null element".into()),
            _ => return Err("associative list with keys may not have non-map elements".into()),
        };
        let mut found: Vec<(Cow<'a, str>, Scalar<'a>)> = Vec::with_capacity(keys.len());
        for key in keys {
            let value = match object.get(&**key) {
                Some(value) => Scalar::of(value),
                None => match self.default_of(key)? {
                    Some(Cow::Borrowed(value)) => Scalar::of(value),
                    Some(Cow::Owned(value)) => Scalar::owned(value),
                    None => continue,
                },
            };
            found.push((Cow::Borrowed(key), value));
        }
        if found.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        found.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(PathElement::Key(found.into_boxed_slice()))
    }

    fn default_of(&self, key: &str) -> Result<Option<Cow<'s, Value>>, String> {
        match self.items.atom().map {
            Some(map) => Ok(map.default_of(key)),
            None => Err(format!("couldn't find default value for {key}: associative list may not have non-map types")),
        }
    }
}
