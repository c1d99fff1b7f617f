//! Runs command lines with bpftool and with skep on the same kernel objects, and says where they differ.
//!
//! Compared are exit statuses, JSON (bpftool's members must be there with its values; what skep adds is listed in
//! [`ADDITIONS`]), and text but for blanks. Messages of errors are each tool's own. Lines that begin with `!` are meant to
//! differ: `docs/bpftool.md` tells how. All of it runs in namespaces of its own for mounts and network devices.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;
use skep::object::Object;

use crate::root;

const LINES: &str = include_str!("bpftool/lines.txt");
/// Members that skep adds to bpftool's JSON.
const ADDITIONS: &[&str] =
    &["pids", "hint", "cookie", "tracepoint", "devname", "ifindex", "func", "addr", "netfilter"];
/// What bpftool says of maps that have none, too: that of the map before.
const REPEATED: &str = "btf_id";
/// Members whose values differ from run to run, or are a tool's own words.
const OWN_VALUES: &[&str] = &["duration", "error"];

/// `cargo xtask bpftool [FILE]`: the lines of a file, or the project's own.
pub(crate) fn bpftool(args: &[String]) -> Result<(), String> {
    if std::env::var_os(APART).is_none() {
        return again_apart();
    }
    let lines = match args.first() {
        Some(file) => fs::read_to_string(file).map_err(|e| format!("`{file}`: {e}"))?,
        None => LINES.to_owned(),
    };
    let ground = Ground::new()?;
    let (mut count, mut meant, mut differences) = (0, 0, 0);
    for line in lines.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        count += 1;
        let (line, may_differ) = line.strip_prefix('!').map_or((line, false), |line| (line, true));
        let found = match (ground.compare(line)?, may_differ) {
            (found, false) => found,
            (found, true) if found.is_empty() => vec!["both are the same, which is not meant".to_owned()],
            (_, true) => {
                meant += 1;
                continue;
            }
        };
        differences += usize::from(!found.is_empty());
        for difference in found {
            println!("{line}\n    {difference}");
        }
    }
    println!("{} of {count} lines are the same, {meant} differ as documented", count - differences - meant);
    if differences == 0 { Ok(()) } else { Err(format!("{differences} lines differ")) }
}

/// Set where the network and the mounts are our own.
const APART: &str = "SKEP_BPFTOOL_APART";

