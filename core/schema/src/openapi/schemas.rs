//! Component schemas of a document: the types that its paths name and all that those are made of.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use triune_api::names::{GroupVersion, GroupVersionKind};

use super::{Source, operations::Model, plain::VERSION_INFO};
use crate::facts::{Facts, Field, Kind, ListType, ShapeIndex, Type};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const APIEXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
/// Kinds of `meta/v1` that are known as `v1` and in no other version.
const UNVERSIONED: [&str; 5] = ["Status", "APIVersions", "APIGroup", "APIGroupList", "APIResourceList"];
/// Group versions that the reference knows the kinds of every group in, although nothing is served there...
const KNOWN_BESIDES: [(&str, &str); 2] = [("apiextensions.k8s.io", "v1beta1"), ("apiregistration.k8s.io", "v1beta1")];
/// ... and a group that it does not.
const UNKNOWN_GROUP: &str = "apidiscovery.k8s.io";

/// Which version of OpenAPI schemas are written for.
#[derive(Clone, Copy)]
pub(super) enum Dialect<'a> {
    /// No defaults; a reference may stand beside other keys.
    V2,
    /// References that are not alone are wrapped. The document may be that of a group version.
    V3(Option<&'a GroupVersion>),
}

/// The schemas collected so far, as JSON.
pub(super) struct Components<'a> {
    source: Source<'a>,
    facts: &'a Facts,
    dialect: Dialect<'a>,
    schemas: BTreeMap<String, Option<String>>,
    waiting: Vec<u32>,
}

