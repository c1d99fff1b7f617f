//! The user runtime's daemon: the same session on it and on the kernel, clients that die, and what goes wrong.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Said, Scratch, has_clang, said, skep, skip, tool, until};
use crate::objects::{BpfFs, kernel};

/// A daemon of a test's own.
struct Daemon {
    child: Child,
    socket: PathBuf,
    scratch: Scratch,
}

impl Daemon {
    fn start(name: &str) -> Self {
        let scratch = Scratch::new(&format!("daemon-{name}"));
        let socket = scratch.path("run").join("skep.sock");
        let child = skep().env("SKEP_SOCKET", &socket).arg("daemon").stderr(Stdio::null()).spawn();
        let daemon = Self { child: child.expect("skep starts"), socket, scratch };
        until("the daemon does not serve", || daemon.socket.exists());
        daemon
    }

    fn command(&self) -> Command {
        let mut command = skep();
        command.env("SKEP_SOCKET", &self.socket);
        command
    }

    /// Runs `skep LINE` on the daemon's objects.
    fn run(&self, line: &str) -> Said {
        said(self.command().args(line.split_whitespace()).output().expect("skep starts"))
    }

    fn ok(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!(said.status, 0, "skep {line}: {}{}", said.stdout, said.stderr);
        said.stdout
    }

