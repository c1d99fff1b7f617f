//! Names of objects in the file system.
//!
//! Linux keeps pinned objects in a file system of its own. Here a pin is a small file wherever its owner may make one,
//! which says in words what it stands for, and the object is kept as long as the file is there: `rm` unpins. A file that
//! was moved, or that another process's runtime has made, stands for nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use skep_runtime::command::ObjectKind;
use skep_runtime::{Error, Pin, Result};

use crate::objects::Object;

/// Which file a name led to when it was made: its device, its inode, and when that was born, as numbers of inodes are used
/// again.
type FileId = (u64, u64, Option<SystemTime>);

/// A name and what it keeps.
#[derive(Debug)]
struct Pinned {
    path: PathBuf,
    object: Object,
}

/// All names of a runtime; their files go when it does.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<BTreeMap<FileId, Pinned>>);

impl Pins {
    fn files(&self) -> MutexGuard<'_, BTreeMap<FileId, Pinned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an object a name.
    pub(crate) fn pin(&self, object: Object, path: &Path) -> Result<()> {
        check_name(path)?;
        if matches!(object, Object::Btf(_)) {
            return Err(Error::os(
                libc::EINVAL,
                "types are not pinned: the programs and maps that use them are",
            ));
        }
        let created = create(path, &object);
        let metadata = created.map_err(|e| refused(path, &e))?;
        self.files().insert(file_id(&metadata), Pinned { path: path.to_owned(), object });
        Ok(())
    }

    /// What has that name.
    pub(crate) fn get(&self, path: &Path) -> Result<Object> {
        let metadata = fs::metadata(path).map_err(|e| refused(path, &e))?;
        let pinned = self.files().get(&file_id(&metadata)).map(|pinned| pinned.object.clone());
        pinned.ok_or_else(|| {
            Error::os(libc::EACCES, format!("`{}` is no pin of this runtime", path.display()))
                .hint("pins end with the process that keeps their objects")
        })
    }

    /// Lets go of what has lost its name.
    pub(crate) fn forget_removed(&self) {
        let removed: Vec<Pinned> =
            self.files().extract_if(.., |id, pinned| !is_there(*id, pinned)).map(|(_, p)| p).collect();
        drop(removed);
    }

    /// All names.
    pub(crate) fn list(&self) -> Vec<Pin> {
        self.forget_removed();
        let files = self.files();
        let pin = |pinned: &Pinned| Pin {
            path: pinned.path.clone(),
            kind: pinned.object.kind(),
            id: pinned.object.id(),
        };
        let mut pins: Vec<Pin> = files.values().map(pin).collect();
        pins.sort_by(|a, b| a.path.cmp(&b.path));
        pins
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let files = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (id, pinned) in files.iter() {
            if is_there(*id, pinned) {
                let _ = fs::remove_file(&pinned.path);
            }
        }
    }
}

fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

/// Is the file where it was made?
fn is_there(id: FileId, pinned: &Pinned) -> bool {
    fs::metadata(&pinned.path).is_ok_and(|metadata| file_id(&metadata) == id)
}

/// The bpf file system has no names with dots.
fn check_name(path: &Path) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.contains('.') {
        let message = format!("`{}`: names of pinned objects have no `.`, as in Linux", path.display());
        return Err(Error::os(libc::EPERM, message));
    }
    Ok(())
}

fn create(path: &Path, object: &Object) -> io::Result<Metadata> {
    let mut file: File = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let what = match object.kind() {
        ObjectKind::Map => "map",
        ObjectKind::Prog => "program",
        ObjectKind::Link => "link",
        ObjectKind::Btf => "BTF object",
    };
    let written = writeln!(
        file,
        "pin of {what} {} of skep's user runtime, process {}",
        object.id(),
        std::process::id()
    );
    match written.and_then(|()| file.metadata()) {
        Err(e) => {
            let _ = fs::remove_file(path);
            Err(e)
        }
        metadata => metadata,
    }
}

fn refused(path: &Path, error: &io::Error) -> Error {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let text = error.to_string();
    let why = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    let refused = Error::os(errno, format!("`{}`: {why}", path.display()));
    match errno {
        libc::EEXIST => refused.hint("something is there; remove it, or choose another name"),
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use skep_btf::{Btf, Builder};

    use super::*;
    use crate::objects::Types;

    #[test]
    fn types_are_not_pinned_and_files_of_others_stand_for_nothing() {
        let btf = Arc::new(Btf::parse(Arc::new(Builder::new().finish())).expect("no types are types"));
        let types = Object::Btf(Arc::new(Types { id: 1, btf }));
        let pins = Pins::default();
        let refused = pins.pin(types, Path::new("/tmp/nothing")).expect_err("types have no names");
        assert_eq!(refused.errno(), libc::EINVAL);
        assert_eq!(pins.get(Path::new("/proc/self/exe")).expect_err("a program").errno(), libc::EACCES);
        assert_eq!(pins.get(Path::new("/nowhere")).expect_err("it is not there").errno(), libc::ENOENT);
    }
}
