//! The table of types: what a type's fields are called, what they hold, and how they are written, merged and defaulted.
//!
//! The table is read once, from text that `tools/facts/generate` writes (see [`mod@parse`] for its format), and never
//! changes. It holds types of every version that the reference's packages define, whether served or not: what is served
//! is decided elsewhere.
//!
//! Invariants: every index in the table points into it; the fields of a type as JSON shows them (inlined structs
//! flattened) are sorted by name, as the maps of [`Value`] are, so that one pass over both finds each field's value.

mod parse;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::Value;
use triune_api::names::{GroupVersion, GroupVersionKind};

use crate::TypeRef;

pub use parse::FactsError;

/// A table of types.
pub struct Facts {
    packages: Vec<Package>,
    types: Vec<Type>,
    shapes: Vec<Shape>,
    fields: Vec<Field>,
    flat: Vec<u32>,
    /// Beside `fields`: those of each type by their number in protobuf.
    by_number: Vec<u32>,
    kinds: BTreeMap<GroupVersionKind, u32>,
    common_kinds: BTreeMap<Arc<str>, u32>,
}

/// A package of Go types: mostly one version of one API group.
#[derive(Debug)]
pub struct Package {
    /// Short name, such as `core/v1`.
    pub name: Arc<str>,
    /// What the names of its OpenAPI models begin with, such as `io.k8s.api.core.v1`.
    pub model_prefix: Arc<str>,
    /// The group version whose kinds it defines; None for types that every group version has.
    pub group_version: Option<GroupVersion>,
}

/// A struct type.
#[derive(Debug)]
pub struct Type {
    /// Go's name, such as `PodSpec`.
    pub name: Arc<str>,
    /// Index of its package.
    pub package: u16,
    /// Whether it is a kind, such as `Pod`, `PodList`, `DeleteOptions`.
    pub is_kind: bool,
    /// `atomic` (an applier owns it as a whole) or `granular`, where it is declared.
    pub map_type: Option<Arc<str>>,
    /// Fields of which one may be set.
    pub unions: Box<[Union]>,
    fields: (u32, u32),
    flat: (u32, u32),
}

/// Fields of which at most one is set.
#[derive(Debug)]
pub struct Union {
    /// Field that names the one set; "" if there is none.
    pub discriminator: Arc<str>,
    /// Fields, with the discriminator's value for each.
    pub members: Box<[(Arc<str>, Arc<str>)]>,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON; of an inlined struct, Go's name.
    pub name: Arc<str>,
    /// What it holds: an index for [`Facts::shape`].
    pub shape: ShapeIndex,
    /// Number in protobuf; 0 if it has none.
    pub tag: u16,
    /// Left out when empty.
    pub omit_empty: bool,
    /// Left out when zero, which for structs with a zero (times) differs from empty.
    pub omit_zero: bool,
    /// An applier must give it.
    pub required: bool,
    /// A struct whose fields JSON shows as its parent's.
    pub inline: bool,
    /// In protobuf, its list is wrapped in a message.
    pub wrapped: bool,
    extra: Option<Box<Extra>>,
}

/// Rarer facts of a field.
#[derive(Debug, Default)]
pub struct Extra {
    /// How appliers merge the list.
    pub list: Option<ListType>,
    /// `atomic` or `granular`, where it is declared at the field.
    pub map_type: Option<Arc<str>>,
    /// How strategic merge patches merge it.
    pub patch: Option<PatchStrategy>,
    /// Values allowed, for the items if it is a list or map.
    pub enumeration: Box<[Arc<str>]>,
    /// OpenAPI's `format` where the shape does not imply it.
    pub format: Option<Arc<str>>,
    /// Declared default; zero values that decoding leaves anyway are not declared.
    pub default: Option<Value>,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// Owned as a whole.
    Atomic,
    /// Items are unique scalars.
    Set,
    /// Items are objects, unique by these fields.
    Map(Box<[Arc<str>]>),
}

/// `patchStrategy` and `patchMergeKey` of a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists and maps are merged rather than replaced.
    pub merge: bool,
    /// A patch's map takes the place of the whole.
    pub replace: bool,
    /// A patch says which of the fields to keep.
    pub retain_keys: bool,
    /// What identifies a list's items; None for lists of scalars.
    pub merge_key: Option<Arc<str>>,
}

