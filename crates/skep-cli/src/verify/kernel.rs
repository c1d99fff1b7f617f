//! `skep verify --against kernel`: what this machine's kernel says of the same programs. Each is loaded alone, and
//! unloaded at once; nothing is attached.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use skep::object::{Linked, MapDef, Object, Pinning};
use skep::runtime::{ErrorKind, SharedRuntime};
use skep::{Error, Result};
use skep_isa::uapi::MapType;
use skep_kernel::KernelRuntime;

/// The kernel, which can be asked.
pub(super) struct Kernel {
    runtime: SharedRuntime,
}

/// What the kernel says of a program.
pub(super) enum Answer {
    /// It was loaded.
    Accept,
    /// The verifier refused it: its last words.
    Reject(String),
    /// It was not verified: something else is in the way, and what.
    Unknown(String),
}

impl Kernel {
    /// The kernel, where this process may use it.
    pub(super) fn open() -> Result<Self> {
        let runtime = KernelRuntime::new();
        runtime.probe()?;
        Ok(Self { runtime: Arc::new(runtime) })
    }

    /// Loads one program of an object.
    pub(super) fn ask(&self, object: &Object, linked: &Linked, program: usize) -> Answer {
        let mut alone = linked.clone();
        alone.maps.iter_mut().for_each(make_creatable);
        for (i, other) in alone.programs.iter_mut().enumerate() {
            other.autoload = i == program;
        }
        match skep::load(&self.runtime, object, alone) {
            Ok(_) => Answer::Accept,
            Err(Error::Runtime(e)) if e.kind() == ErrorKind::Rejected => {
                Answer::Reject(last_words(&e.to_string()))
            }
            Err(e) => Answer::Unknown(e.to_string()),
        }
    }
}

/// Nothing is shared; what the object leaves to its own loader is the smallest that there is.
fn make_creatable(map: &mut MapDef) {
    map.pinning = Pinning::None;
    map.inner.as_deref_mut().into_iter().for_each(make_creatable);
    match map.map_type {
        MapType::PERF_EVENT_ARRAY => (map.key_size, map.value_size) = (4, 4),
        MapType::RINGBUF => {
            // Some loaders take the type of a record from the definition; the kernel has none.
            (map.key_size, map.value_size) = (0, 0);
            map.max_entries = map.max_entries.max(rustix::param::page_size() as u32);
        }
        MapType::SK_STORAGE
        | MapType::INODE_STORAGE
        | MapType::TASK_STORAGE
        | MapType::CGRP_STORAGE
        | MapType::CGROUP_STORAGE
        | MapType::PERCPU_CGROUP_STORAGE
        | MapType::STRUCT_OPS => {}
        _ => map.max_entries = map.max_entries.max(1),
    }
}

impl Answer {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject(_) => "reject",
            Self::Unknown(_) => "unknown",
        }
    }

    pub(super) fn is_verdict(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    pub(super) fn row(&self) -> Value {
        match self {
            Self::Accept => json!({ "verdict": "accept" }),
            Self::Reject(message) | Self::Unknown(message) => {
                json!({ "verdict": self.word(), "message": message })
            }
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Reject(message) | Self::Unknown(message) => write!(f, "{}: {message}", self.word()),
        }
    }
}

/// The verifier's own line of a refusal, which stands in the explanation; else the refusal's last line.
fn last_words(refusal: &str) -> String {
    let line = refusal.lines().find_map(|line| line.trim_start().strip_prefix("= verifier: "));
    line.or_else(|| refusal.lines().last()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_verifiers_words() {
        let refusal = "program `f`: refused\nrejected: it\n   = verifier: R0 !read_ok\nhelp: return";
        assert_eq!(last_words(refusal), "R0 !read_ok");
        assert_eq!(last_words("program `f`: refused\nsomething else"), "something else");
    }
}
