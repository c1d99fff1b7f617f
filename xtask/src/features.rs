//! `cargo xtask features DIR`: an object for every section name and every type of map, each of which asks for that alone.
//!
//! The sources are made from the tables that the loader reads, and compiled by the local clang. `cargo xtask corpus DIR`
//! then says what becomes of them here, beside libbpf: all load that libbpf loads, and the rest say section, symbol and
//! reason.

use std::fs;
use std::path::Path;

use skep::object::section::{SECTIONS, SectionDef};
use skep_cc::{Options, Vmlinux};

const HEAD: &str =
    "#include <vmlinux.h>\n#include <bpf/bpf_helpers.h>\n\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n\n";

/// What follows the prefix of a section to make it a place: by the prefix without marks for sleeping and many.
const PLACES: &[(&str, &str)] = &[
    ("kprobe", "do_nanosleep"),
    ("kretprobe", "do_nanosleep"),
    ("ksyscall", "openat"),
    ("kretsyscall", "openat"),
    ("tracepoint", "syscalls/sys_enter_openat"),
    ("tp", "sched/sched_switch"),
    ("raw_tracepoint", "sched_switch"),
    ("raw_tp", "sys_enter"),
    ("tp_btf", "sched_switch"),
    ("fentry", "do_nanosleep"),
    ("fexit", "do_nanosleep"),
    ("fmod_ret", "security_file_open"),
    ("lsm", "file_open"),
    ("lsm_cgroup", "socket_create"),
    ("iter", "task"),
    ("uprobe", "/proc/self/exe:main"),
    ("uretprobe", "/proc/self/exe:main"),
];

/// Types of maps with what their definitions say: `k` a key and `v` a value of plain types, `K` and `V` of four bytes, `n` a
/// number of elements, and flags.
const MAPS: &[(&str, &str)] = &[
    ("HASH", "kvn"),
    ("ARRAY", "kvn"),
    ("PROG_ARRAY", "KVn"),
    ("PERF_EVENT_ARRAY", "KV"),
    ("PERCPU_HASH", "kvn"),
    ("PERCPU_ARRAY", "kvn"),
    ("STACK_TRACE", "Ksn"),
    ("CGROUP_ARRAY", "KVn"),
    ("LRU_HASH", "kvn"),
    ("LRU_PERCPU_HASH", "kvn"),
    ("LPM_TRIE", "lvnp"),
    ("ARRAY_OF_MAPS", "kni"),
    ("HASH_OF_MAPS", "kni"),
    ("DEVMAP", "KVn"),
    ("DEVMAP_HASH", "KVn"),
    ("SOCKMAP", "KVn"),
    ("SOCKHASH", "KVn"),
    ("CPUMAP", "KVn"),
    ("XSKMAP", "KVn"),
    ("CGROUP_STORAGE", "cv"),
    ("PERCPU_CGROUP_STORAGE", "cv"),
    ("REUSEPORT_SOCKARRAY", "kvn"),
    ("QUEUE", "vn"),
    ("STACK", "vn"),
    ("SK_STORAGE", "dvp"),
    ("INODE_STORAGE", "dvp"),
    ("TASK_STORAGE", "dvp"),
    ("CGRP_STORAGE", "dvp"),
    ("RINGBUF", "r"),
    ("USER_RINGBUF", "r"),
    ("BLOOM_FILTER", "vn"),
    ("ARENA", "na"),
];