/// An index for [`Facts::shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShapeIndex(u32);

/// What a field, item or map value holds.
#[derive(Debug)]
pub struct Shape {
    /// Its kind.
    pub kind: Kind,
    /// Go's type as `reflect` prints it, such as `v1.PullPolicy` or `[]v1.Container`.
    pub go_type: Arc<str>,
}

/// Kinds of values. The special ones have a JSON form of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    String,
    /// true or false.
    Bool,
    /// A signed number of at most so many bits.
    Integer(u8),
    /// A number.
    Float,
    /// Bytes, in base64.
    Bytes,
    /// Any value.
    Any,
    /// A decimal with a suffix.
    Quantity,
    /// A 32-bit number or text.
    IntOrString,
    /// A time in seconds.
    Time,
    /// A time in microseconds.
    MicroTime,
    /// A JSON value of any type, passed on as it is: `RawExtension`, `JSON`, `FieldsV1`.
    Raw,
    /// A schema or a list of schemas (apiextensions).
    SchemaOrArray(u32),
    /// A schema or a bool (apiextensions).
    SchemaOrBool(u32),
    /// A schema or a list of names (apiextensions).
    SchemaOrStrings(u32),
    /// A struct: index of its type.
    Struct(u32),
    /// An optional value.
    Pointer(ShapeIndex),
    /// A list.
    List(ShapeIndex),
    /// A map from text.
    Map(ShapeIndex),
}

impl Facts {
    /// Reads a table.
    ///
    /// # Errors
    /// Malformed lines, references to types that the text does not define.
    pub fn parse(text: &str) -> Result<Arc<Facts>, FactsError> {
        parse::parse(text).map(Arc::new)
    }

    /// The type of a kind, also of `PodList`, `Scale`, `DeleteOptions` and the like.
    pub fn type_of(self: &Arc<Facts>, gvk: &GroupVersionKind) -> Option<TypeRef> {
        Some(self.type_ref(self.index_of(gvk)?))
    }

    /// Index of a kind's type.
    pub fn index_of(&self, gvk: &GroupVersionKind) -> Option<u32> {
        self.kinds.get(gvk).or_else(|| self.common_kinds.get(&gvk.kind)).copied()
    }

    /// Group versions that have kinds, in the order of the table.
    pub fn group_versions(&self) -> impl Iterator<Item = &GroupVersion> {
        self.packages.iter().filter_map(|package| package.group_version.as_ref())
    }

    /// The type of an index.
    pub fn type_ref(self: &Arc<Facts>, index: u32) -> TypeRef {
        TypeRef { facts: self.clone(), index }
    }

    /// Kinds that belong to one group version, sorted.
    pub fn kinds(&self) -> impl Iterator<Item = &GroupVersionKind> {
        self.kinds.keys()
    }

    /// How many types there are.
    pub fn type_count(&self) -> usize {
        self.types.len()
    }

    /// A type, by its index.
    pub fn get(&self, index: u32) -> &Type {
        &self.types[index as usize]
    }

    /// A type's package.
    pub fn package_of(&self, declared: &Type) -> &Package {
        &self.packages[usize::from(declared.package)]
    }

    /// What a field holds.
    pub fn shape(&self, index: ShapeIndex) -> &Shape {
        &self.shapes[index.0 as usize]
    }

    /// A type's fields in Go's order, inlined structs as one field.
    pub fn declared_fields(&self, declared: &Type) -> &[Field] {
        &self.fields[declared.fields.0 as usize..declared.fields.1 as usize]
    }

