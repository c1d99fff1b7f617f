//! Register types and register states.
//!
//! A register holds a scalar or a pointer of some kind. Pointers carry flags (may be null, trusted, under RCU …), a
//! fixed offset, the set of values of their variable offset, and what they point to. Equal non-zero ids on several
//! registers say that they hold the same value or derive from it, so that a check of one speaks of all.

use std::fmt;

use crate::scalar::Scalar;

/// What a register holds, without its flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Base {
    /// Nothing readable.
    NotInit,
    /// A number.
    Scalar,
    /// The program's context.
    Ctx,
    /// A map itself.
    MapPtr,
    /// A value in a map.
    MapValue,
    /// A key in a map.
    MapKey,
    /// A stack frame.
    Stack,
    /// `data_meta` of a packet.
    PacketMeta,
    /// `data` of a packet.
    Packet,
    /// `data_end` of a packet.
    PacketEnd,
    /// `struct bpf_flow_keys`.
    FlowKeys,
    /// `struct bpf_sock` of a full socket.
    Socket,
    /// `struct bpf_sock`, its common part.
    SockCommon,
    /// `struct bpf_tcp_sock`.
    TcpSock,
    /// A writable tracepoint's buffer.
    TpBuffer,
    /// `struct bpf_xdp_sock`.
    XdpSock,
    /// A kernel or program type by BTF id.
    BtfId,
    /// Memory of a known size.
    Mem,
    /// A program's arena.
    Arena,
    /// A buffer whose size is checked when the program is attached.
    Buf,
    /// A function of the program.
    Func,
    /// A dynptr that is not on the stack.
    Dynptr,
}

/// Qualifiers of a register type; a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// May be null.
    pub const MAYBE_NULL: Self = Self(1);
    /// Read-only memory.
    pub const RDONLY: Self = Self(1 << 1);
    /// From a ring buffer.
    pub const RINGBUF: Self = Self(1 << 2);
    /// User memory.
    pub const USER: Self = Self(1 << 3);
    /// A per-CPU variable.
    pub const PERCPU: Self = Self(1 << 4);
    /// May be stale: reads are guarded, nothing else is allowed.
    pub const UNTRUSTED: Self = Self(1 << 5);
    /// Allocated by the program.
    pub const ALLOC: Self = Self(1 << 6);
    /// Trusted by the kernel: valid and referenced by someone.
    pub const TRUSTED: Self = Self(1 << 7);
    /// Valid within an RCU read section.
    pub const RCU: Self = Self(1 << 8);
    /// Points into a tree or list whose lock is held.
    pub const NON_OWN_REF: Self = Self(1 << 9);
    /// Memory of a dynptr on a socket buffer.
    pub const DYNPTR_SKB: Self = Self(1 << 10);
    /// Memory of a dynptr on an XDP buffer.
    pub const DYNPTR_XDP: Self = Self(1 << 11);
    /// Memory of a dynptr on a socket buffer's metadata.
    pub const DYNPTR_SKB_META: Self = Self(1 << 12);

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Is any bit of `other` set?
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A register type: what it is, and its flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct RegType {
    /// What it is.
    pub base: Base,
    /// Qualifiers.
    pub flags: Flags,
}

impl RegType {
    /// A scalar.
    pub const SCALAR: Self = Self::new(Base::Scalar);
    /// Nothing.
    pub const NOT_INIT: Self = Self::new(Base::NotInit);

    /// A base without flags.
    pub const fn new(base: Base) -> Self {
        Self { base, flags: Flags::NONE }
    }

    /// A base with flags.
    pub const fn flagged(base: Base, flags: Flags) -> Self {
        Self { base, flags }
    }

    /// Exactly this base, no flags?
    pub fn is(self, base: Base) -> bool {
        self.base == base && self.flags.0 == 0
    }

    /// May it be null?
    pub const fn may_be_null(self) -> bool {
        self.flags.any(Flags::MAYBE_NULL)
    }

