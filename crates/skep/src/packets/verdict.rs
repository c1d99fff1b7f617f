//! What a program's return value means for the hook that it runs on.

use std::fmt;

use skep_isa::uapi::ProgType;

/// A verdict on a packet: a hook's name for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    name: &'static str,
    fate: Fate,
    /// The number itself; one for all where numbers are lengths or flags.
    number: u32,
    named: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes on.
    Forwarded,
    /// Its first bytes go on (socket filters).
    Cut(usize),
    /// It ends here.
    Dropped,
}

/// A hook's numbers (`enum xdp_action`, `TC_ACT_*`, `enum bpf_ret_code`, `include/uapi/linux`).
type Names = &'static [(u32, &'static str, Fate)];

const XDP: Names = &[
    (0, "XDP_ABORTED", Fate::Dropped),
    (1, "XDP_DROP", Fate::Dropped),
    (2, "XDP_PASS", Fate::Forwarded),
    (3, "XDP_TX", Fate::Forwarded),
    (4, "XDP_REDIRECT", Fate::Forwarded),
];

const TC: Names = &[
    (u32::MAX, "TC_ACT_UNSPEC", Fate::Forwarded),
    (0, "TC_ACT_OK", Fate::Forwarded),
    (1, "TC_ACT_RECLASSIFY", Fate::Forwarded),
    (2, "TC_ACT_SHOT", Fate::Dropped),
    (3, "TC_ACT_PIPE", Fate::Forwarded),
    (4, "TC_ACT_STOLEN", Fate::Dropped),
    (5, "TC_ACT_QUEUED", Fate::Dropped),
    (6, "TC_ACT_REPEAT", Fate::Forwarded),
    (7, "TC_ACT_REDIRECT", Fate::Forwarded),
    (8, "TC_ACT_TRAP", Fate::Dropped),
];

const LWT: Names = &[
    (0, "BPF_OK", Fate::Forwarded),
    (2, "BPF_DROP", Fate::Dropped),
    (7, "BPF_REDIRECT", Fate::Forwarded),
    (128, "BPF_LWT_REROUTE", Fate::Forwarded),
];

const FLOW_DISSECTOR: Names = &[
    (0, "BPF_OK", Fate::Forwarded),
    (2, "BPF_DROP", Fate::Dropped),
    (129, "BPF_FLOW_DISSECTOR_CONTINUE", Fate::Forwarded),
];

impl Verdict {
    /// The meaning of a number. One that a hook does not know is a drop, as in Linux; for TC it lets the packet go on.
    pub fn of(prog_type: ProgType, retval: u32) -> Self {
        let names = match prog_type {
            ProgType::XDP => XDP,
            ProgType::SCHED_CLS | ProgType::SCHED_ACT => TC,
            ProgType::FLOW_DISSECTOR => FLOW_DISSECTOR,
            ProgType::SOCKET_FILTER => return Self::of_length(retval),
            ProgType::CGROUP_SKB => return Self::of_permission(retval),
            _ => LWT,
        };
        match names.iter().find(|(number, ..)| *number == retval) {
            Some((_, name, fate)) => Self { name, fate: *fate, number: retval, named: true },
            None => {
                let fate = if names == TC { Fate::Forwarded } else { Fate::Dropped };
                Self { name: "unknown", fate, number: retval, named: false }
            }
        }
    }

    /// Socket filters answer how many bytes to keep; all lengths that keep any packet whole count together.
    fn of_length(len: u32) -> Self {
        const LONGEST: u32 = 0xffff;
        let (name, fate, number) = match len {
            0 => ("dropped", Fate::Dropped, 0),
            LONGEST.. => ("kept", Fate::Forwarded, LONGEST),
            _ => ("cut", Fate::Cut(len as usize), len),
        };
        Self { name, fate, number, named: true }
    }

    /// Control groups let a packet through, or not; the second bit signals congestion.
    fn of_permission(retval: u32) -> Self {
        let (name, fate) = match retval & 1 {
            1 => ("allowed", Fate::Forwarded),
            _ => ("denied", Fate::Dropped),
        };
        Self { name, fate, number: retval & 1, named: true }
    }

    /// The number that the program answered.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Does the packet go back to where it came from (`XDP_TX`)?
    pub fn returns(&self) -> bool {
        self.name == "XDP_TX"
    }

    /// What becomes of the packet.
    pub fn fate(&self) -> Fate {
        self.fate
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.named, self.fate) {
            (false, _) => write!(f, "unknown ({})", self.number as i32),
            (true, Fate::Cut(len)) => write!(f, "{} at {len}", self.name),
            (true, _) => f.pad(self.name),
        }
    }
}
