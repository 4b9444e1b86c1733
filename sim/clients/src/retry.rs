//! When a request is sent again, as client-go does (`rest/with_retry.go`, `tools/cache/reflector.go`).
//!
//! Each sending is an operation of its own in the history. Invariants: a write is sent again only if the server asked for
//! it; a request is sent [`SENDS_MAX`] times at most; nothing is sent again after the signal to stop.

use std::time::{Duration, Instant};

use triune_env::Env;
use triune_history::Outcome;
use triune_machinery::signal::Signal;

use crate::{
    api::{Api, Reply},
    random::Random,
    request::Request,
    watch::Watch,
};

/// The first sending and ten more.
pub const SENDS_MAX: u32 = 11;
/// Pause after a broken connection.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);

/// Sends a request until it has an answer that counts.
pub async fn call(api: &Api, request: &Request, stop: &Signal) -> Reply {
    let mut sent = 1;
    loop {
        let reply = api.call(request).await;
        if !again(&reply, request.reads, sent, api.env(), stop).await {
            return reply;
        }
        sent += 1;
    }
}

/// Likewise opens a watch.
pub async fn watch(api: &Api, request: &Request, stop: &Signal) -> Result<Watch, Reply> {
    let mut sent = 1;
    loop {
        match api.watch(request).await {
            Ok(watch) => return Ok(watch),
            Err(reply) if again(&reply, true, sent, api.env(), stop).await => sent += 1,
            Err(reply) => return Err(reply),
        }
    }
}

/// Whether to send again; waits until it is time.
async fn again(reply: &Reply, reads: bool, sent: u32, env: &Env, stop: &Signal) -> bool {
    if sent >= SENDS_MAX {
        return false;
    }
    let wait = match &reply.outcome {
        Outcome::Answered(answer) if answer.code == 429 || answer.code >= 500 => {
            answer.retry_after.map(Duration::from_secs)
        }
        Outcome::Unknown(_) if reads => Some(BROKEN_PAUSE),
        _ => None,
    };
    match wait {
        Some(wait) => pause(env, wait, stop).await,
        None => false,
    }
}

/// Waits; false if it is time to stop.
pub async fn pause(env: &Env, duration: Duration, stop: &Signal) -> bool {
    if !duration.is_zero() {
        futures::future::select(stop.wait(), env.sleep(duration)).await;
    }
    !stop.is_given()
}

/// Exponential back-off with jitter: 800 ms to 15 s, each up to twice as long; back at the start after 2 minutes of rest.
/// client-go goes up to 30 s; half of that lets a run settle in half the time.
pub struct Backoff {
    next: Duration,
    last: Instant,
    random: Random,
}

impl Backoff {
    /// First pause.
    pub const MIN: Duration = Duration::from_millis(800);
    /// Longest pause, without jitter.
    pub const MAX: Duration = Duration::from_secs(15);
    /// Rest after which it starts anew.
    pub const RESET: Duration = Duration::from_secs(120);

    /// At its start.
    pub fn new(now: Instant, random: Random) -> Backoff {
        Backoff { next: Backoff::MIN, last: now, random }
    }

    /// The next pause.
    pub fn step(&mut self, now: Instant) -> Duration {
        if now - self.last > Backoff::RESET {
            self.next = Backoff::MIN;
        }
        self.last = now;
        let base = self.next;
        self.next = (base * 2).min(Backoff::MAX);
        base + Duration::from_millis(self.random.below(base.as_millis() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_start_anew() {
        let start = triune_platform::env().clock.now();
        let mut backoff = Backoff::new(start, Random::new(1));
        let mut now = start;
        for base_ms in [800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000] {
            let pause = backoff.step(now);
            let base = Duration::from_millis(base_ms);
            assert!((base..base * 2).contains(&pause), "{base_ms}: {pause:?}");
            now += pause;
        }
        now += Duration::from_secs(121);
        assert!(backoff.step(now) < Backoff::MIN * 2);
    }
}
