//! What is wrong with objects: the golden files have objects, changes of them, and what a kube-apiserver v1.37.2 answers to
//! each as a dry run. `tools/answers/record.py` wrote the answers; here a whole server in process must give them, too.
//!
//! A line of a file is one of:
//!
//! - `object NAME JSON`: an object that is valid
//! - `status NAME JSON`: its status, where changes of it start from one
//! - `create NAME CHANGES`: a POST of the object with the changes
//! - `update NAME[/SUBRESOURCE] CHANGES`: a PUT of the stored object with the changes
//!
//! Changes are `/pointer=JSON`; the pointer may end with `-` to append, and `@x*300` is a text of 300 letters. The answer
//! follows, indented: `ok`, or a line `field: message` for each cause, or code, reason and message of another error; before
//! it a line `warning "..."` for each warning. Of a message with several lines the first counts: the rest is a difference
//! between two Go structures.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::BodyExt;
use serde_json::{Value, json};
use triune_chain::{ChainConfig, create_server_chain};
use triune_machinery::{
    authentication::{Authenticators, StaticTokens},
    authorization::Authorizers,
    generic_server::ServerConfig,
    handler::RequestBody,
    handler_chain::{ChainOptions, HandlerChain},
    peer::{Peer, Protocol},
    serve::{PlainText, ServeOptions},
    version::VersionInfo,
};

type Failure = Box<dyn std::error::Error>;

/// Where the objects of the files are, if they do not say.
const NAMESPACE: &str = "validation";

struct Server {
    chain: Arc<HandlerChain>,
    /// Path and scope by `apiVersion` and `kind`.
    resources: BTreeMap<(String, String), (String, bool)>,
}

struct Answer {
    code: u16,
    body: Value,
    warnings: Vec<String>,
}

impl Server {
    async fn start() -> Result<Server, Failure> {
        let tokens = StaticTokens::parse("master,root,1,system:masters\n")?;
        let server = ServerConfig {
            env: triune_platform::env(),
            chain: ChainOptions::default(),
            serve: ServeOptions::default(),
            secure: Arc::new(PlainText),
            authenticator: Arc::new(Authenticators::new(vec![Arc::new(tokens)], true)),
            authorizer: Arc::new(Authorizers::default()),
            metrics: Arc::default(),
            version: VersionInfo::default(),
            advertise_address: "10.0.0.1:6443".into(),
            openapi: None,
            shutdown_delay: Duration::ZERO,
            watch_termination_grace: Duration::ZERO,
        };
        let config = ChainConfig {
            settings: triune_kube::Settings::default(),
            store: triune_store::StoreOptions::default(),
            advertise: (Ipv4Addr::new(10, 0, 0, 1).into(), 6443),
            hostname: "test".into(),
            authentication: BTreeMap::new(),
            descriptions: None,
            server,
        };
        let storage = triune_storage::memory(config.server.env.clone());
        let chain = create_server_chain(storage, config).await?.chain();
        let resources = triune_kube::resources(&triune_kube::facts()?)?.into_iter().map(|resource| {
            let version = resource.gvk.api_version().clone();
            let base = if version == "v1" { "/api/v1".into() } else { format!("/apis/{version}") };
            ((version, resource.gvk.kind.to_string()), (format!("{base} {}", resource.name), resource.namespaced))
        });
        let server = Server { chain, resources: resources.collect() };
        let namespace = json!({"metadata": {"name": NAMESPACE}});
        let made = server.call("POST", "/api/v1/namespaces", Some(&namespace)).await?;
        assert_eq!(made.code, 201, "{}", made.body);
        Ok(server)
    }

    async fn call(&self, method: &str, uri: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", "Bearer master")
            .header("content-type", "application/json")
            .body(body.map_or_else(RequestBody::empty, |body| RequestBody::full(body.to_string())))?;
        let peer = Peer::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), Protocol::Http1);
        let (head, body) = self.chain.handle(&peer, request).await.into_parts();
        let warnings = head.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
        let warnings = warnings.map(|text| text.trim_start_matches("299 - ").to_string()).collect();
        let bytes = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Ok(Answer { code: head.status.as_u16(), body: serde_json::from_slice(&bytes)?, warnings })
    }

    fn collection(&self, object: &Value) -> Result<String, Failure> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_string();
        let found = self.resources.get(&(text("apiVersion"), text("kind"))).ok_or("an unknown kind")?;
        let (base, name) = found.0.split_once(' ').ok_or("a path without a name")?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE);
        Ok(if found.1 { format!("{base}/namespaces/{namespace}/{name}") } else { format!("{base}/{name}") })
    }
}

/// Applies `/a/0/b=1 /c="x"`.
fn change(object: &mut Value, mut text: &str) -> Result<(), Failure> {
    while let Some((pointer, rest)) = text.trim_start().split_once('=') {
        let value;
        if let Some(rest) = rest.strip_prefix('@') {
            let (token, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let (unit, count) = token.rsplit_once('*').ok_or("a repetition without a count")?;
            value = Value::String(unit.repeat(count.parse()?));
            text = rest;
        } else {
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            value = stream.next().ok_or("a change without a value")??;
            text = &rest[stream.byte_offset()..];
        }
        set(object, pointer, value)?;
    }
    Ok(())
}

fn set(mut at: &mut Value, pointer: &str, value: Value) -> Result<(), Failure> {
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        if at.is_null() {
            *at = json!({});
        }
        at = if at.is_array() {
            let items = at.as_array_mut().ok_or("no list")?;
            if key == "-" {
                items.push(Value::Null);
            }
            let index = if key == "-" { items.len() - 1 } else { key.parse()? };
            items.get_mut(index).ok_or("no such item")?
        } else {
            &mut at[key]
        };
    }
    *at = value;
    Ok(())
}

