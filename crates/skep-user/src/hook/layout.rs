//! Where tracepoint records keep their fields: from the kernel's BTF, which says it for its own version, or from a table
//! of Linux 6.18's where there is none.

use skep_btf::{Btf, Kind};

use crate::kernel::types::{Place, place};

/// Bytes of the header of every record (`struct trace_entry`).
pub(crate) const HEADER: usize = 8;

/// A field of the table: name, offset, bytes; strings that lie behind the record have `__data_loc_` in front, as in BTF.
type Field = (&'static str, usize, usize);

/// A record of the table.
struct Known {
    /// The C structures that have had this layout's role, newest first.
    structs: &'static [&'static str],
    bytes: usize,
    fields: &'static [Field],
}

/// The layout of one tracepoint's record.
#[derive(Debug)]
pub(crate) struct Layout {
    fields: Vec<(&'static str, Place)>,
    pub(crate) bytes: usize,
}

/// Tracepoints whose records have fields of their own; source: their `format` files, Linux 6.18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    Fork,
    NewTask,
    Exec,
    Exit,
    SignalGenerate,
    SignalDeliver,
}

impl Record {
    fn known(self) -> Known {
        match self {
            Self::Fork => Known {
                structs: &["trace_event_raw_sched_process_fork"],
                bytes: 24,
                fields: &[
                    ("__data_loc_parent_comm", 8, 4),
                    ("parent_comm", 0, 0),
                    ("parent_pid", 12, 4),
                    ("__data_loc_child_comm", 16, 4),
                    ("child_comm", 0, 0),
                    ("child_pid", 20, 4),
                ],
            },
            Self::NewTask => Known {
                structs: &["trace_event_raw_task_newtask"],
                bytes: 48,
                fields: &[("pid", 8, 4), ("comm", 12, 16), ("clone_flags", 32, 8), ("oom_score_adj", 40, 2)],
            },
            Self::Exec => Known {
                structs: &["trace_event_raw_sched_process_exec"],
                bytes: 20,
                fields: &[("__data_loc_filename", 8, 4), ("pid", 12, 4), ("old_pid", 16, 4)],
            },
            Self::Exit => Known {
                structs: &["trace_event_raw_sched_process_exit", "trace_event_raw_sched_process_template"],
                bytes: 36,
                fields: &[
                    ("__data_loc_comm", 0, 0),
                    ("comm", 8, 16),
                    ("pid", 24, 4),
                    ("prio", 28, 4),
                    ("group_dead", 32, 1),
                ],
            },
            Self::SignalGenerate => Known {
                structs: &["trace_event_raw_signal_generate"],
                bytes: 48,
                fields: &[
                    ("sig", 8, 4),
                    ("errno", 12, 4),
                    ("code", 16, 4),
                    ("comm", 20, 16),
                    ("pid", 36, 4),
                    ("group", 40, 4),
                    ("result", 44, 4),
                ],
            },
            Self::SignalDeliver => Known {
                structs: &["trace_event_raw_signal_deliver"],
                bytes: 40,
                fields: &[
                    ("sig", 8, 4),
                    ("errno", 12, 4),
                    ("code", 16, 4),
                    ("sa_handler", 24, 8),
                    ("sa_flags", 32, 8),
                ],
            },
        }
    }

    /// The layout that this kernel has.
    pub(crate) fn layout(self, btf: Option<&Btf>) -> Layout {
        let known = self.known();
        btf.and_then(|btf| known.by_btf(btf)).unwrap_or_else(|| known.by_table())
    }
}

impl Known {
    fn by_btf(&self, btf: &Btf) -> Option<Layout> {
        let id = self.structs.iter().find_map(|name| btf.find(name, Kind::Struct))?;
        let bytes = usize::try_from(btf.size_of(id).ok()?).ok()?;
        let fields =
            self.fields.iter().filter_map(|(name, ..)| Some((*name, place(btf, id, name)?))).collect();
        Some(Layout { fields, bytes })
    }

    fn by_table(&self) -> Layout {
        let present = self.fields.iter().filter(|(_, _, bytes)| *bytes != 0);
        let fields = present.map(|&(name, offset, bytes)| (name, Place { offset, bytes })).collect();
        Layout { fields, bytes: self.bytes }
    }
}

impl Layout {
    /// Where a field lies, if this kernel's record has it.
    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, place)| *place)
    }
}
