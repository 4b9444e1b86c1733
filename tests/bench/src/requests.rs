//! create, get, update, and patches, also in protobuf: each client sends its next request when the last is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use http_body_util::BodyExt as _;

use crate::{
    Error,
    connection::{Call, Http1},
    figure::{Figure, Histogram},
    kubeconfig::Target,
    objects::{NAMESPACE, OBJECTS, Template, config_maps, object_name},
    options::NamedPid,
    process::{self, CpuTimes},
    protobuf::PROTOBUF,
};

/// How long requests flow before they count.
const WARM_UP: Duration = Duration::from_millis(500);

/// What a client does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// POST of a new config map.
    Create,
    /// GET of one of many.
    Get,
    /// PUT of one that no other client writes.
    Update,
    /// JSON merge patch of one that no other client writes.
    Patch,
    /// Strategic merge patch of one that no other client writes.
    PatchStrategic,
    /// Server-side apply of one that no other client writes, as a field manager that takes what it names.
    Apply,
    /// [`Kind::Create`] with body and answer in protobuf.
    CreateProtobuf,
    /// [`Kind::Get`] with the answer in protobuf.
    GetProtobuf,
}

impl Kind {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Kind; 8] = [
        Kind::Create,
        Kind::Get,
        Kind::Update,
        Kind::Patch,
        Kind::PatchStrategic,
        Kind::Apply,
        Kind::CreateProtobuf,
        Kind::GetProtobuf,
    ];

    /// As in the figure's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Get => "get",
            Kind::Update => "update",
            Kind::Patch => "patch",
            Kind::PatchStrategic => "patch-strategic",
            Kind::Apply => "apply",
            Kind::CreateProtobuf => "create-protobuf",
            Kind::GetProtobuf => "get-protobuf",
        }
    }

    /// Whether the [`OBJECTS`] must be there.
    pub(crate) fn needs_objects(self) -> bool {
        !matches!(self, Kind::Create | Kind::CreateProtobuf)
    }

    fn call(self, template: &Template, clients: usize, client: usize, sequence: u64) -> Call {
        let index = (client + sequence as usize * clients) % OBJECTS;
        let path = || format!("{}/{}", config_maps(NAMESPACE), object_name(index));
        match self {
            Kind::Create => {
                let name = format!("new-{clients}-{client}-{sequence}");
                Call::json(Method::POST, config_maps(NAMESPACE), template.config_map(&name, sequence, None))
            }
            Kind::Get => Call::get(path()),
            Kind::Update => {
                let body = template.config_map(&object_name(index), sequence + 1, None);
                Call::json(Method::PUT, path(), body)
            }
            Kind::Patch => patch(path(), "application/merge-patch+json", &counter(sequence)),
            Kind::PatchStrategic => patch(path(), "application/strategic-merge-patch+json", &counter(sequence)),
            Kind::Apply => {
                let object = format!(
                    r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{}"}},{}"#,
                    object_name(index),
                    &counter(sequence)[1..]
                );
                let path = format!("{}?fieldManager=triune-bench&force=true", path());
                patch(path, "application/apply-patch+yaml", &object)
            }
            Kind::CreateProtobuf => {
                let name = format!("new-protobuf-{clients}-{client}-{sequence}");
                let body = template.config_map_in_protobuf(&name, sequence, None);
                Call { content_type: PROTOBUF, ..Call::json(Method::POST, config_maps(NAMESPACE), body) }
                    .accepting(PROTOBUF)
            }
            Kind::GetProtobuf => Call::get(path()).accepting(PROTOBUF),
        }
    }
}

/// What the patches set.
fn counter(sequence: u64) -> String {
    format!(r#"{{"data":{{"counter":"p{sequence}"}}}}"#)
}

fn patch(path: String, content_type: &'static str, body: &str) -> Call {
    Call { content_type, ..Call::json(Method::PATCH, path, body.to_owned()) }
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const DONE: u8 = 2;

/// What a client has to tell.
#[derive(Default)]
struct Tally {
    latencies: Histogram,
    errors: u64,
    first_error: Option<String>,
}

/// Measures one kind with so many clients.
pub(crate) async fn measure(
    target: &Target,
    pids: &[NamedPid],
    kind: Kind,
    clients: usize,
    length: Duration,
) -> Result<Figure, Error> {
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let connection = Http1::connect(target).await?;
        tasks.spawn(run_client(target.clone(), connection, kind, clients, client, phase.clone()));
    }
    tokio::time::sleep(WARM_UP).await;
    let before = CpuTimes::read(pids)?;
    let begin = Instant::now();
    phase.store(MEASURING, Ordering::SeqCst);
    tokio::time::sleep(length).await;
    phase.store(DONE, Ordering::SeqCst);
    let elapsed = begin.elapsed();
    let used = CpuTimes::read(pids)?.since(&before);
    let mut sum = Tally::default();
    while let Some(tally) = tasks.join_next().await {
        let tally = tally?;
        sum.latencies.add(&tally.latencies);
        sum.errors += tally.errors;
        sum.first_error = sum.first_error.or(tally.first_error);
    }
    let name = format!("{}/{clients}", kind.name());
    if let Some(error) = sum.first_error {
        eprintln!("triune-bench: {name}: the first of {} errors: {error}", sum.errors);
    }
    let mut figure = Figure::named(name).with_latencies(&sum.latencies, elapsed).with_cpu(&used);
    figure.errors = Some(sum.errors);
    figure.resident_kib = process::resident_by_name(pids)?;
    Ok(figure)
}

async fn run_client(
    target: Target,
    mut connection: Http1,
    kind: Kind,
    clients: usize,
    client: usize,
    phase: Arc<AtomicU8>,
) -> Tally {
    let template = Template::default();
    let mut tally = Tally::default();
    for sequence in 0.. {
        let counts = phase.load(Ordering::Relaxed) == MEASURING;
        let begin = Instant::now();
        let outcome = exchange(&mut connection, kind.call(&template, clients, client, sequence)).await;
        let latency = begin.elapsed();
        match outcome {
            // Only what began and ended within the measurement counts.
            Ok(()) if counts && phase.load(Ordering::Relaxed) == MEASURING => tally.latencies.record(latency),
            Ok(()) => {}
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert(error.to_string());
                // An answer that is an error leaves the connection as it is; a broken one is replaced.
                tokio::time::sleep(Duration::from_millis(10)).await;
                if let Ok(fresh) = Http1::connect(&target).await {
                    connection = fresh;
                }
            }
        }
        if phase.load(Ordering::Relaxed) == DONE {
            break;
        }
    }
    tally
}

/// Sends a request and reads its answer without keeping it.
async fn exchange(connection: &mut Http1, call: Call) -> Result<(), Error> {
    let method = call.method.clone();
    let response = connection.send(call).await?;
    let status = response.status();
    if !status.is_success() {
        let body = response.into_body().collect().await?.to_bytes();
        let start: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        return Err(format!("{method}: {status}: {start}").into());
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
