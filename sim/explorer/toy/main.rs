//! Scenarios that need no simulation, one for each way in which a run can end: what the tests of the command line run.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use serde_json::{Value, json};
use triune_explorer::{Finding, Kind, RunOptions, RunResult, ScenarioInfo, Scenarios};
use triune_history::{
    Answer, At, Body, Commit, NodeChange, Object, ObjectChange, ObjectKey, Operation, OperationId, Outcome, Recorder,
    StreamEnd, StreamItem, WatchFrom,
};

fn main() -> ExitCode {
    triune_explorer::main(&Toy)
}

struct Toy;

impl Scenarios for Toy {
    fn list(&self) -> Vec<ScenarioInfo> {
        let scenario = |(name, about): (&str, &str)| ScenarioInfo { name: name.into(), about: about.into() };
        let all = [
            ("quiet", "passes; seeds that are multiples of 7 reach a rare line"),
            ("lossy", "a watch misses an event where the plan has the fault \"lose\" and a write of b"),
            ("late", "nothing ever settles"),
            ("dice", "no run is like another"),
            ("panics", "panics"),
            ("catches", "panics, catches it, and passes"),
            ("dies", "ends its process"),
            ("hangs", "never answers"),
        ];
        all.into_iter().map(scenario).collect()
    }

    fn plan(&self, scenario: &str, seed: u64) -> Result<Value, String> {
        let writes: Vec<&str> = (0..20).map(|step| ["a", "b", "c"][((seed + step) % 3) as usize]).collect();
        let faults = match scenario {
            "lossy" if seed.is_multiple_of(3) => json!(["slow", "lose", "crash", "pause"]),
            _ => json!(["slow", "crash"]),
        };
        Ok(json!({"writes": writes, "faults": faults}))
    }

    fn run(&self, scenario: &str, seed: u64, plan: &Value, options: &RunOptions) -> RunResult {
        match scenario {
            "panics" => panic!("a toy is broken <b>&\"quoted\"</b>"),
            "dies" => std::process::abort(),
            "hangs" => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            "catches" => {
                let caught = std::panic::catch_unwind(|| panic!("a toy is broken inside"));
                assert!(caught.is_err());
                Run::new(options).finish(scenario, seed, plan)
            }
            _ => Run::new(options).finish(scenario, seed, plan),
        }
    }

    fn shrinks(&self, plan: &Value) -> Vec<Value> {
        let mut smaller = Vec::new();
        for field in ["faults", "writes"] {
            let items = plan[field].as_array().cloned().unwrap_or_default();
            let with = |items: &[Value]| {
                let mut plan = plan.clone();
                plan[field] = json!(items);
                plan
            };
            let middle = items.len() / 2;
            if middle > 0 {
                smaller.extend([with(&items[..middle]), with(&items[middle..])]);
            }
            for index in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(index);
                smaller.push(with(&fewer));
            }
        }
        smaller
    }

    fn probes(&self) -> &[&str] {
        &["multiple of seven", "never there"]
    }
}

/// A run over a made-up clock that grows with each event.
struct Run {
    recorder: Recorder,
    messages: bool,
}

impl Run {
    fn new(options: &RunOptions) -> Run {
        let count = std::sync::atomic::AtomicU64::new(0);
        let now = move || At(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * 50_000_000);
        Run { recorder: Recorder::new(now), messages: options.record_messages }
    }

    fn finish(self, scenario: &str, seed: u64, plan: &Value) -> RunResult {
        let mut findings = self.play(plan);
        match scenario {
            "late" => findings.push(finding("L1", Kind::Liveness, "the deletion of a never ended", vec![1])),
            "dice" => self.recorder.record("api-1", Body::Note(format!("process {}", std::process::id()))),
            _ => {}
        }
        let reached = u64::from(seed.is_multiple_of(7));
        let hash = self.recorder.hash();
        let events = self.recorder.take();
        RunResult {
            hash,
            simulated: Duration::from_nanos(events.last().map_or(0, |event| event.at.0)),
            cpu: Duration::from_millis(1),
            statistics: BTreeMap::from([("writes".to_owned(), plan["writes"].as_array().map_or(0, Vec::len) as u64)]),
            events,
            findings,
            probes: BTreeMap::from([("multiple of seven".to_owned(), reached)]),
            panicked: None,
        }
    }

