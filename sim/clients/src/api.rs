//! Requests to one server, recorded: what was asked, what was told.
//!
//! Invariants: every request has an Invoke, and an Answer when it has come to an end; an answer is parsed once and recorded
//! as it was understood; an answer that cannot be understood has the reason [`MALFORMED`].

use std::{net::SocketAddr, sync::Arc};

use serde_json::Value;
use triune_env::Env;
use triune_history::{Answer, Body, ListAnswer, Object, Operation, OperationId, Outcome, Recorder};

use crate::{
    http::{Failure, HttpAnswer, HttpClient, HttpOptions, Protocol},
    request::Request,
    watch::Watch,
};

/// Reason of an answer that is not what the API promises.
pub const MALFORMED: &str = "Malformed";
/// Of an answer that is no JSON, this much is kept.
const TEXT_BYTES_MAX: usize = 300;

/// A client's way to one server. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    env: Env,
    recorder: Recorder,
    node: String,
    server: String,
    http: HttpClient,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its name in the history.
    pub id: OperationId,
    /// As recorded.
    pub outcome: Outcome,
    /// The object, of a single-object verb; else null.
    pub value: Value,
    /// The token that goes on with a list; empty for none.
    pub continue_token: String,
}

impl Api {
    /// A client on `node` that talks to the server of a name at an address.
    pub fn new(
        env: Env,
        recorder: Recorder,
        node: &str,
        (server, address): (&str, SocketAddr),
        options: HttpOptions,
    ) -> Api {
        let http = HttpClient::new(env.clone(), node, address, options);
        Api(Arc::new(Inner { env, recorder, node: node.to_owned(), server: server.to_owned(), http }))
    }

    /// The name of the server.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// The protocol that it talks.
    pub fn protocol(&self) -> Protocol {
        self.0.http.options().protocol
    }

    /// Sends a request once.
    pub async fn call(&self, request: &Request) -> Reply {
        let id = self.invoke(&request.operation);
        let answered = self.0.http.request(&request.message).await;
        let reply = reply(id, &request.operation, answered);
        self.answer(&reply);
        reply
    }

    /// Opens a watch, once.
    pub async fn watch(&self, request: &Request) -> Result<Watch, Reply> {
        let id = self.invoke(&request.operation);
        let refused = match self.0.http.stream(&request.message).await {
            Ok(Ok(stream)) => {
                let open = HttpAnswer { code: 200, retry_after: None, body: bytes::Bytes::new() };
                self.answer(&Reply { id, outcome: outcome_of(Answer::from_head(&open)), ..Reply::nothing(id) });
                let timeout_seconds = match request.operation {
                    Operation::Watch { timeout_seconds, .. } => timeout_seconds,
                    _ => 0,
                };
                return Ok(Watch::new(self.clone(), id, stream, timeout_seconds));
            }
            Ok(Err(answer)) => Ok(answer),
            Err(failure) => Err(failure),
        };
        let reply = reply(id, &request.operation, refused);
        self.answer(&reply);
        Err(reply)
    }

    pub(crate) fn env(&self) -> &Env {
        &self.0.env
    }

    pub(crate) fn options(&self) -> &HttpOptions {
        self.0.http.options()
    }

    pub(crate) fn record(&self, body: Body) {
        self.0.recorder.record(&self.0.node, body);
    }

    fn invoke(&self, operation: &Operation) -> OperationId {
        let id = self.0.recorder.operation();
        self.record(Body::Invoke { id, server: self.0.server.clone(), operation: operation.clone() });
        id
    }

    fn answer(&self, reply: &Reply) {
        self.record(Body::Answer { id: reply.id, outcome: reply.outcome.clone() });
    }
}

impl Reply {
    fn nothing(id: OperationId) -> Reply {
        Reply { id, outcome: Outcome::Unknown(String::new()), value: Value::Null, continue_token: String::new() }
    }

    /// The answer, if there is one.
    pub fn answer(&self) -> Option<&Answer> {
        if let Outcome::Answered(answer) = &self.outcome { Some(answer) } else { None }
    }

    /// The status code; 0 without an answer.
    pub fn code(&self) -> u16 {
        self.answer().map_or(0, |answer| answer.code)
    }

    /// Whether the answer says that it was done.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.code())
    }

    /// Whether the answer has this reason.
    pub fn has_reason(&self, reason: &str) -> bool {
        self.answer().is_some_and(|answer| answer.reason == reason)
    }

    /// The list, if there is one.
    pub fn list(&self) -> Option<&ListAnswer> {
        self.answer()?.list.as_ref().filter(|_| self.is_ok())
    }

    /// The revision of the object or list in it.
    pub fn revision(&self) -> Option<u64> {
        let answer = self.answer()?;
        answer.object.as_ref().map(|object| object.revision).or_else(|| Some(self.list()?.revision))
    }

    /// 410 with the reason of a revision that is no more.
    pub fn is_expired(&self) -> bool {
        self.code() == 410
    }

    /// 504 because the server has not come to the revision yet.
    pub fn is_too_large(&self) -> bool {
        self.answer().is_some_and(|answer| answer.causes.iter().any(|cause| cause == "ResourceVersionTooLarge"))
    }
}

fn reply(id: OperationId, operation: &Operation, answered: Result<HttpAnswer, Failure>) -> Reply {
    match answered {
        Ok(answer) if matches!(operation, Operation::Path { .. }) => {
            let mut reduced = Answer::from_head(&answer);
            if answer.code != 200 {
                reduced.message = text_of(&answer.body);
            }
            Reply { outcome: outcome_of(reduced), ..Reply::nothing(id) }
        }
        Ok(answer) => understand(id, &answer),
        Err(Failure::NotSent(why)) => Reply { outcome: Outcome::NotSent(why), ..Reply::nothing(id) },
        Err(Failure::Unknown(why)) => Reply { outcome: Outcome::Unknown(why), ..Reply::nothing(id) },
    }
}

