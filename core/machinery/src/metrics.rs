//! Figures about a running server, in the Prometheus text format.
//!
//! Series are atomics that the hot path adds to without a lock; a lock is taken when a series is made and when all are
//! printed. Names and labels are those of the reference. Invariant: the number of request series is bounded by
//! [`REQUEST_SERIES_MAX`], whatever clients ask for; past it, requests are served and not counted.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

/// Largest number of request series.
pub const REQUEST_SERIES_MAX: usize = 10_000;

/// Upper bounds of `apiserver_request_duration_seconds`, in seconds.
const DURATION_BOUNDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Upper bounds of `apiserver_response_sizes`, in bytes.
const SIZE_BOUNDS: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Codes that are counted each; others share the code 0.
const CODES: [u16; 28] = [
    0, 101, 200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 415, 422, 429,
    500, 501, 502, 503, 504,
];

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }
    /// Adds some.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A figure that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds; negative to subtract.
    pub fn add(&self, amount: i64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
    /// Replaces.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }
    /// The figure.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often values fell between bounds, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above the last.
    counts: Box<[AtomicU64]>,
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, which must grow.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let slot = self.bounds.partition_point(|bound| *bound < value);
        self.counts[slot].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// What request series are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLabels<'a> {
    /// In upper case: `GET`, `LIST`, `POST`, ...
    pub verb: &'a str,
    /// "" is the core group.
    pub group: &'a str,
    /// Such as `v1`.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Such as `status`; for plain paths the path of the route.
    pub subresource: &'a str,
    /// `cluster`, `namespace`, `resource` or "".
    pub scope: &'a str,
}

impl RequestLabels<'_> {
    fn print(&self) -> String {
        let RequestLabels { verb, group, version, resource, subresource, scope } = self;
        format!(
            "group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }

    /// Unique: no part can hold the separator.
    fn key(&self) -> String {
        [self.verb, self.group, self.version, self.resource, self.subresource, self.scope].join("\n")
    }
}

/// The figures of one kind of request.
#[derive(Debug)]
pub struct RequestSeries {
    labels: String,
    codes: [Counter; CODES.len()],
    durations: Histogram,
    sizes: Histogram,
    /// Long-running requests that are open.
    pub open: Gauge,
    opened: Counter,
}

impl RequestSeries {
    /// Counts an answer; `size` is that of the body, where it is known.
    pub fn observe(&self, code: u16, duration: Duration, size: Option<u64>) {
        self.codes[CODES.binary_search(&code).unwrap_or(0)].increment();
        self.durations.observe(duration.as_secs_f64());
        if let Some(size) = size {
            self.sizes.observe(size as f64);
        }
    }

    /// A long-running request begins; it ends when the guard is dropped.
    pub fn open(self: &Arc<Self>) -> OpenRequest {
        self.open.add(1);
        self.opened.increment();
        OpenRequest(self.clone())
    }
}

/// See [`RequestSeries::open`].
pub struct OpenRequest(Arc<RequestSeries>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.add(-1);
    }
}

/// Prints further families: figures that are asked for when they are read.
pub type Collector = Box<dyn Fn(&mut Exposition) + Send + Sync>;

/// All figures of a server.
#[derive(Default)]
pub struct Metrics {
    requests: ArcSwap<BTreeMap<String, Arc<RequestSeries>>>,
    families: Mutex<BTreeMap<&'static str, Family>>,
    collectors: Mutex<Vec<Collector>>,
    /// Requests that read and are being answered.
    pub in_flight_read_only: Gauge,
    /// Requests that write and are being answered.
    pub in_flight_mutating: Gauge,
}

struct Family {
    help: &'static str,
    series: BTreeMap<String, Series>,
}

enum Series {
    Counter(Arc<Counter>),
    Gauge(Arc<Gauge>),
    Histogram(Arc<Histogram>),
}