    fn json(&self, line: &str) -> Value {
        let text = self.ok(&format!("-j {line}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("skep -j {line}: {e}: {text}"))
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path(name).to_str().expect("a path").to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.command().args(["daemon", "stop"]).output();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a person types, with `DIR` for where objects are pinned and `OBJ` for an object.
const SESSION: &[&str] = &[
    "prog loadall OBJ DIR/progs pinmaps DIR/maps",
    "map create DIR/h type hash key 4 value 8 entries 2 name h",
    "map update pinned DIR/h key 1 0 0 0 value 1 2 3 4 5 6 7 8",
    "map update pinned DIR/h key 1 0 0 0 value 1 2 3 4 5 6 7 9 noexist",
    "map lookup pinned DIR/h key 1 0 0 0",
    "map lookup pinned DIR/h key 9 0 0 0",
    "map dump pinned DIR/h",
    "map getnext pinned DIR/h",
    "map update pinned DIR/h key 1 0 value 1",
    "map show pinned DIR/h",
    "map create DIR/h type hash key 4 value 8 entries 2 name h",
    "map create DIR/none type nonsense key 4 value 8 entries 2 name h",
    "map dump pinned DIR/maps/calls",
    "map show pinned DIR/maps/calls",
    "prog show pinned DIR/progs/enter_execve",
    "prog show pinned DIR/h",
    "prog attach pinned DIR/progs/enter_execve tracepoint/syscalls/sys_enter_execve pin DIR/link",
    "prog attach pinned DIR/progs/enter_execve nowhere pin DIR/other",
    "prog attach pinned DIR/progs/enter_execve tracepoint/syscalls/sys_enter_execve",
    "link show pinned DIR/link",
    "link detach pinned DIR/link",
    "map create DIR/q type queue value 2 entries 2 name q",
    "map push pinned DIR/q value 1 2",
    "map pop pinned DIR/q",
    "map pop pinned DIR/q",
    "map delete pinned DIR/h key 1 0 0 0",
    "map delete pinned DIR/h key 1 0 0 0",
    "map freeze pinned DIR/q",
    "-j map show pinned DIR/q",
    "map push pinned DIR/q value 1 2",
    "map show id 4294967295",
    "prog show pinned DIR/nothing",
];

/// What may differ: ids and times, and sizes of what the kernel makes of a program or map in its own memory.
const OWN: [&str; 12] = [
    "id",
    "prog_id",
    "map_ids",
    "btf_id",
    "loaded_at",
    "uid",
    "tag",
    "bytes_xlated",
    "bytes_jited",
    "jited",
    "bytes_memlock",
    "pids",
];

#[test]
fn a_session_says_the_same_as_on_the_kernel() {
    let Some(fs) = BpfFs::new("session") else { return };
    if kernel("prog list").status != 0 {
        return skip("bpf(2) is not allowed");
    }
    let daemon = Daemon::start("session");
    let object = tool("execsnoop.bpf.o");
    for line in SESSION {
        let line = line.replace("OBJ", object.to_str().expect("a path"));
        let there = kernel(&format!("-j {}", line.replace("DIR", fs.path("").trim_end_matches('/'))));
        let here = daemon.run(&format!("-j {}", line.replace("DIR", daemon.path("").trim_end_matches('/'))));
        assert_eq!(here.status, there.status, "{line}: {}{}\n{}", here.stdout, here.stderr, there.stdout);
        assert_eq!(comparable(&here), comparable(&there), "{line}");
    }
}

/// A document without what may differ. Messages of errors are the runtimes' own.
fn comparable(said: &Said) -> Value {
    let mut value: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.stdout));
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !OWN.contains(&name.as_str()) && name != "hint");
            if let Some(error) = members.get_mut("error") {
                *error = Value::Bool(true);
            }
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn objects_live_as_long_as_their_names() {
    let daemon = Daemon::start("names");
    let (map, other) = (daemon.path("h"), daemon.path("other"));
    daemon.ok(&format!("map create {map} type hash key 4 value 4 entries 10 name h"));
    let id = daemon.json(&format!("map show pinned {map}"))["id"].as_u64().expect("an id");
    daemon.ok(&format!("map update id {id} key 1 0 0 0 value 1 0 0 0"));
    daemon.ok(&format!("map pin id {id} {other}"));
    assert_eq!(daemon.json("-f map list")[0]["pinned"], serde_json::json!([map, other]));
    fs::remove_file(&map).expect("a pin is a file");
    assert_eq!(daemon.json("map list").as_array().map(Vec::len), Some(1));
    fs::remove_file(&other).expect("a pin is a file");
    assert_eq!(daemon.json("map list"), serde_json::json!([]));
    assert_eq!(daemon.run(&format!("map show id {id}")).status, 255);
}

#[test]
fn a_client_that_dies_leaves_nothing() {
    let daemon = Daemon::start("dies");
    let map = daemon.path("r");
    daemon.ok(&format!("map create {map} type ringbuf entries 4096 name r"));
    // It holds the map, and a source of its records, for as long as it lives.
    let mut client = daemon
        .command()
        .args(["map", "events", "pinned", &map])
        .stdout(Stdio::null())
        .spawn()
        .expect("skep starts");
    let connected = |count: u64| {
        until(&format!("{count} clients are expected"), || daemon.json("daemon status")["clients"] == count);
    };
    connected(2);
    // What wakes it comes from the daemon, once it has the source.
    let has_source = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", client.id())).expect("it is ours");
        let mut targets = descriptors.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| target.as_os_str() == "anon_inode:[eventfd]")
    };
    until("it does not wait for records", has_source);
    fs::remove_file(&map).expect("a pin is a file");
    assert_eq!(daemon.json("map list").as_array().map(Vec::len), Some(1));
    client.kill().expect("it is ours");
    client.wait().expect("it ends");
    connected(1);
    assert_eq!(daemon.json("map list"), serde_json::json!([]));
}

#[test]
fn a_signal_closes_what_was_begun() {
    let daemon = Daemon::start("signal");
    let map = daemon.path("r");
    daemon.ok(&format!("map create {map} type ringbuf entries 4096 name r"));
    let command = ["-j", "map", "events", "pinned", &map];
    let client = daemon.command().args(command).stdout(Stdio::piped()).spawn().expect("skep starts");
    let catches_signals = || {
        let status = fs::read_to_string(format!("/proc/{}/status", client.id())).expect("it is ours");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("there is a mask");
        u64::from_str_radix(caught.trim(), 16).expect("it is a mask") >> (Signal::INT.as_raw() - 1) & 1 != 0
    };
    until("it does not wait for signals", catches_signals);
    kill_process(Pid::from_child(&client), Signal::INT).expect("it is ours");
    let said = said(client.wait_with_output().expect("it ends"));
    // No record came, and what was said is JSON all the same.
    assert_eq!((said.status, said.stdout.trim()), (0, "null"), "{}", said.stderr);
}