impl<'a> Components<'a> {
    pub(super) fn new(source: Source<'a>, dialect: Dialect<'a>) -> Components<'a> {
        Components { source, facts: source.facts, dialect, schemas: BTreeMap::new(), waiting: Vec::new() }
    }

    /// The schema of what is sent or answered: mostly a reference.
    pub(super) fn of(&mut self, model: &Model<'_>) -> Value {
        match model {
            Model::Text => json!({ "type": "string" }),
            Model::Kind(gvk) => self.kind(gvk),
            Model::Patch => self.special(&format!("{META}.Patch"), json!({ "type": "object" })),
            Model::VersionInfo => {
                let schema = self.version_info();
                self.special("io.k8s.apimachinery.pkg.version.Info", schema)
            }
            Model::Custom(schemas) => self.custom(&schemas.model, &schemas.object),
            Model::CustomList(schemas) => self.custom(&format!("{}List", schemas.model), &schemas.list),
        }
    }

    /// A reference to a kind's schema; kinds that nobody describes are any object.
    fn kind(&mut self, gvk: &GroupVersionKind) -> Value {
        match self.facts.index_of(gvk) {
            Some(index) => self.reference(index),
            None => json!({ "type": "object" }),
        }
    }

    fn custom(&mut self, name: &str, schema: &Value) -> Value {
        // Custom schemas refer to metadata of objects and lists.
        for kind in ["PartialObjectMetadata", "PartialObjectMetadataList"] {
            if let Some(index) = self.facts.index_of(&GroupVersionKind::new("meta.k8s.io", "v1", kind))
                && let Some(metadata) = self.facts.json_field(self.facts.get(index), "metadata")
                && let Kind::Struct(metadata) = self.facts.shape(metadata.shape).kind
            {
                self.reference(metadata);
            }
        }
        let schema = match self.dialect {
            Dialect::V2 => as_v2(schema.clone()),
            Dialect::V3(_) => schema.clone(),
        };
        self.special(name, schema)
    }

    /// All schemas by name, with those that they refer to.
    pub(super) fn finish(mut self) -> BTreeMap<String, String> {
        while let Some(index) = self.waiting.pop() {
            let declared = self.facts.get(index);
            let schema = self.schema(declared);
            self.schemas.insert(self.model(declared), Some(schema.to_string()));
        }
        self.schemas.into_iter().filter_map(|(name, schema)| Some((name, schema?))).collect()
    }

    fn model(&self, declared: &Type) -> String {
        format!("{}.{}", self.facts.package_of(declared).model_prefix, declared.name)
    }

    fn reference(&mut self, index: u32) -> Value {
        let name = self.model(self.facts.get(index));
        let reference = self.reference_to(&name);
        self.schemas.entry(name).or_insert_with(|| {
            self.waiting.push(index);
            None
        });
        reference
    }

    fn special(&mut self, name: &str, mut schema: Value) -> Value {
        if !self.schemas.contains_key(name) {
            if let Some(described) = self.source.descriptions.and_then(|all| all.get(name)) {
                describe(&mut schema, &described.text);
            }
            self.schemas.insert(name.to_string(), Some(schema.to_string()));
        }
        self.reference_to(name)
    }

    fn reference_to(&self, name: &str) -> Value {
        match self.dialect {
            Dialect::V2 => json!({ "$ref": format!("#/definitions/{name}") }),
            Dialect::V3(_) => json!({ "$ref": format!("#/components/schemas/{name}") }),
        }
    }

    fn version_info(&self) -> Value {
        let property = |required: bool| match self.dialect {
            Dialect::V3(_) if required => json!({ "type": "string", "default": "" }),
            _ => json!({ "type": "string" }),
        };
        let properties: Map<String, Value> =
            VERSION_INFO.iter().map(|(name, required)| ((*name).to_string(), property(*required))).collect();
        let required: Vec<&str> =
            VERSION_INFO.iter().filter(|(_, required)| *required).map(|(name, _)| *name).collect();
        json!({ "type": "object", "properties": properties, "required": required })
    }

    fn schema(&mut self, declared: &Type) -> Value {
        let facts = self.facts;
        let described = self.source.descriptions.and_then(|all| all.get(&self.model(declared)));
        let mut properties = Map::new();
        for field in facts.json_fields(declared) {
            let mut property = self.property(field);
            if let Some(text) = described.and_then(|described| described.fields.get(&*field.name)) {
                describe(&mut property, text);
            }
            self.wrap_reference(&mut property);
            properties.insert(field.name.to_string(), property);
        }
        let mut schema = Map::from_iter([("type".to_string(), "object".into())]);
        if let Some(described) = described.filter(|described| !described.text.is_empty()) {
            schema.insert("description".into(), described.text.as_str().into());
        }
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

    /// The group versions that know a kind by this type.
    fn known_as(&self, declared: &Type) -> Value {
        let known_as = |group_version: &GroupVersion| json!({ "group": *group_version.group, "kind": *declared.name, "version": *group_version.version });
        let core = GroupVersion::new("", "v1");
        let everywhere = !UNVERSIONED.contains(&&*declared.name);
        match (&self.facts.package_of(declared).group_version, self.dialect) {
            (Some(group_version), _) => json!([known_as(group_version)]),
            (None, Dialect::V2) if everywhere => {
                let besides = KNOWN_BESIDES.map(|(group, version)| GroupVersion::new(group, version));
                let known = self.facts.group_versions().filter(|known| *known.group != *UNKNOWN_GROUP);
                let all: BTreeSet<&GroupVersion> = known.chain(&besides).collect();
                all.into_iter().map(known_as).collect()
            }
            (None, Dialect::V3(Some(own))) if everywhere && *own != core => json!([known_as(&core), known_as(own)]),
            (None, _) => json!([known_as(&core)]),
        }
    }

    fn property(&mut self, field: &Field) -> Value {
        let mut schema = match self.shape(field.shape, field) {
            Value::Object(schema) => schema,
            _ => Map::new(),
        };
        if matches!(self.dialect, Dialect::V3(_))
            && let Some(default) = self.facts.stated_default(field)
        {
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

    /// In v3 nothing may stand beside a reference. Without prose it is wrapped where prose would stand.
    fn wrap_reference(&self, property: &mut Value) {
        if let (Dialect::V3(_), Value::Object(schema)) = (self.dialect, property)
            && (schema.len() > 1 || self.source.descriptions.is_none())
            && let Some(reference) = schema.remove("$ref")
        {
            schema.insert("allOf".into(), json!([{ "$ref": reference }]));
        }
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
            Kind::Quantity => {
                let schema = match self.dialect {
                    Dialect::V2 => json!({ "type": "string" }),
                    Dialect::V3(_) => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
                };
                self.special("io.k8s.apimachinery.pkg.api.resource.Quantity", schema)
            }
            Kind::IntOrString => {
                let schema = match self.dialect {
                    Dialect::V2 => json!({ "format": "int-or-string", "type": "string" }),
                    Dialect::V3(_) => {
                        json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
                    }
                };
                self.special("io.k8s.apimachinery.pkg.util.intstr.IntOrString", schema)
            }
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

fn describe(schema: &mut Value, text: &str) {
    if let (Value::Object(schema), false) = (schema, text.is_empty()) {
        schema.insert("description".into(), text.into());
    }
}

/// A custom schema without what v2 cannot say or old clients stumble over (apiextensions-apiserver
/// `pkg/controller/openapi/v2`): defaults, junctors, nullable values, items and properties of what keeps unknown fields.
fn as_v2(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    if let Some(reference) = schema.get("$ref").or_else(|| schema.get("allOf")?.get(0)?.get("$ref")) {
        let reference = reference.as_str().unwrap_or_default().replace("#/components/schemas/", "#/definitions/");
        schema.insert("$ref".into(), reference.into());
    }
    for key in ["default", "allOf", "oneOf", "anyOf", "not"] {
        schema.remove(key);
    }
    let is_set = |schema: &Map<String, Value>, key: &str| schema.get(key) == Some(&Value::Bool(true));
    let nullable = schema.remove("nullable") == Some(Value::Bool(true));
    let keeps_unknown = is_set(&schema, "x-kubernetes-preserve-unknown-fields");
    if nullable || keeps_unknown {
        schema.remove("items");
        schema.remove("properties");
    }
    let of_type = |schema: &Map<String, Value>, name: &str| schema.get("type").is_some_and(|given| given == name);
    if nullable
        || of_type(&schema, "array") && !schema.contains_key("items")
        || of_type(&schema, "object") && keeps_unknown
    {
        schema.remove("type");
    }
    drop_nullable_from_required(&mut schema);
    if let Some(items) = schema.get_mut("items") {
        *items = as_v2(items.take());
    }
    if let Some(values @ Value::Object(_)) = schema.get_mut("additionalProperties") {
        *values = as_v2(values.take());
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(|property| *property = as_v2(property.take()));
    }
    Value::Object(schema)
}

fn drop_nullable_from_required(schema: &mut Map<String, Value>) {
    let is_nullable = |schema: &Value| schema["nullable"] == true;
    let values_may_be_null = schema.get("additionalProperties").is_some_and(is_nullable);
    let nullable: Vec<String> = match schema.get("properties") {
        Some(Value::Object(properties)) => {
            properties.iter().filter(|(_, property)| is_nullable(property)).map(|(name, _)| name.clone()).collect()
        }
        _ => Vec::new(),
    };
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !values_may_be_null && !nullable.iter().any(|other| name == other));
        if required.is_empty() {
            schema.remove("required");
        }
    }
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
