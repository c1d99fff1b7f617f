//! `skep prog`, `link`, `btf` and `gen` on kernel objects, typed as scripts type them for bpftool.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Scratch, has_clang, installed, skip, tool};
use crate::objects::{BpfFs, fails, json_of, kernel, ok};

/// Loads the project's opensnoop, attached, with its maps.
fn loaded(name: &str) -> Option<BpfFs> {
    let fs = BpfFs::new(name)?;
    let object = tool("opensnoop.bpf.o");
    let line = format!(
        "prog loadall {} {} pinmaps {} autoattach",
        object.display(),
        fs.path("links"),
        fs.path("maps")
    );
    let said = kernel(&line);
    if said.status != 0 && said.stderr.contains("tracefs") {
        skip(&format!("attaching to tracepoints: {}", said.stderr.trim()));
        return None;
    }
    assert_eq!(said.status, 0, "skep {line}: {}", said.stderr);
    Some(fs)
}

/// The names in a directory of the bpf file system.
fn names(fs: &BpfFs, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(fs.path(directory)).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

#[test]
fn objects_are_loaded_attached_and_shown() {
    let Some(fs) = loaded("loaded") else { return };
    let link = fs.path(&format!("links/{}", names(&fs, "links")[0]));
    let shown = json_of(&format!("link show pinned {link}"));
    assert_eq!(shown["type"], "perf_event", "{shown}");
    assert!(shown["tracepoint"].as_str().is_some_and(|name| name.starts_with("sys_")), "{shown}");
    let id = shown["prog_id"].as_u64().expect("an id");
    let program = json_of(&format!("prog show id {id}"));
    assert_eq!((&program["type"], &program["jited"]), (&"tracepoint".into(), &true.into()), "{program}");
    let all = json_of("prog list");
    assert!(all.as_array().is_some_and(|all| all.iter().any(|one| one["id"] == id)));
    let tag = program["tag"].as_str().expect("a tag");
    // Other tests load the same program: then there are several with its tag.
    let tagged = json_of(&format!("prog show tag {tag}"));
    let is_it = |one: &Value| one["id"] == id;
    assert!(is_it(&tagged) || tagged.as_array().is_some_and(|all| all.iter().any(is_it)), "{tagged}");
    let btf = program["btf_id"].as_u64().expect("types");
    assert!(
        json_of(&format!("btf show id {btf}"))["prog_ids"]
            .as_array()
            .is_some_and(|ids| ids.contains(&id.into()))
    );
    let map = names(&fs, "maps").into_iter().find(|name| name.contains("rodata")).expect("constants");
    let dump = json_of(&format!("map dump pinned {}", fs.path(&format!("maps/{map}"))));
    assert!(dump[0]["formatted"]["value"][".rodata"].is_array(), "{dump}");
}

#[test]
fn programs_are_dumped() {
    let Some(fs) = loaded("dumped") else { return };
    let link = fs.path(&format!("links/{}", names(&fs, "links")[0]));
    let id = json_of(&format!("link show pinned {link}"))["prog_id"].as_u64().expect("an id");
    let listing = json_of(&format!("prog dump xlated id {id} linum opcodes"));
    let first = &listing[0];
    assert!(
        first["proto"].is_string() && first["line_num"].is_u64() && first["opcodes"]["code"].is_string(),
        "{first}"
    );
    let text = ok(&format!("prog dump xlated id {id}"));
    assert!(text.trim_end().ends_with("exit") && !text.contains("(bad)"), "{text}");
    assert!(ok(&format!("prog dump xlated id {id} visual")).starts_with("digraph"));
    let scratch = Scratch::new("dumped");
    let file = scratch.path("code");
    ok(&format!("prog dump xlated id {id} file {}", file.display()));
    let bytes = json_of(&format!("prog show id {id}"))["bytes_xlated"].as_u64();
    assert_eq!(Some(fs::metadata(file).expect("the code").len()), bytes);
    if cfg!(target_arch = "x86_64") {
        let jited = json_of(&format!("prog dump jited id {id}"));
        let insns = jited[0]["insns"].as_array().expect("instructions");
        // Where returns are guarded a program ends in a jump to the kernel's thunk, so there need not be a `ret`.
        assert!(insns.iter().any(|insn| insn["operation"] == "leave"), "{jited}");
    }
}

#[test]
fn programs_run_on_data() {
    let Some(fs) = BpfFs::new("run") else { return };
    let scratch = Scratch::new("run-data");
    let packet = scratch.write("packet", [7; 64]);
    let object = tool("opensnoop.bpf.o");
    let pinned = fs.path("one");
    ok(&format!("prog load {} {pinned}", object.display()));
    // Tracepoints cannot be run so: the kernel's errno is the status.
    let refused = fails(&format!("prog run pinned {pinned} data_in {}", packet.display()), 244);
    assert!(refused["error"].is_string());
    let nothing = fails(&format!("prog run pinned {pinned}"), 255);
    assert!(nothing["hint"].as_str().is_some_and(|hint| hint.contains("data_in")), "{nothing}");
}

/// Two programs of one name, of which the first has run on a packet.
#[test]
fn programs_say_whose_they_are_and_what_they_send() {
    let Some(fs) = BpfFs::new("said") else { return };
    if !has_clang() {
        return skip("`clang` is not installed");
    }
    let scratch = Scratch::new("said-data");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/said.bpf.c");
    for pins in ["a", "b"] {
        ok(&format!("prog loadall {} {} pinmaps {1}-maps", source.display(), fs.path(pins)));
    }
    let one = fs.path("a/said");
    let shown = json_of(&format!("prog show pinned {one}"));
    assert_eq!(shown["metadata"], json!({"author": "nobody", "version": 7}), "{shown}");
    let text = ok(&format!("prog show pinned {one}"));
    assert!(text.contains("\tmetadata:\n\t\tauthor = \"nobody\"\n\t\tversion = 7\n"), "{text}");
    // The address of a processor's own value is made by a move that only the kernel writes.
    let listing = ok(&format!("prog dump xlated pinned {one}"));
    assert!(!listing.contains("(bad)") && listing.trim_end().ends_with("exit"), "{listing}");
    assert!(ok(&format!("prog dump xlated pinned {one} visual")).starts_with("digraph"));
    let both = json_of("prog dump xlated name said");
    let insns = |prog: &Value| prog["insns"].as_array().map_or(0, Vec::len);
    assert!(
        both.as_array().is_some_and(|both| both.len() == 2 && both.iter().all(|prog| insns(prog) > 5)),
        "{both}"
    );
    assert_eq!(ok("prog dump xlated name said").matches("name said").count(), 2);
    let file = fails(&format!("prog dump xlated name said file {}", scratch.path("code").display()), 255);
    assert!(file["error"].as_str().is_some_and(|error| error.contains("several programs")), "{file}");

    let packet = scratch.write("packet", [7; 64]);
    ok(&format!("prog run pinned {one} data_in {}", packet.display()));
    let records = fs.path("a-maps/records");
    assert_eq!(json_of(&format!("map events pinned {records} count 1"))["text"], "abc");
    ok(&format!("prog run pinned {one} data_in {}", packet.display()));
    let text = ok(&format!("map events pinned {records} type event count 1"));
    assert!(text.contains(".text = \"abc\""), "{text}");
    let watched = json_of(&format!("map watch pinned {} count 1", fs.path("a-maps/counts")));
    let sum = watched["value"].as_array().map(|slots| slots.iter().filter_map(Value::as_u64).sum());
    assert_eq!(sum, Some(2), "{watched}");
}

#[test]
fn what_is_left_out_is_said() {
    let Some(fs) = BpfFs::new("left-out") else { return };
    if !has_clang() {
        return skip("`clang` is not installed");
    }
    let scratch = Scratch::new("left-out");
    let write = |name: &str, text: &str| {
        let source = format!("#include <vmlinux.h>\n#include <bpf/bpf_helpers.h>\n{text}");
        scratch.write(name, source).display().to_string()
    };
    let licence = "char LICENSE[] SEC(\"license\") = \"GPL\";";
    let absent = write(
        "absent.bpf.c",
        &format!(
            "extern const void nothing_has_this_name __ksym;\n\
             SEC(\"socket\") int needs(void *ctx) {{ return (long)&nothing_has_this_name & 1; }}\n\
             SEC(\"socket\") int works(void *ctx) {{ return 0; }}\n{licence}"
        ),
    );
    let said = kernel(&format!("prog loadall {absent} {}", fs.path("all")));
    assert!(said.status == 0 && said.stderr.contains("nothing_has_this_name"), "{}", said.stderr);
    assert_eq!(names(&fs, "all"), ["works"]);
    let first = fails(&format!("prog load {absent} {}", fs.path("first")), 255);
    assert!(first["error"].as_str().is_some_and(|error| error.contains("nothing_has_this_name")), "{first}");
    ok(&format!("prog load {absent} {} --without needs", fs.path("first")));

    let wrong = write(
        "wrong.bpf.c",
        &format!(
            "SEC(\"sokcet\") int f(void *ctx) {{ return 0; }}\nSEC(\"socket\") int g(void *ctx) {{ return 0; }}\n{licence}"
        ),
    );
    let refused = fails(&format!("prog loadall {wrong} {}", fs.path("wrong")), 255);
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("unknown section")), "{refused}");
    assert!(!Path::new(&fs.path("wrong")).exists());

    let maps = write(
        "maps.bpf.c",
        "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, int); } m \
         SEC(\".maps\");",
    );
    ok(&format!("prog loadall {maps} {} pinmaps {}", fs.path("none"), fs.path("maps")));
    assert_eq!(names(&fs, "maps"), ["m"]);
}

