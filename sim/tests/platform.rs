//! The traps of simulating: what would break determinism or speed if the platform did not see to it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use triune_sim::{
    platform::WallClock,
    world::{Crash, World, simulate},
};

#[test]
fn sleeps_take_just_as_long_as_asked_also_below_a_millisecond() {
    simulate(1, |world| async move {
        let env = world.env();
        for wanted_us in [0, 10, 500, 1_000, 1_000_000] {
            let begin = env.clock.now();
            env.sleep(Duration::from_micros(wanted_us)).await;
            let taken = env.clock.now() - begin;
            let wanted = Duration::from_micros(wanted_us);
            assert!(taken >= wanted && taken < wanted + Duration::from_micros(2), "{wanted:?} took {taken:?}");
        }
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicU64);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn a_sleep_that_is_polled_often_owns_one_timer_and_a_dropped_one_wakes_nobody() {
    simulate(1, |world| async move {
        let env = world.env();
        let wakes = Arc::new(Wakes::default());
        let waker = std::task::Waker::from(wakes.clone());
        let mut context = std::task::Context::from_waker(&waker);
        let (mut polled, mut dropped) = (env.sleep(Duration::from_secs(1)), env.sleep(Duration::from_secs(1)));
        for _ in 0..1000 {
            assert!(polled.as_mut().poll(&mut context).is_pending());
            assert!(dropped.as_mut().poll(&mut context).is_pending());
        }
        drop(dropped);
        // madsim's own sleep would have left 2000 timers, each with a waker.
        env.sleep(Duration::from_secs(2)).await;
        assert_eq!(wakes.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    });
}

#[test]
fn tasks_end_with_their_node_and_a_restart_is_a_kill_first() {
    simulate(1, |world| async move {
        let beats = Arc::new(Mutex::new(Vec::new()));
        let out = beats.clone();
        let starts = Arc::new(Mutex::new(0));
        world.add_node("node", [10, 0, 0, 1], move |process| {
            let start = {
                let mut starts = starts.lock().unwrap();
                *starts += 1;
                *starts
            };
            let out = out.clone();
            async move {
                let env = process.env.clone();
                let inner = env.clone();
                env.spawn_detached("beat", async move {
                    loop {
                        inner.sleep(Duration::from_secs(1)).await;
                        out.lock().unwrap().push(start);
                    }
                });
                process.stop.wait().await;
            }
        });
        let count = |wanted: i32| beats.lock().unwrap().iter().filter(|start| **start == wanted).count();
        world.sleep(Duration::from_millis(3500)).await;
        assert_eq!(count(1), 3);
        world.restart("node");
        world.sleep(Duration::from_millis(3500)).await;
        assert_eq!((count(1), count(2)), (3, 3), "a task of the old process went on");
        world.crash("node", Crash::Host);
        world.sleep(Duration::from_millis(3500)).await;
        assert_eq!((count(1), count(2)), (3, 3));
        world.restart("node");
        world.sleep(Duration::from_millis(1500)).await;
        world.ask_to_stop("node");
        world.sleep(Duration::from_millis(3500)).await;
        assert_eq!(count(3), 1, "a process that ended by itself left a task behind");
        assert!(!world.is_alive("node"));
    });
}

#[test]
fn wall_clocks_differ_and_drift_while_time_goes_on_alike() {
    simulate(1, |world| async move {
        let (one, two) = (
            world.env(),
            triune_sim::platform::env(Arc::new(Mutex::new(WallClock {
                offset_ms: -5_000,
                drift_us_per_second: 1_000,
            }))),
        );
        let apart = || one.clock.wall().duration_since(two.clock.wall()).unwrap().as_millis();
        assert_eq!(apart(), 5_000);
        world.sleep(Duration::from_secs(1000)).await;
        assert_eq!(apart(), 4_000);
        assert_eq!(one.clock.now(), two.clock.now());
    });
}

/// Random bits, hash maps and the order of tasks, as text.
fn trace(seed: u64) -> String {
    simulate(seed, |world: World| async move {
        let env = world.env();
        let order = Arc::new(Mutex::new(String::new()));
        for number in 0..20 {
            let (order, inner) = (order.clone(), env.clone());
            env.spawn_detached("task", async move {
                inner.sleep(Duration::from_millis(number % 3)).await;
                order.lock().unwrap().push_str(&format!("{number} {} ", inner.entropy.u64()));
            });
        }
        env.sleep(Duration::from_secs(1)).await;
        order.lock().unwrap().clone()
    })
}

#[test]
fn a_seed_decides_everything_and_another_seed_something_else() {
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
#[should_panic(expected = "there is no reactor running")]
fn a_real_timer_inside_a_simulation_is_caught() {
    simulate(1, |_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
}
