//! Path items of a document: the operations on each resource and subresource.

use serde_json::{Map, Value, json};
use triune_api::names::{GroupVersion, GroupVersionKind};

use super::{ServedResource, ServedSubresource, group_version_path, schemas::Components};

const MEDIA_TYPES: [&str; 3] = ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
const WATCH_MEDIA_TYPES: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCH_MEDIA_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const LIST_PARAMETERS: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE_PARAMETERS: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const DELETE_PARAMETERS: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

/// All path items.
pub(super) fn paths(schemas: &mut Components<'_>, group_version: &GroupVersion, resources: &[ServedResource]) -> Value {
    let mut items = Map::new();
    let root = format!("/{}/", group_version_path(group_version));
    let names = Names::of(group_version);
    let list = schemas.kind(&GroupVersionKind::new("", "v1", "APIResourceList"));
    let mut description = operation(&names, &format!("get{}APIResources", names.camel), &[]);
    description["responses"] = responses(&["200"], &list, &[]);
    items.insert(root.clone(), json!({ "get": description }));
    for resource in resources {
        Writer { names: &names, schemas, items: &mut items, resource }.resource(&root);
    }
    Value::Object(items)
}

/// How operations of a group version are called.
struct Names {
    /// `AppsV1`, `RbacAuthorizationV1`, `CoreV1`.
    camel: String,
    /// `apps_v1`, `rbacAuthorization_v1`, `core_v1`.
    tag: String,
}

impl Names {
    fn of(group_version: &GroupVersion) -> Names {
        let group = group_version.group.strip_suffix(".k8s.io").unwrap_or(&group_version.group);
        let group = if group.is_empty() { "core" } else { group };
        let camel: String = group.split(['.', '-']).map(capitalised).collect();
        let version = &group_version.version;
        Names { camel: format!("{camel}{}", capitalised(version)), tag: format!("{}_{version}", uncapitalised(&camel)) }
    }
}

struct Writer<'a, 'b> {
    names: &'a Names,
    schemas: &'a mut Components<'b>,
    items: &'a mut Map<String, Value>,
    resource: &'a ServedResource,
}

impl Writer<'_, '_> {
    fn resource(&mut self, root: &str) {
        let resource = self.resource;
        let scope = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let collection = format!("{root}{scope}{}", resource.name);
        let in_namespace: &[&str] = if resource.namespaced { &["namespace"] } else { &[] };
        self.collection(&collection, in_namespace);
        if resource.namespaced && self.serves("list") {
            let kind = &resource.gvk.kind;
            let identifier = format!("list{}{kind}ForAllNamespaces", self.names.camel);
            let get = self.list_operation(&identifier);
            self.insert(format!("{root}{}", resource.name), &[], Map::from_iter([("get".to_string(), get)]));
        }
        let in_object: Vec<&str> = std::iter::once("name").chain(in_namespace.iter().copied()).collect();
        let object = format!("{collection}/{{name}}");
        self.object(&object, &in_object);
        for subresource in &resource.subresources {
            self.subresource(&format!("{object}/{}", subresource.name), &in_object, subresource);
        }
    }

    fn collection(&mut self, path: &str, parameters: &[&str]) {
        let mut operations = Map::new();
        let middle = self.middle();
        if self.serves("list") {
            let get = self.list_operation(&format!("list{}{middle}", self.names.camel));
            operations.insert("get".into(), get);
        }
        if self.serves("create") {
            let object = self.object_schema();
            let identifier = format!("create{}{middle}", self.names.camel);
            let gvk = &self.resource.gvk;
            operations.insert("post".into(), write_operation(self.names, "post", &identifier, gvk, &object));
        }
        if self.serves("deletecollection") {
            let identifier = format!("delete{}Collection{middle}", self.names.camel);
            let mut parameters: Vec<(&str, &str)> = LIST_PARAMETERS.to_vec();
            parameters.retain(|(name, _)| !matches!(*name, "watch" | "allowWatchBookmarks"));
            parameters.extend(DELETE_PARAMETERS);
            parameters.sort_unstable();
            let mut delete = operation(self.names, &identifier, &parameters);
            describe(&mut delete, "deletecollection", &self.resource.gvk);
            delete["requestBody"] = self.delete_options();
            delete["responses"] = responses(&["200"], &self.meta("Status"), &[]);
            operations.insert("delete".into(), delete);
        }
        self.insert(path.to_string(), parameters, operations);
    }

