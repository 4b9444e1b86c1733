//! Paths and their operations, as both versions of OpenAPI describe them (kube-openapi `pkg/builder`).
//!
//! Invariant: a parameter that all operations of a path share is stated once, at the path.

use std::{borrow::Cow, collections::BTreeMap};

use triune_api::names::GroupVersionKind;

use super::CustomSchemas;

/// Items by path.
pub(super) type Paths<'a> = BTreeMap<String, PathItem<'a>>;

/// What is served at a path.
#[derive(Default)]
pub(super) struct PathItem<'a> {
    /// Those that all operations have.
    pub(super) parameters: Vec<Parameter>,
    /// By HTTP method, in lower case.
    pub(super) operations: BTreeMap<&'static str, Operation<'a>>,
}

/// One method of a path.
#[derive(Default)]
pub(super) struct Operation<'a> {
    /// Such as `listAppsV1NamespacedDeployment`.
    pub(super) identifier: String,
    /// Such as `apps_v1`.
    pub(super) tag: String,
    /// What it does to which kind, for resources.
    pub(super) action: Option<(&'static str, GroupVersionKind)>,
    /// Media types of bodies sent.
    pub(super) consumes: &'static [&'static str],
    /// Media types of answers.
    pub(super) produces: Vec<&'static str>,
    /// Those in the query and in the path, sorted once the item is finished.
    pub(super) parameters: Vec<Parameter>,
    /// What is sent, and whether it must be.
    pub(super) body: Option<(Model<'a>, bool)>,
    /// Codes and what is answered; every operation can answer 401 besides.
    pub(super) answers: Vec<(&'static str, Model<'a>)>,
}

/// A parameter other than the body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parameter {
    pub(super) name: Cow<'static, str>,
    pub(super) place: Place,
    /// `string`, `boolean`, `integer`.
    pub(super) kind: &'static str,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Path,
    Query,
}

impl Place {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
        }
    }
}

/// What a body is.
#[derive(Clone)]
pub(super) enum Model<'a> {
    /// Plain text.
    Text,
    /// A kind that the facts know.
    Kind(GroupVersionKind),
    /// Any patch.
    Patch,
    /// What `/version` answers.
    VersionInfo,
    /// An object of a custom resource.
    Custom(&'a CustomSchemas),
    /// A list of them.
    CustomList(&'a CustomSchemas),
}

impl Model<'_> {
    /// A kind that every group version has.
    pub(super) fn meta(kind: &str) -> Model<'static> {
        Model::Kind(GroupVersionKind::new("", "v1", kind))
    }
}

impl Parameter {
    pub(super) fn in_path(name: &'static str) -> Parameter {
        Parameter { name: name.into(), place: Place::Path, kind: "string" }
    }

    pub(super) fn in_query(name: impl Into<Cow<'static, str>>, kind: &'static str) -> Parameter {
        Parameter { name: name.into(), place: Place::Query, kind }
    }
}

impl PathItem<'_> {
    /// Moves what all operations share to the path.
    pub(super) fn finish(&mut self) {
        for operation in self.operations.values_mut() {
            operation.parameters.sort();
        }
        let Some(first) = self.operations.values().next() else { return };
        let shared = |parameter: &&Parameter| {
            self.operations.values().all(|operation| operation.parameters.binary_search(parameter).is_ok())
        };
        let shared: Vec<Parameter> = first.parameters.iter().filter(shared).cloned().collect();
        for operation in self.operations.values_mut() {
            operation.parameters.retain(|parameter| shared.binary_search(parameter).is_err());
        }
        self.parameters = shared;
    }
}

/// The word for a code.
pub(super) fn reason(code: &str) -> &'static str {
    match code {
        "200" => "OK",
        "201" => "Created",
        "202" => "Accepted",
        _ => "Unauthorized",
    }
}
