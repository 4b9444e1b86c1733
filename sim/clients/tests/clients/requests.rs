//! Each verb is sent, answered and recorded as it should be, over both protocols.

use serde_json::json;
use triune_history::{Body, ObjectKey, Operation, Outcome, StreamEnd, StreamItem, Version, WatchFrom};
use triune_sim_clients::{
    Signal,
    api::Api,
    http::{HttpOptions, Protocol},
    kind::{Content, Kind, NAMESPACED, in_group},
    request::{Paging, PatchKind, Preconditions, Request, Selection, revision_of},
    retry::{self, Backoff},
};

use crate::server::{Server, Summary, recorder};

fn content(text: &str) -> Content {
    Content { text: text.into(), number: 1, group: "red", padding_bytes: 10 }
}

fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey { resource: kind.resource(), namespace: "default".into(), name: name.into() }
}

fn all(kind: Kind) -> Selection {
    Selection { kind, namespace: "default".into(), labels: Vec::new() }
}

/// Creates, changes in every way, and deletes an object of a kind.
async fn lives(api: &Api, kind: Kind) {
    let made = api.call(&Request::create(kind, "default", kind.object("default", "a", &content("1")))).await;
    assert_eq!(made.code(), 201, "{made:?}");
    assert_eq!(made.revision(), revision_of(&made.value));
    let again = api.call(&Request::create(kind, "default", kind.object("default", "a", &content("1")))).await;
    assert!(again.code() == 409 && again.has_reason("AlreadyExists"), "{again:?}");
    let got = api.call(&Request::get(kind, &key(kind, "a"), None)).await;
    assert_eq!((got.code(), &got.value), (200, &made.value));
    let cached = api.call(&Request::get(kind, &key(kind, "a"), made.revision())).await;
    assert_eq!(cached.value, made.value);

    let mut object = made.value.clone();
    kind.change(&mut object, &content("2"));
    let updated = api.call(&Request::update(kind, object.clone())).await;
    assert!(updated.code() == 200 && updated.revision() > made.revision(), "{updated:?}");
    let stale = api.call(&Request::update(kind, object.clone())).await;
    assert!(stale.code() == 409 && stale.has_reason("Conflict"), "{stale:?}");
    let unchanged = api.call(&Request::update(kind, updated.value.clone())).await;
    assert_eq!(unchanged.revision(), updated.revision(), "{unchanged:?}");

    let mut last = updated;
    for (patch_kind, text) in [(PatchKind::Merge, "3"), (PatchKind::Strategic, "4"), (PatchKind::Json, "5")] {
        let patch = match patch_kind {
            PatchKind::Json => kind.json_patch(&content(text)),
            _ => kind.merge_patch(&content(text)),
        };
        let request = Request::patch(kind, &key(kind, "a"), patch_kind, patch, last.revision());
        let patched = api.call(&request).await;
        assert!(patched.code() == 200 && patched.revision() > last.revision(), "{patch_kind:?} {patched:?}");
        assert_eq!(patched.value["metadata"]["annotations"]["sim/content"], text);
        let stale = api.call(&request).await;
        assert_eq!(stale.code(), 409, "{patch_kind:?} {stale:?}");
        last = patched;
    }

    let wrong = Preconditions { uid: Some("other".into()), revision: None };
    assert_eq!(api.call(&Request::delete(kind, &key(kind, "a"), &wrong)).await.code(), 409);
    let old = Preconditions { uid: None, revision: made.revision() };
    assert_eq!(api.call(&Request::delete(kind, &key(kind, "a"), &old)).await.code(), 409);
    let right =
        Preconditions { uid: last.value["metadata"]["uid"].as_str().map(str::to_owned), revision: last.revision() };
    let deleted = api.call(&Request::delete(kind, &key(kind, "a"), &right)).await;
    assert_eq!(deleted.code(), 200, "{deleted:?}");
    let gone = api.call(&Request::get(kind, &key(kind, "a"), None)).await;
    assert!(gone.code() == 404 && gone.has_reason("NotFound"), "{gone:?}");
}

