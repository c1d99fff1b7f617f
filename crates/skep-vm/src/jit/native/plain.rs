//! Helpers that never end a run: compiled code calls them as they are, without saying where it is and without looking for an
//! end. Each takes the run and as many arguments as it needs.

use skep_isa::helper::id;

use super::records;
use super::thunk::Run;

/// A function that takes a helper's place.
#[derive(Clone, Copy, Debug)]
pub(in crate::jit) struct Plain {
    /// Its address, as a constant of the code.
    pub(in crate::jit) address: i64,
    /// Arguments behind the run.
    pub(in crate::jit) arguments: usize,
}

impl Plain {
    fn new(function: *const (), arguments: usize) -> Self {
        Self { address: function.expose_provenance() as i64, arguments }
    }

    /// That of a helper, if it has one.
    pub(in crate::jit) fn of(helper: u32) -> Option<Self> {
        match helper {
            id::bpf_ringbuf_submit => Some(Self::new(records::submit as *const (), 2)),
            id::bpf_ringbuf_discard => Some(Self::new(records::discard as *const (), 2)),
            _ => question(helper).map(|function| Self::new(function, 0)),
        }
    }
}

/// Makes a function for each helper that only asks for a number, and finds it.
macro_rules! questions {
    ($($helper:ident: |$run:ident| $answer:expr;)*) => {
        fn question(helper: u32) -> Option<*const ()> {
            match helper {
                $(id::$helper => {
                    unsafe extern "C" fn ask(run: Run) -> u64 {
                        // SAFETY: compiled code calls with the run it was entered with, and nobody else uses it meanwhile.
                        let $run = unsafe { &mut *run };
                        $answer
                    }
                    Some(ask as *const ())
                })*
                _ => None,
            }
        }
    };
}

questions! {
    bpf_ktime_get_ns: |run| run.env.ktime_ns();
    bpf_ktime_get_boot_ns: |run| run.env.ktime_boot_ns();
    bpf_ktime_get_coarse_ns: |run| run.env.ktime_coarse_ns();
    bpf_get_prandom_u32: |run| run.env.random().into();
    bpf_get_smp_processor_id: |run| run.cpu().into();
    bpf_get_current_pid_tgid: |run| run.pid_tgid();
    bpf_get_current_uid_gid: |run| run.env.uid_gid();
    bpf_get_current_task: |run| run.env.current_task();
    bpf_get_current_task_btf: |run| run.env.current_task();
    bpf_get_current_cgroup_id: |run| run.env.cgroup_id();
}
