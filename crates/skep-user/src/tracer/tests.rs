//! The tracer under an observer that writes down what it sees.

use std::ffi::OsString;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use skep_runtime::{Session, SessionState};

use super::launch::CommandLine;
use super::*;
use crate::session::{UserSession, spawn_tracer};

/// One thing seen, with the thread that did it.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Entered(i64),
    Returned(i64, i64),
    Forked(Tid),
    Executed(Tid),
    Exiting(i32, bool),
    Signalled(i32),
    Probed(usize, bool),
    Sampled(u64),
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Tid, Tid, Event)>>>);

impl Log {
    fn add(&self, task: &Task, seen: Event) {
        self.0.lock().expect("no panic under the lock").push((task.tgid, task.tid, seen));
    }

    fn all(&self) -> Vec<(Tid, Tid, Event)> {
        self.0.lock().expect("no panic under the lock").clone()
    }

    fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.all().iter().filter(|(_, _, seen)| what(seen)).count()
    }
}

impl Observer for Log {
    fn entered(&mut self, task: &mut Task, call: &Call) {
        self.add(task, Event::Entered(call.nr));
    }
    fn returned(&mut self, task: &mut Task, call: &Call, ret: i64) {
        self.add(task, Event::Returned(call.nr, ret));
    }
    fn forked(&mut self, parent: &mut Task, child: &mut Task) {
        self.add(parent, Event::Forked(child.tid));
    }
    fn executed(&mut self, task: &mut Task, old_tid: Tid) {
        self.add(task, Event::Executed(old_tid));
    }
    fn exiting(&mut self, task: &mut Task, code: i32, last: bool) {
        self.add(task, Event::Exiting(code, last));
    }
    fn signalled(&mut self, task: &mut Task, signal: &SignalInfo) {
        self.add(task, Event::Signalled(signal.signal));
    }
    fn probed(&mut self, task: &mut Task, hit: Hit<'_>) -> Seen {
        self.add(task, Event::Probed(hit.site, hit.ret));
        Seen::default()
    }
    fn sampled(&mut self, task: &mut Task, _: &Registers, period_ns: u64) {
        self.add(task, Event::Sampled(period_ns));
    }
    fn repaired(&mut self, _: usize) {}
    fn gone(&mut self, _: Tid) {}
}

fn start(interest: Interest, command: &[&str]) -> skep_runtime::Result<(UserSession, Log)> {
    let log = Log::default();
    let progress = Arc::new(Progress::new().expect("pipes"));
    let argv = command.iter().map(OsString::from).collect();
    let line = CommandLine::resolve(argv)?;
    let (ready, begun) = mpsc::channel();
    let (observer, shared) = (Box::new(log.clone()), Arc::clone(&progress));
    spawn_tracer(move || match Tracer::launch(line, interest, observer, shared, ready.clone()) {
        Ok(tracer) => tracer.run(),
        Err(e) => ready.send(Err(e)).expect("the test waits"),
    })
    .expect("a thread");
    begun.recv().expect("an answer")?;
    Ok((UserSession::new(progress), log))
}

fn run(interest: Interest, command: &[&str]) -> (SessionState, Log) {
    let (mut session, log) = start(interest, command).expect("the command starts");
    let state = session.wait(Some(Duration::from_secs(20))).expect("a state");
    (state, log)
}

fn exited(code: i32) -> SessionState {
    SessionState::Ended { code: Some(code), signal: None }
}

fn calls(enter: &[i64], exit: &[i64]) -> Interest {
    let set = |numbers: &[i64]| CallSet::of(&numbers.iter().map(|&nr| nr as u32).collect::<Vec<_>>());
    Interest { enter: set(enter), exit: set(exit), ..Interest::default() }
}

const EVERYTHING: Interest = Interest {
    enter: CallSet::ALL,
    exit: CallSet::ALL,
    watch: CallSet::ALL,
    foreign: true,
    exits: true,
    signals: true,
    sites: Vec::new(),
    periods: Vec::new(),
};

#[test]
fn status_of_the_command_is_told() {
    assert_eq!(run(Interest::default(), &["true"]).0, exited(0));
    assert_eq!(run(calls(&[libc::SYS_openat], &[]), &["sh", "-c", "exit 7"]).0, exited(7));
    assert_eq!(run(EVERYTHING, &["sh", "-c", "exit 9"]).0, exited(9));
    let killed = SessionState::Ended { code: None, signal: Some(libc::SIGKILL) };
    assert_eq!(run(EVERYTHING, &["sh", "-c", "kill -9 $$"]).0, killed);
    let segv = SessionState::Ended { code: None, signal: Some(libc::SIGSEGV) };
    assert_eq!(run(calls(&[libc::SYS_openat], &[]), &["sh", "-c", "kill -SEGV $$"]).0, segv);
}