/// The same in new namespaces: hooks land on devices that go with them.
fn again_apart() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let error = Command::new("unshare")
        .args(["--mount", "--net"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(APART, "1")
        .exec();
    Err(format!("unshare: {error}"))
}

/// Kernel objects and files of our own, which go away at the end.
struct Ground {
    skep: PathBuf,
    directory: PathBuf,
    bpffs: PathBuf,
}

impl Ground {
    fn new() -> Result<Self, String> {
        let directory = std::env::temp_dir().join(format!("skep-bpftool-{}", std::process::id()));
        let bpffs = directory.join("bpf");
        let failed = |e: std::io::Error| format!("`{}`: {e}", directory.display());
        fs::create_dir_all(&bpffs).map_err(failed)?;
        let ground = Self { skep: build()?, directory, bpffs };
        mount("bpffs", &ground.bpffs, "bpf", MountFlags::empty(), None)
            .map_err(|e| format!("mounting a bpf file system: {e}"))?;
        ground.fill()?;
        Ok(ground)
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Compiles the object, loads it, and writes what lines read.
    fn fill(&self) -> Result<(), String> {
        let source = root().join("xtask/src/bpftool/objects.bpf.c");
        let compiled = skep_cc::compile(&source, &skep_cc::Options::default()).map_err(|e| e.to_string())?;
        let write = |name: &str, bytes: &[u8]| fs::write(self.path(name), bytes).map_err(|e| e.to_string());
        write("objects.o", &compiled.object)?;
        write("pkt", &[0; 64])?;
        write("batch", b"map help\n# nothing\nmap show id 1 extra\n")?;
        let map = format!("map lookup pinned {}/m/counts key", self.bpffs.display());
        write("lines", format!("# nothing\n\n{map} \\\n 0 0 0 0 # first\n{map} 1 0 0 0").as_bytes())?;
        write("missing", format!("{map} 0 0 0 0\n{map} 9 0 0 0\n{map} 1 0 0 0\n").as_bytes())?;
        write("strange", b"map show id 99999999\nnonsense\n")?;
        Object::read(&compiled.object, "objects.o").map_err(|e| e.to_string())?;
        for side in ["bpftool", "skep"] {
            fs::create_dir(self.bpffs.join(side)).map_err(|e| e.to_string())?;
        }
        let bpf = self.bpffs.display();
        let load = format!("prog loadall {} {bpf}/p pinmaps {bpf}/m", self.path("objects.o"));
        // Fields of `struct val` with values that show: text in one array, numbers elsewhere.
        let value: Vec<String> = (0..64_u32)
            .map(|at| if at < 18 { at + 60 } else { at % 7 })
            .map(|byte| byte.to_string())
            .collect();
        let update = format!("map update pinned {bpf}/m/vals key 1 0 0 0 value {}", value.join(" "));
        for line in [load, update] {
            let output = run("bpftool".as_ref(), &line)?;
            if !output.status.success() {
                return Err(format!("bpftool {line}: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
        Ok(())
    }

    /// One line with both tools; lists of what there is again where they differ, as the kernel frees what others had a moment late.
    fn compare(&self, line: &str) -> Result<Vec<String>, String> {
        let differs = self.compare_once(line)?;
        let lists = line.split_whitespace().any(|word| matches!(word, "show" | "list"));
        if differs.is_empty() || !lists { Ok(differs) } else { self.compare_once(line) }
    }

    fn compare_once(&self, line: &str) -> Result<Vec<String>, String> {
        let theirs = run("bpftool".as_ref(), &self.expand(line, "bpftool"))?;
        let ours = run(&self.skep, &self.expand(line, "skep"))?;
        Ok(differences(line, &theirs, &ours))
    }

    fn expand(&self, line: &str, side: &str) -> String {
        line.trim_start_matches('~')
            .replace("{d}", &self.bpffs.display().to_string())
            .replace("{s}", side)
            .replace("{t}", &self.bpffs.join(side).display().to_string())
            .replace("{o}", &self.path("objects.o"))
            .replace("{w}", &self.directory.display().to_string())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = unmount(&self.bpffs, UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Builds what is compared.
fn build() -> Result<PathBuf, String> {
    let status =
        Command::new("cargo").args(["build", "--quiet", "-p", "skep-cli"]).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(root().join("target/debug/skep")),
        Ok(status) => Err(format!("cargo: {status}")),
        Err(e) => Err(format!("cargo: {e}")),
    }
}

fn run(tool: &Path, line: &str) -> Result<Output, String> {
    Command::new(tool)
        .args(line.split_whitespace())
        .env_remove("SKEP_RUNTIME")
        .env("NO_COLOR", "1")
        .output()
        .map_err(|e| format!("`{}`: {e}", tool.display()))
}

fn differences(line: &str, theirs: &Output, ours: &Output) -> Vec<String> {
    if theirs.status.code() != ours.status.code() {
        let says = String::from_utf8_lossy(&ours.stderr);
        return vec![format!("status {:?}, ours {:?}: {says}", theirs.status.code(), ours.status.code())];
    }
    let (theirs_text, ours_text) =
        (String::from_utf8_lossy(&theirs.stdout), String::from_utf8_lossy(&ours.stdout));
    let is_json = line
        .split_whitespace()
        .any(|word| matches!(word.trim_start_matches('~'), "-j" | "-p" | "-jf" | "--json"));
    match (is_json, theirs.status.success()) {
        (true, _) => json_differences(&theirs_text, &ours_text),
        (false, true) => text_differences(&theirs_text, &ours_text),
        // A refusal says why on stderr, each tool in its words.
        (false, false) => Vec::new(),
    }
}

fn json_differences(theirs: &str, ours: &str) -> Vec<String> {
    // bpftool writes some refusals as two documents, or none; there is nothing to compare then.
    let Ok(theirs) = serde_json::from_str::<Value>(theirs) else { return Vec::new() };
    match serde_json::from_str::<Value>(ours) {
        Ok(ours) => {
            let mut found = Vec::new();
            compare_values("", &theirs, &ours, &mut found);
            found
        }
        Err(e) => vec![format!("ours is not JSON: {e}")],
    }
}

fn compare_values(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                match ours.get(name) {
                    None if name == REPEATED => {}
                    None => found.push(format!("{path}.{name} is missing")),
                    Some(_) if OWN_VALUES.contains(&name.as_str()) => {}
                    Some(our_value) => compare_values(&format!("{path}.{name}"), value, our_value, found),
                }
            }
            let added =
                ours.keys().filter(|name| !theirs.contains_key(*name) && !ADDITIONS.contains(&name.as_str()));
            found.extend(added.map(|name| format!("{path}.{name} is added")));
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            let (mut theirs, mut ours) = (theirs.clone(), ours.clone());
            // Sets, whose order means nothing.
            if path.ends_with("_ids") || path.ends_with(".pinned") {
                theirs.sort_by_key(Value::to_string);
                ours.sort_by_key(Value::to_string);
            }
            for (at, (their_item, our_item)) in theirs.iter().zip(&ours).enumerate() {
                compare_values(&format!("{path}[{at}]"), their_item, our_item, found);
            }
        }
        _ if theirs == ours => {}
        _ => found.push(format!("{path}: {}, ours {}", shortened(theirs), shortened(ours))),
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(120).collect()
}

fn text_differences(theirs: &str, ours: &str) -> Vec<String> {
    let (theirs, ours) = (lines(theirs), lines(ours));
    let longest = theirs.len().max(ours.len());
    let differs = (0..longest).find(|&at| theirs.get(at) != ours.get(at));
    differs.map(|at| format!("{:?}, ours {:?}", theirs.get(at), ours.get(at))).into_iter().collect()
}

/// Lines without what may differ: blanks, durations, holders, the order of ids and pins.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(sorted_ids).collect();
        if words.is_empty() || words[0] == "pids" || words[0] == REPEATED {
            continue;
        }
        let line = words.join(" ");
        lines.push(line.split_once("duration").map_or(line.clone(), |(before, _)| before.to_owned()));
    }
    for run in lines.chunk_by_mut(|a, b| a.starts_with("pinned ") && b.starts_with("pinned ")) {
        if run[0].starts_with("pinned ") {
            run.sort();
        }
    }
    lines
}

/// `3,1,2` in order.
fn sorted_ids(word: &str) -> String {
    let ids: Result<Vec<u32>, _> = word.split(',').map(str::parse).collect();
    match ids {
        Ok(mut ids) if ids.len() > 1 => {
            ids.sort_unstable();
            ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_found() {
        let same = r#"{"id":1,"map_ids":[1,2],"duration":3}"#;
        assert!(json_differences(same, r#"{"id":1,"map_ids":[2,1],"duration":4,"pids":[]}"#).is_empty());
        for other in [r#"{"map_ids":[1,2],"duration":3}"#, r#"{"id":2,"map_ids":[1,2],"duration":3}"#, "x"] {
            assert_eq!(json_differences(same, other).len(), 1, "{other}");
        }
        assert!(json_differences(r#"{"a":1}"#, r#"{"a":1,"b":2}"#)[0].contains(".b"));
        assert!(text_differences("a  b 2,1\n\n", "a b 1,2\n  pids x(1)\n").is_empty());
        assert_eq!(text_differences("a\n", "b\n").len(), 1);
    }
}
