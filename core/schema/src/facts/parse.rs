//! Reads a table of types from its text.
//!
//! One line a package, type or field; columns are separated by tabs; a type belongs to the package above it, a field to
//! the type above it.
//!
//! ```text
//! # comment
//! P  core/v1  io.k8s.api.core.v1  v1              package, prefix of model names, group version (`*`: kinds of all)
//! T  Container  [k] [m=atomic] [u=discriminator:field=Value,...]      type; k: a kind
//! image  2  string  o                             field: JSON name, protobuf number (- none, w wrapped), shape, flags
//! ^VolumeSource  2  VolumeSource                  inlined struct, with Go's name
//! ports  6  [ContainerPort]  o  p=merge:containerPort  l=map:containerPort,protocol
//! ```
//!
//! Flags: `o` omitempty, `z` omitzero, `!` required. Further columns: `p=` patch strategies and merge key, `l=` list type
//! and keys, `m=` map type, `e=` enum, `f=` format, `d=` default (JSON), `x=` other extensions (implied by the shape).
//!
//! Shapes: `string`, `bool`, `int`, `int32`, `int64`, `float64`, `bytes`, `any`, `quantity`, `intorstring`, `time`,
//! `microtime`, `raw`, `json`, `fieldsv1`, `orarray(T)`, `orbool(T)`, `orstrings(T)`; a struct by its name,
//! with its package in front if that is another (`meta/v1.ObjectMeta`); `*shape` pointer, `[shape]` list, `{shape}` map,
//! `{v1.ResourceName>shape}` map with a named type of keys; `:v1.Protocol` behind one is Go's name of it.

use std::{collections::BTreeMap, sync::Arc};

use triune_api::names::GroupVersion;

use super::{Extra, Facts, Field, Kind, ListType, Package, PatchStrategy, Shape, ShapeIndex, Type, Union};

/// The text of a table is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("facts, line {line}: {reason}")]
pub struct FactsError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

type Parsed<T> = Result<T, String>;

/// Reads a table.
pub(super) fn parse(text: &str) -> Result<Facts, FactsError> {
    let mut reader = Reader::new();
    each_line(text, |columns| reader.declare(columns))?;
    reader.position = None;
    each_line(text, |columns| reader.define(columns))?;
    reader.finish().map_err(|reason| FactsError { line: 0, reason })
}

fn each_line<'a>(
    text: &'a str,
    mut read: impl FnMut(&mut dyn Iterator<Item = &'a str>) -> Parsed<()>,
) -> Result<(), FactsError> {
    for (number, line) in text.lines().enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            read(&mut line.split('\t')).map_err(|reason| FactsError { line: number + 1, reason })?;
        }
    }
    Ok(())
}

/// Remembers what was made of a text of late: one place for each of some hashes, and the later text takes it. Forgetting
/// costs a second copy and nothing else, which makes reading twice as fast as with an ordered map.
struct Memory<'a, V> {
    places: Vec<Option<(u16, &'a str, V)>>,
}

impl<'a, V: Clone> Memory<'a, V> {
    const PLACES: usize = 4096;

    fn new() -> Memory<'a, V> {
        Memory { places: vec![None; Memory::<V>::PLACES] }
    }

    fn place(package: u16, text: &str) -> usize {
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        let hash = text.as_bytes().iter().fold(0x811C_9DC5 ^ u32::from(package), step);
        (hash ^ hash >> 16) as usize % Memory::<V>::PLACES
    }

    fn recall(&self, package: u16, text: &str) -> Option<V> {
        match &self.places[Memory::<V>::place(package, text)] {
            Some((of, known, value)) if *of == package && *known == text => Some(value.clone()),
            _ => None,
        }
    }

    fn remember(&mut self, package: u16, text: &'a str, value: V) -> V {
        self.places[Memory::<V>::place(package, text)] = Some((package, text, value.clone()));
        value
    }
}

/// What has been read. The first pass declares packages and types, so that the second can refer to all of them.
struct Reader<'a> {
    facts: Facts,
    names: Memory<'a, Arc<str>>,
    types: BTreeMap<(&'a str, &'a str), u32>,
    shapes: Memory<'a, ShapeIndex>,
    package_names: Vec<&'a str>,
    /// Index of the type that is being defined.
    position: Option<u32>,
}

