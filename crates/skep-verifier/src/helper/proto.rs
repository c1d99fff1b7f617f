//! The vocabulary of helper prototypes.

use skep_isa::uapi::ProgType;

/// What an argument must be (`enum bpf_arg_type` without its flags).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ArgKind {
    /// Anything readable.
    Anything,
    /// A number.
    Scalar,
    /// A map.
    Map,
    /// A key of the map before it.
    Key,
    /// A value of the map before it.
    Value,
    /// Memory; the next argument is its size.
    Mem,
    /// Memory of this many bytes.
    Fixed(u32),
    /// Size of the memory before it.
    Size {
        /// May be zero.
        zero: bool,
    },
    /// A known size of memory to allocate.
    AllocSize,
    /// The context.
    Ctx,
    /// Any socket view.
    SockCommon,
    /// Any socket view or BTF pointer to a `sock_common`.
    BtfSock,
    /// A full socket.
    Socket,
    /// A BTF pointer to the kernel's struct of this name; empty for a type the call decides.
    Btf(&'static str),
    /// A spin lock in a map value or object.
    SpinLock,
    /// A reserved ring buffer record.
    Ringbuf,
    /// A per-CPU variable.
    Percpu,
    /// A function.
    Func,
    /// The stack.
    Stack,
    /// A constant string in a read-only map.
    Str,
    /// A timer in a map value.
    Timer,
    /// A kptr field in a map value or object.
    KptrDest,
    /// A dynptr.
    Dynptr,
}

/// Flags of an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ArgFlags(u16);

impl ArgFlags {
    pub(crate) const OR_NULL: Self = Self(1);
    pub(crate) const READ: Self = Self(2);
    pub(crate) const WRITE: Self = Self(4);
    pub(crate) const UNINIT: Self = Self(8);
    pub(crate) const ALIGNED: Self = Self(16);
    pub(crate) const RELEASE: Self = Self(32);
    pub(crate) const LOCAL: Self = Self(64);
    pub(crate) const RINGBUF: Self = Self(128);
}

/// One argument of a prototype.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arg {
    pub(crate) kind: ArgKind,
    pub(crate) flags: ArgFlags,
}

impl Arg {
    pub(crate) const fn of(kind: ArgKind) -> Self {
        Self { kind, flags: ArgFlags(0) }
    }

    /// With one more flag.
    pub(crate) const fn with(self, flag: ArgFlags) -> Self {
        Self { kind: self.kind, flags: ArgFlags(self.flags.0 | flag.0) }
    }

    /// Has it the flag?
    pub(crate) const fn has(self, flag: ArgFlags) -> bool {
        self.flags.0 & flag.0 != 0
    }

    /// May be null.
    pub(crate) const fn or_null(self) -> Self {
        self.with(ArgFlags::OR_NULL)
    }

    /// Is only read (`MEM_RDONLY`).
    pub(crate) const fn read(self) -> Self {
        self.with(ArgFlags::READ)
    }

    /// Is written (`MEM_WRITE`).
    pub(crate) const fn write(self) -> Self {
        self.with(ArgFlags::WRITE)
    }

    /// Need not be initialised.
    pub(crate) const fn uninit(self) -> Self {
        self.with(ArgFlags::UNINIT)
    }

    /// Must be aligned to its size.
    pub(crate) const fn aligned(self) -> Self {
        self.with(ArgFlags::ALIGNED)
    }

    /// Is released.
    pub(crate) const fn release(self) -> Self {
        self.with(ArgFlags::RELEASE)
    }

    /// A dynptr over program memory.
    pub(crate) const fn local(self) -> Self {
        self.with(ArgFlags::LOCAL)
    }

    /// A dynptr over a ring buffer record.
    pub(crate) const fn ringbuf(self) -> Self {
        self.with(ArgFlags::RINGBUF)
    }
}