#[test]
fn attached_programs_run_on_what_is_observed() {
    let daemon = Daemon::start("observe");
    let object = tool("execsnoop.bpf.o");
    let progs = daemon.path("progs");
    daemon.ok(&format!("prog loadall {} {progs} autoattach", object.display()));
    let links = daemon.json("link list");
    assert!(links.as_array().is_some_and(|links| !links.is_empty()), "{links}");
    let observed = daemon.run("daemon observe -- /bin/sh -c /bin/true;exit");
    assert_eq!((observed.status, observed.stdout.as_str()), (0, ""), "{}", observed.stderr);
    assert_eq!(daemon.run("daemon observe -- /bin/false").status, 1);
    assert_eq!(daemon.run("daemon observe pid 4194999").status, 253);
    let maps = daemon.json("map list");
    let id = maps.as_array().into_iter().flatten().find(|map| map["type"] == "ringbuf").map(|map| &map["id"]);
    let id = id.and_then(Value::as_u64).expect("execsnoop has a ring buffer");
    let records = daemon.ok(&format!("map events id {id} count 2"));
    // Ring buffers have no types: those of the programs say what the records are.
    assert!(records.contains(".comm = \"true\", .args = \"/bin/true\""), "{records}");
}

/// A process that does nothing, which has read seven bytes of its standard input.
struct Stopped(Child);

