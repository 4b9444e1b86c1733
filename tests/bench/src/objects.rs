//! What is written: config maps of 1 KiB in namespaces of our own.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

use crate::{
    Error,
    connection::{Call, Http1},
    kubeconfig::Target,
    protobuf,
};

/// Where single requests and watches work.
pub(crate) const NAMESPACE: &str = "triune-bench";
/// Where the lists are.
pub(crate) const LIST_NAMESPACE: &str = "triune-bench-list";
/// Annotation with the moment a write was sent, in microseconds of this program's clock.
pub(crate) const SENT: &str = "triune-bench/sent";
/// Config maps that are read and changed.
pub(crate) const OBJECTS: usize = 1000;

const BODY_BYTES: usize = 1024;
const REMOVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Path of the config maps of a namespace.
pub(crate) fn config_maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

/// Name of one of the [`OBJECTS`].
pub(crate) fn object_name(index: usize) -> String {
    format!("object-{index:05}")
}

/// Makes the JSON of config maps that differ in name and counter and have 1 KiB.
pub(crate) struct Template {
    payload: String,
}

impl Default for Template {
    fn default() -> Template {
        Template { payload: "0123456789abcdef".repeat(BODY_BYTES / 16) }
    }
}

impl Template {
    /// A config map; `sent` goes into an annotation.
    pub(crate) fn config_map(&self, name: &str, counter: u64, sent: Option<u64>) -> Bytes {
        let mut text = String::with_capacity(BODY_BYTES + 64);
        let _ = write!(text, r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}""#);
        if let Some(sent) = sent {
            let _ = write!(text, r#","annotations":{{"{SENT}":"{sent}"}}"#);
        }
        let _ = write!(text, r#"}},"data":{{"counter":"{counter}","payload":""#);
        let end = r#""}}"#;
        text.push_str(&self.payload[..(BODY_BYTES - end.len()).saturating_sub(text.len())]);
        text.push_str(end);
        Bytes::from(text)
    }

    /// The same in protobuf.
    pub(crate) fn config_map_in_protobuf(&self, name: &str, counter: u64, sent: Option<u64>) -> Bytes {
        // As many bytes of payload as in JSON.
        let payload = &self.payload[..BODY_BYTES - 120];
        protobuf::config_map(name, &counter.to_string(), payload, sent).into()
    }
}

/// Status code of an answer whose body does not matter.
async fn status(connection: &mut Http1, call: Call) -> Result<StatusCode, Error> {
    let response = connection.send(call).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

/// Makes an empty namespace, whatever an earlier run has left.
pub(crate) async fn make_namespace(target: &Target, name: &str) -> Result<(), Error> {
    remove_namespace(target, name).await?;
    let mut connection = Http1::connect(target).await?;
    let body = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#);
    connection.call(Call::json(Method::POST, "/api/v1/namespaces", body)).await?;
    Ok(())
}

/// Removes a namespace and what is in it. Where no namespace controller runs, it is finalized here.
pub(crate) async fn remove_namespace(target: &Target, name: &str) -> Result<(), Error> {
    let mut connection = Http1::connect(target).await?;
    let path = format!("/api/v1/namespaces/{name}");
    if status(&mut connection, Call::get(&path)).await? == StatusCode::NOT_FOUND {
        return Ok(());
    }
    connection.call(Call::json(Method::DELETE, config_maps(name), "")).await?;
    status(&mut connection, Call::json(Method::DELETE, &path, "")).await?;
    let finalize = format!(
        r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}},"spec":{{"finalizers":[]}}}}"#
    );
    let deadline = tokio::time::Instant::now() + REMOVE_TIMEOUT;
    while status(&mut connection, Call::get(&path)).await? != StatusCode::NOT_FOUND {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("namespace {name} is not gone after {} s", REMOVE_TIMEOUT.as_secs()).into());
        }
        status(&mut connection, Call::json(Method::PUT, format!("{path}/finalize"), finalize.clone())).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Creates config maps over a few connections; `name` gives the name of each.
pub(crate) async fn populate(
    target: &Target,
    namespace: &'static str,
    count: usize,
    name: fn(usize) -> String,
) -> Result<(), Error> {
    const CONNECTIONS: usize = 16;
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..CONNECTIONS {
        let target = target.clone();
        tasks.spawn(async move {
            let template = Template::default();
            let mut connection = Http1::connect(&target).await?;
            for index in (first..count).step_by(CONNECTIONS) {
                let body = template.config_map(&name(index), 0, None);
                connection.call(Call::json(Method::POST, config_maps(namespace), body)).await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_maps_have_one_kibibyte() {
        for (name, counter, sent) in [("a", 0, None), ("object-00001", u64::MAX, Some(1_234_567))] {
            let body = Template::default().config_map(name, counter, sent);
            assert_eq!(body.len(), BODY_BYTES);
            let object: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(object["metadata"]["name"], name);
            assert_eq!(object["data"]["counter"], counter.to_string());
            let annotation = object["metadata"]["annotations"][SENT].as_str().map(str::to_string);
            assert_eq!(annotation, sent.map(|sent: u64| sent.to_string()));
        }
    }
}
