//! One client: its requests, one after another, on a runtime of its own. What it holds ends with it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skep_runtime::{
    AttachOptions, Error, Event, EventSource, Fd, Memory, Result, Scope, Session, SessionState, SharedRuntime,
};

use super::Control;
use crate::frame;
use crate::wire::{self, Answer, Failure, Record, Replied, Request, VERSION, unexpected};

const EBADF: i32 = 9;
const EMFILE: i32 = 24;
/// Sources, sessions and memories that a client may have open.
const OPEN_MAX: usize = 1024;
/// Bytes of records in an answer; the rest is for the next.
const RECORDS_MAX: usize = 8 << 20;
/// Bytes that are read of a memory at a time.
const READ_MAX: u32 = 64 << 20;

/// A client.
pub(super) struct Connection<'a> {
    stream: UnixStream,
    runtime: SharedRuntime,
    control: &'a Control,
    greeted: bool,
    sources: Numbered<Box<dyn EventSource>>,
    sessions: Numbered<Box<dyn Session>>,
    memories: Numbered<Box<dyn Memory>>,
}

/// What an answer carries.
struct Outcome {
    bytes: Vec<u8>,
    passed: Option<OwnedFd>,
}

/// Tells a peer that it is not served, and why.
pub(super) fn refuse(stream: &UnixStream, refusal: &Error) {
    if let Ok(bytes) = postcard::to_stdvec(&Answer::Failed(Failure::from(refusal))) {
        let _ = frame::send(stream, &bytes, None);
    }
}

impl<'a> Connection<'a> {
    pub(super) fn new(stream: UnixStream, runtime: SharedRuntime, control: &'a Control) -> Self {
        let (sources, sessions, memories) = Default::default();
        Self { stream, runtime, control, greeted: false, sources, sessions, memories }
    }