#[tokio::test]
async fn objects_of_all_kinds_live() {
    let server = Server::start().await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let recorder = recorder();
        let api = server.api(&recorder, protocol);
        for kind in NAMESPACED {
            lives(&api, kind).await;
        }
        let summary = Summary::of(&recorder.take());
        summary.assert_ended();
        assert_eq!(summary.codes.get(&0), None, "{summary:?}");
    }
    server.end().await;
}

#[tokio::test]
async fn collections_are_listed_in_pages_and_deleted_by_group() {
    let server = Server::start().await;
    let recorder = recorder();
    let api = server.api(&recorder, Protocol::Http1);
    let kind = Kind::ConfigMaps;
    for (index, group) in ["red", "green", "red"].into_iter().enumerate() {
        let content = Content { group, ..content(&index.to_string()) };
        let mut object = kind.object("default", "", &content);
        object["metadata"]["generateName"] = json!("g-");
        let request = Request::create(kind, "default", object);
        assert!(matches!(&request.operation, Operation::Create { key, object: None } if key.name.is_empty()));
        assert_eq!(api.call(&request).await.code(), 201);
    }
    let whole = api.call(&Request::list(&all(kind), &Paging::whole(Version::Latest))).await;
    let whole = whole.list().expect("a list").clone();
    let mut paging = Paging { limit: 2, ..Paging::whole(Version::Latest) };
    let mut items = Vec::new();
    loop {
        let page = api.call(&Request::list(&all(kind), &paging)).await;
        let list = page.list().expect("a page");
        items.extend(list.items.clone());
        assert_eq!((list.revision, list.more), (whole.revision, !page.continue_token.is_empty()));
        if page.continue_token.is_empty() {
            break;
        }
        paging.continues = Some((page.id, page.continue_token));
    }
    assert_eq!(items, whole.items);
    let reds = Selection { labels: in_group("red"), ..all(kind) };
    assert_eq!(api.call(&Request::delete_collection(&reds)).await.code(), 200);
    let left = api.call(&Request::list(&all(kind), &Paging::whole(Version::Latest))).await;
    assert_eq!(left.list().expect("a list").items.len(), whole.items.len() - 2);
    let exact = Paging::whole(Version::Exact(whole.revision));
    let before = api.call(&Request::list(&all(kind), &exact)).await;
    assert_eq!(before.list(), Some(&whole));
    Summary::of(&recorder.take()).assert_ended();
    server.end().await;
}

#[tokio::test]
async fn watches_deliver_and_end() {
    let server = Server::start().await;
    let kind = Kind::ConfigMaps;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let recorder = recorder();
        let api = server.api(&recorder, protocol);
        let made = api.call(&Request::create(kind, "default", kind.object("default", "w", &content("1")))).await;
        let selection = Selection { labels: in_group("red"), ..all(kind) };
        let start = made.revision().expect("a revision") - 1;
        let mut after =
            api.watch(&Request::watch(&selection, WatchFrom::After(start), false, 1)).await.expect("a watch");
        let mut state =
            api.watch(&Request::watch(&selection, WatchFrom::WatchList(0), true, 0)).await.expect("a watch");
        let object = made.answer().and_then(|answer| answer.object.clone()).expect("an object");
        assert_eq!(after.next().await, Ok(StreamItem::Added(object.clone())));
        assert_eq!(state.next().await, Ok(StreamItem::Added(object)));
        let bookmark = state.next().await;
        assert!(matches!(bookmark, Ok(StreamItem::Bookmark { initial_events_end: true, .. })), "{bookmark:?}");
        let deleted = api.call(&Request::delete(kind, &key(kind, "w"), &Preconditions::default())).await;
        assert_eq!(deleted.code(), 200);
        for watch in [&mut after, &mut state] {
            let item = watch.next().await;
            assert!(matches!(&item, Ok(StreamItem::Deleted(object)) if object.name == "w"), "{item:?}");
        }
        assert_eq!(after.next().await, Err(StreamEnd::Closed));
        drop(state);
        let future = WatchFrom::WatchList(start + 1_000_000);
        let mut future = api.watch(&Request::watch(&selection, future, true, 0)).await.expect("a watch");
        let error = future.next().await;
        assert_eq!(error, Ok(StreamItem::Error { code: 504, reason: "Timeout".into() }));
        assert_eq!(future.next().await, Err(StreamEnd::Closed));
        let summary = Summary::of(&recorder.take());
        summary.assert_ended();
        assert_eq!((summary.ends.get("dropped"), summary.ends.get("closed")), (Some(&1), Some(&2)));
    }
    server.end().await;
}