impl<'a> Reader<'a> {
    fn new() -> Reader<'a> {
        let facts = Facts {
            packages: Vec::new(),
            types: Vec::new(),
            shapes: Vec::new(),
            fields: Vec::new(),
            flat: Vec::new(),
            by_number: Vec::new(),
            kinds: BTreeMap::new(),
            common_kinds: BTreeMap::new(),
        };
        let (names, shapes) = (Memory::new(), Memory::new());
        Reader { facts, names, types: BTreeMap::new(), shapes, package_names: Vec::new(), position: None }
    }

    fn name(&mut self, text: &'a str) -> Arc<str> {
        self.names.recall(0, text).unwrap_or_else(|| self.names.remember(0, text, text.into()))
    }

    fn declare(&mut self, columns: &mut dyn Iterator<Item = &'a str>) -> Parsed<()> {
        match columns.next() {
            Some("P") => self.declare_package(columns),
            Some("T") => self.declare_type(columns),
            _ => Ok(()),
        }
    }

    fn declare_package(&mut self, columns: &mut dyn Iterator<Item = &'a str>) -> Parsed<()> {
        let (name, prefix) = (column(columns, "package")?, column(columns, "prefix of models")?);
        let group_version = match columns.next() {
            Some("*") | None => None,
            Some(text) => Some(GroupVersion::parse(text).ok_or_else(|| format!("no group version: {text}"))?),
        };
        self.package_names.push(name);
        let package = Package { name: name.into(), model_prefix: prefix.into(), group_version };
        self.facts.packages.push(package);
        Ok(())
    }

    fn declare_type(&mut self, columns: &mut dyn Iterator<Item = &'a str>) -> Parsed<()> {
        let name = column(columns, "name of the type")?;
        let package = self.package_names.last().ok_or("a type before the first package")?;
        let index = u32::try_from(self.facts.types.len()).map_err(|_| "too many types")?;
        if self.types.insert((package, name), index).is_some() {
            return Err(format!("{package}.{name} a second time"));
        }
        let package = u16::try_from(self.facts.packages.len() - 1).map_err(|_| "too many packages")?;
        let (mut is_kind, mut map_type, mut unions) = (false, None, Vec::new());
        for text in columns {
            match text.split_once('=') {
                None if text == "k" => is_kind = true,
                Some(("m", value)) => map_type = Some(self.name(value)),
                Some(("u", union)) => unions.push(self.union(union)?),
                _ => return Err(format!("unknown fact of a type: {text}")),
            }
        }
        let (name, unions) = (self.name(name), unions.into());
        if is_kind {
            match &self.facts.packages[usize::from(package)].group_version {
                Some(group_version) => self.facts.kinds.insert(group_version.with_kind(&name), index),
                None => self.facts.common_kinds.insert(name.clone(), index),
            };
        }
        let (fields, flat) = ((0, 0), (0, 0));
        self.facts.types.push(Type { name, package, is_kind, map_type, unions, fields, flat });
        Ok(())
    }

    fn union(&mut self, text: &'a str) -> Parsed<Union> {
        let (discriminator, members) = text.split_once(':').ok_or("a union without fields")?;
        let discriminator = self.name(discriminator);
        let members = members.split(',').map(|member| {
            let (field, value) = member.split_once('=').ok_or("a union's field without value")?;
            Ok((self.name(field), self.name(value)))
        });
        Ok(Union { discriminator, members: members.collect::<Parsed<_>>()? })
    }

    fn define(&mut self, columns: &mut dyn Iterator<Item = &'a str>) -> Parsed<()> {
        match columns.next() {
            Some("P") | None => {}
            Some("T") => {
                self.position = Some(self.position.map_or(0, |position| position + 1));
                let end = self.facts.fields.len() as u32;
                if let Some(defined) = self.defined() {
                    defined.fields = (end, end);
                }
            }
            Some(name) => {
                let field = self.field(name, columns)?;
                self.facts.fields.push(field);
                let end = self.facts.fields.len() as u32;
                self.defined().ok_or("a field before the first type")?.fields.1 = end;
            }
        }
        Ok(())
    }

    fn defined(&mut self) -> Option<&mut Type> {
        self.facts.types.get_mut(self.position? as usize)
    }

    fn field(&mut self, name: &'a str, columns: &mut dyn Iterator<Item = &'a str>) -> Parsed<Field> {
        let package = self.defined().ok_or("a field before the first type")?.package;
        let (inline, name) = name.strip_prefix('^').map_or((false, name), |name| (true, name));
        let number = column(columns, "protobuf number")?;
        let (wrapped, number) = number.strip_suffix('w').map_or((false, number), |number| (true, number));
        let tag =
            if number == "-" { 0 } else { number.parse().map_err(|_| format!("no protobuf number: {number}"))? };
        let shape = self.shape(package, column(columns, "shape")?)?;
        let (mut omit_empty, mut omit_zero, mut required) = (false, false, false);
        let mut extra = None;
        for text in columns {
            match text.split_once('=') {
                Some((fact, value)) if fact.len() == 1 => {
                    self.extra(extra.get_or_insert_default(), fact, value)?;
                }
                _ => {
                    for flag in text.chars() {
                        match flag {
                            'o' => omit_empty = true,
                            'z' => omit_zero = true,
                            '!' => required = true,
                            _ => return Err(format!("unknown flag {flag}")),
                        }
                    }
                }
            }
        }
        let name = self.name(name);
        Ok(Field { name, shape, tag, omit_empty, omit_zero, required, inline, wrapped, extra })
    }

    fn extra(&mut self, extra: &mut Box<Extra>, fact: &str, value: &'a str) -> Parsed<()> {
        match fact {
            "l" => extra.list = Some(self.list_type(value)?),
            "m" => extra.map_type = Some(self.name(value)),
            "p" => extra.patch = Some(self.patch_strategy(value)?),
            "e" => extra.enumeration = value.split(',').map(|value| self.name(value)).collect(),
            "f" => extra.format = Some(self.name(value)),
            "d" => extra.default = Some(serde_json::from_str(value).map_err(|error| error.to_string())?),
            "x" => {}
            _ => return Err(format!("unknown fact of a field: {fact}")),
        }
        Ok(())
    }

    fn list_type(&mut self, text: &'a str) -> Parsed<ListType> {
        match text.split_once(':') {
            None if text == "atomic" => Ok(ListType::Atomic),
            None if text == "set" => Ok(ListType::Set),
            Some(("map", keys)) => Ok(ListType::Map(keys.split(',').map(|key| self.name(key)).collect())),
            _ => Err(format!("unknown list type {text}")),
        }
    }

    fn patch_strategy(&mut self, text: &'a str) -> Parsed<PatchStrategy> {
        let (strategies, key) = text.split_once(':').map_or((text, None), |(strategies, key)| (strategies, Some(key)));
        let mut strategy = PatchStrategy { merge_key: key.map(|key| self.name(key)), ..PatchStrategy::default() };
        for word in strategies.split(',') {
            match word {
                "merge" => strategy.merge = true,
                "retainKeys" => strategy.retain_keys = true,
                "replace" => strategy.replace = true,
                _ => return Err(format!("unknown patch strategy {word}")),
            }
        }
        Ok(strategy)
    }

    /// The index of a shape, read on first sight. Its text means the same within one package.
    fn shape(&mut self, package: u16, text: &'a str) -> Parsed<ShapeIndex> {
        if let Some(index) = self.shapes.recall(package, text) {
            return Ok(index);
        }
        let shape = self.read_shape(package, text)?;
        let index = ShapeIndex(u32::try_from(self.facts.shapes.len()).map_err(|_| "too many shapes")?);
        self.facts.shapes.push(shape);
        Ok(self.shapes.remember(package, text, index))
    }

    fn read_shape(&mut self, package: u16, text: &'a str) -> Parsed<Shape> {
        if let Some(inner) = text.strip_prefix('*') {
            let inner = self.shape(package, inner)?;
            let go_type = format!("*{}", self.facts.shape(inner).go_type).into();
            return Ok(Shape { kind: Kind::Pointer(inner), go_type });
        }
        if let Some((inner, named)) = enclosed(text, '[', ']') {
            let inner = self.shape(package, inner)?;
            let go_type = match named {
                Some(named) => named.into(),
                None => format!("[]{}", self.facts.shape(inner).go_type).into(),
            };
            return Ok(Shape { kind: Kind::List(inner), go_type });
        }
        if let Some((inner, named)) = enclosed(text, '{', '}') {
            let (key, inner) = inner.split_once('>').unwrap_or(("string", inner));
            let inner = self.shape(package, inner)?;
            let go_type = match named {
                Some(named) => named.into(),
                None => format!("map[{key}]{}", self.facts.shape(inner).go_type).into(),
            };
            return Ok(Shape { kind: Kind::Map(inner), go_type });
        }
        self.read_simple_shape(package, text)
    }

    fn read_simple_shape(&mut self, package: u16, text: &'a str) -> Parsed<Shape> {
        let (word, named) = text.split_once(':').map_or((text, None), |(word, named)| (word, Some(named)));
        let (kind, go_type) = match word {
            "string" => (Kind::String, "string"),
            "bool" => (Kind::Bool, "bool"),
            "int" => (Kind::Integer(64), "int"),
            "int32" => (Kind::Integer(32), "int32"),
            "int64" => (Kind::Integer(64), "int64"),
            "float64" => (Kind::Float, "float64"),
            "bytes" => (Kind::Bytes, "[]uint8"),
            "any" => (Kind::Any, "interface {}"),
            "quantity" => (Kind::Quantity, "resource.Quantity"),
            "intorstring" => (Kind::IntOrString, "intstr.IntOrString"),
            "time" => (Kind::Time, "v1.Time"),
            "microtime" => (Kind::MicroTime, "v1.MicroTime"),
            "raw" => (Kind::Raw, "runtime.RawExtension"),
            "json" => (Kind::Raw, "v1.JSON"),
            "fieldsv1" => (Kind::Raw, "v1.FieldsV1"),
            _ => return self.read_struct_shape(package, word),
        };
        Ok(Shape { kind, go_type: self.name(named.unwrap_or(go_type)) })
    }

    fn read_struct_shape(&self, package: u16, text: &str) -> Parsed<Shape> {
        let own_package = &self.facts.packages[usize::from(package)].name;
        let (variant, name) = match text.split_once('(') {
            Some((word, rest)) => (word, rest.strip_suffix(')').ok_or("an open parenthesis")?),
            None => ("", text),
        };
        let (package, name) = name.split_once('.').unwrap_or((own_package, name));
        let index = *self.types.get(&(package, name)).ok_or_else(|| format!("no type {package}.{name}"))?;
        let go_package = package.rsplit('/').next().unwrap_or(package);
        let (kind, suffix) = match variant {
            "" => (Kind::Struct(index), ""),
            "orarray" => (Kind::SchemaOrArray(index), "OrArray"),
            "orbool" => (Kind::SchemaOrBool(index), "OrBool"),
            "orstrings" => (Kind::SchemaOrStrings(index), "OrStringArray"),
            _ => return Err(format!("unknown shape {text}")),
        };
        Ok(Shape { kind, go_type: format!("{go_package}.{name}{suffix}").into() })
    }

    /// Flattens inlined structs, and sorts fields by number.
    fn finish(mut self) -> Parsed<Facts> {
        self.facts.by_number = (0..self.facts.fields.len() as u32).collect();
        for declared in &self.facts.types {
            let own = &mut self.facts.by_number[declared.fields.0 as usize..declared.fields.1 as usize];
            own.sort_by_key(|at| self.facts.fields[*at as usize].tag);
        }
        for index in 0..self.facts.types.len() {
            let mut flat = Vec::new();
            collect_flat(&self.facts, index, 0, &mut flat)?;
            // As in Go: of two fields with one name, the one that is less deep.
            flat.sort_by(|a, b| {
                (&self.facts.fields[a.1 as usize].name, a.0).cmp(&(&self.facts.fields[b.1 as usize].name, b.0))
            });
            flat.dedup_by(|later, kept| {
                self.facts.fields[later.1 as usize].name == self.facts.fields[kept.1 as usize].name
            });
            let start = self.facts.flat.len() as u32;
            self.facts.flat.extend(flat.into_iter().map(|(_, at)| at));
            self.facts.types[index].flat = (start, self.facts.flat.len() as u32);
        }
        Ok(self.facts)
    }
}

