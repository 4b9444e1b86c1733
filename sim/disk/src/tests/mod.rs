//! Tests of the store on its disk, and what they run in: paused time, a seed, and a process that can be killed.

mod checker;
mod random;
mod stories;

use std::sync::{Arc, Mutex};

use triune_env::{BoxFuture, Entropy, Env, TaskHandle, Tasks};

/// Random bits from a seed (SplitMix64).
pub(crate) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Seeded {
        Seeded(Mutex::new(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let mut state = self.0.lock().unwrap();
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Runs a test in paused time: a second of waiting takes none.
pub(crate) fn run_paused<T>(body: impl AsyncFnOnce(Env) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(body(Env { entropy: Arc::new(Seeded::new(7)), ..triune_platform::env() }))
}

/// A process: all of its tasks end when it is killed, each at the await where it is.
struct Process {
    tasks: Arc<dyn Tasks>,
    handles: Mutex<Vec<TaskHandle>>,
}

impl Process {
    /// A process on `env`, and the environment that its code gets.
    fn start(env: &Env) -> (Arc<Process>, Env) {
        let process = Arc::new(Process { tasks: env.tasks.clone(), handles: Mutex::default() });
        let inner = Env { tasks: process.clone(), ..env.clone() };
        (process, inner)
    }

    fn kill(&self) {
        self.handles.lock().unwrap().clear();
    }
}

impl Tasks for Process {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle {
        self.handles.lock().unwrap().push(self.tasks.spawn(name, future));
        TaskHandle::new(|| ())
    }
}