fn outcome_of(answer: Answer) -> Outcome {
    Outcome::Answered(Box::new(answer))
}

trait FromHead {
    fn from_head(answer: &HttpAnswer) -> Self;
}

impl FromHead for Answer {
    fn from_head(answer: &HttpAnswer) -> Answer {
        Answer {
            code: answer.code,
            reason: String::new(),
            message: String::new(),
            causes: Vec::new(),
            object: None,
            list: None,
            retry_after: answer.retry_after,
        }
    }
}

/// A Status, a list or an object.
fn understand(id: OperationId, answer: &HttpAnswer) -> Reply {
    let mut reduced = Answer::from_head(answer);
    let mut reply = Reply::nothing(id);
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(status) if status["kind"] == "Status" => reply.continue_token = take_status(&status, &mut reduced),
        Ok(mut list) if list.get("items").is_some() => {
            reply.continue_token = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            reduced.list = list_of(&mut list, !reply.continue_token.is_empty());
        }
        Ok(object) => {
            reduced.object = Object::from_json(object.clone(), None);
            reply.value = object;
        }
        Err(_) => {}
    }
    let understood = reduced.object.is_some() || reduced.list.is_some() || !reduced.message.is_empty();
    if !understood && (reduced.reason != SUCCESS || answer.code >= 300) {
        reduced.message = text_of(&answer.body);
        if answer.code < 300 {
            reduced.reason = MALFORMED.into();
        }
    }
    if reduced.reason == SUCCESS {
        reduced.reason.clear();
    }
    reply.outcome = outcome_of(reduced);
    reply
}

/// `status` of a Status that answers a delete.
const SUCCESS: &str = "Success";

/// Takes a Status apart; gives its token.
fn take_status(status: &Value, answer: &mut Answer) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    answer.reason = if status["status"] == SUCCESS { SUCCESS.into() } else { text(&status["reason"]) };
    answer.message = text(&status["message"]);
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    answer.causes = causes.map(|cause| text(&cause["reason"])).collect();
    answer.retry_after = answer.retry_after.or_else(|| status["details"]["retryAfterSeconds"].as_u64());
    let token = text(&status["metadata"]["continue"]);
    if !token.is_empty() {
        answer.list = Some(ListAnswer { revision: 0, items: Vec::new(), more: true, remaining: None });
    }
    token
}

/// None if anything in it is not as it should be.
fn list_of(list: &mut Value, more: bool) -> Option<ListAnswer> {
    let revision = list["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
    let remaining = list["metadata"]["remainingItemCount"].as_u64();
    let items = match list["items"].take() {
        Value::Array(items) => {
            items.into_iter().map(|item| Object::from_json(item, None)).collect::<Option<Vec<_>>>()?
        }
        Value::Null => Vec::new(),
        _ => return None,
    };
    Some(ListAnswer { revision, items, more, remaining })
}

fn text_of(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&body[..body.len().min(TEXT_BYTES_MAX)]).into_owned();
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: u16, body: &str, expect: &str) {
        let answer = HttpAnswer { code, retry_after: None, body: body.to_owned().into() };
        let reply = understand(OperationId(1), &answer);
        let answer = reply.answer().expect("an answer");
        let object = answer.object.as_ref().map(|object| format!("{}@{}", object.name, object.revision));
        let list =
            answer.list.as_ref().map(|list| format!("{} items@{} more={}", list.items.len(), list.revision, list.more));
        let found = format!(
            "{} {:?} {:?} [{}] {} token={}",
            answer.reason,
            answer.message,
            answer.retry_after,
            answer.causes.join(","),
            object.or(list).unwrap_or_default(),
            reply.continue_token
        );
        assert_eq!(found, expect, "{body}");
    }

    #[test]
    fn answers_are_understood() {
        check(
            200,
            r#"{"kind":"ConfigMap","metadata":{"name":"a","resourceVersion":"7"}}"#,
            r#" "" None [] a@7 token="#,
        );
        let list = r#"{"kind":"ConfigMapList","metadata":{"resourceVersion":"9","continue":"t","remainingItemCount":3},"items":[{"metadata":{"name":"a","resourceVersion":"7"}}]}"#;
        check(200, list, r#" "" None [] 1 items@9 more=true token=t"#);
        check(200, r#"{"kind":"Status","status":"Success","details":{"name":"a"}}"#, r#" "" None []  token="#);
        let expired =
            r#"{"kind":"Status","metadata":{"continue":"t"},"status":"Failure","message":"m","reason":"Expired"}"#;
        check(410, expired, r#"Expired "m" None [] 0 items@0 more=true token=t"#);
        let large = r#"{"kind":"Status","status":"Failure","message":"m","reason":"Timeout","details":{"retryAfterSeconds":1,"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
        check(504, large, r#"Timeout "m" Some(1) [ResourceVersionTooLarge]  token="#);
    }

    #[test]
    fn what_is_no_answer_is_said() {
        check(404, "404 page not found\n", r#" "404 page not found" None []  token="#);
        check(200, "", r#"Malformed "" None []  token="#);
        check(200, r#"{"metadata":{}}"#, r#"Malformed "{\"metadata\":{}}" None []  token="#);
        let nameless = r#"{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{}}]}"#;
        let expect = format!("Malformed {nameless:?} None []  token=");
        check(200, nameless, &expect);
    }
}