    /// Answers until the client is gone, or says what nobody would.
    pub(super) fn serve(&mut self) {
        let mut request = Vec::new();
        while let Ok(Some(_)) = frame::receive(&self.stream, &mut request) {
            let outcome = self.answer(&request).unwrap_or_else(|e| Outcome {
                bytes: postcard::to_stdvec(&Answer::Failed(Failure::from(&e))).unwrap_or_default(),
                passed: None,
            });
            let passed = outcome.passed.as_ref().map(|fd| fd.as_fd());
            if frame::send(&self.stream, &outcome.bytes, passed).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, request: &[u8]) -> Result<Outcome> {
        let request: Request<'_> = postcard::from_bytes(request).map_err(unexpected)?;
        match request {
            Request::Hello { version: VERSION } => self.greeted = true,
            Request::Hello { version } => {
                return Err(unexpected(format_args!("version {version} of the protocol; this is {VERSION}"))
                    .hint(
                        "the daemon and this command are of different versions of skep: restart the daemon",
                    ));
            }
            _ if !self.greeted => return Err(unexpected("a request before the greeting")),
            request => return self.serve_one(request),
        }
        encoded(&Answer::Done)
    }

    fn serve_one(&mut self, request: Request<'_>) -> Result<Outcome> {
        match request {
            Request::Bpf(call) => {
                let (reply, filled) = call.execute(self.runtime.as_ref())?;
                let buffers = filled.iter().map(|buffer| without_zeros(buffer)).collect();
                encoded(&Answer::Bpf { reply: Replied::of(&reply)?, buffers })
            }
            Request::Close { fd } => {
                self.runtime.close(Fd(fd));
                encoded(&Answer::Done)
            }
            Request::Attach { prog, point, options } => {
                let (point, options) = (point.into(), AttachOptions::from(options));
                encoded(&Answer::Fd(self.runtime.attach(Fd(prog), &point, &options)?.0))
            }
            Request::Events { map } => self.open_source(self.runtime.events(Fd(map))?),
            Request::Printk => self.open_source(self.runtime.printk()?),
            Request::Drain { source } => {
                encoded(&Answer::Records(drain(self.sources.get(source)?.as_mut())?))
            }
            Request::CloseSource { source } => self.sources.close(source),
            Request::Memory { map, bytes, address, writable } => {
                self.open_memory(map, bytes, address, writable)
            }
            Request::MemoryRead { memory, offset, bytes } => self.read(memory, offset, bytes),
            Request::MemoryWrite { memory, offset, data } => {
                self.memories.get(memory)?.write(place(offset)?, data)?;
                encoded(&Answer::Done)
            }
            Request::CloseMemory { memory } => self.memories.close(memory),
            Request::Iterate { fd, bytes } => {
                let mut data = vec![0; bytes.min(READ_MAX) as usize];
                let len = self.runtime.read(Fd(fd), &mut data)?;
                encoded(&Answer::Bytes(&data[..len]))
            }
            Request::FdInfo { fd } => encoded(&Answer::Bytes(self.runtime.fdinfo(Fd(fd)).as_bytes())),
            Request::Pins => {
                let pins = self.runtime.pins()?;
                encoded(&Answer::Pins(pins.iter().map(wire::pin_to_wire).collect()))
            }
            Request::Start { pid } => self.start(pid),
            Request::Wait { session, timeout_ms } => self.wait(session, timeout_ms),
            Request::Release { session } => {
                self.sessions.get(session)?.release()?;
                encoded(&Answer::Done)
            }
            Request::CloseSession { session } => self.sessions.close(session),
            Request::Status => encoded(&Answer::Status {
                pid: std::process::id(),
                clients: self.control.clients.load(Ordering::Relaxed),
                age: self.control.since.elapsed().as_secs(),
            }),
            Request::Stop => {
                self.control.ask_to_stop()?;
                encoded(&Answer::Done)
            }
            Request::Hello { .. } => Err(unexpected("a second greeting")),
        }
    }

    fn open_source(&mut self, source: Box<dyn EventSource>) -> Result<Outcome> {
        let ready = duplicate(source.as_fd())?;
        let number = self.sources.open(source)?;
        Ok(Outcome { passed: Some(ready), ..encoded(&Answer::Opened { number })? })
    }

    fn open_memory(&mut self, map: i32, bytes: u64, address: u64, writable: bool) -> Result<Outcome> {
        let memory = self.runtime.memory(Fd(map), place(bytes)?, address, writable)?;
        let (bytes, address) = (memory.bytes() as u64, memory.address());
        encoded(&Answer::Memory { number: self.memories.open(memory)?, bytes, address })
    }

    fn read(&mut self, memory: u32, offset: u64, bytes: u32) -> Result<Outcome> {
        let mut data = vec![0; bytes.min(READ_MAX) as usize];
        self.memories.get(memory)?.read(place(offset)?, &mut data)?;
        encoded(&Answer::Bytes(&data))
    }

    fn start(&mut self, pid: u32) -> Result<Outcome> {
        let session = self.runtime.start(Scope::Process(pid))?;
        let ended = duplicate(session.as_fd())?;
        let number = self.sessions.open(session)?;
        Ok(Outcome { passed: Some(ended), ..encoded(&Answer::Opened { number })? })
    }

    fn wait(&mut self, session: u32, timeout_ms: u64) -> Result<Outcome> {
        match self.sessions.get(session)?.wait(Some(Duration::from_millis(timeout_ms)))? {
            SessionState::Running => encoded(&Answer::Running),
            SessionState::Ended { code, signal } => encoded(&Answer::Ended { code, signal }),
        }
    }
}

/// Things of a connection by number.
struct Numbered<T> {
    open: BTreeMap<u32, T>,
    next: u32,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), next: 0 }
    }
}

impl<T> Numbered<T> {
    fn open(&mut self, thing: T) -> Result<u32> {
        if self.open.len() >= OPEN_MAX {
            return Err(Error::os(EMFILE, format!("a client has no more than {OPEN_MAX} of these open")));
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, thing);
        Ok(number)
    }

    fn get(&mut self, number: u32) -> Result<&mut T> {
        self.open.get_mut(&number).ok_or_else(|| Error::os(EBADF, format!("nothing is open as `{number}`")))
    }

    fn close(&mut self, number: u32) -> Result<Outcome> {
        drop(self.open.remove(&number));
        encoded(&Answer::Done)
    }
}

fn encoded(answer: &Answer<'_>) -> Result<Outcome> {
    let bytes = postcard::to_stdvec(answer).map_err(unexpected)?;
    Ok(Outcome { bytes, passed: None })
}

/// A buffer without the zeros at its end, which the client puts there again.
fn without_zeros(buffer: &[u8]) -> &[u8] {
    let end = buffer.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &buffer[..end]
}

/// As many records as an answer takes; the rest stays where it is.
fn drain(source: &mut dyn EventSource) -> Result<Vec<Record>> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    source.drain(&mut |event| {
        records.push(match event {
            Event::Record { cpu, data } => {
                bytes += data.len();
                Record::Data { cpu, data: data.to_vec() }
            }
            Event::Lost { cpu, count } => Record::Lost { cpu, count },
        });
        if bytes < RECORDS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(records)
}

fn duplicate(fd: std::os::fd::BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned()
        .map_err(|e| Error::os(e.raw_os_error().unwrap_or(EMFILE), "no descriptor is left to pass"))
}

fn place(offset: u64) -> Result<usize> {
    usize::try_from(offset).map_err(unexpected)
}
