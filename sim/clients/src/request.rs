//! Requests as data: what is sent, and how the history names it.
//!
//! A request is made once and may be sent several times; each sending is an operation of its own in the history.

use http::Method;
use serde_json::{Value, json};
use triune_history::{Object, ObjectKey, Operation, OperationId, Version, WatchFrom};

use crate::{http::Message, kind::Kind};

const JSON: &str = "application/json";

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// As sent.
    pub message: Message,
    /// As recorded.
    pub operation: Operation,
    /// Whether it only reads: such requests may be sent again when nobody knows what became of them.
    pub reads: bool,
}

/// The media type of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 7386.
    Merge,
    /// Kubernetes' own.
    Strategic,
    /// RFC 6902.
    Json,
}

impl PatchKind {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            PatchKind::Merge => ("merge", "application/merge-patch+json"),
            PatchKind::Strategic => ("strategic", "application/strategic-merge-patch+json"),
            PatchKind::Json => ("json", "application/json-patch+json"),
        }
    }
}

/// What an object must be for a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// `preconditions.uid`.
    pub uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub revision: Option<u64>,
}

/// Which objects, of a list, a watch or a deletecollection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Of which kind.
    pub kind: Kind,
    /// Empty for all.
    pub namespace: String,
    /// Equalities.
    pub labels: Vec<(String, String)>,
}

/// How a list is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// At which revision.
    pub version: Version,
    /// Page size; 0 for all.
    pub limit: u64,
    /// Whether `resourceVersionMatch` is left out as client-go's reflectors do: with a limit, N means exactly N then.
    pub legacy: bool,
    /// The first page of this chain, and the token that goes on.
    pub continues: Option<(OperationId, String)>,
}

impl Paging {
    /// All at once.
    pub fn whole(version: Version) -> Paging {
        Paging { version, limit: 0, legacy: false, continues: None }
    }
}

impl Request {
    fn read(path: String, operation: Operation) -> Request {
        let message = Message { method: Method::GET, path, content_type: "", body: bytes::Bytes::new() };
        Request { message, operation, reads: true }
    }

    fn write(method: Method, path: String, content_type: &'static str, body: &Value, operation: Operation) -> Request {
        let (content_type, body) =
            if body.is_null() { ("", bytes::Bytes::new()) } else { (content_type, body.to_string().into()) };
        Request { message: Message { method, path, content_type, body }, operation, reads: false }
    }

    /// POST; without a name the object has a `generateName`.
    pub fn create(kind: Kind, namespace: &str, object: Value) -> Request {
        let operation = Operation::Create { key: key_of(kind, &object, namespace), object: None };
        let mut request = Request::write(Method::POST, kind.path(namespace), JSON, &object, operation);
        if let Operation::Create { object: sent, .. } = &mut request.operation {
            *sent = Object::from_json(object, None);
        }
        request
    }

    /// PUT; conditional if the object has a resourceVersion.
    pub fn update(kind: Kind, object: Value) -> Request {
        Request::put(kind, object, "")
    }

    /// PUT of a namespace's `spec.finalizers`.
    pub fn finalize(namespace: Value) -> Request {
        Request::put(Kind::Namespaces, namespace, "/finalize")
    }

    fn put(kind: Kind, object: Value, subresource: &str) -> Request {
        let key = key_of(kind, &object, "");
        let path = format!("{}/{}{subresource}", kind.path(&key.namespace), key.name);
        let expect = revision_of(&object);
        // A nameless object is refused by the server; the history needs something all the same.
        let nothing = Operation::Path { path: path.clone() };
        let mut request = Request::write(Method::PUT, path, JSON, &object, nothing);
        if let Some(object) = Object::from_json(object, None) {
            request.operation = Operation::Update { key, expect, object };
        }
        request
    }

