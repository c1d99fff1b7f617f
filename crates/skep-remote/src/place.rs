//! Where a subsystem is served: a Unix socket that only its owner may use, and that one process at a time serves.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;
use skep_runtime::{Error, Result};

const EADDRINUSE: i32 = 98;
const EACCES: i32 = 13;

/// `SKEP_SOCKET`, else a socket in the user's run-time directory, else one in a directory of the user's own in `/tmp`.
pub fn default_path() -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("SKEP_SOCKET")
        .or_else(|| named("XDG_RUNTIME_DIR").filter(|dir| dir.is_dir()).map(|dir| dir.join("skep.sock")))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/skep-{}/skep.sock", getuid().as_raw())))
}

/// A socket to serve at. Its file goes when it does.
#[derive(Debug)]
pub struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Locked for as long as we serve: a socket's file alone does not say whether anybody does.
    _lock: File,
}

impl Socket {
    /// Takes a path, unless another process serves there. What one that was killed has left is cleared away.
    pub fn bind(path: &Path) -> Result<Self> {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        own_directory(directory)?;
        let lock = lock(path)?;
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(path, &e)),
            _ => {}
        }
        // The file must never be open to others, so it gets its mode before anybody can know its name.
        let hidden = path.with_extension(format!("new{}", std::process::id()));
        let _ = fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden).map_err(|e| failed(path, &e))?;
        let ready = fs::set_permissions(&hidden, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&hidden, path))
            .inspect_err(|_| drop(fs::remove_file(&hidden)));
        ready.map_err(|e| failed(path, &e))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A directory that is made here is its owner's alone; one that others may write would let them take our place.
fn own_directory(directory: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(directory, &e)),
        _ => {}
    }
    let metadata = fs::metadata(directory).map_err(|e| failed(directory, &e))?;
    let (owner, mode) = (metadata.uid(), metadata.mode());
    let sticky = mode & 0o1000 != 0;
    let is_ours = owner == getuid().as_raw() || owner == 0;
    if is_ours && (sticky || mode & 0o022 == 0) {
        return Ok(());
    }
    let message = format!("others may write to `{}`, and could serve in our place", directory.display());
    Err(Error::os(EACCES, message).hint("name a socket in a directory of your own: `SKEP_SOCKET=PATH`"))
}

fn lock(path: &Path) -> Result<File> {
    let lock_path = path.with_extension("lock");
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
    let lock = lock.map_err(|e| failed(&lock_path, &e))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let message = format!("a daemon serves at `{}` already", path.display());
            Err(Error::os(EADDRINUSE, message)
                .hint("use that one, stop it with `skep --runtime user daemon stop`, or name another socket: `SKEP_SOCKET=PATH`"))
        }
        Err(e) => Err(failed(&lock_path, &e.into())),
    }
}

/// Whose process the other end is has to be ours, or root's.
pub(crate) fn check_peer(stream: &UnixStream) -> Result<()> {
    let peer = socket_peercred(stream)
        .map_err(|e| Error::os(e.raw_os_error(), "the other end of the socket does not say who it is"))?;
    if peer.uid == getuid() || peer.uid.is_root() {
        return Ok(());
    }
    Err(Error::os(EACCES, format!("the other end of the socket is of user {}", peer.uid.as_raw())))
}

pub(crate) fn failed(path: &Path, error: &io::Error) -> Error {
    let text = error.to_string();
    let why = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    Error::os(error.raw_os_error().unwrap_or(EACCES), format!("`{}`: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_serves_at_a_time_and_what_a_dead_one_left_is_no_hindrance() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s.sock");
        fs::write(&path, "left behind").expect("a file");
        let first = Socket::bind(&path).expect("nobody serves");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        let second = Socket::bind(&path).expect_err("somebody serves");
        assert_eq!(second.errno(), EADDRINUSE);
        drop(first);
        assert!(!path.exists());
        Socket::bind(&path).expect("nobody serves any more");
    }

    #[test]
    fn directories_of_everybody_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("it is ours");
        let refused = Socket::bind(&directory.path().join("s.sock")).expect_err("others may write");
        assert_eq!(refused.errno(), EACCES);
        assert!(refused.advice().is_some());
    }
}