#[tokio::test]
async fn namespaces_are_finalised() {
    let server = Server::start().await;
    let recorder = recorder();
    let api = server.api(&recorder, Protocol::Http2);
    let kind = Kind::Namespaces;
    let key = ObjectKey { resource: kind.resource(), namespace: String::new(), name: "n".into() };
    assert_eq!(api.call(&Request::create(kind, "", kind.object("", "n", &content("1")))).await.code(), 201);
    let deleted = api.call(&Request::delete(kind, &key, &Preconditions::default())).await;
    let mut namespace = deleted.value;
    assert_eq!(namespace["status"]["phase"], "Terminating", "{namespace}");
    let refused = Kind::ConfigMaps.object("n", "a", &content("2"));
    assert_eq!(api.call(&Request::create(Kind::ConfigMaps, "n", refused)).await.code(), 403);
    namespace["spec"]["finalizers"] = json!([]);
    let finalized = api.call(&Request::finalize(namespace)).await;
    assert_eq!(finalized.code(), 200, "{finalized:?}");
    assert_eq!(api.call(&Request::get(kind, &key, None)).await.code(), 404);
    server.end().await;
}

#[tokio::test]
async fn what_is_not_sent_is_told_from_what_is_unknown() {
    let server = Server::start().await;
    let recorder = recorder();
    let path = Request::path("/readyz");
    let apis = [Protocol::Http1, Protocol::Http2].map(|protocol| server.api(&recorder, protocol));
    for api in &apis {
        assert_eq!(api.call(&path).await.code(), 200);
    }
    // A server that takes connections and never answers.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("an address");
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let options = HttpOptions { protocol, request_timeout_ms: 100, ..HttpOptions::default() };
        let api = Api::new(server.env.clone(), recorder.clone(), "client-1", ("mute", address), options);
        let outcome = api.call(&path).await.outcome;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    }
    server.end().await;
    for api in &apis {
        let outcome = api.call(&path).await.outcome;
        assert!(matches!(outcome, Outcome::NotSent(_)), "{outcome:?}");
    }
}

/// Answers each request with the next of `answers`, and the last one for ever.
async fn scripted(answers: &'static [&'static str]) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut answers = answers.iter().peekable();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                let Some(answer) = answers.peek().copied() else { break };
                if answers.len() > 1 {
                    answers.next();
                }
                if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[tokio::test(start_paused = true)]
async fn requests_are_repeated_as_the_server_asks() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let plain = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let cases: [(&'static [&'static str], bool, usize, u16); 6] = [
        (Box::leak(Box::new([busy, busy, fine])), true, 3, 200),
        (Box::leak(Box::new([busy, fine])), false, 2, 200),
        (Box::leak(Box::new([plain, fine])), true, 1, 503),
        (Box::leak(Box::new([busy])), true, 11, 429),
        (Box::leak(Box::new(["", fine])), true, 2, 200),
        (Box::leak(Box::new(["", fine])), false, 1, 0),
    ];
    for (answers, reads, sends, code) in cases {
        let recorder = recorder();
        let address = scripted(answers).await;
        let options = HttpOptions { protocol: Protocol::Http1, ..HttpOptions::default() };
        let env = triune_platform::env();
        let api = Api::new(env, recorder.clone(), "client-1", ("api-1", address), options);
        let request = Request { reads, ..Request::path("/readyz") };
        let reply = retry::call(&api, &request, &Signal::new()).await;
        let events = recorder.take();
        let sent = events.iter().filter(|event| matches!(event.body, Body::Invoke { .. })).count();
        assert_eq!((sent, reply.code()), (sends, code), "{answers:?} {reads}");
        Summary::of(&events).assert_ended();
    }
    let stop = Signal::new();
    stop.give();
    assert!(!retry::pause(&triune_platform::env(), Backoff::MAX, &stop).await);
}