/// Fields of a type as JSON shows them, as (depth, index). Types cannot inline themselves in Go; here it ends the read.
fn collect_flat(facts: &Facts, index: usize, depth: u32, flat: &mut Vec<(u32, u32)>) -> Parsed<()> {
    const DEPTH_MAX: u32 = 8;
    if depth > DEPTH_MAX {
        return Err(format!("{} inlines too deeply", facts.types[index].name));
    }
    for at in facts.types[index].fields.0..facts.types[index].fields.1 {
        let field = &facts.fields[at as usize];
        match facts.pointee(field.shape).0.kind {
            Kind::Struct(inner) if field.inline => collect_flat(facts, inner as usize, depth + 1, flat)?,
            _ if field.inline => return Err(format!("{} is inlined and no struct", field.name)),
            _ => flat.push((depth, at)),
        }
    }
    Ok(())
}

fn column<'a>(columns: &mut dyn Iterator<Item = &'a str>, what: &str) -> Parsed<&'a str> {
    columns.next().ok_or_else(|| format!("no {what}"))
}

/// `[inner]` or `[inner]:name`.
fn enclosed(text: &str, open: char, close: char) -> Option<(&str, Option<&str>)> {
    let rest = text.strip_prefix(open)?;
    let (inner, after) = rest.rsplit_once(close)?;
    Some((inner, after.strip_prefix(':')))
}

