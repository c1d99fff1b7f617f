//! The serving end: a thread for each connection, over a runtime of its own.

mod connection;

use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_runtime::{Error, Result, SharedRuntime};

use crate::place::{self, Socket};
use connection::Connection;

/// Connections at a time; more wait for one to end.
const CLIENTS_MAX: u32 = 256;
/// How often pins are looked after while nobody asks.
const TICK: Duration = Duration::from_secs(1);

/// What connections and their server tell each other.
#[derive(Debug)]
pub struct Control {
    clients: AtomicU32,
    since: Instant,
    /// The other end is watched by the server: shutting it down wakes that.
    stop: UnixStream,
}

impl Control {
    fn is_full(&self) -> bool {
        self.clients.load(Ordering::Relaxed) >= CLIENTS_MAX
    }
}

/// Serves until a client asks to stop, or `until` is readable. `user` gives a runtime for each connection, over what all of
/// them share. Connections that are open then end, and what they hold with them.
pub fn serve(socket: &Socket, until: BorrowedFd<'_>, user: &dyn Fn() -> SharedRuntime) -> Result<()> {
    let failed = |e: std::io::Error| place::failed(socket.path(), &e);
    let (stop, stopped) = UnixStream::pair().map_err(failed)?;
    let control = Arc::new(Control { clients: AtomicU32::new(0), since: Instant::now(), stop });
    let open: Open = Arc::default();
    // Looks after what nobody asks about.
    let caretaker = user();
    let result = loop {
        let mut fds = [
            PollFd::new(&until, PollFlags::IN),
            PollFd::new(&stopped, PollFlags::IN),
            PollFd::new(&socket.listener, PollFlags::IN),
        ];
        let tick = Timespec { tv_sec: TICK.as_secs().cast_signed(), tv_nsec: 0 };
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => break Err(failed(e.into())),
        }
        let [until, stopped, listener] = fds.map(|fd| !fd.revents().is_empty());
        if until || stopped {
            break Ok(());
        }
        let _ = caretaker.pins();
        if listener && !control.is_full() {
            match socket.listener.accept() {
                Ok((stream, _)) => welcome(stream, user(), &control, &open),
                Err(e) if is_passing(&e) => {}
                Err(e) => break Err(failed(e)),
            }
        } else if listener {
            thread::sleep(TICK);
        }
    };
    for stream in open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let _ = stream.shutdown(Shutdown::Both);
    }
    wait_for_clients(&control);
    result
}

/// Streams of connections, to end them by.
type Open = Arc<Mutex<Vec<UnixStream>>>;

/// A client that went away before it was accepted, or a lack that passes.
fn is_passing(error: &std::io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.kind(), std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::Interrupted)
        || matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Serves a client on a thread of its own, if it is one of ours.
fn welcome(stream: UnixStream, runtime: SharedRuntime, control: &Arc<Control>, open: &Open) {
    if let Err(refusal) = place::check_peer(&stream) {
        connection::refuse(&stream, &refusal);
        return;
    }
    let Ok(copy) = stream.try_clone() else { return };
    let number = copy.as_fd().try_clone_to_owned().map(UnixStream::from);
    let (control, open) = (Arc::clone(control), Arc::clone(open));
    control.clients.fetch_add(1, Ordering::Relaxed);
    let counted = Counted(Arc::clone(&control));
    open.lock().unwrap_or_else(PoisonError::into_inner).extend(number);
    let serve = move || {
        let _counted = counted;
        Connection::new(stream, runtime, &control).serve();
        forget(&open, &copy);
    };
    // Without a thread the stream is dropped, which its client takes as the end.
    let _ = thread::Builder::new().name("skep-client".to_owned()).spawn(serve);
}

/// Takes a connection's stream out of those that are open.
fn forget(open: &Open, ended: &UnixStream) {
    let inode = |stream: &UnixStream| rustix::fs::fstat(stream).map(|stat| stat.st_ino).ok();
    let ended = inode(ended);
    open.lock().unwrap_or_else(PoisonError::into_inner).retain(|stream| inode(stream) != ended);
}

/// Counts a client for as long as it is served, even when serving it panics.
struct Counted(Arc<Control>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Clients end soon once their streams are shut down; one that hangs in a long run is not waited for for ever.
fn wait_for_clients(control: &Control) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    while control.clients.load(Ordering::Relaxed) > 0 && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
}

impl Control {
    fn ask_to_stop(&self) -> Result<()> {
        let told = rustix::io::write(&self.stop, &[1]);
        told.map(drop).map_err(|e| Error::os(e.raw_os_error(), "the daemon cannot be told to stop"))
    }
}