impl Stopped {
    fn start() -> Self {
        let mut file = fs::File::open("/etc/passwd").expect("it is there");
        file.read_exact(&mut [0; 7]).expect("it is longer");
        let mut command = Command::new("sh");
        let stopped = Self(command.args(["-c", "kill -STOP $$"]).stdin(file).spawn().expect("sh starts"));
        let stat = format!("/proc/{}/stat", stopped.0.id());
        until("it stops", || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T ")));
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Iterators by what they go through, its type, and what they write of it.
const ITERATORS: [(&str, &str, &str); 6] = [
    ("bpf_map", "map", r#""%s\n", it->name"#),
    ("bpf_prog", "prog", r#""%s\n", it->aux->name"#),
    ("bpf_link", "link", r#""type %d of %s\n", it->type, it->prog->aux->name"#),
    ("task", "task", r#""%d\n", it->tgid"#),
    ("task_file", "file", r#""%d at %lld\n", ctx->fd, it->f_pos"#),
    ("task_vma", "vma", r#""%lx-%lx\n", it->vm_start, it->vm_end"#),
];

#[test]
fn iterators_are_pinned_and_read() {
    if !has_clang() {
        return skip("clang is not installed");
    }
    let daemon = Daemon::start("iterators");
    let observed = Stopped::start();
    let text_of = |kind: &str, member: &str, shown: &str| {
        let source = format!(
            "#include <vmlinux.h>\n#include <bpf/bpf_helpers.h>\nSEC(\"iter/{kind}\") int show_{kind}(struct \
             bpf_iter__{kind} *ctx)\n{{ struct seq_file *seq = ctx->meta->seq; __auto_type it = ctx->{member};\n\
             if (it) BPF_SEQ_PRINTF(seq, {shown}); return 0; }}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
        );
        let source = daemon.scratch.write(&format!("{kind}.bpf.c"), source);
        let pin = daemon.path(kind);
        let process = format!("pid {}", observed.0.id());
        let which = if kind.starts_with("task") { &process } else { "" };
        daemon.ok(&format!("iter pin {} {pin} {which}", source.display()));
        let first = daemon.ok(&format!("iter cat {pin}"));
        assert_eq!(daemon.ok(&format!("iter cat {pin}")), first, "{kind}: a second reading begins anew");
        first
    };
    daemon.ok(&format!("map create {} type array key 4 value 4 entries 1 name counts", daemon.path("m")));
    let [maps, progs, links, tasks, files, vmas] =
        ITERATORS.map(|(kind, member, shown)| text_of(kind, member, shown));
    assert_eq!(maps, "counts\nbpf_map.rodata\n");
    assert_eq!(progs, "show_bpf_map\nshow_bpf_prog\n");
    assert_eq!(links, "type 4 of show_bpf_map\ntype 4 of show_bpf_prog\ntype 4 of show_bpf_link\n");
    assert_eq!(tasks, format!("{}\n", observed.0.id()));
    assert_eq!(files.lines().next(), Some("0 at 7"), "{files}");
    let maps = fs::read_to_string(format!("/proc/{}/maps", observed.0.id())).expect("it is there");
    let ranges = maps.lines().filter_map(|line| line.split(' ').next()).map(|range| format!("{range}\n"));
    assert_eq!(vmas, ranges.collect::<String>());
    let shown = daemon.json(&format!("link show pinned {}", daemon.path("task")));
    assert_eq!((&shown["type"], &shown["target_name"]), (&"iter".into(), &"task".into()), "{shown}");
    fs::remove_file(daemon.path("task")).expect("a pin is a file");
    assert_eq!(daemon.json("link list").as_array().map(Vec::len), Some(ITERATORS.len() - 1));
}

/// More than the buffer of an iterator and one message take.
#[test]
fn elements_of_a_large_map_are_gone_through() {
    if !has_clang() {
        return skip("clang is not installed");
    }
    let daemon = Daemon::start("elements");
    let (map, pin) = (daemon.path("m"), daemon.path("it"));
    daemon.ok(&format!("map create {map} type array key 4 value 8 entries 20000 name many"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/iter.bpf.c");
    daemon.ok(&format!("iter pin {} {pin} map pinned {map}", source.display()));
    let text = daemon.ok(&format!("iter cat {pin}"));
    let keys: Vec<String> = (0..20_000).map(|key| format!("key {key}")).collect();
    assert!(text.lines().eq(keys.iter()), "{} lines", text.lines().count());
    assert_ne!(daemon.run(&format!("iter pin {} {pin}2", source.display())).status, 0, "it needs a map");
}

#[test]
fn there_is_one_daemon_or_a_clear_message() {
    let nobody = Scratch::new("no-daemon");
    let socket = nobody.path("run").join("skep.sock");
    let alone = |line: &str| {
        said(skep().env("SKEP_SOCKET", &socket).args(line.split_whitespace()).output().expect("skep starts"))
    };
    for line in ["map list", "prog show id 1", "daemon status", "daemon stop"] {
        let said = alone(line);
        assert_eq!((said.status, said.stdout.as_str()), (255, ""), "{line}: {}", said.stderr);
        assert!(said.stderr.contains("no daemon") && said.stderr.contains("skep.sock"), "{}", said.stderr);
        assert!(said.stderr.contains("hint: "), "{}", said.stderr);
    }
    assert!(!socket.exists());

    let daemon = Daemon::start("second");
    let second = daemon.run("daemon");
    assert_eq!(second.status, 255, "{}", second.stderr);
    assert!(second.stderr.contains("already"), "{}", second.stderr);
    assert_eq!(daemon.json("map list"), serde_json::json!([]), "the first one goes on");
    assert_eq!(fs::metadata(&daemon.socket).expect("a socket").permissions().mode() & 0o777, 0o600);

    let said = kernel("daemon");
    assert_eq!(said.status, 255);
    assert!(said.stderr.contains("--runtime user"), "{}", said.stderr);
    daemon.ok("daemon stop");
    until("a daemon that stops takes its socket along", || !daemon.socket.exists());
}

#[test]
fn pins_go_with_the_daemon() {
    let daemon = Daemon::start("ends");
    let map = daemon.path("h");
    daemon.ok(&format!("map create {map} type array key 4 value 4 entries 1 name h"));
    assert!(Path::new(&map).exists());
    assert_eq!(
        daemon.run(&format!("map create {map} type array key 4 value 4 entries 1 name h")).status,
        239
    );
    daemon.ok("daemon stop");
    until("a pin without its daemon stays behind", || !Path::new(&map).exists());
    assert!(daemon.run("map list").stderr.contains("no daemon"));
}