    fn object(&mut self, path: &str, parameters: &[&str]) {
        let mut operations = Map::new();
        let (camel, middle, gvk) = (&self.names.camel, self.middle(), &self.resource.gvk);
        let object = self.object_schema();
        if self.serves("get") {
            operations.insert("get".into(), read_operation(self.names, &format!("read{camel}{middle}"), gvk, &object));
        }
        if self.serves("update") {
            let identifier = format!("replace{camel}{middle}");
            operations.insert("put".into(), write_operation(self.names, "put", &identifier, gvk, &object));
        }
        if self.serves("patch") {
            let body = self.schemas.patch();
            let identifier = format!("patch{camel}{middle}");
            operations.insert("patch".into(), patch_operation(self.names, &identifier, gvk, &object, &body));
        }
        if self.serves("delete") {
            let mut delete = operation(self.names, &format!("delete{camel}{middle}"), DELETE_PARAMETERS);
            describe(&mut delete, "delete", gvk);
            delete["requestBody"] = self.delete_options();
            let answer = if self.resource.answers_delete_with_object { object } else { self.meta("Status") };
            delete["responses"] = responses(&["200", "202"], &answer, &[]);
            operations.insert("delete".into(), delete);
        }
        self.insert(path.to_string(), parameters, operations);
    }

    fn subresource(&mut self, path: &str, parameters: &[&str], subresource: &ServedSubresource) {
        let mut operations = Map::new();
        let (camel, gvk) = (&self.names.camel, &subresource.gvk);
        let middle = format!("{}{}", self.middle(), capitalised(&subresource.name));
        let object = match &self.resource.schemas {
            Some(schemas) if *gvk == self.resource.gvk => self.schemas.custom(schemas, false),
            _ => self.schemas.kind(gvk),
        };
        // Proxies, exec and the like take query parameters of their options' kind.
        let connects = gvk.kind.ends_with("Options");
        for verb in &subresource.verbs {
            let (method, action) = match verb.as_str() {
                "get" => ("get", "read"),
                "create" => ("post", "create"),
                "update" => ("put", "replace"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                _ => continue,
            };
            let described = if connects {
                let identifier = format!("connect{camel}{}{middle}", capitalised(method));
                let mut connect = operation(self.names, &identifier, &[]);
                describe(&mut connect, "connect", gvk);
                connect["responses"] = json!({ "200": { "description": "OK", "content": { "*/*": { "schema": { "type": "string" } } } }, "401": { "description": "Unauthorized" } });
                connect
            } else {
                let identifier = format!("{action}{camel}{middle}");
                match method {
                    "get" => read_operation(self.names, &identifier, gvk, &object),
                    "patch" => {
                        let body = self.schemas.patch();
                        patch_operation(self.names, &identifier, gvk, &object, &body)
                    }
                    _ => write_operation(self.names, method, &identifier, gvk, &object),
                }
            };
            operations.insert(method.into(), described);
        }
        self.insert(path.to_string(), parameters, operations);
    }

    fn list_operation(&mut self, identifier: &str) -> Value {
        let gvk = &self.resource.gvk;
        let list = match &self.resource.schemas {
            Some(schemas) => self.schemas.custom(schemas, true),
            None => {
                let kind = GroupVersionKind { kind: format!("{}List", gvk.kind).into(), ..gvk.clone() };
                self.schemas.kind(&kind)
            }
        };
        if self.serves("watch") {
            self.meta("WatchEvent");
        }
        let mut get = operation(self.names, identifier, LIST_PARAMETERS);
        describe(&mut get, "list", gvk);
        get["responses"] = responses(&["200"], &list, &WATCH_MEDIA_TYPES);
        get
    }

    fn object_schema(&mut self) -> Value {
        match &self.resource.schemas {
            Some(schemas) => self.schemas.custom(schemas, false),
            None => self.schemas.kind(&self.resource.gvk),
        }
    }

    /// A kind that every group version has.
    fn meta(&mut self, kind: &str) -> Value {
        self.schemas.kind(&GroupVersionKind::new("", "v1", kind))
    }

    fn delete_options(&mut self) -> Value {
        json!({ "content": { "*/*": { "schema": self.meta("DeleteOptions") } } })
    }

    fn serves(&self, verb: &str) -> bool {
        self.resource.verbs.iter().any(|served| served == verb)
    }

    /// `NamespacedDeployment`, `Node`.
    fn middle(&self) -> String {
        format!("{}{}", if self.resource.namespaced { "Namespaced" } else { "" }, self.resource.gvk.kind)
    }

    fn insert(&mut self, path: String, parameters: &[&str], mut operations: Map<String, Value>) {
        if operations.is_empty() {
            return;
        }
        let in_path = |name: &&str| json!({ "in": "path", "name": name, "required": true, "schema": { "type": "string", "uniqueItems": true } });
        let mut described: Vec<Value> = parameters.iter().map(in_path).collect();
        described.push(query_parameter("pretty", "string"));
        operations.insert("parameters".into(), described.into());
        self.items.insert(path, Value::Object(operations));
    }
}

fn operation(names: &Names, identifier: &str, parameters: &[(&str, &str)]) -> Value {
    let mut operation = json!({ "operationId": identifier, "tags": [names.tag] });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.iter().map(|(name, kind)| query_parameter(name, kind)).collect();
    }
    operation
}

