//! The storage contract, against the embedded store's core on the simulated disk. Opening again is a power cut first.

use std::{sync::Arc, time::Duration};

use triune_env::{
    BoxFuture,
    contract::{Harness, Subject, Test},
};
use triune_sim_disk::{Disk, Faults, LogOptions, open};

struct OnDisk(Faults);

impl Harness for OnDisk {
    fn run(self, test: Test) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let env = triune_platform::env();
            let disk = Disk::new(env.entropy.clone(), self.0);
            let options = LogOptions { compact_bytes_min: 20_000 };
            let storage = open(&env, &disk, options).await.unwrap();
            let again = env.clone();
            let reopen = move || {
                let (env, disk) = (again.clone(), disk.clone());
                Box::pin(async move {
                    disk.crash(&*env.entropy);
                    open(&env, &disk, options).await.unwrap()
                }) as BoxFuture<'static, _>
            };
            test(Subject { storage, env, reopen: Some(Arc::new(reopen)) }).await;
        });
    }
}

mod a_sound_disk {
    triune_env::storage_contract!(super::OnDisk(super::Faults::default()));
}

mod a_slow_disk {
    triune_env::storage_contract!(super::OnDisk(super::Faults {
        slow_sync_per_mille: 100,
        slow_sync_time: super::Duration::from_millis(20)..=super::Duration::from_millis(80),
        ..super::Faults::default()
    }));
}
