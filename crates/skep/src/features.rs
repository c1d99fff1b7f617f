//! What a runtime supports, found out by trying: types of programs and maps, helpers, attach types, commands, limits.
//!
//! Every question is asked by the smallest program or map that only what supports it takes, as libbpf and bpftool ask.
//! There are three answers: that the caller may not ask is neither yes nor no. Nothing that is made for a question stays.

mod code;
mod maps;

use skep_btf::Kind;
use skep_isa::helper::Helper;
use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_runtime::command::{BatchOp, Command, MapCreate, ProgLoad};
use skep_runtime::{Error, ErrorKind, Fd, Map, SharedRuntime};

use crate::host;

pub use code::Trait;

/// Is something supported?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Yes,
    /// It is not, for this reason.
    No(String),
    /// The caller may not find out.
    Unknown(String),
}

impl Support {
    /// Is it supported, for certain?
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}

/// The errno that Linux uses where user space has none (`ENOTSUPP`).
const ENOTSUPP: i32 = 524;
const EBADF: i32 = 9;

/// Asks a runtime.
#[derive(Clone)]
pub struct Prober {
    runtime: SharedRuntime,
    /// Device that programs and maps are to be loaded onto; 0: none.
    ifindex: u32,
    /// May this process use bpf(2) at all? Then a refusal is an answer.
    is_privileged: bool,
}

impl Prober {
    /// Asks about the runtime itself.
    pub fn new(runtime: &SharedRuntime) -> Self {
        let mut prober = Self { runtime: runtime.clone(), ifindex: 0, is_privileged: true };
        let plain = prober.load(&ProgLoad::new(ProgType::SOCKET_FILTER, "", &code::NOTHING, "GPL"));
        prober.is_privileged = plain.is_ok();
        prober
    }

    /// Asks what anybody may do who is as this process is: that it may not is an answer, then.
    #[must_use]
    pub fn as_anybody(mut self) -> Self {
        self.is_privileged = true;
        self
    }

    /// Asks about programs and maps that run on a network device itself.
    #[must_use]
    pub fn on_device(mut self, ifindex: u32) -> Self {
        self.ifindex = ifindex;
        self
    }

    /// Is bpf(2) there at all?
    pub fn bpf(&self) -> Support {
        let spec = ProgLoad::new(ProgType::UNSPEC, "", &[], "");
        match self.load(&spec) {
            Err(e) if e.errno() == rustix::io::Errno::NOSYS.raw_os_error() => Support::No(e.to_string()),
            _ => Support::Yes,
        }
    }

    /// Are programs of this type loaded?
    pub fn prog_type(&self, prog_type: ProgType) -> Support {
        let spec = ProgLoad { ifindex: self.ifindex, ..code::smallest(prog_type, &code::NOTHING) };
        match self.load(&spec) {
            Ok(()) => Support::Yes,
            Err(e) if code::is_expected(prog_type, &e) => Support::Yes,
            Err(e) => self.refused(&e),
        }
    }

    /// May programs of this type, which is supported, call the helper?
    pub fn helper(&self, prog_type: ProgType, helper: &Helper) -> Support {
        if code::names_a_target(prog_type) {
            return Support::Unknown(format!("`{prog_type}` programs have helpers by what they attach to"));
        }
        let insns = code::call(helper.id);
        let spec = ProgLoad { ifindex: self.ifindex, ..code::smallest(prog_type, &insns) };
        match self.load(&spec) {
            Ok(()) => Support::Yes,
            Err(e) if code::says_no_such_helper(&e) => Support::No(e.to_string()),
            // The helper is known, but cannot be called in this way.
            Err(e) if e.kind() == ErrorKind::Rejected => Support::Yes,
            Err(e) => self.refused(&e),
        }
    }

    /// Are maps of this type created?
    pub fn map_type(&self, map_type: MapType) -> Support {
        match maps::create(&self.runtime, map_type, self.ifindex) {
            Ok(_) => Support::Yes,
            Err(e) if map_type == MapType::STRUCT_OPS && e.errno() == ENOTSUPP => Support::Yes,
            Err(e) => self.refused(&e),
        }
    }

    /// Does the verifier, or the instruction set, have this trait?
    pub fn has(&self, wanted: Trait) -> Support {
        let insns = wanted.insns();
        let spec =
            ProgLoad { ifindex: self.ifindex, ..ProgLoad::new(ProgType::SOCKET_FILTER, "", &insns, "GPL") };
        match self.load(&spec) {
            Ok(()) => Support::Yes,
            Err(e) => self.refused(&e),
        }
    }