#[test]
fn failed_loads_leave_nothing() {
    let Some(fs) = BpfFs::new("failed") else { return };
    let object = tool("opensnoop.bpf.o");
    ok(&format!("prog load {} {}", object.display(), fs.path("taken")));
    for line in [
        format!("prog load /no/such/object.o {}", fs.path("x")),
        format!("prog load {} {}", object.display(), fs.path("taken")),
        format!("prog load {} {} type nonsense", object.display(), fs.path("x")),
        format!(
            "prog loadall {} {} pinmaps {}",
            object.display(),
            fs.path("all"),
            fs.path("no/such/directory")
        ),
        "prog dump nonsense id 1".to_owned(),
        "prog show tag 12".to_owned(),
        "prog show id 4294967295".to_owned(),
        "prog show name".to_owned(),
    ] {
        assert!(fails(&line, 255)["error"].is_string(), "{line}");
    }
    assert_eq!(names(&fs, ""), ["maps.debug", "progs.debug", "taken"]);
}

#[test]
fn types_of_files_are_dumped() {
    let object = tool("opensnoop.bpf.o");
    let object = object.display();
    let raw = json_of(&format!("btf dump file {object}"));
    let types = raw["types"].as_array().expect("types");
    assert_eq!(types[0]["id"], 1);
    let event = types.iter().find(|ty| ty["name"] == "event").expect("struct event");
    assert!(
        event["members"].as_array().is_some_and(|members| members.iter().all(|m| m["bits_offset"].is_u64()))
    );
    assert!(ok(&format!("btf dump file {object} format c")).contains("struct event {"));
    let root = event["id"].as_u64().expect("an id");
    assert!(
        ok(&format!("btf dump file {object} root_id {root}"))
            .starts_with(&format!("[{root}] STRUCT 'event'"))
    );
    let scratch = Scratch::new("types");
    let bytes = fs::read(tool("opensnoop.bpf.o")).expect("the object");
    let short = scratch.write("short", &bytes[..bytes.len() / 2]);
    let damaged = scratch.write("damaged", [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0xff, 0xff]);
    for (line, status) in [
        (format!("btf dump file {}", short.display()), 95),
        (format!("btf dump file {}", damaged.display()), 234),
        ("btf dump file /no/such/file".to_owned(), 254),
        (format!("btf dump file {object} root_id 99999"), 255),
        (format!("btf dump file {object} format nonsense"), 234),
        ("btf dump id 4294967295".to_owned(), 254),
        ("btf dump".to_owned(), 255),
    ] {
        assert!(fails(&line, status)["error"].is_string(), "{line}");
    }
}