#[cfg(test)]
mod tests {
    use triune_api::names::GroupVersionKind;

    use super::*;

    const SMALL: &str = "# comment\n\
        P\tmeta/v1\tio.meta\t*\nT\tObjectMeta\nname\t1\tstring\to\nT\tStatus\tk\n\
        P\tcore/v1\tio.core\tv1\nT\tPod\tk\nmetadata\t1\tmeta/v1.ObjectMeta\to\nspec\t2\t*PodSpec\n\
        T\tPodSpec\tm=atomic\tu=type:a=A\n^Source\t1\tSource\nzone\t2w\t[string:v1.Zone]:v1.Zones\to!\te=a,b\tl=set\tp=merge\n\
        T\tSource\nalpha\t1\t{v1.Name>quantity}\tz\td={\"a\":1}\n";

    #[test]
    fn a_small_table() {
        let facts = Facts::parse(SMALL).unwrap();
        let pod = facts.type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
        let spec = facts.json_field(facts.get(pod.index), "spec").unwrap();
        assert_eq!(&*facts.shape(spec.shape).go_type, "*v1.PodSpec");
        let Kind::Struct(spec) = facts.pointee(spec.shape).0.kind else { panic!("spec is a struct") };
        let spec = facts.get(spec);
        assert!(spec.map_type.as_deref() == Some("atomic") && !spec.is_kind && &*spec.unions[0].members[0].1 == "A");
        let names: Vec<&str> = facts.json_fields(spec).map(|field| &*field.name).collect();
        assert_eq!(names, ["alpha", "zone"]);
        let zone = facts.json_field(spec, "zone").unwrap();
        assert!(zone.wrapped && zone.omit_empty && zone.required && zone.tag == 2);
        assert_eq!(zone.list(), Some(&ListType::Set));
        assert_eq!(&*facts.shape(zone.shape).go_type, "v1.Zones");
        let alpha = facts.json_field(spec, "alpha").unwrap();
        assert_eq!(&*facts.shape(alpha.shape).go_type, "map[v1.Name]resource.Quantity");
        assert!(alpha.omit_zero && alpha.default().is_some());
        assert!(
            facts.type_of(&GroupVersionKind::new("apps", "v1", "Status")).is_some(),
            "common kinds are in every group"
        );
        assert!(facts.type_of(&GroupVersionKind::new("apps", "v1", "Pod")).is_none());
    }

    #[test]
    fn malformed_tables() {
        let check = |text: &str, expected: &str| match Facts::parse(text) {
            Ok(_) => panic!("{text:?} was read"),
            Err(error) => assert_eq!(error.to_string(), expected),
        };
        check("T\tPod", "facts, line 1: a type before the first package");
        check("P\ta", "facts, line 1: no prefix of models");
        check("P\ta\tb\nx\t1\tstring", "facts, line 2: a field before the first type");
        check("P\ta\tb\nT\tA\nx\t1\tB", "facts, line 3: no type a.B");
        check("P\ta\tb\nT\tA\nx\t1\tstring\tq", "facts, line 3: unknown flag q");
        check("P\ta\tb\nT\tA\nx\tone\tstring", "facts, line 3: no protobuf number: one");
        check("P\ta\tb\nT\tA\n^A\t1\tA", "facts, line 0: A inlines too deeply");
        check("P\ta\tb\nT\tA\nT\tA", "facts, line 3: a.A a second time");
    }
}
