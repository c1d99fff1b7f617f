//! The using end: a [`Runtime`] whose commands another process executes.

mod observed;
mod sources;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skep_obj::AttachPoint;
use skep_runtime::command::BatchOp;
use skep_runtime::{
    AttachOptions, Command, Error, EventSource, Fd, Memory, Pin, Reply, Result, Runtime, RuntimeKind, Scope,
    Session,
};

use crate::frame;
use crate::place::{self, failed};
use crate::wire::{self, Answer, Call, Options, Point, Request, VERSION, unexpected};
use observed::Observed;
use sources::{RemoteMemory, RemoteSource};

const ENOENT: i32 = 2;
const ECONNREFUSED: i32 = 111;
const ECONNRESET: i32 = 104;

/// A runtime at the other end of a socket.
#[derive(Debug)]
pub struct Remote {
    line: Arc<Line>,
}

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// How many are connected, this one among them.
    pub clients: u32,
    /// For how long.
    pub age: Duration,
}

/// Connects to the process that serves at a path.
pub fn connect(path: &Path) -> Result<Remote> {
    let stream = UnixStream::connect(path).map_err(|e| match e.raw_os_error() {
        Some(errno @ (ENOENT | ECONNREFUSED)) => {
            Error::os(errno, format!("no daemon of the user runtime serves at `{}`", path.display()))
                .hint("`skep --runtime user daemon` starts one, which keeps objects between commands")
        }
        _ => failed(path, &e),
    })?;
    place::check_peer(&stream)?;
    let line = Line(Mutex::new(Stream { stream, frame: Vec::new() }));
    line.ask(&Request::Hello { version: VERSION }, done)?;
    Ok(Remote { line: Arc::new(line) })
}

impl Remote {
    /// Asks who serves.
    pub fn status(&self) -> Result<Status> {
        self.line.ask(&Request::Status, |answer, _| match answer {
            Answer::Status { pid, clients, age } => {
                Ok(Status { pid, clients, age: Duration::from_secs(age) })
            }
            other => Err(out_of_turn(&other)),
        })
    }

    /// Has the serving process end, with all it holds.
    pub fn stop(&self) -> Result<()> {
        match self.line.ask(&Request::Stop, done) {
            // It ended before it had answered.
            Err(e) if e.errno() == ECONNRESET => Ok(()),
            result => result,
        }
    }

    fn source(&self, request: &Request<'_>) -> Result<Box<dyn EventSource>> {
        let (number, ready) = self.line.ask(request, opened)?;
        Ok(Box::new(RemoteSource { line: Arc::clone(&self.line), number, ready }))
    }
}

impl Runtime for Remote {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::User
    }

    fn bpf(&self, mut command: Command<'_>) -> Result<Reply> {
        match command {
            // The other process is in another directory.
            Command::ObjPin { fd, path } => self.line.execute(Command::ObjPin { fd, path: &absolute(path)? }),
            Command::ObjGet { path } => self.line.execute(Command::ObjGet { path: &absolute(path)? }),
            _ => {
                bound_batch(&mut command);
                self.line.execute(command)
            }
        }
    }

    fn close(&self, fd: Fd) {
        // When the other end is gone, so is the descriptor.
        let _ = self.line.ask(&Request::Close { fd: fd.0 }, done);
    }

    fn attach(&self, prog: Fd, point: &AttachPoint, options: &AttachOptions) -> Result<Fd> {
        let point = Point::of(&from_here(point)?)?;
        let request = Request::Attach { prog: prog.0, point, options: Options::of(options)? };
        self.line.ask(&request, |answer, _| match answer {
            Answer::Fd(fd) => Ok(Fd(fd)),
            other => Err(out_of_turn(&other)),
        })
    }

    fn events(&self, map: Fd) -> Result<Box<dyn EventSource>> {
        self.source(&Request::Events { map: map.0 })
    }

    fn memory(&self, map: Fd, bytes: usize, address: u64, writable: bool) -> Result<Box<dyn Memory>> {
        let request = Request::Memory { map: map.0, bytes: bytes as u64, address, writable };
        let line = Arc::clone(&self.line);
        self.line.ask(&request, |answer, _| match answer {
            Answer::Memory { number, bytes, address } => {
                let bytes = usize::try_from(bytes).map_err(unexpected)?;
                Ok(Box::new(RemoteMemory { line, number, bytes, address }) as Box<dyn Memory>)
            }
            other => Err(out_of_turn(&other)),
        })
    }

    fn read(&self, iterator: Fd, buffer: &mut [u8]) -> Result<usize> {
        let bytes = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        self.line.ask(&Request::Iterate { fd: iterator.0, bytes }, |answer, _| match answer {
            Answer::Bytes(data) => {
                let to = buffer.get_mut(..data.len()).ok_or_else(|| unexpected("more than was asked for"))?;
                to.copy_from_slice(data);
                Ok(data.len())
            }
            other => Err(out_of_turn(&other)),
        })
    }

    fn printk(&self) -> Result<Box<dyn EventSource>> {
        self.source(&Request::Printk)
    }

    fn fdinfo(&self, fd: Fd) -> String {
        let said = self.line.ask(&Request::FdInfo { fd: fd.0 }, |answer, _| match answer {
            Answer::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            other => Err(out_of_turn(&other)),
        });
        said.unwrap_or_default()
    }

    fn pins(&self) -> Result<Vec<Pin>> {
        self.line.ask(&Request::Pins, |answer, _| match answer {
            Answer::Pins(pins) => pins.into_iter().map(wire::pin_of_wire).collect(),
            other => Err(out_of_turn(&other)),
        })
    }

    fn start(&self, scope: Scope) -> Result<Box<dyn Session>> {
        Ok(Box::new(Observed::start(&self.line, scope)?))
    }
}