    /// Has it any of these flags?
    pub const fn has(self, flags: Flags) -> bool {
        self.flags.any(flags)
    }

    /// `data` or `data_meta`?
    pub fn is_packet(self) -> bool {
        self.is(Base::Packet) || self.is(Base::PacketMeta)
    }

    /// `data`, `data_meta` or `data_end`?
    pub fn is_packet_any(self) -> bool {
        self.is_packet() || self.is(Base::PacketEnd)
    }

    /// One of the socket views?
    pub fn is_socket(self) -> bool {
        self.flags.0 == 0
            && matches!(self.base, Base::Socket | Base::SockCommon | Base::TcpSock | Base::XdpSock)
    }

    /// An object the program allocated, not one per CPU?
    pub fn is_alloc_obj(self) -> bool {
        self.base == Base::BtfId && self.has(Flags::ALLOC) && !self.has(Flags::PERCPU)
    }

    /// A reference into a tree or list that is not ours to release?
    pub fn is_non_owning(self) -> bool {
        self.is_alloc_obj() && self.has(Flags::NON_OWN_REF)
    }
}

/// The name in the kernel's log, such as `map_value_or_null` or `trusted_ptr_`.
impl fmt::Display for RegType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixes = [
            (Flags::RDONLY, "rdonly_"),
            (Flags::RINGBUF, "ringbuf_"),
            (Flags::USER, "user_"),
            (Flags::PERCPU, "percpu_"),
            (Flags::RCU, "rcu_"),
            (Flags::UNTRUSTED, "untrusted_"),
            (Flags::TRUSTED, "trusted_"),
        ];
        for (flag, prefix) in prefixes {
            if self.has(flag) {
                f.write_str(prefix)?;
            }
        }
        f.write_str(match self.base {
            Base::NotInit => "?",
            Base::Scalar => "scalar",
            Base::Ctx => "ctx",
            Base::MapPtr => "map_ptr",
            Base::MapValue => "map_value",
            Base::MapKey => "map_key",
            Base::Stack => "fp",
            Base::PacketMeta => "pkt_meta",
            Base::Packet => "pkt",
            Base::PacketEnd => "pkt_end",
            Base::FlowKeys => "flow_keys",
            Base::Socket => "sock",
            Base::SockCommon => "sock_common",
            Base::TcpSock => "tcp_sock",
            Base::TpBuffer => "tp_buffer",
            Base::XdpSock => "xdp_sock",
            Base::BtfId => "ptr_",
            Base::Mem => "mem",
            Base::Arena => "arena",
            Base::Buf => "buf",
            Base::Func => "func",
            Base::Dynptr => "dynptr_ptr",
        })?;
        match (self.may_be_null(), self.base) {
            (true, Base::BtfId) => f.write_str("or_null_"),
            (true, _) => f.write_str("_or_null"),
            (false, _) => Ok(()),
        }
    }
}

/// A type in one of the BTF objects at hand: 0 is the kernel's, 1 the program's, modules follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct BtfRef {
    /// Which BTF.
    pub obj: u16,
    /// Type id in it.
    pub id: u32,
}

impl BtfRef {
    /// The kernel's BTF.
    pub const KERNEL: u16 = 0;
    /// The program's own BTF.
    pub const PROGRAM: u16 = 1;

    /// Is it a type of the kernel or of a module?
    pub const fn is_kernel(self) -> bool {
        self.obj != Self::PROGRAM
    }
}

/// What kind of memory a dynptr is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DynptrKind {
    /// Program memory.
    Local,
    /// A reserved ring buffer record.
    Ringbuf,
    /// A socket buffer.
    Skb,
    /// An XDP buffer.
    Xdp,
    /// A socket buffer's metadata area.
    SkbMeta,
    /// A file.
    File,
}

/// Progress of an open-coded iterator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum IterState {
    /// Not an iterator's first slot.
    Invalid,
    /// May yield more.
    Active,
    /// Has yielded its last.
    Drained,
}

