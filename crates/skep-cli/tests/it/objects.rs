//! Commands on kernel objects, typed as scripts type them for bpftool.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Said, is_root, said, skep, skip};

/// A bpf file system of a test's own, unmounted at its end.
pub(crate) struct BpfFs(PathBuf);

impl BpfFs {
    /// `None`, with the reason printed, where this process may not have one.
    pub(crate) fn new(name: &str) -> Option<Self> {
        if !is_root() {
            skip("bpf(2) needs root");
            return None;
        }
        let path = std::env::temp_dir().join(format!("skep-bpffs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        let mounted = rustix::mount::mount("bpffs", &path, "bpf", rustix::mount::MountFlags::empty(), None);
        if let Err(errno) = mounted {
            skip(&format!("mounting a bpf file system: {errno}"));
            let _ = fs::remove_dir(&path);
            return None;
        }
        Some(Self(path))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path").to_owned()
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs `skep LINE` on the kernel's objects.
pub(crate) fn kernel(line: &str) -> Said {
    let words: Vec<&str> = line.split_whitespace().collect();
    said(skep().env_remove("SKEP_RUNTIME").args(words).output().expect("skep starts"))
}

/// Runs a line that must succeed.
pub(crate) fn ok(line: &str) -> String {
    let said = kernel(line);
    assert_eq!(said.status, 0, "skep {line}: {}{}", said.stdout, said.stderr);
    said.stdout
}

/// Runs a line with `-j` that must succeed, and reads what it says.
pub(crate) fn json_of(line: &str) -> Value {
    let text = ok(&format!("-j {line}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("skep -j {line}: {e}: {text}"))
}

/// Runs a line that must fail with a status, in text and in JSON, and gives the JSON.
pub(crate) fn fails(line: &str, status: i32) -> Value {
    let text = kernel(line);
    assert_eq!(text.status, status, "skep {line}: {}{}", text.stdout, text.stderr);
    let json = kernel(&format!("-j {line}"));
    assert_eq!(json.status, status, "skep -j {line}: {}", json.stdout);
    serde_json::from_str(&json.stdout).unwrap_or_else(|e| panic!("skep -j {line}: {e}: {}", json.stdout))
}

#[test]
fn maps_are_created_filled_and_read() {
    let Some(fs) = BpfFs::new("maps") else { return };
    let map = fs.path("h");
    ok(&format!("map create {map} type hash key 4 value 8 entries 10 name h"));
    ok(&format!("m u pinned {map} key 1 0 0 0 value hex 01 02 03 04 05 06 07 ff noexist"));
    let element = json!({
        "key": ["0x01", "0x00", "0x00", "0x00"],
        "value": ["0x01", "0x02", "0x03", "0x04", "0x05", "0x06", "0x07", "0xff"]
    });
    assert_eq!(json_of(&format!("map dump pinned {map}")), json!([element]));
    assert_eq!(json_of(&format!("map lookup pinned {map} key 0x1 0 0 0")), element);
    assert_eq!(
        ok(&format!("map dump pinned {map}")),
        "key: 01 00 00 00  value: 01 02 03 04 05 06 07 ff\nFound 1 element\n"
    );
    assert_eq!(ok(&format!("map getnext pinned {map}")), "key: None\nnext key:\n01 00 00 00\n");
    let shown = json_of(&format!("map show pinned {map} -f"));
    assert_eq!((&shown["type"], &shown["bytes_value"]), (&json!("hash"), &json!(8)));
    assert_eq!(shown["pinned"], json!([map]));
    ok(&format!("map delete pinned {map} key 1 0 0 0"));
    ok(&format!("map freeze pinned {map}"));
    assert_eq!(json_of(&format!("map show pinned {map}"))["frozen"], 1);
}

#[test]
fn queues_give_back_in_order() {
    let Some(fs) = BpfFs::new("queues") else { return };
    let map = fs.path("q");
    ok(&format!("map create {map} type queue value 2 entries 2 name q"));
    ok(&format!("map push pinned {map} value 1 2"));
    ok(&format!("map enqueue pinned {map} value 3 4"));
    assert_eq!(ok(&format!("map peek pinned {map}")), "value: 01 02\n");
    assert_eq!(json_of(&format!("map pop pinned {map}")), json!({"key": [], "value": ["0x01", "0x02"]}));
    assert_eq!(ok(&format!("map dequeue pinned {map}")), "value: 03 04\n");
    assert_eq!(fails(&format!("map pop pinned {map}"), 254), Value::Null);
}

#[test]
fn whole_maps_are_read_in_batches() {
    let Some(fs) = BpfFs::new("large") else { return };
    let map = fs.path("a");
    ok(&format!("map create {map} type percpu_array key 4 value 4 entries 5000 name a"));
    let dump = json_of(&format!("map dump pinned {map}"));
    let elements = dump.as_array().expect("an array");
    assert_eq!(elements.len(), 5000);
    assert_eq!(elements[4999]["key"], json!(["0x87", "0x13", "0x00", "0x00"]));
    assert!(elements[0]["values"][0]["value"].as_array().is_some_and(|bytes| bytes.len() == 4));
}

#[test]
fn maps_hold_maps_and_are_watched() {
    let Some(fs) = BpfFs::new("nested") else { return };
    let (inner, outer) = (fs.path("i"), fs.path("o"));
    ok(&format!("map create {inner} type array key 4 value 4 entries 1 name i"));
    ok(&format!(
        "map create {outer} type array_of_maps key 4 value 4 entries 2 name o inner_map pinned {inner}"
    ));
    ok(&format!("map update pinned {outer} key 1 0 0 0 value pinned {inner}"));
    let id = json_of(&format!("map show pinned {inner}"))["id"].as_u64().expect("an id");
    let bytes: Vec<String> = (id as u32).to_le_bytes().iter().map(|byte| format!("0x{byte:02x}")).collect();
    assert_eq!(json_of(&format!("map dump pinned {outer}"))[0]["value"], json!(bytes));
    let watched = ok(&format!("-j map watch pinned {inner} count 1"));
    assert_eq!(watched.lines().count(), 1 + 1, "{watched}");
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let Some(fs) = BpfFs::new("bad") else { return };
    let map = fs.path("h");
    ok(&format!("map create {map} type hash key 4 value 1 entries 1 name h"));
    let before = ok(&format!("map dump pinned {map}"));
    for (line, status) in [
        ("map show id 4294967295".to_owned(), 255),
        ("map show idx".to_owned(), 255),
        ("map show name no_such_map_here".to_owned(), 255),
        (format!("map show pinned {}", fs.path("nothing")), 255),
        (format!("map update pinned {map} key 1 0 0 value 1"), 255),
        (format!("map update pinned {map} key 1 0 0 0 value 256"), 255),
        (format!("map update pinned {map} key 1 0 0 0 0 value 1"), 255),
        (format!("map update pinned {map} key 1 0 0 0 value 1 exist"), 254),
        (format!("map update pinned {map} key typed 7 value 1"), 255),
        (format!("map delete pinned {map} key 1 0 0 0"), 254),
        (format!("map getnext pinned {map}"), 254),
        (format!("map create {} type nonsense key 4 value 4 entries 1 name x", fs.path("x")), 255),
        (format!("map create {} type hash key 4 value 4 entries 1", fs.path("x")), 255),
        (format!("map create {map} type hash key 4 value 4 entries 1 name x"), 239),
    ] {
        let said = fails(&line, status);
        assert!(said["error"].is_string(), "{line}: {said}");
    }
    assert_eq!(kernel("-x map show").status, 255);
    assert_eq!(fails("map frob", 255), Value::Null);
    assert_eq!(ok(&format!("map dump pinned {map}")), before);
    assert!(!Path::new(&fs.path("x")).exists());
    assert_eq!(fails(&format!("map lookup pinned {map} key 1 0 0 0"), 254), Value::Null);
}

#[test]
fn batches_run_until_a_line_fails() {
    let Some(fs) = BpfFs::new("batch") else { return };
    let map = fs.path("h");
    let scratch = crate::harness::Scratch::new("batch");
    let good = scratch.write(
        "good",
        format!(
            "# a map\nmap create {map} type hash key 4 value 1 \\\n entries 1 name h\nmap dump pinned {map}\n"
        ),
    );
    assert_eq!(ok(&format!("batch file {}", good.display())), "Found 0 elements\nprocessed 2 commands\n");
    let bad = scratch.write("bad", format!("map dump pinned {map}\nmap nonsense\nmap dump pinned {map}\n"));
    let said = kernel(&format!("-j batch file {}", bad.display()));
    assert_eq!(said.status, 255);
    let first: Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!(first[0]["output"], json!([]));
    assert_eq!(first[1], json!({"command": ["map", "nonsense"], "output": null}));
}

#[test]
fn control_groups_refuse_what_they_do_not_have() {
    if !is_root() {
        return skip("bpf(2) needs root");
    }
    for line in [
        "cgroup attach / nonsense id 1",
        "cgroup attach /no/such/directory egress id 1",
        "cgroup attach / egress id 4294967295",
        "cgroup show /no/such/directory",
        "cgroup show /proc/self",
        "cgroup show",
    ] {
        assert!(fails(line, 255)["error"].is_string(), "{line}");
    }
    // The list has begun when its first group cannot be read: the failure is an item of it.
    assert!(fails("cgroup tree /no/such/directory", 255)[0]["error"].is_string());
}
