//! Component schemas of a document: the types that its paths name and all that those are made of.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use triune_api::names::{GroupVersion, GroupVersionKind};

use super::CustomSchemas;
use crate::facts::{Facts, Field, Kind, ListType, ShapeIndex, Type};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const APIEXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
/// Kinds of `meta/v1` that are known as `v1` and in no other version.
const UNVERSIONED: [&str; 5] = ["Status", "APIVersions", "APIGroup", "APIGroupList", "APIResourceList"];

/// The schemas collected so far.
pub(super) struct Components<'a> {
    facts: &'a Arc<Facts>,
    group_version: &'a GroupVersion,
    schemas: BTreeMap<String, Value>,
    waiting: Vec<u32>,
}

impl<'a> Components<'a> {
    pub(super) fn new(facts: &'a Arc<Facts>, group_version: &'a GroupVersion) -> Components<'a> {
        Components { facts, group_version, schemas: BTreeMap::new(), waiting: Vec::new() }
    }

    /// A reference to a kind's schema; kinds that nobody describes are any object.
    pub(super) fn kind(&mut self, gvk: &GroupVersionKind) -> Value {
        match self.facts.type_of(gvk) {
            Some(declared) => self.reference(declared.index),
            None => json!({ "type": "object" }),
        }
    }

    /// A reference to a custom kind's schema or to that of its list.
    pub(super) fn custom(&mut self, schemas: &CustomSchemas, list: bool) -> Value {
        let (name, schema) = match list {
            true => (format!("{}List", schemas.model), &schemas.list),
            false => (schemas.model.clone(), &schemas.object),
        };
        let reference = reference(&name);
        self.schemas.entry(name).or_insert_with(|| schema.clone());
        // Custom schemas refer to metadata of objects and lists.
        for kind in ["PartialObjectMetadata", "PartialObjectMetadataList"] {
            if let Some(declared) = self.facts.type_of(&GroupVersionKind::new("meta.k8s.io", "v1", kind))
                && let Some(metadata) = self.facts.json_field(self.facts.get(declared.index), "metadata")
                && let Kind::Struct(metadata) = self.facts.shape(metadata.shape).kind
            {
                self.reference(metadata);
            }
        }
        reference
    }

    /// A reference to `Patch`, the body of every patch.
    pub(super) fn patch(&mut self) -> Value {
        self.special(&format!("{META}.Patch"), json!({ "type": "object" }))
    }

    /// All schemas, with those that they refer to.
    pub(super) fn finish(mut self) -> Value {
        while let Some(index) = self.waiting.pop() {
            let declared = self.facts.get(index);
            let schema = self.schema(declared);
            self.schemas.insert(self.model(declared), schema);
        }
        Value::Object(self.schemas.into_iter().collect())
    }

    fn model(&self, declared: &Type) -> String {
        format!("{}.{}", self.facts.package_of(declared).model_prefix, declared.name)
    }

    fn reference(&mut self, index: u32) -> Value {
        let name = self.model(self.facts.get(index));
        let reference = reference(&name);
        self.schemas.entry(name).or_insert_with(|| {
            self.waiting.push(index);
            Value::Null
        });
        reference
    }

    fn special(&mut self, name: &str, schema: Value) -> Value {
        self.schemas.entry(name.to_string()).or_insert(schema);
        reference(name)
    }

    fn schema(&mut self, declared: &Type) -> Value {
        let facts = self.facts;
        let mut properties = Map::new();
        for field in facts.json_fields(declared) {
            properties.insert(field.name.to_string(), self.property(field));
        }
        let mut schema = Map::from_iter([("type".to_string(), "object".into())]);
        if !properties.is_empty() {
            schema.insert("properties".into(), Value::Object(properties));
        }
        let required = self.required(declared);
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        if let Some(map_type) = &declared.map_type {
            schema.insert("x-kubernetes-map-type".into(), (**map_type).into());
        }
        if !declared.unions.is_empty() {
            schema.insert("x-kubernetes-unions".into(), unions(declared));
        }
        if declared.is_kind {
            schema.insert("x-kubernetes-group-version-kind".into(), self.known_as(declared));
        }
        Value::Object(schema)
    }

    /// Required fields in Go's order.
    fn required(&self, declared: &Type) -> Vec<String> {
        let mut required = Vec::new();
        for field in self.facts.declared_fields(declared) {
            match self.facts.pointee(field.shape).0.kind {
                Kind::Struct(index) if field.inline => required.extend(self.required(self.facts.get(index))),
                _ if field.required => required.push(field.name.to_string()),
                _ => {}
            }
        }
        required
    }

    fn known_as(&self, declared: &Type) -> Value {
        let known_as = |group_version: &GroupVersion| json!({ "group": *group_version.group, "kind": *declared.name, "version": *group_version.version });
        match &self.facts.package_of(declared).group_version {
            Some(group_version) => json!([known_as(group_version)]),
            None => {
                let core = GroupVersion::new("", "v1");
                let mut all = vec![known_as(&core)];
                if *self.group_version != core && !UNVERSIONED.contains(&&*declared.name) {
                    all.push(known_as(self.group_version));
                }
                Value::Array(all)
            }
        }
    }

    fn property(&mut self, field: &Field) -> Value {
        let mut schema = match self.shape(field.shape, field) {
            Value::Object(schema) => schema,
            _ => Map::new(),
        };
        if let Some(reference) = schema.remove("$ref") {
            schema.insert("allOf".into(), json!([{ "$ref": reference }]));
        }
        if let Some(default) = self.facts.stated_default(field) {
            schema.insert("default".into(), default.into_owned());
        }
        match field.list() {
            Some(ListType::Atomic) => drop(schema.insert("x-kubernetes-list-type".into(), "atomic".into())),
            Some(ListType::Set) => drop(schema.insert("x-kubernetes-list-type".into(), "set".into())),
            Some(ListType::Map(keys)) => {
                let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
                schema.insert("x-kubernetes-list-type".into(), "map".into());
                schema.insert("x-kubernetes-list-map-keys".into(), keys.into());
            }
            None => {}
        }
        if let Some(map_type) = field.map_type() {
            schema.insert("x-kubernetes-map-type".into(), map_type.into());
        }
        if let Some(patch) = field.patch() {
            let named = [(patch.merge, "merge"), (patch.replace, "replace"), (patch.retain_keys, "retainKeys")];
            let strategies: Vec<&str> = named.into_iter().filter_map(|(given, name)| given.then_some(name)).collect();
            schema.insert("x-kubernetes-patch-strategy".into(), strategies.join(",").into());
            if let Some(key) = &patch.merge_key {
                schema.insert("x-kubernetes-patch-merge-key".into(), (**key).into());
            }
        }
        Value::Object(schema)
    }

    fn shape(&mut self, shape: ShapeIndex, field: &Field) -> Value {
        let facts = self.facts;
        let (pointee, _) = facts.pointee(shape);
        match pointee.kind {
            Kind::String => scalar("string", field.format(), field),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Integer(32) => scalar("integer", Some("int32"), field),
            Kind::Integer(_) => scalar("integer", Some("int64"), field),
            Kind::Float => scalar("number", Some("double"), field),
            Kind::Bytes => scalar("string", Some("byte"), field),
            Kind::Any => json!({ "type": "object" }),
            Kind::Struct(index) => self.reference(index),
            Kind::List(items) => json!({ "type": "array", "items": self.shape(items, field) }),
            Kind::Map(values) => json!({ "type": "object", "additionalProperties": self.shape(values, field) }),
            Kind::Pointer(to) => self.shape(to, field),
            Kind::Quantity => self.special(
                "io.k8s.apimachinery.pkg.api.resource.Quantity",
                json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            ),
            Kind::IntOrString => self.special(
                "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
                json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
            ),
            Kind::Time => self.special(&format!("{META}.Time"), json!({ "format": "date-time", "type": "string" })),
            Kind::MicroTime => {
                self.special(&format!("{META}.MicroTime"), json!({ "format": "date-time", "type": "string" }))
            }
            Kind::Raw => match &*pointee.go_type {
                "v1.JSON" => self.special(&format!("{APIEXTENSIONS}.JSON"), json!({})),
                "v1.FieldsV1" => self.special(&format!("{META}.FieldsV1"), json!({ "type": "object" })),
                _ => self.special("io.k8s.apimachinery.pkg.runtime.RawExtension", json!({ "type": "object" })),
            },
            Kind::SchemaOrArray(_) | Kind::SchemaOrBool(_) | Kind::SchemaOrStrings(_) => {
                let name = pointee.go_type.rsplit('.').next().unwrap_or_default();
                self.special(&format!("{APIEXTENSIONS}.{name}"), json!({}))
            }
        }
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn scalar(name: &str, format: Option<&str>, field: &Field) -> Value {
    let mut schema = Map::from_iter([("type".to_string(), Value::from(name))]);
    if let Some(format) = format {
        schema.insert("format".into(), format.into());
    }
    if name == "string" && !field.enumeration().is_empty() {
        let values: Vec<&str> = field.enumeration().iter().map(|value| &**value).collect();
        schema.insert("enum".into(), values.into());
    }
    Value::Object(schema)
}

fn unions(declared: &Type) -> Value {
    let union = |union: &crate::facts::Union| {
        let members: Map<String, Value> =
            union.members.iter().map(|(field, value)| (field.to_string(), (**value).into())).collect();
        let mut described = Map::from_iter([("fields-to-discriminateBy".to_string(), Value::Object(members))]);
        if !union.discriminator.is_empty() {
            described.insert("discriminator".into(), (*union.discriminator).into());
        }
        Value::Object(described)
    };
    declared.unions.iter().map(union).collect()
}
