//! The document of OpenAPI v2 in JSON: one for everything that is served (kube-openapi `pkg/builder`).
//!
//! Parameters that are not about one kind are stated once and referred to, under a name that ends with a hash of what they
//! say. `name`, `dryRun` and `fieldValidation` stay where they are: old versions of kubectl look for the last two in
//! operations.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use triune_api::names::GroupVersion;

use super::{
    ServedResource, Source,
    operations::{Operation, Parameter, PathItem, Paths, Place, reason},
    plain::Plain,
    resources,
    schemas::{Components, Dialect},
    v3::{info, security, write_object},
};

/// The document of everything.
pub fn document(source: Source<'_>, versions: &[(GroupVersion, Vec<ServedResource>)], plain: &[Plain]) -> Vec<u8> {
    let mut paths = Paths::new();
    for (group_version, resources) in versions {
        resources::add_to(&mut paths, source.facts, group_version, resources);
    }
    for path in plain {
        path.add_to(&mut paths);
    }
    let mut writer = Writer { components: Components::new(source, Dialect::V2), shared: BTreeMap::new() };
    let items: Vec<(String, String)> = paths
        .iter_mut()
        .map(|(path, item)| {
            item.finish();
            (path.clone(), writer.path_item(item).to_string())
        })
        .collect();
    let definitions = writer.components.finish();
    let mut document = br#"{"definitions":"#.to_vec();
    write_object(&mut document, definitions.iter().map(|(name, schema)| (name.as_str(), schema.as_str())));
    document.extend_from_slice(format!(r#","info":{},"parameters":"#, info(source)).as_bytes());
    write_object(&mut document, writer.shared.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    document.extend_from_slice(br#","paths":"#);
    write_object(&mut document, items.iter().map(|(path, item)| (path.as_str(), item.as_str())));
    let security = security();
    let rest = format!(
        r#","security":[{{"BearerToken":[]}}],"securityDefinitions":{{"BearerToken":{security}}},"swagger":"2.0"}}"#
    );
    document.extend_from_slice(rest.as_bytes());
    document
}

struct Writer<'a> {
    components: Components<'a>,
    /// Shared parameters as JSON, by name.
    shared: BTreeMap<String, String>,
}

impl Writer<'_> {
    fn path_item(&mut self, item: &PathItem<'_>) -> Value {
        let mut written = Map::new();
        for (method, described) in &item.operations {
            written.insert((*method).into(), self.operation(described));
        }
        if !item.parameters.is_empty() {
            written.insert("parameters".into(), item.parameters.iter().map(|one| self.parameter(one)).collect());
        }
        Value::Object(written)
    }

    fn operation(&mut self, operation: &Operation<'_>) -> Value {
        let mut written = json!({ "operationId": operation.identifier, "schemes": ["https"], "tags": [operation.tag] });
        if let Some((action, gvk)) = &operation.action {
            written["x-kubernetes-action"] = (*action).into();
            written["x-kubernetes-group-version-kind"] =
                json!({ "group": *gvk.group, "kind": *gvk.kind, "version": *gvk.version });
        }
        for (key, media_types) in [("consumes", operation.consumes), ("produces", &operation.produces)] {
            if !media_types.is_empty() {
                written[key] = media_types.into();
            }
        }
        // Sorted by name, as the others are among themselves.
        let mut parameters: Vec<(&str, Value)> =
            operation.parameters.iter().map(|one| (&*one.name, self.parameter(one))).collect();
        if let Some((model, required)) = &operation.body {
            let at = parameters.partition_point(|(name, _)| *name < "body");
            let schema = self.components.of(model);
            parameters.insert(at, ("body", self.body(&schema, *required)));
        }
        if !parameters.is_empty() {
            written["parameters"] = parameters.into_iter().map(|(_, written)| written).collect();
        }
        let mut responses = Map::new();
        for (code, model) in &operation.answers {
            let schema = self.components.of(model);
            responses.insert((*code).into(), json!({ "description": reason(code), "schema": schema }));
        }
        responses.insert("401".into(), json!({ "description": reason("401") }));
        written["responses"] = Value::Object(responses);
        written
    }

    fn parameter(&mut self, parameter: &Parameter) -> Value {
        let mut written = json!({
            "in": parameter.place.as_str(),
            "name": parameter.name,
            "type": parameter.kind,
            "uniqueItems": true,
        });
        if parameter.place == Place::Path {
            written["required"] = true.into();
        }
        let own = match parameter.place {
            Place::Path => parameter.name == "name",
            Place::Query => matches!(&*parameter.name, "name" | "dryRun" | "fieldValidation"),
        };
        if own { written } else { self.share(&parameter.name, &written) }
    }

    fn body(&mut self, schema: &Value, required: bool) -> Value {
        let mut written = json!({ "in": "body", "name": "body", "schema": schema });
        if required {
            written["required"] = true.into();
        }
        let common = schema["$ref"].as_str().is_some_and(|to| to.starts_with("#/definitions/io.k8s.apimachinery"));
        if common { self.share("body", &written) } else { written }
    }

    fn share(&mut self, name: &str, parameter: &Value) -> Value {
        let text = parameter.to_string();
        let mut key = format!("{name}-{}", short_hash(&text));
        // Hashes of so few texts do not collide; a name is not taken twice even so.
        while self.shared.get(&key).is_some_and(|other| *other != text) {
            key.push('_');
        }
        let reference = json!({ "$ref": format!("#/parameters/{key}") });
        self.shared.insert(key, text);
        reference
    }
}

/// FNV-1, 64 bits, of which six bytes are shown in base64 for URLs.
fn short_hash(text: &str) -> String {
    use base64::Engine;
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    base64::engine::general_purpose::URL_SAFE.encode(&hash.to_be_bytes()[..6])
}
