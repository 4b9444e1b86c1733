//! What is measured and how it is printed: a histogram of latencies, and one line of JSON for each figure.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::process::CpuTimes;

/// Steps between two powers of two: a step is about 3 %.
const STEPS: usize = 32;
const BUCKETS: usize = 40 * STEPS;

/// How often which latency occurred. Small and cheap: every watcher has one.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
    }

    /// Adds what another counted.
    pub(crate) fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.total += other.total;
    }

    /// How many were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The latency in ms below which this share of all lies.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return rounded(upper_micros(index) / 1000.0, 3);
            }
        }
        0.0
    }
}

/// Up to 2 * STEPS exact, then STEPS steps for each power of two.
fn bucket(micros: u64) -> usize {
    let steps = STEPS as u64;
    if micros < 2 * steps {
        return micros as usize;
    }
    let shift = micros.ilog2() - steps.ilog2();
    let index = u64::from(shift) * steps + (micros >> shift);
    (index as usize).min(BUCKETS - 1)
}

fn upper_micros(bucket: usize) -> f64 {
    if bucket < 2 * STEPS {
        return bucket as f64;
    }
    let shift = bucket / STEPS - 1;
    let step = bucket % STEPS + STEPS + 1;
    (step as f64) * 2f64.powi(shift as i32) - 1.0
}

/// To so many digits after the point.
pub(crate) fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// One line of output. What does not apply is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figure {
    /// Such as `create/16`.
    pub(crate) figure: String,
    /// What is counted: requests, lists, deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// Requests that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errors: Option<u64>,
    /// Length of the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// `count` by `seconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_second: Option<f64>,
    /// Median latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ms: Option<f64>,
    /// Latency that one in a hundred exceeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
    /// CPU seconds of the server processes for 1000 of `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_s_per_1000: Option<f64>,
    /// CPU seconds of this program for 1000 of `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_cpu_s_per_1000: Option<f64>,
    /// The ratio that stays the same on a loaded machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_over_client_cpu: Option<f64>,
    /// Resident memory by process, after the figure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) resident_kib: BTreeMap<String, u64>,
    /// What only this figure has.
    #[serde(flatten)]
    pub(crate) more: BTreeMap<&'static str, serde_json::Value>,
}

impl Figure {
    /// A figure with nothing but its name.
    pub(crate) fn named(name: impl Into<String>) -> Figure {
        Figure { figure: name.into(), ..Figure::default() }
    }

    /// Adds latencies and their number.
    pub(crate) fn with_latencies(mut self, latencies: &Histogram, elapsed: Duration) -> Figure {
        let seconds = elapsed.as_secs_f64();
        self.count = Some(latencies.total());
        self.seconds = Some(rounded(seconds, 2));
        self.per_second = Some(rounded(latencies.total() as f64 / seconds.max(1e-9), 1));
        if latencies.total() > 0 {
            self.p50_ms = Some(latencies.quantile_ms(0.5));
            self.p99_ms = Some(latencies.quantile_ms(0.99));
        }
        self
    }

    /// Adds CPU time, spread over `count`.
    pub(crate) fn with_cpu(mut self, used: &CpuTimes) -> Figure {
        let thousands = self.count.unwrap_or_default() as f64 / 1000.0;
        if thousands > 0.0 {
            self.server_cpu_s_per_1000 = used.server_seconds().map(|seconds| rounded(seconds / thousands, 4));
            self.client_cpu_s_per_1000 = Some(rounded(used.client_seconds() / thousands, 4));
            let client = used.client_seconds();
            let ratio = used.server_seconds().filter(|_| client > 0.0).map(|server| rounded(server / client, 2));
            self.server_over_client_cpu = ratio;
        }
        self
    }

    /// Adds a value of its own.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Figure {
        self.more.insert(name, value.into());
        self
    }

    /// Prints the line.
    pub(crate) fn print(&self) {
        match serde_json::to_string(self) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("triune-bench: {}: {error}", self.figure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::default();
        (1..=10_000u64).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let close = |got: f64, want: f64| assert!((got - want).abs() / want < 0.04, "{got} {want}");
        close(histogram.quantile_ms(0.5), 5.0);
        close(histogram.quantile_ms(0.99), 9.9);
        close(histogram.quantile_ms(1.0), 10.0);
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!((twice.total(), twice.quantile_ms(0.5)), (20_000, histogram.quantile_ms(0.5)));
        histogram.record(Duration::MAX);
        assert_eq!(Histogram::default().quantile_ms(0.5), 0.0);
    }

    #[test]
    fn buckets_grow_with_the_latency() {
        let mut last = 0;
        for micros in (0..100_000).chain((17..60).map(|bit| 1 << bit)) {
            let index = bucket(micros);
            assert!(index >= last && index < BUCKETS);
            assert!(index == BUCKETS - 1 || upper_micros(index) >= micros as f64);
            last = index;
        }
    }

    #[test]
    fn a_line_has_what_applies() {
        let line = serde_json::to_string(&Figure::named("x").with("runs", 3)).unwrap();
        assert_eq!(line, r#"{"figure":"x","runs":3}"#);
    }
}