#[test]
fn only_asked_calls_are_seen_and_exec_is_seen_first() {
    let (state, log) =
        run(calls(&[libc::SYS_execve, libc::SYS_openat], &[libc::SYS_execve]), &["cat", "/etc/hostname"]);
    assert_eq!(state, exited(0));
    let seen: Vec<Event> = log.all().into_iter().map(|(.., seen)| seen).collect();
    assert_eq!(seen[0], Event::Entered(libc::SYS_execve));
    assert!(matches!(seen[1], Event::Executed(_)));
    assert_eq!(seen[2], Event::Returned(libc::SYS_execve, 0));
    assert!(seen[3..].iter().all(|seen| *seen == Event::Entered(libc::SYS_openat)), "{seen:?}");
    assert!(seen.len() > 4);
}

#[test]
fn every_entry_has_its_exit_but_those_that_never_return() {
    let (state, log) = run(EVERYTHING, &["sh", "-c", "cat /etc/hostname | cat; (exit 3)"]);
    assert_eq!(state, exited(3));
    let entered = log.count(|s| matches!(s, Event::Entered(_)));
    let returned = log.count(|s| matches!(s, Event::Returned(..)));
    let forks = log.count(|s| matches!(s, Event::Forked(_)));
    let ends = log.count(|s| matches!(s, Event::Exiting(..)));
    assert!(forks >= 2, "{forks} forks");
    assert_eq!(ends, forks + 1);
    // Each fork returns twice, and each process ends inside exit_group.
    assert_eq!(returned, entered + forks - ends);
}

#[test]
fn a_fork_is_seen_before_what_the_child_does() {
    let (_, log) = run(EVERYTHING, &["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do cat /dev/null & done; wait"]);
    let all = log.all();
    let forks: Vec<(usize, Tid)> = all
        .iter()
        .enumerate()
        .filter_map(
            |(at, (.., seen))| if let Event::Forked(child) = seen { Some((at, *child)) } else { None },
        )
        .collect();
    assert_eq!(forks.len(), 8);
    for (at, child) in forks {
        let first = all.iter().position(|(_, tid, _)| *tid == child).expect("the child did something");
        assert!(at < first, "child {child} was seen before its fork");
    }
}

#[test]
fn a_command_that_cannot_run_is_an_error() {
    for (command, reason) in
        [("no-such-command-anywhere", "not found"), ("/etc", "directory"), ("/etc/passwd", "not executable")]
    {
        let error = start(EVERYTHING, &[command]).err().expect("an error");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_bad_interpreter_is_an_error_of_the_start() {
    let path = std::env::temp_dir().join(format!("skep-bad-interpreter-{}", std::process::id()));
    std::fs::write(&path, "#!/no/such/interpreter\n").expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("a mode");
    let result = start(calls(&[libc::SYS_openat], &[]), &[path.to_str().expect("an ASCII path")]);
    std::fs::remove_file(&path).expect("the file is ours");
    let error = result.err().expect("an error");
    assert!(error.to_string().contains("interpreter"), "{error}");
}

#[test]
fn signals_arrive_unchanged() {
    let script = "trap 'echo got; exit 5' USR1; kill -USR1 $$; exit 1";
    let (state, log) = run(EVERYTHING, &["sh", "-c", script]);
    assert_eq!(state, exited(5));
    assert_eq!(log.count(|s| *s == Event::Signalled(libc::SIGUSR1)), 1);
}

#[test]
fn stopping_and_continuing_works_as_without_us() {
    let script = "(sleep 0.3; kill -CONT $$) & kill -STOP $$; wait; exit 4";
    assert_eq!(run(calls(&[libc::SYS_openat], &[]), &["sh", "-c", script]).0, exited(4));
    assert_eq!(run(EVERYTHING, &["sh", "-c", script]).0, exited(4));
}

#[test]
fn a_released_command_goes_on_unharmed() {
    for interest in [calls(&[libc::SYS_openat], &[libc::SYS_openat]), EVERYTHING] {
        let path =
            std::env::temp_dir().join(format!("skep-release-{}-{}", std::process::id(), interest.foreign));
        let script = format!("sleep 0.5; cat /etc/hostname > /dev/null && echo done > {}", path.display());
        let (mut session, log) = start(interest, &["sh", "-c", &script]).expect("the command starts");
        session.release().expect("a release");
        let seen = log.all().len();
        let arrived = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            std::fs::read_to_string(&path).is_ok_and(|text| text == "done\n")
        });
        let _ = std::fs::remove_file(&path);
        assert!(arrived, "the command did not get to its end");
        assert_eq!(log.all().len(), seen, "something was observed after the release");
    }
}