    /// How many instructions a program may have, if it is one of the limits that kernels have had; `None` where it cannot be
    /// found out.
    pub fn insns_max(&self) -> Option<u32> {
        const LIMITS: [u32; 2] = [1_000_000, 4096];
        LIMITS.into_iter().find(|&limit| {
            let insns = code::long(limit as usize);
            self.load(&ProgLoad::new(ProgType::SOCKET_FILTER, "", &insns, "GPL")).is_ok()
        })
    }

    /// Are maps read and written in batches?
    pub fn batch(&self) -> Support {
        let spec = MapCreate::new(MapType::ARRAY, "", 4, 4, 2);
        let map = match Map::create(&self.runtime, &spec, 1) {
            Ok(map) => map,
            Err(e) => return self.refused(&e),
        };
        let (mut out_batch, mut keys, mut values) = ([0; 4], [0; 8], [0; 8]);
        let op = BatchOp::Lookup {
            in_batch: None,
            out_batch: &mut out_batch,
            keys: &mut keys,
            values: &mut values,
            count: 2,
            delete: false,
            elem_flags: 0,
        };
        match map.batch(op) {
            Ok(_) => Support::Yes,
            // The end of the map was reached: the command is there.
            Err(e) if e.kind() == ErrorKind::NotFound => Support::Yes,
            Err(e) => self.refused(&e),
        }
    }

    /// Does the kernel know this kind of hook? By its types where it shows them, and otherwise by how it refuses to attach
    /// a program that there is not.
    pub fn attach_type(&self, attach_type: AttachType) -> Support {
        if let Some(known) = enumerators(attach_type) {
            return match known {
                true => Support::Yes,
                false => Support::No("the kernel's types do not have it".to_owned()),
            };
        }
        let command = Command::ProgAttach { prog: Fd(-1), target: Fd(-1), attach_type, flags: 0 };
        match self.runtime.bpf(command) {
            Err(e) if e.errno() == EBADF => Support::Yes,
            _ => Support::Unknown("the kernel does not show its types".to_owned()),
        }
    }

    fn load(&self, spec: &ProgLoad<'_>) -> Result<(), Error> {
        skep_runtime::Program::load(&self.runtime, spec).map(|_| ())
    }

    /// A refusal is an answer only for those who may ask.
    fn refused(&self, error: &Error) -> Support {
        match error.kind() {
            ErrorKind::Denied if !self.is_privileged => Support::Unknown(error.to_string()),
            _ => Support::No(error.to_string()),
        }
    }
}

/// Does the kernel's `enum bpf_attach_type` have the name? `None` where the kernel shows no types.
fn enumerators(attach_type: AttachType) -> Option<bool> {
    let btf = host::kernel_btf()?;
    let ty = btf.type_by_id(btf.find("bpf_attach_type", Kind::Enum)?).ok()?;
    let wanted = attach_type.c_name()?;
    let values = ty.enumeration()?.values;
    Some(values.iter().filter_map(Result::ok).any(|value| value.name == wanted))
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use skep_isa::helper;
    use skep_user::{Config, UserRuntime};

    use super::*;

    #[test]
    fn the_user_runtime_answers() {
        let prober = Prober::new(&UserRuntime::new(Config::default()).unwrap());
        assert_eq!(prober.bpf(), Support::Yes);
        for prog_type in [ProgType::XDP, ProgType::TRACEPOINT, ProgType::SOCKET_FILTER] {
            assert_eq!(prober.prog_type(prog_type), Support::Yes, "{prog_type}");
        }
        for map_type in
            [MapType::HASH, MapType::ARRAY, MapType::RINGBUF, MapType::LPM_TRIE, MapType::HASH_OF_MAPS]
        {
            assert_eq!(prober.map_type(map_type), Support::Yes, "{map_type}");
        }
        assert!(matches!(prober.map_type(MapType(9999)), Support::No(_)));
        let support = |name| prober.helper(ProgType::SOCKET_FILTER, helper::by_name(name).unwrap());
        assert_eq!(support("bpf_ktime_get_ns"), Support::Yes);
        assert!(
            matches!(support("bpf_xdp_adjust_head"), Support::No(_)),
            "{:?}",
            support("bpf_xdp_adjust_head")
        );
        assert_eq!(prober.has(Trait::BoundedLoops), Support::Yes);
        assert_eq!(prober.batch(), Support::Yes);
    }
}
