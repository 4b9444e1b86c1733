//! Durable commits per second and CPU per commit of the stores, beside a bare append-only log with fsync.
//!
//! `cargo run --release -p triune-storage --example commit_bench [-- FOLDER [SECONDS [NAME]]]`, where NAME is `log`, `memory` or
//! `embedded`.
//!
//! A commit is what the object store does: read the object's row, write it (1 KiB), a log row with a stamped key (1 KiB)
//! and the wake key of its resource.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use triune_env::storage::{Isolation, STAMP_BYTES, Storage};
use triune_storage::{embedded, memory};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY_BYTES: usize = 1024;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("triune-commit-bench"), PathBuf::from);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let name = arguments.next();
    let wanted = |this: &str| name.as_deref().is_none_or(|name| name == this);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("make the folder");
    let duration = Duration::from_secs(seconds);
    for group in [1, 16, 64].into_iter().filter(|_| wanted("log")) {
        bare_log(&folder.join("log"), group, duration);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        for writers in [1, 16, 64].into_iter().filter(|_| wanted("memory")) {
            run("memory", memory(triune_platform::env()), writers, duration).await;
        }
        for writers in [1, 16, 64].into_iter().filter(|_| wanted("embedded")) {
            let path = folder.join("store");
            let storage = embedded(triune_platform::env(), &path).expect("open");
            run("embedded", storage, writers, duration).await;
            let opening = Instant::now();
            let storage = embedded(triune_platform::env(), &path).expect("open again");
            println!("  reopened in {:?}; folder {} KiB", opening.elapsed(), folder_kib(&path));
            drop(storage);
            fs::remove_dir_all(&path).expect("clean up");
            let opening = Instant::now();
            let storage = embedded(triune_platform::env(), &path).expect("open");
            let made = opening.elapsed();
            drop(storage);
            let opening = Instant::now();
            drop(embedded(triune_platform::env(), &path).expect("open"));
            println!("  empty folder made in {made:?}, opened again and closed in {:?}", opening.elapsed());
            fs::remove_dir_all(&path).expect("clean up");
        }
    });
    let _ = fs::remove_dir_all(&folder);
}

/// The floor: as many bytes as the commits of a group, one write, one fsync.
fn bare_log(path: &Path, group: u64, duration: Duration) {
    let mut file = fs::File::create(path).expect("create the log");
    let bytes = vec![7_u8; (2 * BODY_BYTES + 150) * group as usize];
    let (start, cpu, mut commits) = (Instant::now(), cpu_ms(), 0);
    while start.elapsed() < duration {
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("append");
        commits += group;
    }
    report(&format!("bare log, {group} a group"), commits, start.elapsed(), cpu_ms() - cpu, Vec::new());
}

async fn run(name: &str, storage: Arc<dyn Storage>, writers: u64, duration: Duration) {
    let commits = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), cpu_ms());
    let tasks = (0..writers).map(|writer| {
        let (storage, commits) = (storage.clone(), commits.clone());
        tokio::spawn(async move {
            let mut latencies_us = Vec::new();
            let mut index = 0_u64;
            while start.elapsed() < duration {
                let began = Instant::now();
                commit(&storage, writer, index).await;
                latencies_us.push(began.elapsed().as_micros() as u64);
                commits.fetch_add(1, Ordering::Relaxed);
                index += 1;
            }
            latencies_us
        })
    });
    let mut latencies_us = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        latencies_us.extend(task.await.expect("writer"));
    }
    let name = format!("{name}, {writers} writers");
    report(&name, commits.load(Ordering::Relaxed), start.elapsed(), cpu_ms() - cpu, latencies_us);
}

async fn commit(storage: &Arc<dyn Storage>, writer: u64, index: u64) {
    let key = Bytes::from(format!("t/object//configmaps/default/object-{writer}-{index}"));
    let mut transaction = storage.begin().await.expect("begin");
    transaction.get(&key, Isolation::Serializable).await.expect("get");
    let mut value = vec![b'x'; BODY_BYTES];
    value[..8].copy_from_slice(&index.to_be_bytes());
    transaction.set_stamped_value(key, value.clone(), 16);
    transaction.set_stamped_key(b"t/log//configmaps/", b"", Bytes::from(value));
    transaction.set_stamped_value(Bytes::from_static(b"t/wake//configmaps"), vec![0; STAMP_BYTES], 0);
    transaction.commit().await.expect("commit");
}

fn report(name: &str, commits: u64, wall: Duration, cpu_ms: u64, mut latencies_us: Vec<u64>) {
    latencies_us.sort_unstable();
    let latency = |share: usize| latencies_us.get(latencies_us.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{name}: {:.0} commits/s, {:.1} us CPU a commit, p50 {} us, p99 {} us, resident {} KiB",
        commits as f64 / wall.as_secs_f64(),
        cpu_ms as f64 * 1000.0 / commits as f64,
        latency(50),
        latency(99),
        resident_kib(),
    );
}

/// User and system time of this process, in steps of 10 ms.
fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) * 10
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or_default()
}

fn folder_kib(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |path: PathBuf| {
        if path.is_dir() { folder_kib(&path) } else { fs::metadata(&path).map_or(0, |file| file.blocks() / 2) }
    };
    entries.map(|entry| size(entry.path())).sum()
}