    /// PATCH; conditional on `expect`, which is put into the patch.
    pub fn patch(kind: Kind, key: &ObjectKey, patch_kind: PatchKind, mut patch: Value, expect: Option<u64>) -> Request {
        if let Some(revision) = expect {
            let revision = json!(revision.to_string());
            match (&mut patch, patch_kind) {
                (Value::Array(steps), PatchKind::Json) => {
                    steps.insert(0, json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": revision }));
                }
                (other, _) => other["metadata"]["resourceVersion"] = revision,
            }
        }
        let (name, media_type) = patch_kind.names();
        let operation = Operation::Patch { key: key.clone(), expect, kind: name.into(), patch: patch.to_string() };
        let path = format!("{}/{}", kind.path(&key.namespace), key.name);
        Request::write(Method::PATCH, path, media_type, &patch, operation)
    }

    /// Server-side apply of a configuration, by force.
    pub fn apply(kind: Kind, key: &ObjectKey, manager: &str, configuration: &Value) -> Request {
        let patch = configuration.to_string();
        let operation = Operation::Patch { key: key.clone(), expect: None, kind: "apply".into(), patch };
        let query = [("fieldManager", manager.to_owned()), ("force", "true".to_owned())];
        let path = with_query(format!("{}/{}", kind.path(&key.namespace), key.name), &query);
        Request::write(Method::PATCH, path, "application/apply-patch+yaml", configuration, operation)
    }

    /// DELETE of one object.
    pub fn delete(kind: Kind, key: &ObjectKey, preconditions: &Preconditions) -> Request {
        let Preconditions { uid, revision } = preconditions.clone();
        let mut body = Value::Null;
        if uid.is_some() || revision.is_some() {
            body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {} });
            if let Some(uid) = &uid {
                body["preconditions"]["uid"] = json!(uid);
            }
            if let Some(revision) = revision {
                body["preconditions"]["resourceVersion"] = json!(revision.to_string());
            }
        }
        let operation = Operation::Delete { key: key.clone(), uid, expect: revision };
        let path = format!("{}/{}", kind.path(&key.namespace), key.name);
        Request::write(Method::DELETE, path, JSON, &body, operation)
    }

    /// DELETE of a collection.
    pub fn delete_collection(selection: &Selection) -> Request {
        let Selection { kind, namespace, labels } = selection;
        let operation = Operation::DeleteCollection {
            resource: kind.resource(),
            namespace: namespace.clone(),
            labels: labels.clone(),
        };
        let path = with_query(kind.path(namespace), &selector(labels));
        Request::write(Method::DELETE, path, JSON, &Value::Null, operation)
    }

    /// GET of one object; linearizable without `at_least`.
    pub fn get(kind: Kind, key: &ObjectKey, at_least: Option<u64>) -> Request {
        let path = format!("{}/{}", kind.path(&key.namespace), key.name);
        match at_least {
            None => Request::read(path, Operation::Get { key: key.clone() }),
            Some(at_least) => {
                let path = with_query(path, &[("resourceVersion", at_least.to_string())]);
                Request::read(path, Operation::GetCached { key: key.clone(), at_least })
            }
        }
    }

    /// GET of many.
    pub fn list(selection: &Selection, paging: &Paging) -> Request {
        let Selection { kind, namespace, labels } = selection;
        let mut query = selector(labels);
        if paging.limit > 0 {
            query.push(("limit", paging.limit.to_string()));
        }
        let mut version = paging.version;
        if let Some((_, token)) = &paging.continues {
            query.push(("continue", token.clone()));
            version = Version::Latest;
        }
        let (revision, matching) = match version {
            Version::Latest => (None, ""),
            Version::Any => (Some(0), ""),
            Version::NotOlderThan(revision) => (Some(revision), "NotOlderThan"),
            Version::Exact(revision) => (Some(revision), "Exact"),
        };
        query.extend(revision.map(|revision| ("resourceVersion", revision.to_string())));
        if !matching.is_empty() && !paging.legacy {
            query.push(("resourceVersionMatch", matching.to_owned()));
        }
        if let (Version::NotOlderThan(revision), true, 1..) = (version, paging.legacy, paging.limit) {
            version = Version::Exact(revision);
        }
        let operation = Operation::List {
            resource: kind.resource(),
            namespace: namespace.clone(),
            labels: labels.clone(),
            version,
            limit: paging.limit,
            continues: paging.continues.as_ref().map(|(first, _)| *first),
        };
        Request::read(with_query(kind.path(namespace), &query), operation)
    }

    /// A watch. [`WatchFrom::WatchList`] needs bookmarks to show its end.
    pub fn watch(selection: &Selection, from: WatchFrom, bookmarks: bool, timeout_seconds: u64) -> Request {
        let Selection { kind, namespace, labels } = selection;
        let mut query = vec![("watch", "1".to_owned())];
        query.extend(selector(labels));
        match from {
            WatchFrom::StateLatest => {}
            WatchFrom::StateAny => query.push(("resourceVersion", "0".to_owned())),
            WatchFrom::After(revision) => query.push(("resourceVersion", revision.to_string())),
            WatchFrom::WatchList(revision) => {
                query.push(("sendInitialEvents", "true".to_owned()));
                query.push(("resourceVersionMatch", "NotOlderThan".to_owned()));
                if revision > 0 {
                    query.push(("resourceVersion", revision.to_string()));
                }
            }
        }
        if bookmarks {
            query.push(("allowWatchBookmarks", "true".to_owned()));
        }
        if timeout_seconds > 0 {
            query.push(("timeoutSeconds", timeout_seconds.to_string()));
        }
        let operation = Operation::Watch {
            resource: kind.resource(),
            namespace: namespace.clone(),
            labels: labels.clone(),
            from,
            bookmarks,
            timeout_seconds,
        };
        Request::read(with_query(kind.path(namespace), &query), operation)
    }

    /// GET of a path that is no resource.
    pub fn path(path: &str) -> Request {
        Request::read(path.to_owned(), Operation::Path { path: path.to_owned() })
    }
}