    /// A type's fields as JSON shows them, sorted by name.
    pub fn json_fields<'a>(&'a self, declared: &Type) -> impl ExactSizeIterator<Item = &'a Field> + use<'a> {
        self.flat[declared.flat.0 as usize..declared.flat.1 as usize].iter().map(|at| &self.fields[*at as usize])
    }

    /// Positions of a type's fields as JSON shows them, sorted by name: for [`Facts::field_at`].
    pub(crate) fn sorted_fields(&self, declared: &Type) -> &[u32] {
        &self.flat[declared.flat.0 as usize..declared.flat.1 as usize]
    }

    /// The field at a position.
    pub(crate) fn field_at(&self, at: u32) -> &Field {
        &self.fields[at as usize]
    }

    /// One of a type's fields as JSON shows them.
    pub fn json_field(&self, declared: &Type, name: &str) -> Option<&Field> {
        let flat = &self.flat[declared.flat.0 as usize..declared.flat.1 as usize];
        let at = flat.binary_search_by(|at| (*self.fields[*at as usize].name).cmp(name)).ok()?;
        Some(&self.fields[flat[at] as usize])
    }

    /// The fields of a type that protobuf has, by their numbers; inlined structs as one field.
    pub fn fields_by_number<'a>(&'a self, declared: &Type) -> impl Iterator<Item = &'a Field> + use<'a> {
        let by_number = &self.by_number[declared.fields.0 as usize..declared.fields.1 as usize];
        by_number.iter().map(|at| &self.fields[*at as usize]).skip_while(|field| field.tag == 0)
    }

    /// As [`Facts::fields_by_number`], with the index of each field.
    pub(crate) fn indexed_by_number<'a>(&'a self, declared: &Type) -> impl Iterator<Item = (u32, &'a Field)> + use<'a> {
        let by_number = &self.by_number[declared.fields.0 as usize..declared.fields.1 as usize];
        by_number.iter().map(|at| (*at, &self.fields[*at as usize])).skip_while(|(_, field)| field.tag == 0)
    }

    /// Indexes of a type's fields as JSON shows them, sorted by name.
    pub(crate) fn flat_names(&self, declared: &Type) -> &[u32] {
        &self.flat[declared.flat.0 as usize..declared.flat.1 as usize]
    }

    /// A field, by its index.
    pub(crate) fn field(&self, index: u32) -> &Field {
        &self.fields[index as usize]
    }

    /// The field of a type that has this number in protobuf.
    pub fn field_by_number(&self, declared: &Type, number: u32) -> Option<&Field> {
        let number = u16::try_from(number).ok().filter(|number| *number > 0)?;
        let by_number = &self.by_number[declared.fields.0 as usize..declared.fields.1 as usize];
        let at = by_number.binary_search_by_key(&number, |at| self.fields[*at as usize].tag).ok()?;
        Some(&self.fields[by_number[at] as usize])
    }

    /// The default that OpenAPI states for a field: the declared one, or the zero value that Go gives a field that is
    /// always written.
    pub fn stated_default<'a>(&self, field: &'a Field) -> Option<Cow<'a, Value>> {
        if let Some(default) = field.default() {
            return Some(Cow::Borrowed(default));
        }
        let zero = match self.shape(field.shape).kind {
            Kind::Struct(_) => Value::Object(serde_json::Map::new()),
            Kind::String if !field.omit_empty => "".into(),
            Kind::Bool if !field.omit_empty => false.into(),
            Kind::Integer(_) | Kind::Float if !field.omit_empty => 0.into(),
            _ => return None,
        };
        Some(Cow::Owned(zero))
    }

    /// The kind of a shape, seen through pointers.
    pub fn pointee(&self, shape: ShapeIndex) -> (&Shape, ShapeIndex) {
        let mut index = shape;
        while let Kind::Pointer(to) = self.shape(index).kind {
            index = to;
        }
        (self.shape(index), index)
    }
}

impl Field {
    /// How appliers merge the list.
    pub fn list(&self) -> Option<&ListType> {
        self.extra.as_ref()?.list.as_ref()
    }
    /// `atomic` or `granular`, where it is declared at the field.
    pub fn map_type(&self) -> Option<&str> {
        self.extra.as_ref()?.map_type.as_deref()
    }
    /// How strategic merge patches merge it.
    pub fn patch(&self) -> Option<&PatchStrategy> {
        self.extra.as_ref()?.patch.as_ref()
    }
    /// Values allowed, for the items if it is a list or map; empty if all are.
    pub fn enumeration(&self) -> &[Arc<str>] {
        self.extra.as_ref().map(|extra| &*extra.enumeration).unwrap_or_default()
    }
    /// OpenAPI's `format` where the shape does not imply it.
    pub fn format(&self) -> Option<&str> {
        self.extra.as_ref()?.format.as_deref()
    }
    /// Declared default.
    pub fn default(&self) -> Option<&Value> {
        self.extra.as_ref()?.default.as_ref()
    }
}