/// A connection: one request at a time.
#[derive(Debug)]
struct Line(Mutex<Stream>);

#[derive(Debug)]
struct Stream {
    stream: UnixStream,
    /// The last answer.
    frame: Vec<u8>,
}

impl Line {
    fn execute(&self, mut command: Command<'_>) -> Result<Reply> {
        let request = postcard::to_stdvec(&Request::Bpf(Call::of(&command)?)).map_err(unexpected)?;
        self.ask_encoded(&request, |answer, _| match answer {
            Answer::Bpf { reply, buffers } => {
                let lent = wire::outputs(&mut command);
                if lent.len() != buffers.len() {
                    return Err(unexpected("other buffers than were asked for"));
                }
                lent.into_iter().zip(buffers).try_for_each(|(lent, filled)| fill(lent, filled))?;
                Ok(reply.into())
            }
            other => Err(out_of_turn(&other)),
        })
    }

    /// Asks, and reads the answer.
    fn ask<T>(
        &self,
        request: &Request<'_>,
        read: impl FnOnce(Answer<'_>, Option<OwnedFd>) -> Result<T>,
    ) -> Result<T> {
        self.ask_encoded(&postcard::to_stdvec(request).map_err(unexpected)?, read)
    }

    fn ask_encoded<T>(
        &self,
        request: &[u8],
        read: impl FnOnce(Answer<'_>, Option<OwnedFd>) -> Result<T>,
    ) -> Result<T> {
        let Stream { stream, frame } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame::send(stream, request, None).map_err(|e| gone(&e))?;
        let received = frame::receive(stream, frame).map_err(|e| gone(&e))?;
        let received = received.ok_or_else(|| gone(&io::ErrorKind::UnexpectedEof.into()))?;
        match postcard::from_bytes(frame).map_err(unexpected)? {
            Answer::Failed(failure) => Err(failure.into()),
            answer => read(answer, received.passed),
        }
    }
}

fn gone(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => Error::os(EINVAL, format!("the request: {error}")),
        _ => Error::os(ECONNRESET, "the daemon has ended")
            .hint("`skep --runtime user daemon` starts another, without the objects of this one"),
    }
}

const EINVAL: i32 = 22;

fn done(answer: Answer<'_>, _: Option<OwnedFd>) -> Result<()> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(out_of_turn(&other)),
    }
}

fn opened(answer: Answer<'_>, passed: Option<OwnedFd>) -> Result<(u32, OwnedFd)> {
    match (answer, passed) {
        (Answer::Opened { number }, Some(ready)) => Ok((number, ready)),
        (other, _) => Err(out_of_turn(&other)),
    }
}

fn out_of_turn(answer: &Answer<'_>) -> Error {
    let text = format!("{answer:?}");
    unexpected(text.split(['(', ' ']).next().unwrap_or_default())
}

/// Puts what has come into a buffer, with the zeros behind that did not.
fn fill(lent: &mut [u8], filled: &[u8]) -> Result<()> {
    let length = filled.len();
    let Some(front) = lent.get_mut(..length) else {
        return Err(unexpected("more bytes than were asked for"));
    };
    front.copy_from_slice(filled);
    lent[length..].fill(0);
    Ok(())
}

/// A batch of no more elements than a frame is good for: the caller asks for the rest, as it does anyway.
fn bound_batch(command: &mut Command<'_>) {
    const BYTES: usize = 16 << 20;
    if let Command::MapBatch { op: BatchOp::Lookup { keys, values, count, .. }, .. } = command {
        let each = (keys.len() + values.len()) / (*count as usize).max(1);
        let fitting = u32::try_from(BYTES / each.max(1)).unwrap_or(u32::MAX).max(1);
        if fitting < *count {
            let (key, value) = (keys.len() / *count as usize, values.len() / *count as usize);
            *keys = &mut std::mem::take(keys)[..key * fitting as usize];
            *values = &mut std::mem::take(values)[..value * fitting as usize];
            *count = fitting;
        }
    }
}

/// A path from the root.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| failed(path, &e))
}

/// The same place, with the path of its file from the root; a bare name is looked for where libraries and commands are.
fn from_here(point: &AttachPoint) -> Result<AttachPoint> {
    let mut point = point.clone();
    if let AttachPoint::Uprobe { path: Some(path), .. }
    | AttachPoint::UprobeMulti { path: Some(path), .. }
    | AttachPoint::Usdt { path: Some(path), .. } = &mut point
        && path.contains('/')
    {
        *path = absolute(Path::new(path.as_str()))?.to_string_lossy().into_owned();
    }
    Ok(point)
}
