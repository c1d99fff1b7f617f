//! What is said: requests, and answers to them.
//!
//! Commands of bpf(2) cross as far as runtimes of other processes serve them. Input goes with the request. Output is asked
//! for by its length, and comes back without the zeros at its end. Addresses never cross.

mod attach;
mod calls;

use serde::{Deserialize, Serialize};
use skep_runtime::command::ObjectKind;
use skep_runtime::{Error, ErrorKind, Fd, Pin, Reply, Result};

pub(crate) use attach::{Options, Point};
pub(crate) use calls::{Call, outputs};

/// Changes whenever the meaning of a frame does; a peer with another one is refused.
pub(crate) const VERSION: u32 = 3;

/// What a client asks. Numbers of sources, sessions and memories are the connection's own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    /// Comes first.
    Hello {
        version: u32,
    },
    #[serde(borrow)]
    Bpf(Call<'a>),
    Close {
        fd: i32,
    },
    Attach {
        prog: i32,
        point: Point,
        options: Options,
    },
    /// Opens the records of a map.
    Events {
        map: i32,
    },
    /// Opens the lines that programs print.
    Printk,
    /// What a source has.
    Drain {
        source: u32,
    },
    CloseSource {
        source: u32,
    },
    /// Opens values as memory.
    Memory {
        map: i32,
        bytes: u64,
        address: u64,
        writable: bool,
    },
    MemoryRead {
        memory: u32,
        offset: u64,
        bytes: u32,
    },
    MemoryWrite {
        memory: u32,
        offset: u64,
        data: &'a [u8],
    },
    CloseMemory {
        memory: u32,
    },
    /// Goes on reading an iterator.
    Iterate {
        fd: i32,
        bytes: u32,
    },
    Pins,
    FdInfo {
        fd: i32,
    },
    /// Observes a process.
    Start {
        pid: u32,
    },
    /// How far a session is, after so many milliseconds at most.
    Wait {
        session: u32,
        timeout_ms: u64,
    },
    Release {
        session: u32,
    },
    /// Releases, too.
    CloseSession {
        session: u32,
    },
    /// Who serves.
    Status,
    /// The server is to end.
    Stop,
}

/// What a server answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer<'a> {
    Failed(Failure),
    Done,
    /// A command's answer, and its output buffers in their order.
    Bpf {
        reply: Replied,
        #[serde(borrow)]
        buffers: Vec<&'a [u8]>,
    },
    /// A descriptor of this connection.
    Fd(i32),
    /// A number of this connection; readiness is the descriptor beside it.
    Opened {
        number: u32,
    },
    Memory {
        number: u32,
        bytes: u64,
        address: u64,
    },
    Bytes(&'a [u8]),
    Records(Vec<Record>),
    Pins(Vec<(Vec<u8>, u8, u32)>),
    Running,
    Ended {
        code: Option<i32>,
        signal: Option<i32>,
    },
    Status {
        pid: u32,
        clients: u32,
        /// Since it began, in seconds.
        age: u64,
    },
}

/// An event of a source.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Record {
    Data { cpu: u32, data: Vec<u8> },
    Lost { cpu: u32, count: u64 },
}

/// A runtime's error.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Did the verifier refuse a program? An errno does not tell.
    rejected: bool,
    errno: i32,
    message: String,
    hint: Option<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let rejected = error.kind() == ErrorKind::Rejected;
        let hint = error.advice().map(str::to_owned);
        Self { rejected, errno: error.errno(), message: error.to_string(), hint }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = match failure.rejected {
            true => Self::rejected(failure.errno, failure.message),
            false => Self::os(failure.errno, failure.message),
        };
        match failure.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What a command answers beside filling buffers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Replied {
    Done,
    Fd(i32),
    Id(u32),
    Count(u32),
    Batch { count: u32, end: bool },
    TestRun { retval: u32, duration_ns: u32, data_size_out: u32, ctx_size_out: u32 },
}

impl Replied {
    /// For the answers of commands that cross.
    pub(crate) fn of(reply: &Reply) -> Result<Self> {
        Ok(match *reply {
            Reply::Done => Self::Done,
            Reply::Fd(fd) => Self::Fd(fd.0),
            Reply::Id(id) => Self::Id(id),
            Reply::Count(count) => Self::Count(count),
            Reply::Batch { count, end } => Self::Batch { count, end },
            Reply::TestRun { retval, duration_ns, data_size_out, ctx_size_out } => {
                Self::TestRun { retval, duration_ns, data_size_out, ctx_size_out }
            }
            ref other => return Err(unexpected(format_args!("{other:?}"))),
        })
    }
}

impl From<Replied> for Reply {
    fn from(reply: Replied) -> Self {
        match reply {
            Replied::Done => Self::Done,
            Replied::Fd(fd) => Self::Fd(Fd(fd)),
            Replied::Id(id) => Self::Id(id),
            Replied::Count(count) => Self::Count(count),
            Replied::Batch { count, end } => Self::Batch { count, end },
            Replied::TestRun { retval, duration_ns, data_size_out, ctx_size_out } => {
                Self::TestRun { retval, duration_ns, data_size_out, ctx_size_out }
            }
        }
    }
}

/// Kinds of objects by number.
const KINDS: [ObjectKind; 4] = [ObjectKind::Prog, ObjectKind::Map, ObjectKind::Btf, ObjectKind::Link];

pub(crate) fn kind_number(kind: ObjectKind) -> u8 {
    kind as u8
}

pub(crate) fn kind_of(number: u8) -> Result<ObjectKind> {
    let found = KINDS.into_iter().find(|kind| kind_number(*kind) == number);
    found.ok_or_else(|| unexpected(format_args!("objects of kind {number}")))
}

/// A pin as it crosses.
pub(crate) fn pin_to_wire(pin: &Pin) -> (Vec<u8>, u8, u32) {
    use std::os::unix::ffi::OsStrExt as _;
    (pin.path.as_os_str().as_bytes().to_vec(), kind_number(pin.kind), pin.id)
}

/// The pin that crossed.
pub(crate) fn pin_of_wire((path, kind, id): (Vec<u8>, u8, u32)) -> Result<Pin> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(Pin { path: std::ffi::OsString::from_vec(path).into(), kind: kind_of(kind)?, id })
}

const EPROTO: i32 = 71;

/// A peer that says something else than was expected.
pub(crate) fn unexpected(what: impl std::fmt::Display) -> Error {
    Error::os(EPROTO, format!("the other end of the socket says something unexpected: {what}"))
}