/// A program that uses a skeleton as libbpf's users do.
const MAIN: &str = r#"
#include <stdio.h>
#include <unistd.h>
#include "skel.h"

int main(void)
{
	struct tool_skel *obj = tool_skel__open();

	if (!obj)
		return 1;
	obj->rodata->targ_pid = getpid();
	if (tool_skel__load(obj))
		return 2;
	printf("%d %s\n", obj->rodata->targ_pid == getpid(), bpf_map__name(obj->maps.events));
	tool_skel__destroy(obj);
	return 0;
}
"#;

#[test]
fn skeletons_build_and_run_with_libbpf() {
    let header = Path::new("/usr/include/bpf/libbpf.h");
    let Some(_fs) = BpfFs::new("skeleton") else { return };
    if !header.exists() || !installed("cc") {
        return skip("a skeleton in C needs libbpf-dev and cc");
    }
    let scratch = Scratch::new("skeleton");
    let object = tool("opensnoop.bpf.o");
    scratch.write("skel.h", ok(&format!("gen skeleton {} name tool_skel --lang c", object.display())));
    let (source, program) = (scratch.write("main.c", MAIN), scratch.path("main"));
    let built = Command::new("cc")
        .args(["-Wall", "-Werror", "-o"])
        .args([&program, &source])
        .arg("-lbpf")
        .output()
        .expect("cc starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(&program).output().expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "1 events\n",
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(ran.status.success());
    assert_eq!(
        fails(&format!("gen skeleton {} name 1x", object.display()), 255)["error"]
            .as_str()
            .map(str::is_empty),
        Some(false)
    );
    assert!(matches!(fails("gen skeleton /etc/passwd", 95), Value::Object(_)));
}
