//! The headers that sources include: libbpf's names, our text, and helpers from the one table of them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use skep_isa::helper::{self, Helper};
use skep_isa::uapi::{AttachType, MapType, ProgType};

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

/// The headers that there always are, by the names they are included by. What tables say is generated.
const LIBBPF: &[(&str, &str)] = &[
    ("bpf/bpf_core_read.h", include_str!("../include/bpf/bpf_core_read.h")),
    ("bpf/bpf_endian.h", include_str!("../include/bpf/bpf_endian.h")),
    ("bpf/bpf_helpers.h", include_str!("../include/bpf/bpf_helpers.h")),
    ("bpf/bpf_tracing.h", include_str!("../include/bpf/bpf_tracing.h")),
    ("bpf/usdt.bpf.h", include_str!("../include/bpf/usdt.bpf.h")),
];

/// The bundled `vmlinux.h` and what it includes.
const VMLINUX: &[(&str, &str)] = &[
    ("vmlinux.h", include_str!("../include/vmlinux.h")),
    ("skep/net.h", include_str!("../include/skep/net.h")),
    ("skep/uapi.h", include_str!("../include/skep/uapi.h")),
];

/// Writes the headers below a directory, which it makes.
pub fn write(directory: &Path, vmlinux: &Vmlinux) -> Result<()> {
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|e| Error::io(format!("cannot write `{}`", path.display()), e))
    };
    for subdirectory in ["bpf", "skep"] {
        fs::create_dir_all(directory.join(subdirectory))
            .map_err(|e| Error::io("cannot make a temporary directory", e))?;
    }
    LIBBPF.iter().try_for_each(|(name, text)| put(name, text))?;
    put("bpf/bpf_helper_defs.h", &helper_defs())?;
    match vmlinux {
        Vmlinux::Bundled => {
            VMLINUX.iter().try_for_each(|(name, text)| put(name, text))?;
            put("skep/bpf_enums.h", &enums())
        }
        Vmlinux::Text(text) => put("vmlinux.h", text),
        Vmlinux::Directory(_) => Ok(()),
    }
}

/// How generated headers begin.
const GENERATED: &str = "/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */\n\
                         /* Generated from Skep's tables. */\n\n";

/// `skep/bpf_enums.h`: the kernel's enumerations that Skep has tables of.
fn enums() -> String {
    let helpers = helper::ALL.iter().map(|helper| {
        let name = helper.name.trim_start_matches("bpf_");
        (format!("BPF_FUNC_{name}"), helper.id)
    });
    let unspec = std::iter::once(("BPF_FUNC_unspec".to_owned(), 0));
    let named = |name: Option<&str>, number| Some((name?.to_owned(), number));
    [
        GENERATED.to_owned(),
        declare_enum("bpf_map_type", MapType::ALL.iter().filter_map(|ty| named(ty.c_name(), ty.0))),
        declare_enum("bpf_prog_type", ProgType::ALL.iter().filter_map(|ty| named(ty.c_name(), ty.0))),
        declare_enum("bpf_attach_type", AttachType::ALL.iter().filter_map(|ty| named(ty.c_name(), ty.0))),
        declare_enum("bpf_func_id", unspec.chain(helpers)),
    ]
    .concat()
}

fn declare_enum(name: &str, values: impl Iterator<Item = (String, u32)>) -> String {
    let values: String = values.map(|(name, number)| format!("\t{name} = {number},\n")).collect();
    format!("enum {name} {{\n{values}}};\n\n")
}

/// `bpf/bpf_helper_defs.h`: every helper as a constant pointer whose value is the helper's number, which is what clang
/// makes a `call` of.
pub fn helper_defs() -> String {
    let mut text = GENERATED.to_owned();
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