/// `metadata.resourceVersion` of an object.
pub fn revision_of(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// The key of an object; `namespace` counts if it names none itself.
pub fn key_of(kind: Kind, object: &Value, namespace: &str) -> ObjectKey {
    let metadata = &object["metadata"];
    ObjectKey {
        resource: kind.resource(),
        namespace: metadata["namespace"].as_str().unwrap_or(namespace).to_owned(),
        name: metadata["name"].as_str().unwrap_or_default().to_owned(),
    }
}

fn selector(labels: &[(String, String)]) -> Vec<(&'static str, String)> {
    if labels.is_empty() {
        return Vec::new();
    }
    let terms: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![("labelSelector", terms.join(","))]
}

fn with_query(path: String, query: &[(&str, String)]) -> String {
    if query.is_empty() {
        return path;
    }
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(query);
    format!("{path}?{}", encoded.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &Request, expect: &str) {
        let body = String::from_utf8_lossy(&request.message.body);
        let found = format!("{} {} {body}", request.message.method, request.message.path);
        assert_eq!(found.trim_end(), expect, "{:?}", request.operation);
    }

    fn maps(labels: &[(String, String)]) -> Selection {
        Selection { kind: Kind::ConfigMaps, namespace: "n".into(), labels: labels.to_vec() }
    }

    #[test]
    fn lists() {
        let list = |version, limit, legacy, continues| {
            Request::list(&maps(&[]), &Paging { version, limit, legacy, continues })
        };
        let path = "GET /api/v1/namespaces/n/configmaps";
        check(&list(Version::Latest, 0, false, None), path);
        check(&list(Version::Any, 5, false, None), &format!("{path}?limit=5&resourceVersion=0"));
        let exact = list(Version::Exact(7), 0, false, None);
        check(&exact, &format!("{path}?resourceVersion=7&resourceVersionMatch=Exact"));
        let page = list(Version::Exact(7), 2, false, Some((OperationId(1), "a/b".into())));
        check(&page, &format!("{path}?limit=2&continue=a%2Fb"));
        let legacy = list(Version::NotOlderThan(7), 2, true, None);
        check(&legacy, &format!("{path}?limit=2&resourceVersion=7"));
        assert!(matches!(legacy.operation, Operation::List { version: Version::Exact(7), .. }));
    }

    #[test]
    fn watches() {
        let labels = [("group".to_owned(), "red".to_owned()), ("a".to_owned(), "b".to_owned())];
        let path = "GET /api/v1/namespaces/n/configmaps?watch=1";
        let watch = |labels: &[_], from| Request::watch(&maps(labels), from, false, 0);
        check(&watch(&[], WatchFrom::StateLatest), path);
        check(
            &watch(&labels, WatchFrom::StateAny),
            &format!("{path}&labelSelector=group%3Dred%2Ca%3Db&resourceVersion=0"),
        );
        let list = Request::watch(&maps(&[]), WatchFrom::WatchList(0), true, 9);
        let query =
            "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=9";
        check(&list, &format!("{path}{query}"));
        check(&watch(&[], WatchFrom::After(3)), &format!("{path}&resourceVersion=3"));
    }

    #[test]
    fn writes() {
        let key = ObjectKey { resource: "configmaps".into(), namespace: "n".into(), name: "a".into() };
        let delete =
            Request::delete(Kind::ConfigMaps, &key, &Preconditions { uid: Some("u".into()), revision: Some(3) });
        let options = r#"{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"resourceVersion":"3","uid":"u"}}"#;
        check(&delete, &format!("DELETE /api/v1/namespaces/n/configmaps/a {options}"));
        check(
            &Request::delete(Kind::ConfigMaps, &key, &Preconditions::default()),
            "DELETE /api/v1/namespaces/n/configmaps/a",
        );
        let patch = Request::patch(Kind::ConfigMaps, &key, PatchKind::Json, json!([]), Some(4));
        let body = r#"[{"op":"replace","path":"/metadata/resourceVersion","value":"4"}]"#;
        check(&patch, &format!("PATCH /api/v1/namespaces/n/configmaps/a {body}"));
        let update = Request::finalize(json!({"metadata": {"name": "x", "resourceVersion": "5"}}));
        check(&update, r#"PUT /api/v1/namespaces/x/finalize {"metadata":{"name":"x","resourceVersion":"5"}}"#);
        assert!(matches!(update.operation, Operation::Update { expect: Some(5), .. }));
        check(&Request::delete_collection(&maps(&[])), "DELETE /api/v1/namespaces/n/configmaps");
        assert_eq!(Kind::Leases.path(""), "/apis/coordination.k8s.io/v1/leases");
    }
}
