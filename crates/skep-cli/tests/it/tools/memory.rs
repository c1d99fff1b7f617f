//! Tools that leave what they know in maps, on commands whose doings are known to the last one.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{ground_without_strace, observe_with};
use crate::harness::{Scratch, installed, skip};

/// Five blocks of which four stay, one of them grown; and one of zeros.
const LEAKS: &str = "#include <stdlib.h>
    int main(void) { char *volatile kept[5];
    for (int n = 0; n < 5; n++) kept[n] = malloc(1000 + n);
    free(kept[0]); kept[4] = realloc(kept[4], 5000); kept[0] = calloc(3, 7);
    return kept[1] == kept[2]; }";

/// A thread that waits five times until it is woken.
const WAITS: &str = "#include <linux/futex.h>
    #include <pthread.h>
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static int word;
    static void *wait(void *unused) { for (int n = 0; n < 5; n++) syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0, 0, 0);
    return unused; }
    int main(void) { pthread_t thread; pthread_create(&thread, 0, wait, 0);
    for (int n = 0; n < 5; n++) while (syscall(SYS_futex, &word, FUTEX_WAKE, 1, 0, 0, 0) == 0) usleep(2000);
    pthread_join(thread, 0); printf(\"%lu\\n\", (unsigned long)&word); return 0; }";

/// Twenty calls of a function, each of which takes two milliseconds or more.
const CALLS: &str = "#include <unistd.h>
    __attribute__((noinline)) void work(void) { usleep(2000); }
    int main(void) { for (int n = 0; n < 20; n++) work(); return 0; }";

/// Compiles a command; nothing where there is no compiler.
fn command(scratch: &Scratch, source: &str) -> Option<PathBuf> {
    if !installed("cc") {
        skip("cc is not installed");
        return None;
    }
    let (source, binary) = (scratch.write("command.c", source), scratch.path("command"));
    let options = ["-g", "-fno-omit-frame-pointer", "-pthread", "-o"];
    let compiled = Command::new("cc").args(options).arg(&binary).arg(source).output().expect("cc starts");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    Some(binary)
}

/// The elements of a map.
fn elements(values: &[Value], map: &str) -> Vec<Value> {
    let found = values.iter().find(|line| line["map"] == map);
    found.and_then(|line| line["data"].as_array()).cloned().unwrap_or_default()
}

#[test]
fn memleak_shows_what_was_not_freed() {
    let Some((scratch, object)) = ground_without_strace("memleak") else { return };
    let Some(binary) = command(&scratch, LEAKS) else { return };
    let both = |function: &str| {
        ["enter=uprobe", "exit=uretprobe"]
            .map(|end| format!("--attach={function}_{end}:libc.so.6:{function}"))
    };
    let functions = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];
    let mut options: Vec<String> = functions.into_iter().flat_map(both).collect();
    options.push("--attach=free_enter=uprobe:libc.so.6:free".to_owned());
    let others = ["memleak__*", "mmap_*", "mremap_*", "munmap_*", "valloc_*", "pvalloc_*"];
    options.extend(others.map(|pattern| format!("--without={pattern}")));
    // `BPF_F_USER_STACK`.
    options.push("--set=stack_flags=256".to_owned());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let said = observe_with(&object, &options, &[binary.to_str().expect("an ASCII path")]);
    let left = elements(&said, "allocs");
    let mut sizes: Vec<u64> = left.iter().map(|of| of["value"]["size"].as_u64().expect("a size")).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [21, 1001, 1002, 1003, 5000], "{left:?}");
    assert!(left.iter().all(|of| of["value"]["stack_id"].as_i64().is_some_and(|id| id >= 0)), "{left:?}");
}

#[test]
fn futexctn_counts_every_wait() {
    let Some((scratch, object)) = ground_without_strace("futexctn") else { return };
    let Some(binary) = command(&scratch, WAITS) else { return };
    let log = scratch.path("address");
    let run = format!("{} > {}", binary.display(), log.display());
    let said = observe_with(&object, &[], &["sh", "-c", &run]);
    let address: u64 =
        std::fs::read_to_string(log).expect("it was written").trim().parse().expect("a number");
    let waits = elements(&said, "hists");
    let of_word: Vec<&Value> = waits.iter().filter(|of| of["key"]["uaddr"] == address).collect();
    let sum = |value: &Value| {
        value.as_array().map_or(0, |slots| slots.iter().filter_map(Value::as_u64).sum::<u64>())
    };
    let contended: u64 = of_word.iter().filter_map(|of| of["value"]["contended"].as_u64()).sum();
    assert_eq!(contended, 5, "{waits:?}");
    for of in of_word {
        assert_eq!(sum(&of["value"]["slots"]), of["value"]["contended"].as_u64().unwrap_or_default(), "{of}");
        assert_eq!(of["value"]["comm"], "command");
    }
}

#[test]
fn funclatency_counts_every_call_by_its_time() {
    let Some((scratch, object)) = ground_without_strace("funclatency") else { return };
    let Some(binary) = command(&scratch, CALLS) else { return };
    let place = |program: &str, section: &str| {
        format!("--attach=dummy_{program}={section}:{}:work", binary.display())
    };
    let (enter, leave) = (place("kprobe", "uprobe"), place("kretprobe", "uretprobe"));
    // Microseconds.
    let options = ["--without=dummy_f*", "--set=units=1", &enter, &leave];
    let said = observe_with(&object, &options, &[binary.to_str().expect("an ASCII path")]);
    let counts = said.iter().find_map(|line| line["data"]["hist"].as_array().or(line["hist"].as_array()));
    let counts: Vec<u64> = counts.into_iter().flatten().filter_map(Value::as_u64).collect();
    assert_eq!(counts.iter().sum::<u64>(), 20, "{said:?}");
    // Slots are by powers of two.
    assert!(counts[..10].iter().all(|count| *count == 0), "{counts:?}");
}
