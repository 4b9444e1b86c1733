//! Path items of resources: the operations on each resource and subresource (apiserver `pkg/endpoints/installer.go`).

use triune_api::names::{GroupVersion, GroupVersionKind};

use super::{
    ServedResource, ServedSubresource, capitalised, group_version_path,
    operations::{Model, Operation, Parameter, Paths},
    uncapitalised,
};
use crate::facts::{Facts, Kind};

/// Media types of discovery, and the first ones of every answer.
pub(super) const DISCOVERY_MEDIA_TYPES: [&str; 3] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAM_MEDIA_TYPES: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const ANY_MEDIA_TYPE: &[&str] = &["*/*"];
const PATCH_MEDIA_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
/// Strategic patches need a type that says how lists are merged.
const CUSTOM_PATCH_MEDIA_TYPES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

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
/// Subresources that are read with options of a kind, which stand in the query: resource, subresource, kind.
const READ_WITH_OPTIONS: &[(&str, &str, &str)] = &[("pods", "log", "PodLogOptions")];
/// Resources, by group and version, whose deletes the reference describes as answered with a Status, although the object
/// comes.
const DELETES_DESCRIBED_AS_STATUS: &[(&str, &str, &str)] =
    &[("", "v1", "namespaces"), ("resource.k8s.io", "v1", "devicetaintrules")];

/// Adds the items of a group version.
pub(super) fn add_to<'a>(
    paths: &mut Paths<'a>,
    facts: &Facts,
    group_version: &GroupVersion,
    resources: &'a [ServedResource],
) {
    let names = Names::of(group_version);
    let root = format!("/{}/", group_version_path(group_version));
    let list = Operation {
        identifier: format!("get{}APIResources", names.camel),
        tag: names.tag.clone(),
        consumes: &DISCOVERY_MEDIA_TYPES,
        produces: DISCOVERY_MEDIA_TYPES.to_vec(),
        answers: vec![("200", Model::meta("APIResourceList"))],
        ..Operation::default()
    };
    paths.entry(root.clone()).or_default().operations.insert("get", list);
    for resource in resources {
        Writer { facts, names: &names, paths, resource, root: &root }.resource();
    }
}

/// `Apps`, `RbacAuthorization`, `Core`.
pub(super) fn camel_of_group(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    group.split(['.', '-']).map(capitalised).collect()
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
        let camel = camel_of_group(&group_version.group);
        let version = &group_version.version;
        Names { camel: format!("{camel}{}", capitalised(version)), tag: format!("{}_{version}", uncapitalised(&camel)) }
    }
}

struct Writer<'w, 'a> {
    facts: &'w Facts,
    names: &'w Names,
    paths: &'w mut Paths<'a>,
    resource: &'a ServedResource,
    root: &'w str,
}

