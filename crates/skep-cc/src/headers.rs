//! The headers that sources include: libbpf's names, our text, and helpers from the one table of them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use skep_isa::helper::{self, Helper};

use crate::error::{Error, Result};

/// What `#include <vmlinux.h>` gives a source.
#[derive(Clone, Debug, Default)]
pub enum Vmlinux {
    /// The bundled one: everything that programs share with the kernel, and the fields of kernel structs that are read
    /// most. The same on every machine.
    #[default]
    Bundled,
    /// This text: a kernel's BTF as C.
    Text(String),
    /// The file `vmlinux.h` in this directory.
    Directory(PathBuf),
}

/// The bundled headers by the names they are included by. The helpers' declarations are not text; they are generated.
const BUNDLED: &[(&str, &str)] = &[
    ("bpf/bpf_core_read.h", include_str!("../include/bpf/bpf_core_read.h")),
    ("bpf/bpf_endian.h", include_str!("../include/bpf/bpf_endian.h")),
    ("bpf/bpf_helpers.h", include_str!("../include/bpf/bpf_helpers.h")),
    ("bpf/bpf_tracing.h", include_str!("../include/bpf/bpf_tracing.h")),
];

/// The bundled `vmlinux.h`.
pub const VMLINUX: &str = include_str!("../include/vmlinux.h");

/// Writes the headers below a directory, which it makes.
pub fn write(directory: &Path, vmlinux: &Vmlinux) -> Result<()> {
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|e| Error::io(format!("cannot write `{}`", path.display()), e))
    };
    fs::create_dir_all(directory.join("bpf"))
        .map_err(|e| Error::io("cannot make a temporary directory", e))?;
    for (name, text) in BUNDLED {
        put(name, text)?;
    }
    put("bpf/bpf_helper_defs.h", &helper_defs())?;
    match vmlinux {
        Vmlinux::Bundled => put("vmlinux.h", VMLINUX),
        Vmlinux::Text(text) => put("vmlinux.h", text),
        Vmlinux::Directory(_) => Ok(()),
    }
}

/// `bpf/bpf_helper_defs.h`: every helper as a constant pointer whose value is the helper's number, which is what clang
/// makes a `call` of.
pub fn helper_defs() -> String {
    let mut text = String::from(
        "/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */\n\
         /* The kernel's helpers, generated from Skep's table of them. */\n\n",
    );
    for name in struct_names() {
        writeln!(text, "struct {name};").expect("invariant: a String takes every write");
    }
    text.push('\n');
    for helper in helper::ALL {
        text.push_str(&declaration(helper));
    }
    text
}

/// `static long (* const bpf_map_delete_elem)(void *map, const void *key) = (void *) 3;`
fn declaration(helper: &Helper) -> String {
    let args: Vec<String> = helper.args.iter().map(|(ty, name)| join(ty, name)).collect();
    let args = if args.is_empty() { "void".to_owned() } else { args.join(", ") };
    let pointer = join(helper.ret, &format!("(* const {})", helper.name));
    format!("static {pointer}({args}) = (void *) {};\n", helper.id)
}

/// A type before what it is the type of.
fn join(ty: &str, what: &str) -> String {
    let space = if ty.ends_with('*') || what.is_empty() { "" } else { " " };
    format!("{ty}{space}{what}")
}

/// The structs that the prototypes name, each once.
fn struct_names() -> Vec<&'static str> {
    let types = helper::ALL.iter().flat_map(|helper| {
        let args = helper.args.iter().map(|(ty, _)| *ty);
        std::iter::once(helper.ret).chain(args)
    });
    let mut names: Vec<&str> = types
        .filter_map(|ty| ty.split_once("struct "))
        .map(|(_, name)| name.trim_end_matches(['*', ' ']))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_declared_as_c_calls_them() {
        let text = helper_defs();
        for expected in [
            "static void *(* const bpf_map_lookup_elem)(void *map, const void *key) = (void *) 1;\n",
            "static long (* const bpf_trace_printk)(const char *fmt, __u32 fmt_size, ...) = (void *) 6;\n",
            "static __u64 (* const bpf_get_current_pid_tgid)(void) = (void *) 14;\n",
            "static long (* const bpf_cgrp_storage_delete)(void *map, struct cgroup *cgroup) = (void *) 211;\n",
            "struct __sk_buff;\n",
            "struct bpf_dynptr;\n",
        ] {
            assert!(text.contains(expected), "no `{}` in:\n{text}", expected.trim_end());
        }
        assert_eq!(text.matches(" = (void *) ").count(), helper::ALL.len());
    }
}