pub(crate) const ANY: Arg = Arg::of(ArgKind::Anything);
pub(crate) const MAP: Arg = Arg::of(ArgKind::Map);
pub(crate) const KEY: Arg = Arg::of(ArgKind::Key);
pub(crate) const VALUE: Arg = Arg::of(ArgKind::Value);
pub(crate) const MEM: Arg = Arg::of(ArgKind::Mem);
pub(crate) const SIZE: Arg = Arg::of(ArgKind::Size { zero: false });
pub(crate) const SIZE0: Arg = Arg::of(ArgKind::Size { zero: true });
pub(crate) const ALLOC_SIZE: Arg = Arg::of(ArgKind::AllocSize);
pub(crate) const CTX: Arg = Arg::of(ArgKind::Ctx);
pub(crate) const SOCK_COMMON: Arg = Arg::of(ArgKind::SockCommon);
pub(crate) const BTF_SOCK: Arg = Arg::of(ArgKind::BtfSock);
pub(crate) const SOCKET: Arg = Arg::of(ArgKind::Socket);
pub(crate) const SPIN_LOCK: Arg = Arg::of(ArgKind::SpinLock);
pub(crate) const RINGBUF: Arg = Arg::of(ArgKind::Ringbuf);
pub(crate) const PERCPU: Arg = Arg::of(ArgKind::Percpu);
pub(crate) const FUNC: Arg = Arg::of(ArgKind::Func);
pub(crate) const STACK: Arg = Arg::of(ArgKind::Stack);
pub(crate) const SCALAR: Arg = Arg::of(ArgKind::Scalar);
pub(crate) const STR: Arg = Arg::of(ArgKind::Str);
pub(crate) const TIMER: Arg = Arg::of(ArgKind::Timer);
pub(crate) const KPTR_DEST: Arg = Arg::of(ArgKind::KptrDest);
pub(crate) const DYNPTR: Arg = Arg::of(ArgKind::Dynptr);

/// Memory of a fixed size.
pub(crate) const fn fixed(bytes: u32) -> Arg {
    Arg::of(ArgKind::Fixed(bytes))
}

/// A pointer to a kernel struct.
pub(crate) const fn btf(name: &'static str) -> Arg {
    Arg::of(ArgKind::Btf(name))
}

/// What a helper returns (`enum bpf_return_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ret {
    /// A number.
    Integer,
    /// Nothing.
    Void,
    /// A value of the map given.
    MapValue,
    /// A value of the map given, or null.
    MapValueOrNull,
    /// A full socket or null.
    SocketOrNull,
    /// A socket's common part or null.
    SockCommonOrNull,
    /// A TCP socket or null.
    TcpSockOrNull,
    /// Memory of a dynptr, of the size given, or null.
    DynptrMemOrNull,
    /// A ring buffer record of the size given, or null.
    RingbufMemOrNull,
    /// The variable of this CPU, by the BTF type of the argument.
    PercpuVar,
    /// The variable of some CPU, or null.
    PercpuVarOrNull,
    /// A pointer to the kernel's struct of this name.
    Btf(&'static str),
    /// The same, trusted.
    TrustedBtf(&'static str),
    /// The same, or null; without a name, the kptr's type.
    BtfOrNull(&'static str),
}

/// A helper's signature.
#[derive(Debug)]
pub(crate) struct Proto {
    /// Number.
    pub(crate) id: u32,
    /// Program types this signature is for; empty for all others.
    pub(crate) when: &'static [ProgType],
    /// Result.
    pub(crate) ret: Ret,
    /// Arguments.
    pub(crate) args: &'static [Arg],
    /// May packet pointers be passed?
    pub(crate) pkt_access: bool,
    /// May it sleep?
    pub(crate) might_sleep: bool,
}

/// A signature without flags.
pub(crate) const fn row(id: u32, when: &'static [ProgType], ret: Ret, args: &'static [Arg]) -> Proto {
    Proto { id, when, ret, args, pkt_access: false, might_sleep: false }
}

impl Proto {
    /// Takes packet pointers.
    pub(crate) const fn pkt(self) -> Self {
        Self { pkt_access: true, ..self }
    }

    /// May sleep.
    pub(crate) const fn sleeps(self) -> Self {
        Self { might_sleep: true, ..self }
    }
}
