//! The order of the figures, what must be there before each, and what is removed after the last.

use crate::{
    Error,
    connection::{Call, Http1},
    figure::Figure,
    kubeconfig::Target,
    lists,
    objects::{self, LIST_NAMESPACE, NAMESPACE, OBJECTS},
    options::{NamedPid, Options},
    process,
    requests::{self, Kind},
    start,
    watches::{self, Watches},
};

const CLIENTS: [usize; 3] = [1, 16, 64];
const WATCHERS: [usize; 2] = [100, 1000];
const WATCHES: [&str; 2] = ["watch", "watch-protobuf"];

/// Takes the figures that are asked for.
pub(crate) async fn run(options: &Options) -> Result<(), Error> {
    let mut pids = options.pids.clone();
    let mut server = None;
    if let Some(command) = &options.start {
        let (figure, running) = start::measure(command, &options.kubeconfig, options.start_runs).await?;
        figure.print();
        if pids.is_empty() {
            pids.push(NamedPid { name: "server".into(), pid: running.pid });
        }
        server = Some(running);
    }
    let outcome = with_server(options, &pids).await;
    if let Some(server) = server {
        server.stop().await?;
    }
    outcome
}

async fn with_server(options: &Options, pids: &[NamedPid]) -> Result<(), Error> {
    let target = Target::load(&options.kubeconfig)?;
    memory(options, "idle", pids)?;
    let names: Vec<String> = figure_names().filter(|name| options.wants(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let outcome = figures(options, &target, pids, &names).await;
    if !options.keep {
        for namespace in [NAMESPACE, LIST_NAMESPACE] {
            objects::remove_namespace(&target, namespace).await?;
        }
    }
    outcome?;
    memory(options, "after", pids)
}

fn memory(options: &Options, name: &str, pids: &[NamedPid]) -> Result<(), Error> {
    if options.wants(name) && !pids.is_empty() {
        let mut figure = Figure::named(name);
        figure.resident_kib = process::resident_by_name(pids)?;
        figure.print();
    }
    Ok(())
}

/// Those that need namespaces, in order.
fn figure_names() -> impl Iterator<Item = String> {
    let of_clients = Kind::ALL.into_iter().flat_map(|kind| CLIENTS.map(|clients| format!("{}/{clients}", kind.name())));
    let lists = ["list", "pages", "list-protobuf"].map(str::to_string);
    of_clients.chain(lists).chain(WATCHES.into_iter().flat_map(|name| WATCHERS.map(|count| format!("{name}/{count}"))))
}

async fn figures(options: &Options, target: &Target, pids: &[NamedPid], names: &[String]) -> Result<(), Error> {
    let any = |wanted: &str| names.iter().any(|name| name == wanted);
    objects::make_namespace(target, NAMESPACE).await?;
    for kind in Kind::ALL {
        for clients in CLIENTS {
            if names.contains(&format!("{}/{clients}", kind.name())) {
                if kind.needs_objects() {
                    ensure_objects(target).await?;
                }
                requests::measure(target, pids, kind, clients, options.seconds).await?.print();
            }
        }
    }
    if any("list") || any("pages") || any("list-protobuf") {
        objects::make_namespace(target, LIST_NAMESPACE).await?;
        objects::populate(target, LIST_NAMESPACE, options.list_size, lists::item_name).await?;
        if any("list") {
            lists::full(target, pids, options.list_size, options.seconds, false).await?.print();
        }
        if any("pages") {
            lists::pages(target, pids, options.list_size, options.seconds).await?.print();
        }
        if any("list-protobuf") {
            lists::full(target, pids, options.list_size, options.seconds, true).await?.print();
        }
    }
    for (name, watchers) in WATCHES.into_iter().flat_map(|name| WATCHERS.map(|count| (name, count))) {
        if names.contains(&format!("{name}/{watchers}")) {
            ensure_objects(target).await?;
            let watches = Watches { watchers, protobuf: name == "watch-protobuf" };
            watches::measure(target, pids, watches, options.write_rate, options.seconds, watches::SILENCE)
                .await?
                .print();
        }
    }
    Ok(())
}

/// Makes the config maps that are read and changed, unless they are there.
async fn ensure_objects(target: &Target) -> Result<(), Error> {
    let mut connection = Http1::connect(target).await?;
    let last = format!("{}/{}", objects::config_maps(NAMESPACE), objects::object_name(OBJECTS - 1));
    if connection.call(Call::get(last)).await.is_ok() {
        return Ok(());
    }
    objects::populate(target, NAMESPACE, OBJECTS, objects::object_name).await
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser as _;

    use super::*;
    use crate::test_server::TestServer;

    fn watches(watchers: usize) -> Watches {
        Watches { watchers, protobuf: false }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<String> = figure_names().collect();
        assert_eq!(names.len(), figure_names().count());
        assert!(names.contains("create/16") && names.contains("watch/1000"));
        assert!(names.contains("apply/64") && names.contains("watch-protobuf/100"));
    }

    /// Every figure, against a server of a few lines.
    #[tokio::test(flavor = "multi_thread")]
    async fn figures_are_taken() {
        let server = TestServer::start(None).await;
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("kubeconfig");
        std::fs::write(&path, server.kubeconfig()).unwrap();
        let pid = std::process::id().to_string();
        let options = Options::parse_from([
            "triune-bench",
            "--kubeconfig",
            path.to_str().unwrap(),
            "--pids",
            &format!("self={pid}"),
            "--seconds=0.2",
            "--list-size=1200",
        ]);
        let target = Target::load(&path).unwrap();
        let names = ["create/16", "get/16", "update/16", "patch/1", "list", "pages"].map(str::to_string);
        figures(&options, &target, &options.pids, &names).await.unwrap();
        let figure = watches::measure(&target, &options.pids, watches(30), 200, options.seconds, watches::SILENCE)
            .await
            .unwrap();
        assert_eq!(figure.more["lost"], 0);
        assert_eq!(figure.more["duplicated"], 0);
        assert_eq!(figure.count, Some(40 * 30));
    }

    /// A server that drops one event and repeats another is found out.
    #[tokio::test(flavor = "multi_thread")]
    async fn lost_events_are_counted() {
        let server = TestServer::start(Some(7)).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, server.kubeconfig()).unwrap();
        let target = Target::load(&path).unwrap();
        objects::make_namespace(&target, NAMESPACE).await.unwrap();
        ensure_objects(&target).await.unwrap();
        let length = std::time::Duration::from_millis(200);
        let figure = watches::measure(&target, &[], watches(3), 200, length, length).await.unwrap();
        assert_eq!(figure.more["lost"], 3);
        assert_eq!(figure.more["duplicated"], 3);
    }
}
