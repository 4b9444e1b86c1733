//! The storage contract, against both storages; and broken storages, which its tests must catch.

use std::{path::PathBuf, sync::Arc};

use triune_env::contract::{Harness, Subject, Test};
use triune_storage::{embedded, memory};

struct Memory;

impl Harness for Memory {
    /// Time is paused: waiting for the end of a transaction's life takes no time.
    fn run(self, test: Test) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let env = triune_platform::env();
            test(Subject { storage: memory(env.clone()), env, reopen: None }).await;
        });
    }
}

struct Embedded;

impl Harness for Embedded {
    fn run(self, test: Test) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let env = triune_platform::env();
            let path: PathBuf = folder.path().join("store");
            let storage = embedded(env.clone(), &path).unwrap();
            let reopen_env = env.clone();
            let reopen = move || {
                let storage = embedded(reopen_env.clone(), &path);
                Box::pin(async move { storage.unwrap() }) as triune_env::BoxFuture<'static, _>
            };
            test(Subject { storage, env, reopen: Some(Arc::new(reopen)) }).await;
        });
    }
}

mod memory_storage {
    triune_env::storage_contract!(super::Memory);
}

mod embedded_storage {
    triune_env::storage_contract!(super::Embedded);
}