/// Writes sources and objects.
pub(crate) fn features(args: &[String]) -> Result<(), String> {
    let [directory] = args else { return Err("usage: cargo xtask features DIR".to_owned()) };
    let directory = Path::new(directory);
    fs::create_dir_all(directory).map_err(|e| format!("`{}`: {e}", directory.display()))?;
    let options = Options { vmlinux: Vmlinux::Bundled, ..Options::default() };
    let sources: Vec<(String, String)> =
        SECTIONS.iter().flat_map(of_section).chain(MAPS.iter().map(of_map)).collect();
    for (name, source) in &sources {
        let path = directory.join(format!("{name}.bpf.c"));
        fs::write(&path, source).map_err(|e| format!("`{}`: {e}", path.display()))?;
        let compiled = skep_cc::compile(&path, &options).map_err(|e| format!("`{name}`: {e}"))?;
        let object = path.with_extension("o");
        fs::write(&object, compiled.object).map_err(|e| format!("`{}`: {e}", object.display()))?;
    }
    println!("{} objects in `{}`", sources.len(), directory.display());
    Ok(())
}

/// Sources of a row of the table of sections: the prefix alone and, where something may follow, with a place.
fn of_section(def: &'static SectionDef) -> Vec<(String, String)> {
    let prefix = def.prefix();
    let plain = prefix.trim_end_matches(".s").trim_end_matches(".w").split('.').next().unwrap_or(prefix);
    let place = PLACES.iter().find(|(known, _)| *known == plain).filter(|_| def.pattern.ends_with('+'));
    let sections = [Some(prefix.to_owned()), place.map(|(_, place)| format!("{prefix}/{place}"))];
    let source = |section: String| {
        // What cgroup and socket look-up programs answer with 1 lets things happen.
        let answer = i32::from(
            ["cgroup", "lsm_cgroup", "sk_lookup", "sockops"].iter().any(|p| section.starts_with(p)),
        );
        let name = format!("sec-{}", section.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        (name, format!("{HEAD}SEC(\"{section}\")\nint f(void *ctx)\n{{\n\treturn {answer};\n}}\n"))
    };
    sections.into_iter().flatten().map(source).collect()
}

fn of_map((map_type, says): &(&str, &str)) -> (String, String) {
    let members: String = says.chars().map(member).collect();
    let source = format!(
        "{HEAD}struct prefix {{ __u32 bits; __u32 address; }};\nstruct inner {{\n\t__uint(type, BPF_MAP_TYPE_ARRAY);\n\
         \t__type(key, __u32);\n\t__type(value, __u64);\n\t__uint(max_entries, 1);\n}};\n\n\
         struct {{\n\t__uint(type, BPF_MAP_TYPE_{map_type});\n{members}}} map SEC(\".maps\");\n\n\
         SEC(\"socket\")\nint f(void *ctx)\n{{\n\treturn 0;\n}}\n"
    );
    (format!("map-{}", map_type.to_ascii_lowercase().replace('_', "-")), source)
}

/// A line of a map's definition.
fn member(letter: char) -> &'static str {
    match letter {
        'k' => "\t__type(key, __u32);\n",
        'v' => "\t__type(value, __u64);\n",
        'K' => "\t__uint(key_size, 4);\n",
        'V' => "\t__uint(value_size, 4);\n",
        's' => "\t__uint(value_size, 127 * 8);\n",
        'n' => "\t__uint(max_entries, 8);\n",
        'l' => "\t__type(key, struct prefix);\n",
        'i' => "\t__array(values, struct inner);\n",
        // `struct bpf_cgroup_storage_key` has as many bytes as this with its padding.
        'c' => "\t__type(key, __u64);\n",
        'd' => "\t__type(key, int);\n",
        'p' => "\t__uint(map_flags, 1); // BPF_F_NO_PREALLOC\n",
        'a' => "\t__uint(map_flags, 1024); // BPF_F_MMAPABLE\n",
        'r' => "\t__uint(max_entries, 4096);\n",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_a_source() {
        let names: Vec<String> = SECTIONS.iter().flat_map(of_section).map(|(name, _)| name).collect();
        assert!(names.len() > SECTIONS.len());
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "no file is written twice");
    }

    #[test]
    fn definitions_of_maps_know_their_letters() {
        assert!(MAPS.iter().flat_map(|(_, says)| says.chars()).all(|letter| !member(letter).is_empty()));
    }
}
