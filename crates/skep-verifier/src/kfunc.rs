//! Kernel functions that programs call by BTF: who may, and how arguments and results are treated.

mod table;

use skep_isa::uapi::{AttachType, ProgType};

/// Bits beyond the program types: kprobe sessions only, iterators only.
const SESSION_ONLY: u64 = 1 << 62;
const ITER_ONLY: u64 = 1 << 61;

/// A kernel function's flags (`KF_*`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kfunc {
    pub(crate) name: &'static str,
    types: u64,
    /// Returns a reference that must be released.
    pub(crate) acquire: bool,
    /// Releases its argument.
    pub(crate) release: bool,
    /// May return null.
    pub(crate) ret_null: bool,
    /// Pointers must be trusted.
    pub(crate) trusted: bool,
    /// Pointers must be valid under RCU at least.
    pub(crate) rcu: bool,
    /// May sleep.
    pub(crate) sleeps: bool,
    pub(crate) iter_new: bool,
    pub(crate) iter_next: bool,
    pub(crate) iter_destroy: bool,
    /// The iterator lives within an RCU section.
    pub(crate) rcu_protected: bool,
}

macro_rules! flags {
    ($($name:ident)*) => {
        $(const fn $name(self) -> Self {
            Self { $name: true, ..self }
        })*
    };
}

impl Kfunc {
    const fn new(name: &'static str, types: u64) -> Self {
        Self {
            name,
            types,
            acquire: false,
            release: false,
            ret_null: false,
            trusted: false,
            rcu: false,
            sleeps: false,
            iter_new: false,
            iter_next: false,
            iter_destroy: false,
            rcu_protected: false,
        }
    }

    flags!(acquire release ret_null trusted rcu sleeps iter_new iter_next iter_destroy rcu_protected);

    /// May a program of this type call it?
    pub(crate) fn is_allowed(&self, prog: ProgType, attach: AttachType) -> bool {
        match self.types {
            SESSION_ONLY => {
                let session =
                    matches!(attach, AttachType::TRACE_KPROBE_SESSION | AttachType::TRACE_UPROBE_SESSION);
                prog == ProgType::KPROBE && session
            }
            ITER_ONLY => prog == ProgType::TRACING && attach == AttachType::TRACE_ITER,
            types => prog.0 < 60 && types & (1 << prog.0) != 0,
        }
    }

    /// Must references be released, so that pointers must be trusted?
    pub(crate) fn wants_trusted(&self) -> bool {
        self.trusted || self.release
    }

    /// One of an iterator's three?
    pub(crate) fn is_iter(&self) -> bool {
        self.iter_new || self.iter_next || self.iter_destroy
    }
}

/// Finds a kernel function by name.
pub(crate) fn find(name: &str) -> Option<&'static Kfunc> {
    table::ROWS.binary_search_by(|row| row.name.cmp(name)).ok().map(|i| &table::ROWS[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_consistent() {
        assert!(table::ROWS.windows(2).all(|w| w[0].name < w[1].name));
        for row in table::ROWS {
            assert!(!row.iter_next || row.ret_null, "{}", row.name);
            assert!(find(row.name).is_some());
        }
        assert!(find("bpf_no_such_function").is_none());
    }
}
