//! What the verifier is asked: a program, its maps and types, and the kernel it is for.

use std::sync::Arc;

use skep_btf::Btf;
use skep_isa::Insn;
use skep_isa::uapi::{AttachType, MapType, ProgType};

/// The kernel a program is verified for.
#[derive(Clone, Default)]
pub struct Target {
    /// Its types.
    pub btf: Option<Arc<Btf>>,
    /// Types of its modules, by name; split from its own.
    pub modules: Vec<(String, Arc<Btf>)>,
    /// Processors it may have.
    pub cpus: u32,
}

/// A map a program refers to.
#[derive(Clone, Debug)]
pub struct MapInfo {
    /// Name, for messages.
    pub name: String,
    /// Type.
    pub ty: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries.
    pub max_entries: u32,
    /// Creation flags.
    pub flags: u32,
    /// Type of the value in the program's BTF, 0 for none.
    pub value_type: u32,
    /// Contents of a map that never changes any more.
    pub frozen: Option<Arc<[u8]>>,
    /// What the inner maps of a map of maps look like.
    pub inner: Option<Box<MapInfo>>,
}

impl MapInfo {
    /// A map with these sizes and no more: no flags, types, frozen contents or inner maps.
    pub fn new(
        name: impl Into<String>,
        ty: MapType,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    ) -> Self {
        let name = name.into();
        let (flags, value_type, frozen, inner) = (0, 0, None, None);
        Self { name, ty, key_size, value_size, max_entries, flags, value_type, frozen, inner }
    }
}

/// What a program attaches to, as far as verification depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// Nothing in particular.
    #[default]
    None,
    /// A function, tracepoint or iterator of the kernel: its type id and which BTF has it (0 the kernel, else a module).
    Kernel {
        /// Number of the BTF.
        obj: u16,
        /// Id of the function or typedef.
        id: u32,
    },
    /// A member of a kernel structure of functions.
    StructOps {
        /// The structure's name.
        ops: String,
        /// Index of the member.
        member: u32,
    },
    /// Something the target does not have.
    Missing(String),
}

/// A program to verify.
///
/// Map references in instructions are indexes into `maps` (`BPF_PSEUDO_MAP_IDX`, `BPF_PSEUDO_MAP_IDX_VALUE`).
#[derive(Clone)]
pub struct Input<'a> {
    /// Name.
    pub name: &'a str,
    /// Type.
    pub prog_type: ProgType,
    /// Attach type it is for.
    pub attach_type: AttachType,
    /// What it attaches to.
    pub attach: Attach,
    /// Is its licence compatible with the GPL?
    pub gpl: bool,
    /// May it sleep?
    pub sleepable: bool,
    /// Creation flags: strict or any alignment and the like.
    pub flags: u32,
    /// Instructions.
    pub insns: &'a [Insn],
    /// Maps.
    pub maps: &'a [MapInfo],
    /// Its own types.
    pub btf: Option<Arc<Btf>>,
    /// Type of each function, by its first instruction.
    pub func_info: &'a [(u32, u32)],
    /// Modules that calls of kernel functions name, by their number from 1 on: indexes into the target's.
    pub kfunc_modules: &'a [usize],
    /// Instructions that load the address of a module's variable, and the module.
    pub module_vars: &'a [(u32, usize)],
    /// The kernel it is for.
    pub target: &'a Target,
}

impl<'a> Input<'a> {
    /// A program under a compatible licence that attaches to nothing in particular, may not sleep and has no types.
    pub fn new(
        name: &'a str,
        prog_type: ProgType,
        insns: &'a [Insn],
        maps: &'a [MapInfo],
        target: &'a Target,
    ) -> Self {
        Self {
            name,
            prog_type,
            attach_type: AttachType(0),
            attach: Attach::None,
            gpl: true,
            sleepable: false,
            flags: 0,
            insns,
            maps,
            btf: None,
            func_info: &[],
            kfunc_modules: &[],
            module_vars: &[],
            target,
        }
    }
}