fn describe(operation: &mut Value, action: &str, gvk: &GroupVersionKind) {
    operation["x-kubernetes-action"] = action.into();
    operation["x-kubernetes-group-version-kind"] =
        json!({ "group": *gvk.group, "version": *gvk.version, "kind": *gvk.kind });
}

fn read_operation(names: &Names, identifier: &str, gvk: &GroupVersionKind, object: &Value) -> Value {
    let mut read = operation(names, identifier, &[]);
    describe(&mut read, "get", gvk);
    read["responses"] = responses(&["200"], object, &[]);
    read
}

fn write_operation(names: &Names, method: &str, identifier: &str, gvk: &GroupVersionKind, object: &Value) -> Value {
    let mut write = operation(names, identifier, WRITE_PARAMETERS);
    describe(&mut write, method, gvk);
    write["requestBody"] = json!({ "content": { "*/*": { "schema": object } }, "required": true });
    let codes: &[&str] = if method == "post" { &["200", "201", "202"] } else { &["200", "201"] };
    write["responses"] = responses(codes, object, &[]);
    write
}

fn patch_operation(names: &Names, identifier: &str, gvk: &GroupVersionKind, object: &Value, body: &Value) -> Value {
    let parameters: Vec<(&str, &str)> = WRITE_PARAMETERS.iter().copied().chain([("force", "boolean")]).collect();
    let mut patch = operation(names, identifier, &parameters);
    describe(&mut patch, "patch", gvk);
    let content: Map<String, Value> =
        PATCH_MEDIA_TYPES.iter().map(|media| ((*media).to_string(), json!({ "schema": body }))).collect();
    patch["requestBody"] = json!({ "content": content, "required": true });
    patch["responses"] = responses(&["200", "201"], object, &[]);
    patch
}

fn responses(codes: &[&str], schema: &Value, more_media_types: &[&str]) -> Value {
    let media_types = MEDIA_TYPES.iter().chain(more_media_types);
    let content: Map<String, Value> =
        media_types.map(|media| ((*media).to_string(), json!({ "schema": schema }))).collect();
    let mut responses = Map::new();
    for code in codes {
        let description = match *code {
            "200" => "OK",
            "201" => "Created",
            _ => "Accepted",
        };
        responses.insert((*code).into(), json!({ "description": description, "content": content }));
    }
    responses.insert("401".into(), json!({ "description": "Unauthorized" }));
    Value::Object(responses)
}

fn query_parameter(name: &str, kind: &str) -> Value {
    json!({ "in": "query", "name": name, "schema": { "type": kind, "uniqueItems": true } })
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

fn uncapitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}
