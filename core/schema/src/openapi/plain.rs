//! Paths that are no resources: the roots of discovery, the version, the token issuer.

use std::sync::Arc;

use super::{
    capitalised,
    operations::{Model, Operation, PathItem, Paths},
    resources::{DISCOVERY_MEDIA_TYPES, camel_of_group},
    uncapitalised,
};

/// A path with a document of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plain {
    /// `/api/`
    Versions,
    /// `/apis/`
    Groups,
    /// `/apis/<group>/`
    Group(Arc<str>),
    /// `/version/`
    Version,
    /// `/.well-known/openid-configuration/`
    IssuerConfiguration,
    /// `/openid/v1/jwks/`
    IssuerKeys,
}

impl Plain {
    /// The path without slashes at its ends, which is also that of its document under `/openapi/v3/`.
    pub fn path(&self) -> String {
        match self {
            Plain::Versions => "api".into(),
            Plain::Groups => "apis".into(),
            Plain::Group(group) => format!("apis/{group}"),
            Plain::Version => "version".into(),
            Plain::IssuerConfiguration => ".well-known/openid-configuration".into(),
            Plain::IssuerKeys => "openid/v1/jwks".into(),
        }
    }

    pub(super) fn add_to(&self, paths: &mut Paths<'_>) {
        let discovery = |identifier: String, tag: String, kind: &str| Operation {
            consumes: &DISCOVERY_MEDIA_TYPES,
            produces: DISCOVERY_MEDIA_TYPES.to_vec(),
            ..answers(identifier, tag, Model::meta(kind))
        };
        let operation = match self {
            Plain::Versions => discovery("getCoreAPIVersions".into(), "core".into(), "APIVersions"),
            Plain::Groups => discovery("getAPIVersions".into(), "apis".into(), "APIGroupList"),
            Plain::Group(group) => {
                let camel = camel_of_group(group);
                discovery(format!("get{}APIGroup", capitalised(&camel)), uncapitalised(&camel), "APIGroup")
            }
            Plain::Version => Operation {
                consumes: &["application/json"],
                produces: vec!["application/json"],
                ..answers("getCodeVersion".into(), "version".into(), Model::VersionInfo)
            },
            Plain::IssuerConfiguration => Operation {
                produces: vec!["application/json"],
                ..answers("getServiceAccountIssuerOpenIDConfiguration".into(), "WellKnown".into(), Model::Text)
            },
            Plain::IssuerKeys => Operation {
                produces: vec!["application/jwk-set+json"],
                ..answers("getServiceAccountIssuerOpenIDKeyset".into(), "openid".into(), Model::Text)
            },
        };
        let mut item = PathItem::default();
        item.operations.insert("get", operation);
        paths.insert(format!("/{}/", self.path()), item);
    }
}

fn answers(identifier: String, tag: String, model: Model<'static>) -> Operation<'static> {
    Operation { identifier, tag, answers: vec![("200", model)], ..Operation::default() }
}

/// The fields of `/version`, in Go's order, and whether they are always there. They are text.
pub(super) const VERSION_INFO: [(&str, bool); 13] = [
    ("major", true),
    ("minor", true),
    ("gitVersion", true),
    ("gitCommit", true),
    ("gitTreeState", true),
    ("buildDate", true),
    ("goVersion", true),
    ("compiler", true),
    ("platform", true),
    ("emulationMajor", false),
    ("emulationMinor", false),
    ("minCompatibilityMajor", false),
    ("minCompatibilityMinor", false),
];
