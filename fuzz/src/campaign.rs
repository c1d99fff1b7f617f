//! Runs many cases of a target: numbered, so that any one can be run again, on as many threads as wished.
//!
//! A case fails by saying so, by a panic, or by taking longer than any program may. Failures that look alike are told
//! once. What a case is depends on the seed and its number alone, not on threads or on the cases before it.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::rng::Rng;

/// Cases that share what is costly to make, such as a linked object.
pub const BATCH: u64 = 128;

/// Processor time of one case. The verifier's limit of a million instructions ends earlier.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// Something to run cases of.
pub trait Target: Sync {
    /// Runs the cases of these numbers, all of one batch, each by [`Run::case`].
    fn batch(&self, cases: Range<u64>, run: &Run<'_>);
}

/// What is wrong with a case.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened, in one line; failures with the same line are told once.
    pub what: String,
    /// The program, and what else a person needs.
    pub details: String,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the target, for the command that reproduces a case.
    pub target: String,
    /// What the cases are made from.
    pub seed: u64,
    /// Numbers of the cases.
    pub cases: Range<u64>,
    /// Threads.
    pub threads: usize,
    /// No new batch begins after this time.
    pub time: Option<Duration>,
    /// Seconds between lines that tell how far it is; 0 for none.
    pub progress_s: u64,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many cases came to what.
    pub counts: BTreeMap<&'static str, u64>,
    /// Failures that differ.
    pub failures: Vec<Failure>,
    /// The slowest case and its processor time.
    pub slowest: (u64, Duration),
}

impl Summary {
    /// Cases run.
    pub fn cases(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many cases came to this.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }
}

/// A campaign that runs.
pub struct Run<'a> {
    plan: &'a Plan,
    started: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    summary: Mutex<Summary>,
    /// What each thread is at, and since when.
    running: Mutex<BTreeMap<u64, Instant>>,
}

thread_local! {
    /// Message and place of the last panic of this thread.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a plan to its end, or until it has failed in too many ways.
pub fn run(plan: &Plan, target: &dyn Target) -> Summary {
    let run = Run {
        plan,
        started: Instant::now(),
        next: AtomicU64::new(plan.cases.start),
        stop: AtomicBool::new(false),
        summary: Mutex::default(),
        running: Mutex::default(),
    };
    panic::set_hook(Box::new(|info| {
        PANIC.set(format!("{}{}", info.to_string().replace('\n', " "), caller()));
    }));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads).map(|_| scope.spawn(|| run.work(target))).collect();
        run.watch(|| threads.iter().all(std::thread::ScopedJoinHandle::is_finished));
    });
    drop(panic::take_hook());
    if plan.progress_s > 0 {
        run.tell();
    }
    run.summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Where in this workspace a panic came from: the panic of a standard function names that alone.
fn caller() -> String {
    let trace = Backtrace::force_capture().to_string();
    let ours = |line: &&str| line.contains("at ./") && !line.contains("/campaign.rs");
    let line = trace.lines().find(ours);
    line.map(|line| format!(" ({})", line.trim())).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    /// One thread: batches until there are none.
    fn work(&self, target: &dyn Target) {
        while !self.stop.load(Ordering::Relaxed) && self.plan.time.is_none_or(|t| self.started.elapsed() < t)
        {
            let start = self.next.load(Ordering::Relaxed);
            let end = (start / BATCH + 1).saturating_mul(BATCH).min(self.plan.cases.end);
            if start >= end {
                return;
            }
            if self.next.compare_exchange(start, end, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                target.batch(start..end, self);
            }
        }
    }

    /// Runs one case: `body` takes its random numbers and says what it came to.
    pub fn case(&self, case: u64, body: impl FnOnce(&mut Rng) -> Result<&'static str, Failure>) {
        lock(&self.running).insert(case, Instant::now());
        let began = thread_time();
        let mut rng = Rng::new(self.plan.seed, case);
        let result = panic::catch_unwind(AssertUnwindSafe(|| body(&mut rng)));
        let time = thread_time().saturating_sub(began);
        lock(&self.running).remove(&case);
        let result = result.unwrap_or_else(|_| Err(Failure { what: PANIC.take(), details: String::new() }));
        let result = result.and_then(|what| match time > CASE_LIMIT {
            true => Err(Failure { what: format!("takes {time:?}"), details: String::new() }),
            false => Ok(what),
        });
        self.count(case, time, result);
    }

    /// Is only one case run, to be looked at?
    pub fn is_single(&self) -> bool {
        self.plan.cases.end - self.plan.cases.start == 1
    }

    fn count(&self, case: u64, time: Duration, result: Result<&'static str, Failure>) {
        let mut summary = lock(&self.summary);
        if time > summary.slowest.1 {
            summary.slowest = (case, time);
        }
        match result {
            Ok(what) => *summary.counts.entry(what).or_default() += 1,
            Err(failure) => {
                *summary.counts.entry("failed").or_default() += 1;
                if summary.failures.iter().all(|known| known.what != failure.what) {
                    let again = self.again(case);
                    let Failure { what, details } = failure;
                    eprintln!("case {case} failed: {what}\n{details}again with: {again}\n");
                    let details = format!("{details}again with: {again}\n");
                    summary.failures.push(Failure { what, details });
                    self.stop.fetch_or(summary.failures.len() >= 20, Ordering::Relaxed);
                }
            }
        }
    }

    /// The command that runs one case again.
    fn again(&self, case: u64) -> String {
        format!("cargo xtask fuzz {} --seed {} --case {case}", self.plan.target, self.plan.seed)
    }

    /// Tells how far it is now and then, and ends everything when a case does not end.
    fn watch(&self, finished: impl Fn() -> bool) {
        let mut told = Instant::now();
        while !finished() {
            std::thread::sleep(Duration::from_millis(20));
            let stuck = |(_, since): &(&u64, &Instant)| since.elapsed() > CASE_LIMIT * 5;
            if let Some((case, _)) = lock(&self.running).iter().find(stuck) {
                eprintln!("case {case} does not end\nagain with: {}", self.again(*case));
                std::process::exit(1);
            }
            if self.plan.progress_s > 0 && told.elapsed().as_secs() >= self.plan.progress_s {
                told = Instant::now();
                self.tell();
            }
        }
    }

    fn tell(&self) {
        let summary = lock(&self.summary);
        let seconds = self.started.elapsed().as_secs_f64();
        let counts: Vec<String> = summary.counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
        eprintln!(
            "{:.0} s: {} cases ({:.0} a second): {}; slowest {:.2} s (case {})",
            seconds,
            summary.cases(),
            summary.cases() as f64 / seconds,
            counts.join(", "),
            summary.slowest.1.as_secs_f64(),
            summary.slowest.0,
        );
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
