//! One seed in a process of its own.
//!
//! Keeps: a run that dies or hangs is a failure of its seed, never of the exploration; what a child prints is read as it
//! comes, and no more than a bound of it is kept.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::{class::Class, run::RunOptions, single::Summary};

/// What is kept of what a dying child said last, in bytes.
const LAST_WORDS_BYTES_MAX: usize = 4096;

/// What a child runs.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which scenario.
    pub scenario: String,
    /// Which seed.
    pub seed: u64,
    /// A file with a plan that is not the seed's own.
    pub plan: Option<PathBuf>,
    /// Where the log is written, failure or not.
    pub log: Option<PathBuf>,
    /// What is recorded.
    pub options: RunOptions,
    /// Whether the child has it run a second time.
    pub twice: bool,
    /// Folder of the logs of failures.
    pub failures: PathBuf,
}

/// How long a child may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Real time of one run.
    pub hang_after: Duration,
}

/// The program that is running, to be run again.
pub fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot tell which program this is: {error}"))
}

/// The program as it was called: what replay commands start with.
pub fn program_name() -> String {
    std::env::args().next().unwrap_or_else(|| "triune-sim".into())
}

/// Runs a job in a child of the program, and waits for it.
pub fn run(program: &Path, job: &Job, bounds: &Bounds) -> Summary {
    match ask(program, job, bounds) {
        Ok(summary) => summary,
        Err(why) => without_answer(job, &why),
    }
}

fn ask(program: &Path, job: &Job, bounds: &Bounds) -> Result<Summary, String> {
    let mut command = Command::new(program);
    command.arg0(program_name()).args(arguments(job)).arg(format!("--hang-after={}", bounds.hang_after.as_secs()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let answer = read_in_background(child.stdout.take(), usize::MAX);
    let words = read_in_background(child.stderr.take(), LAST_WORDS_BYTES_MAX);
    // With a second run inside, there is time for both.
    let bound = bounds.hang_after * if job.twice { 3 } else { 1 };
    let Ok(answer) = answer.recv_timeout(bound) else {
        end(&mut child);
        return Err(format!("no answer within {} s of real time; the process was killed", bound.as_secs()));
    };
    let status = child.wait().map_err(|error| format!("its process was lost: {error}"))?;
    let last_line = answer.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(last_line).map_err(|_| {
        let words = words.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        died(status, &words)
    })
}

fn arguments(job: &Job) -> Vec<String> {
    let mut arguments = vec![
        "run".to_owned(),
        "--json".into(),
        format!("--scenario={}", job.scenario),
        format!("--seed={}", job.seed),
        format!("--failures={}", job.failures.display()),
    ];
    arguments.extend(job.plan.as_ref().map(|path| format!("--plan={}", path.display())));
    arguments.extend(job.log.as_ref().map(|path| format!("--log={}", path.display())));
    arguments.extend(job.options.record_messages.then(|| "--messages".into()));
    arguments.extend(job.options.trace.then(|| "--notes".into()));
    arguments.extend(job.twice.then(|| "--twice".into()));
    arguments
}

fn died(status: ExitStatus, words: &str) -> String {
    let words = words.trim();
    let said = if words.is_empty() {
        "it said nothing".into()
    } else {
        format!("its last words:\n  {}", words.replace('\n', "\n  "))
    };
    format!("the process ended without an answer ({status}); {said}")
}

fn end(child: &mut Child) {
    // It may have ended meanwhile: then there is nothing to kill.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads until the end; the last `keep` bytes arrive in the channel.
fn read_in_background(pipe: Option<impl Read + Send + 'static>, keep: usize) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut piece = [0; 16 * 1024];
        let mut pipe = pipe;
        while let Some(count) = pipe.as_mut().and_then(|pipe| pipe.read(&mut piece).ok()).filter(|count| *count > 0) {
            bytes.extend_from_slice(&piece[..count]);
            let excess = bytes.len().saturating_sub(keep);
            bytes.drain(..excess);
        }
        // Nobody waits for it any longer if the child was killed.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn without_answer(job: &Job, why: &str) -> Summary {
    let Job { scenario, seed, .. } = job;
    let program = program_name();
    let text = format!(
        "seed {seed} of scenario {scenario} {}: {why}\nreplay: {program} run --scenario {scenario} --seed {seed}\n",
        Class::Panic.as_str()
    );
    Summary {
        scenario: scenario.clone(),
        seed: *seed,
        class: Class::Panic,
        hash: String::new(),
        simulated_ms: 0,
        cpu_ms: 0,
        events: 0,
        findings: vec![],
        probes: Default::default(),
        statistics: Default::default(),
        log: None,
        text,
    }
}

/// A folder for the files that two processes exchange; gone when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    pub fn new(name: &str) -> Result<Scratch, String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = format!("triune-sim-{}-{}-{name}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot make the folder {}: {error}", path.display()))?;
        Ok(Scratch(path))
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.path(name);
        std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays behind costs a little space in the system's own place for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