/// What is particular to a register's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// Packet pointer: bytes known to be readable from it, or a position relative to the end (negative).
    Range(i32),
    /// Map, its value or key: index of the map, and which lookup gave an inner map (0 for none).
    Map {
        /// Index into the program's maps.
        map: u32,
        /// Identity of an inner map's lookup.
        uid: u32,
    },
    /// BTF-typed pointer.
    Btf(BtfRef),
    /// Memory and its size; for slices, the dynptr they belong to.
    Mem {
        /// Bytes.
        size: u32,
        /// Id of the dynptr, or 0.
        dynptr: u32,
    },
    /// Dynptr, on the stack or as an argument.
    Dynptr {
        /// Memory it is over.
        kind: DynptrKind,
        /// Is this the first of its two slots?
        first: bool,
    },
    /// Open-coded iterator on the stack.
    Iter {
        /// Its struct.
        ty: BtfRef,
        /// Progress.
        state: IterState,
        /// How often `next` was called on this path.
        depth: u32,
    },
    /// Saved interrupt flags on the stack: native or of a resilient lock.
    Irq {
        /// Saved by the lock functions rather than by `bpf_local_irq_save`.
        lock: bool,
    },
    /// Function: index of the subprogram.
    Func(u32),
    /// Stack pointer: index of the frame.
    Frame(u32),
}

/// Positions of a packet pointer relative to `data_end`, where its range is not a number of bytes.
pub const AT_PKT_END: i32 = -1;
/// Beyond the end.
pub const BEYOND_PKT_END: i32 = -2;

/// Variable offsets of pointers stay below this.
pub const MAX_VAR_OFF: i64 = 1 << 29;

/// Marks on a scalar's id: it is another scalar of that id plus a constant, its offset.
pub const ADD_CONST: u32 = ADD_CONST_32 | ADD_CONST_64;
/// The sum is modulo 2³², upper half clear.
pub const ADD_CONST_32: u32 = 1 << 30;
/// The sum is modulo 2⁶⁴.
pub const ADD_CONST_64: u32 = 1 << 31;

/// The state of one register or spilled register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reg {
    /// What it holds.
    pub ty: RegType,
    /// Fixed offset of a pointer; constant of a linked scalar.
    pub off: i32,
    /// Equal ids share a value; 0 for none.
    pub id: u32,
    /// Reference it owns or belongs to; 0 for none.
    pub ref_obj_id: u32,
    /// Particulars.
    pub detail: Detail,
    /// A scalar's values, or a pointer's variable offset.
    pub val: Scalar,
    /// Does safety depend on this scalar's values?
    pub precise: bool,
}

impl Reg {
    /// Nothing readable.
    pub const NOT_INIT: Self = Self {
        ty: RegType::NOT_INIT,
        off: 0,
        id: 0,
        ref_obj_id: 0,
        detail: Detail::None,
        val: Scalar::UNKNOWN,
        precise: false,
    };

    /// Any number.
    pub const UNKNOWN: Self = Self { ty: RegType::SCALAR, ..Self::NOT_INIT };

    /// One number.
    pub const fn known(x: u64) -> Self {
        Self { val: Scalar::known(x), ..Self::UNKNOWN }
    }

    /// A scalar of these values.
    pub const fn scalar(val: Scalar) -> Self {
        Self { val, ..Self::UNKNOWN }
    }

    /// A pointer with offset zero.
    pub const fn pointer(ty: RegType, detail: Detail) -> Self {
        Self { ty, detail, val: Scalar::ZERO, ..Self::NOT_INIT }
    }

    /// Is it a number?
    pub fn is_scalar(&self) -> bool {
        self.ty.base == Base::Scalar
    }

    /// Is it the number zero for certain?
    pub fn is_null(&self) -> bool {
        self.is_scalar() && self.val.is_zero()
    }