impl Metrics {
    /// The series of a kind of request; None when there are too many.
    pub fn request(&self, labels: &RequestLabels<'_>) -> Option<Arc<RequestSeries>> {
        let key = labels.key();
        if let Some(series) = self.requests.load().get(&key) {
            return Some(series.clone());
        }
        let _writing = lock(&self.families);
        let current = self.requests.load_full();
        if let Some(series) = current.get(&key) {
            return Some(series.clone());
        }
        if current.len() >= REQUEST_SERIES_MAX {
            return None;
        }
        let series = Arc::new(RequestSeries {
            labels: labels.print(),
            codes: std::array::from_fn(|_| Counter::default()),
            durations: Histogram::new(DURATION_BOUNDS),
            sizes: Histogram::new(SIZE_BOUNDS),
            open: Gauge::default(),
            opened: Counter::default(),
        });
        let mut grown = (*current).clone();
        grown.insert(key, series.clone());
        self.requests.store(Arc::new(grown));
        Some(series)
    }

    /// A counter: made on first use, shared afterwards. Keep the handle; `labels` are printed as they are given.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Counter> {
        let mut families = lock(&self.families);
        match series(&mut families, name, help, labels, || Series::Counter(Arc::default())) {
            Series::Counter(counter) => counter.clone(),
            // The name belongs to another type: a handle of its own that is not printed.
            _ => Arc::default(),
        }
    }

    /// A gauge, like [`Metrics::counter`].
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Arc<Gauge> {
        let mut families = lock(&self.families);
        match series(&mut families, name, help, labels, || Series::Gauge(Arc::default())) {
            Series::Gauge(gauge) => gauge.clone(),
            _ => Arc::default(),
        }
    }

    /// A histogram, like [`Metrics::counter`].
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        bounds: &'static [f64],
    ) -> Arc<Histogram> {
        let mut families = lock(&self.families);
        let made = || Series::Histogram(Arc::new(Histogram::new(bounds)));
        match series(&mut families, name, help, labels, made) {
            Series::Histogram(histogram) => histogram.clone(),
            _ => Arc::new(Histogram::new(bounds)),
        }
    }

    /// Adds families that are asked for when figures are read.
    pub fn collect(&self, collector: impl Fn(&mut Exposition) + Send + Sync + 'static) {
        lock(&self.collectors).push(Box::new(collector));
    }

    /// All figures as text.
    pub fn print(&self) -> String {
        let mut exposition = Exposition::default();
        self.print_requests(&mut exposition);
        for (name, family) in &*lock(&self.families) {
            family.print(name, &mut exposition);
        }
        for collector in &*lock(&self.collectors) {
            collector(&mut exposition);
        }
        exposition.0
    }

    fn print_requests(&self, out: &mut Exposition) {
        let requests = self.requests.load_full();
        out.family("apiserver_current_inflight_requests", "Requests being answered now.", "gauge");
        for (kind, gauge) in [("mutating", &self.in_flight_mutating), ("readOnly", &self.in_flight_read_only)] {
            out.sample("apiserver_current_inflight_requests", &format!("request_kind=\"{kind}\""), gauge.get());
        }
        out.family("apiserver_longrunning_requests", "Watches and other long requests that are open.", "gauge");
        for series in requests.values().filter(|series| series.opened.get() > 0) {
            let labels = format!("component=\"apiserver\",{}", series.labels);
            out.sample("apiserver_longrunning_requests", &labels, series.open.get());
        }
        out.family("apiserver_request_total", "Requests answered, by code.", "counter");
        for series in requests.values() {
            for (code, count) in CODES.iter().zip(&series.codes).filter(|(_, count)| count.get() > 0) {
                let labels = format!("code=\"{code}\",component=\"apiserver\",dry_run=\"\",{}", series.labels);
                out.sample("apiserver_request_total", &labels, count.get());
            }
        }
        out.family("apiserver_request_duration_seconds", "Time to the answer, in seconds.", "histogram");
        for series in requests.values() {
            let labels = format!("component=\"apiserver\",dry_run=\"\",{}", series.labels);
            out.histogram("apiserver_request_duration_seconds", &labels, &series.durations);
        }
        out.family("apiserver_response_sizes", "Bytes of answers whose length is known.", "histogram");
        for series in requests.values().filter(|series| series.sizes.count() > 0) {
            let labels = format!("component=\"apiserver\",{}", series.labels);
            out.histogram("apiserver_response_sizes", &labels, &series.sizes);
        }
    }
}