impl<'a> Writer<'_, 'a> {
    fn resource(&mut self) {
        let (resource, root) = (self.resource, self.root);
        let scope = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let collection = format!("{root}{scope}{}", resource.name);
        let mut parameters = vec![Parameter::in_query("pretty", "string")];
        if resource.namespaced {
            if self.serves("list") {
                let list = self.list(format!("{}ForAllNamespaces", resource.gvk.kind), "", &parameters);
                self.insert(format!("{root}{}", resource.name), "get", list);
                self.watch(format!("{root}watch/{}", resource.name), "ListForAllNamespaces", false, &parameters);
            }
            parameters.push(Parameter::in_path("namespace"));
        }
        self.collection(&collection, &parameters);
        self.watch(format!("{root}watch/{scope}{}", resource.name), "List", resource.namespaced, &parameters);
        parameters.push(Parameter::in_path("name"));
        let object = format!("{collection}/{{name}}");
        self.object(&object, &parameters);
        self.watch(format!("{root}watch/{scope}{}/{{name}}", resource.name), "", resource.namespaced, &parameters);
        for subresource in &resource.subresources {
            self.subresource(&format!("{object}/{}", subresource.name), &parameters, subresource);
        }
    }

    fn collection(&mut self, path: &str, parameters: &[Parameter]) {
        if self.serves("list") {
            let list = self.list(String::new(), &self.middle(), parameters);
            self.insert(path.into(), "get", list);
        }
        if self.serves("create") {
            let create = self.write("create", "post", &self.middle(), &self.resource.gvk, self.model(), parameters);
            self.insert(path.into(), "post", create);
        }
        if self.serves("deletecollection") {
            let identifier = format!("delete{}Collection{}", self.names.camel, self.middle());
            let selecting =
                LIST_PARAMETERS.iter().filter(|(name, _)| !matches!(*name, "watch" | "allowWatchBookmarks"));
            let more = selecting.chain(DELETE_PARAMETERS);
            let mut delete = self.operation(identifier, "deletecollection", &self.resource.gvk, parameters, more);
            delete.body = Some((Model::meta("DeleteOptions"), false));
            delete.answers = vec![("200", Model::meta("Status"))];
            self.insert(path.into(), "delete", delete);
        }
    }

    fn object(&mut self, path: &str, parameters: &[Parameter]) {
        let (camel, middle, gvk) = (&self.names.camel, self.middle(), &self.resource.gvk);
        if self.serves("get") {
            let mut read = self.operation(format!("read{camel}{middle}"), "get", gvk, parameters, &[]);
            read.answers = vec![("200", self.model())];
            self.insert(path.into(), "get", read);
        }
        if self.serves("update") {
            let replace = self.write("replace", "put", &middle, gvk, self.model(), parameters);
            self.insert(path.into(), "put", replace);
        }
        if self.serves("patch") {
            let patch = self.patch(&middle, gvk, self.model(), parameters);
            self.insert(path.into(), "patch", patch);
        }
        if self.serves("delete") {
            let identifier = format!("delete{}{middle}", self.names.camel);
            let mut delete = self.operation(identifier, "delete", gvk, parameters, DELETE_PARAMETERS);
            delete.body = Some((Model::meta("DeleteOptions"), false));
            let with_object = self.resource.answers_delete_with_object
                && !DELETES_DESCRIBED_AS_STATUS.contains(&(&*gvk.group, &*gvk.version, self.resource.name.as_str()));
            let answer = if with_object { self.model() } else { Model::meta("Status") };
            delete.answers = vec![("200", answer.clone()), ("202", answer)];
            self.insert(path.into(), "delete", delete);
        }
    }

    fn subresource(&mut self, path: &str, parameters: &[Parameter], subresource: &ServedSubresource) {
        let gvk = &subresource.gvk;
        // Proxies, exec and the like take query parameters of their options' kind.
        if gvk.kind.ends_with("Options") {
            return self.connect(path, parameters, subresource);
        }
        let middle = format!("{}{}", self.middle(), capitalised(&subresource.name));
        let model = match &self.resource.schemas {
            Some(schemas) if *gvk == self.resource.gvk => Model::Custom(schemas),
            _ => Model::Kind(gvk.clone()),
        };
        let options = READ_WITH_OPTIONS
            .iter()
            .find(|(resource, name, _)| *resource == self.resource.name && *name == subresource.name);
        for verb in &subresource.verbs {
            let (method, operation) = match verb.as_str() {
                "get" => {
                    let identifier = format!("read{}{middle}", self.names.camel);
                    let mut read = self.operation(identifier, "get", gvk, parameters, &[]);
                    read.answers = vec![("200", model.clone())];
                    if let Some((_, _, kind)) = options {
                        read.parameters.extend(self.options(&GroupVersionKind { kind: (*kind).into(), ..gvk.clone() }));
                        read.produces.insert(0, "text/plain");
                        read.answers = vec![("200", Model::Text)];
                    }
                    ("get", read)
                }
                "create" => ("post", self.write("create", "post", &middle, gvk, model.clone(), parameters)),
                "update" => ("put", self.write("replace", "put", &middle, gvk, model.clone(), parameters)),
                "patch" => ("patch", self.patch(&middle, gvk, model.clone(), parameters)),
                _ => continue,
            };
            self.insert(path.into(), method, operation);
        }
    }

    /// A subresource that passes requests on; a proxy takes all methods and any path behind its own.
    fn connect(&mut self, path: &str, parameters: &[Parameter], subresource: &ServedSubresource) {
        let proxies = subresource.verbs.iter().any(|verb| verb == "delete");
        let methods: &[&str] =
            if proxies { &["get", "post", "put", "patch", "delete", "head", "options"] } else { &["get", "post"] };
        let middle = format!("{}{}", self.middle(), capitalised(&subresource.name));
        for (suffix, name) in [("", ""), ("/{path}", "WithPath")].iter().take(if proxies { 2 } else { 1 }) {
            for method in methods {
                let identifier = format!("connect{}{}{middle}{name}", self.names.camel, capitalised(method));
                let mut connect = self.operation(identifier, "connect", &subresource.gvk, parameters, &[]);
                connect.parameters.retain(|parameter| parameter.name != "pretty");
                connect.parameters.extend(self.options(&subresource.gvk));
                connect.parameters.extend((!suffix.is_empty()).then(|| Parameter::in_path("path")));
                connect.produces = ANY_MEDIA_TYPE.to_vec();
                connect.answers = vec![("200", Model::Text)];
                self.insert(format!("{path}{suffix}"), method, connect);
            }
        }
    }

    /// The fields of an options' kind that the reference describes as parameters: no structs, nor times.
    fn options(&self, gvk: &GroupVersionKind) -> Vec<Parameter> {
        let Some(index) = self.facts.index_of(gvk) else { return Vec::new() };
        let fields = self.facts.declared_fields(self.facts.get(index)).iter().filter(|field| !field.inline);
        fields
            .filter_map(|field| {
                let shape = self.facts.pointee(field.shape).0;
                let shape = match shape.kind {
                    Kind::List(items) => self.facts.pointee(items).0,
                    _ => shape,
                };
                let kind = match shape.kind {
                    Kind::String => "string",
                    Kind::Bool => "boolean",
                    Kind::Integer(_) => "integer",
                    _ => return None,
                };
                Some(Parameter::in_query(field.name.to_string(), kind))
            })
            .collect()
    }

    fn list(&self, for_all: String, middle: &str, parameters: &[Parameter]) -> Operation<'a> {
        let gvk = &self.resource.gvk;
        let identifier = format!("list{}{middle}{for_all}", self.names.camel);
        let mut list = self.operation(identifier, "list", gvk, parameters, LIST_PARAMETERS);
        list.produces.extend(STREAM_MEDIA_TYPES);
        let model = match &self.resource.schemas {
            Some(schemas) => Model::CustomList(schemas),
            None => Model::Kind(GroupVersionKind { kind: format!("{}List", gvk.kind).into(), ..gvk.clone() }),
        };
        list.answers = vec![("200", model)];
        list
    }

    /// The old way to watch: a path of its own.
    fn watch(&mut self, path: String, suffix: &str, namespaced: bool, parameters: &[Parameter]) {
        if !self.serves("watch") {
            return;
        }
        let gvk = &self.resource.gvk;
        let scope = if namespaced { "Namespaced" } else { "" };
        let identifier = format!("watch{}{scope}{}{suffix}", self.names.camel, gvk.kind);
        let action = if suffix.is_empty() { "watch" } else { "watchlist" };
        let mut watch = self.operation(identifier, action, gvk, parameters, LIST_PARAMETERS);
        watch.produces.extend(STREAM_MEDIA_TYPES);
        watch.answers = vec![("200", Model::meta("WatchEvent"))];
        self.insert(path, "get", watch);
    }

    fn write(
        &self,
        verb: &str,
        method: &'static str,
        middle: &str,
        gvk: &GroupVersionKind,
        model: Model<'a>,
        parameters: &[Parameter],
    ) -> Operation<'a> {
        let identifier = format!("{verb}{}{middle}", self.names.camel);
        let mut write = self.operation(identifier, method, gvk, parameters, WRITE_PARAMETERS);
        let codes: &[&str] = if method == "post" { &["200", "201", "202"] } else { &["200", "201"] };
        write.answers = codes.iter().map(|code| (*code, model.clone())).collect();
        write.body = Some((model, true));
        write
    }

    fn patch(&self, middle: &str, gvk: &GroupVersionKind, model: Model<'a>, parameters: &[Parameter]) -> Operation<'a> {
        let identifier = format!("patch{}{middle}", self.names.camel);
        let more = WRITE_PARAMETERS.iter().chain(&[("force", "boolean")]);
        let mut patch = self.operation(identifier, "patch", gvk, parameters, more);
        patch.consumes = if self.resource.schemas.is_some() { CUSTOM_PATCH_MEDIA_TYPES } else { PATCH_MEDIA_TYPES };
        patch.body = Some((Model::Patch, true));
        patch.answers = vec![("200", model.clone()), ("201", model)];
        patch
    }

    fn operation(
        &self,
        identifier: String,
        action: &'static str,
        gvk: &GroupVersionKind,
        parameters: &[Parameter],
        more: impl IntoIterator<Item = &'static (&'static str, &'static str)>,
    ) -> Operation<'a> {
        let more = more.into_iter().map(|(name, kind)| Parameter::in_query(*name, kind));
        Operation {
            identifier,
            tag: self.names.tag.clone(),
            action: Some((action, gvk.clone())),
            consumes: ANY_MEDIA_TYPE,
            produces: DISCOVERY_MEDIA_TYPES.to_vec(),
            parameters: parameters.iter().cloned().chain(more).collect(),
            ..Operation::default()
        }
    }

    fn model(&self) -> Model<'a> {
        match &self.resource.schemas {
            Some(schemas) => Model::Custom(schemas),
            None => Model::Kind(self.resource.gvk.clone()),
        }
    }

    fn serves(&self, verb: &str) -> bool {
        self.resource.verbs.iter().any(|served| served == verb)
    }

    /// `NamespacedDeployment`, `Node`.
    fn middle(&self) -> String {
        format!("{}{}", if self.resource.namespaced { "Namespaced" } else { "" }, self.resource.gvk.kind)
    }

    fn insert(&mut self, path: String, method: &'static str, operation: Operation<'a>) {
        self.paths.entry(path).or_default().operations.insert(method, operation);
    }
}