    /// A known number?
    pub fn is_const(&self) -> bool {
        self.is_scalar() && self.val.is_const()
    }

    /// Unlinks a scalar from its copies.
    pub fn clear_scalar_id(&mut self) {
        self.id = 0;
        self.off = 0;
    }

    /// Index of the map, for maps, values and keys.
    pub fn map(&self) -> Option<u32> {
        match self.detail {
            Detail::Map { map, .. } => Some(map),
            _ => None,
        }
    }

    /// Identity of an inner map's lookup.
    pub fn map_uid(&self) -> u32 {
        match self.detail {
            Detail::Map { uid, .. } => uid,
            _ => 0,
        }
    }

    /// The BTF type pointed to.
    pub fn btf(&self) -> Option<BtfRef> {
        match self.detail {
            Detail::Btf(r) => Some(r),
            _ => None,
        }
    }

    /// The frame a stack pointer points into.
    pub fn frame(&self) -> usize {
        match self.detail {
            Detail::Frame(n) => n as usize,
            _ => 0,
        }
    }

    /// Range of a packet pointer.
    pub fn range(&self) -> i32 {
        match self.detail {
            Detail::Range(n) => n,
            _ => 0,
        }
    }

    /// Size of the memory pointed to.
    pub fn mem_size(&self) -> u32 {
        match self.detail {
            Detail::Mem { size, .. } => size,
            _ => 0,
        }
    }

    /// The dynptr a slice belongs to.
    pub fn slice_of(&self) -> u32 {
        match self.detail {
            Detail::Mem { dynptr, .. } => dynptr,
            _ => 0,
        }
    }

    /// Is it known not to be null?
    pub fn is_not_null(&self) -> bool {
        // A far variable offset could wrap the address round to null.
        let wraps = self.val.smin <= -MAX_VAR_OFF || self.val.smax >= MAX_VAR_OFF;
        if self.ty.may_be_null() || wraps {
            return false;
        }
        match self.ty.base {
            Base::Socket | Base::TcpSock | Base::XdpSock | Base::SockCommon => true,
            Base::Buf | Base::MapValue | Base::MapKey | Base::MapPtr => true,
            Base::BtfId => self.is_trusted(),
            Base::Mem => !self.ty.has(Flags::UNTRUSTED),
            _ => false,
        }
    }

    /// Does the kernel vouch for it: a reference is held, or its type says so?
    pub fn is_trusted(&self) -> bool {
        if self.ref_obj_id != 0 {
            return true;
        }
        let vouched_base =
            matches!(self.ty.base, Base::Socket | Base::SockCommon | Base::TcpSock | Base::MapPtr);
        let vouched_flag = self.ty.has(Flags::TRUSTED.with(Flags::ALLOC).with(Flags::NON_OWN_REF));
        (vouched_base || vouched_flag) && !self.has_unsafe_modifiers()
    }

    fn has_unsafe_modifiers(&self) -> bool {
        let safe = Flags::TRUSTED.with(Flags::ALLOC).with(Flags::NON_OWN_REF);
        self.ty.flags.without(safe).0 != 0
    }

    /// Is it valid within the current RCU section?
    pub fn is_rcu(&self) -> bool {
        self.ty.has(Flags::RCU)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_kernel_log() {
        let check =
            |base, flags: Flags, text: &str| assert_eq!(RegType::flagged(base, flags).to_string(), text);
        check(Base::MapValue, Flags::MAYBE_NULL, "map_value_or_null");
        check(Base::BtfId, Flags::TRUSTED.with(Flags::MAYBE_NULL), "trusted_ptr_or_null_");
        check(Base::Mem, Flags::RDONLY.with(Flags::UNTRUSTED), "rdonly_untrusted_mem");
        check(Base::Stack, Flags::NONE, "fp");
    }

    #[test]
    fn a_register_is_small() {
        assert!(size_of::<Reg>() <= 128, "{}", size_of::<Reg>());
    }
}