fn series<'a>(
    families: &'a mut BTreeMap<&'static str, Family>,
    name: &'static str,
    help: &'static str,
    labels: &[(&str, &str)],
    made: impl FnOnce() -> Series,
) -> &'a Series {
    let family = families.entry(name).or_insert_with(|| Family { help, series: BTreeMap::new() });
    family.series.entry(print_labels(labels)).or_insert_with(made)
}

fn print_labels(labels: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    labels.iter().map(label).collect::<Vec<String>>().join(",")
}

impl Family {
    fn print(&self, name: &str, out: &mut Exposition) {
        let kind = match self.series.values().next() {
            Some(Series::Counter(_)) => "counter",
            Some(Series::Histogram(_)) => "histogram",
            Some(Series::Gauge(_)) | None => "gauge",
        };
        out.family(name, self.help, kind);
        for (labels, series) in &self.series {
            match series {
                Series::Counter(counter) => out.sample(name, labels, counter.get()),
                Series::Gauge(gauge) => out.sample(name, labels, gauge.get()),
                Series::Histogram(histogram) => out.histogram(name, labels, histogram),
            }
        }
    }
}

/// Figures being printed.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a family; its samples follow. `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, help: &str, kind: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One value; `labels` as printed, without braces.
    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        if labels.is_empty() {
            self.write(format_args!("{name} {value}\n"));
        } else {
            self.write(format_args!("{name}{{{labels}}} {value}\n"));
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (index, count) in histogram.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = histogram.bounds.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            self.write(format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}\n"));
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum.load(Ordering::Relaxed) as f64 / 1e6);
        self.sample(&format!("{name}_count"), labels, total);
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(text);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: RequestLabels<'_> =
        RequestLabels { verb: "GET", group: "", version: "v1", resource: "pods", subresource: "", scope: "resource" };

    fn check(metrics: &Metrics, line: &str) {
        let text = metrics.print();
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }

    #[test]
    fn requests_are_counted() {
        let metrics = Metrics::default();
        for milliseconds in [3, 30, 70_000] {
            let series = metrics.request(&PODS).expect("room");
            series.observe(200, Duration::from_millis(milliseconds), Some(900));
        }
        let open = metrics.request(&PODS).expect("room").open();
        let labels = r#"group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1""#;
        check(&metrics, &format!("apiserver_longrunning_requests{{component=\"apiserver\",{labels}}} 1"));
        drop(open);
        check(&metrics, &format!("apiserver_longrunning_requests{{component=\"apiserver\",{labels}}} 0"));
        check(
            &metrics,
            &format!("apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",{labels}}} 3"),
        );
        let duration = |le: &str| {
            let name = "apiserver_request_duration_seconds_bucket";
            format!("{name}{{component=\"apiserver\",dry_run=\"\",{labels},le=\"{le}\"}}")
        };
        check(&metrics, &format!("{} 1", duration("0.005")));
        check(&metrics, &format!("{} 2", duration("0.05")));
        check(&metrics, &format!("{} 2", duration("60")));
        check(&metrics, &format!("{} 3", duration("+Inf")));
        check(&metrics, &format!("apiserver_response_sizes_sum{{component=\"apiserver\",{labels}}} 2700"));
    }

    #[test]
    fn series_are_bounded() {
        let metrics = Metrics::default();
        let series = metrics.request(&PODS).expect("room");
        let almost = (0..REQUEST_SERIES_MAX - 1).map(|index| (index.to_string(), series.clone())).collect();
        metrics.requests.store(Arc::new(almost));
        assert!(metrics.request(&PODS).is_some());
        assert!(metrics.request(&RequestLabels { verb: "LIST", ..PODS }).is_none());
        assert!(metrics.request(&PODS).is_some());
    }

    #[test]
    fn families_are_shared_and_escaped() {
        let metrics = Metrics::default();
        metrics.counter("a_total", "As.", &[("x", "q\"")]).increment();
        metrics.counter("a_total", "As.", &[("x", "q\"")]).add(2);
        metrics.gauge("b", "Bs.", &[]).set(-5);
        metrics.collect(|out| {
            out.family("c", "Cs.", "gauge");
            out.sample("c", "", 1.5);
        });
        for line in ["# TYPE a_total counter", "a_total{x=\"q\\\"\"} 3", "b -5", "c 1.5"] {
            check(&metrics, line);
        }
    }
}