/// The lines of an answer, as in the files.
fn shown(answer: &Answer) -> String {
    let mut text = String::new();
    for warning in &answer.warnings {
        let _ = writeln!(text, "  warning {warning}");
    }
    let body = &answer.body;
    let of = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_string();
    match body.pointer("/details/causes").and_then(Value::as_array).filter(|_| answer.code == 422) {
        _ if matches!(answer.code, 200 | 201) => text.push_str("  ok\n"),
        None => {
            let _ = writeln!(text, "  {} {} {}", answer.code, of(body, "reason"), body["message"]);
        }
        Some(causes) => {
            for cause in causes {
                let message = of(cause, "message");
                let first = message.split('\n').next().unwrap_or_default();
                let more = if message.contains('\n') { "\\n..." } else { "" };
                let word = first.split(':').next().unwrap_or_default();
                let expected = match word {
                    "Required value" => "FieldValueRequired",
                    "Invalid value" => "FieldValueInvalid",
                    "Unsupported value" => "FieldValueNotSupported",
                    "Duplicate value" => "FieldValueDuplicate",
                    "Forbidden" => "FieldValueForbidden",
                    "Not found" => "FieldValueNotFound",
                    "Too long" => "FieldValueTooLong",
                    "Too many" => "FieldValueTooMany",
                    "Too few" => "FieldValueTooFew",
                    "Too short" => "FieldValueTooShort",
                    "Internal error" => "InternalError",
                    _ => "",
                };
                let reason = of(cause, "reason");
                let mark = if reason == expected { String::new() } else { format!("({reason}) ") };
                let _ = writeln!(text, "  {mark}{}: {first}{more}", of(cause, "field"));
            }
        }
    }
    text
}

/// An object of a file.
struct Base {
    object: Value,
    status: Option<Value>,
    place: Option<String>,
}

struct Run<'a> {
    server: &'a Server,
    bases: BTreeMap<String, Base>,
}

impl Run<'_> {
    async fn create(&self, target: &str, changes: &str) -> Result<Answer, Failure> {
        let mut object = self.bases.get(target).ok_or("an unknown object")?.object.clone();
        let collection = self.server.collection(&object)?;
        change(&mut object, changes)?;
        self.server.call("POST", &format!("{collection}?dryRun=All"), Some(&object)).await
    }

    async fn update(&mut self, target: &str, changes: &str) -> Result<Answer, Failure> {
        let (name, subresource) = target.split_once('/').unwrap_or((target, ""));
        let place = self.place(name).await?;
        let mut object = self.server.call("GET", &place, None).await?.body;
        change(&mut object, changes)?;
        let slash = if subresource.is_empty() { "" } else { "/" };
        self.server.call("PUT", &format!("{place}{slash}{subresource}?dryRun=All"), Some(&object)).await
    }

    /// Where an object is, created if it is not there yet.
    async fn place(&mut self, name: &str) -> Result<String, Failure> {
        let base = self.bases.get_mut(name).ok_or("an unknown object")?;
        if let Some(place) = &base.place {
            return Ok(place.clone());
        }
        let collection = self.server.collection(&base.object)?;
        let made = self.server.call("POST", &collection, Some(&base.object)).await?;
        assert_eq!(made.code, 201, "{name}: {}", made.body);
        let place = format!("{collection}/{}", made.body["metadata"]["name"].as_str().unwrap_or_default());
        if let Some(status) = &base.status {
            let mut object = made.body;
            object["status"] = status.clone();
            let put = self.server.call("PUT", &format!("{place}/status"), Some(&object)).await?;
            assert_eq!(put.code, 200, "{name}: {}", put.body);
        }
        base.place = Some(place.clone());
        Ok(place)
    }
}

async fn check(server: &Server, file: &str, text: &str) -> Result<(usize, Vec<String>), Failure> {
    let mut run = Run { server, bases: BTreeMap::new() };
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(name), Some(json)) = (words.next(), words.next(), words.next()) else { continue };
        if kind == "object" {
            let object = serde_json::from_str(json)?;
            run.bases.insert(name.into(), Base { object, status: None, place: None });
        } else if kind == "status" {
            run.bases.get_mut(name).ok_or("a status of nothing")?.status = Some(serde_json::from_str(json)?);
        }
    }
    let (mut cases, mut differences) = (0, Vec::new());
    // Creates first: what updates store holds names and addresses.
    for wanted in ["create", "update"] {
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let mut expected = String::new();
            while let Some(answer) = lines.next_if(|line| line.starts_with("  ")) {
                let _ = writeln!(expected, "{answer}");
            }
            let mut words = line.splitn(3, ' ');
            let (kind, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if kind != wanted {
                continue;
            }
            let changes = words.next().unwrap_or_default();
            let answer = match kind {
                "create" => run.create(target, changes).await,
                _ => run.update(target, changes).await,
            };
            let given = shown(&answer.map_err(|error| format!("{file}: {line}: {error}"))?);
            cases += 1;
            if given != expected {
                differences.push(format!("{file}: {line}\nexpected\n{expected}given\n{given}"));
            }
        }
    }
    Ok((cases, differences))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_as_the_reference_says_it() -> Result<(), Failure> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/answers");
    let server = Server::start().await?;
    let (mut cases, mut differences) = (0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files.iter().filter(|file| file.path().extension().is_some_and(|kind| kind == "golden")) {
        let name = file.file_name().to_string_lossy().into_owned();
        let (checked, found) = check(&server, &name, &std::fs::read_to_string(file.path())?).await?;
        cases += checked;
        differences.extend(found);
    }
    assert!(cases > 0, "no cases");
    assert!(differences.is_empty(), "{} of {cases} cases differ\n\n{}", differences.len(), differences.join("\n"));
    Ok(())
}