    /// Writes, and a watch of them; the fault `lose` takes an event of b from the watch.
    fn play(&self, plan: &Value) -> Vec<Finding> {
        let texts = |field: &str| -> Vec<String> {
            let items = plan[field].as_array().into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let (writes, faults) = (texts("writes"), texts("faults"));
        for node in ["store", "api-1", "client-1", "client-2"] {
            self.recorder.record(node, Body::Node(NodeChange::Started));
        }
        for fault in &faults {
            self.recorder.record("faults", Body::Fault(format!("begin {fault}")));
        }
        let watch = self.recorder.operation();
        let operation = Operation::Watch {
            resource: "configmaps".into(),
            namespace: "n".into(),
            labels: vec![],
            from: WatchFrom::After(1),
            bookmarks: true,
            timeout_seconds: 0,
        };
        self.invoke("client-1", watch, operation);
        self.answer("client-1", watch, None);
        let mut lost = Vec::new();
        for (revision, name) in (2..).zip(&writes) {
            let (committed, object) = self.write(revision, name);
            if name == "b" && faults.iter().any(|fault| fault == "lose") {
                lost.push(committed);
                continue;
            }
            self.recorder.record("client-1", Body::Stream { id: watch, item: StreamItem::Modified(object) });
        }
        self.recorder.record("faults", Body::Healed);
        let end = self.recorder.len();
        self.recorder.record("client-1", Body::StreamEnd { id: watch, end: StreamEnd::Closed });
        let text = |index: &usize| format!("watch #{} never told of the commit of event {index} <&>", watch.0);
        lost.iter().map(|index| finding("W7", Kind::Safety, &text(index), vec![*index, end])).collect()
    }

    fn write(&self, revision: u64, name: &str) -> (usize, Object) {
        let id = self.recorder.operation();
        let value = json!({"metadata": {"namespace": "n", "name": name, "uid": "u"}, "data": {"at": revision}});
        let sent = Object::from_json(value.clone(), None).expect("it has a name");
        let object = Object::from_json(value, Some(revision)).expect("it has a name");
        let key = ObjectKey { resource: "configmaps".into(), namespace: "n".into(), name: name.into() };
        self.invoke("client-2", id, Operation::Update { key: key.clone(), expect: None, object: sent });
        let committed = self.recorder.len();
        let objects = vec![ObjectChange { key: key.clone(), object: Some(object.clone()) }];
        let commit = Commit { revision, objects, logged: vec![(key, false)], compacted: vec![] };
        self.recorder.record("store", Body::Commit(commit));
        self.answer("client-2", id, Some(object.clone()));
        (committed, object)
    }

    fn invoke(&self, node: &str, id: OperationId, operation: Operation) {
        self.recorder.record(node, Body::Invoke { id, server: "api-1".into(), operation });
        if self.messages {
            self.recorder.record(node, Body::Message { to: "api-1".into(), bytes: 100, arrives: At(1_000_000_000) });
        }
    }

    fn answer(&self, node: &str, id: OperationId, object: Option<Object>) {
        let answer = Answer {
            code: 200,
            reason: String::new(),
            message: String::new(),
            causes: vec![],
            object,
            list: None,
            retry_after: None,
        };
        self.recorder.record(node, Body::Answer { id, outcome: Outcome::Answered(Box::new(answer)) });
    }
}

fn finding(invariant: &str, kind: Kind, text: &str, events: Vec<usize>) -> Finding {
    let at = At(events.first().map_or(0, |event| *event as u64 * 50_000_000));
    Finding { invariant: invariant.into(), kind, at, text: text.into(), events }
}
