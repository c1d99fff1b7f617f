//! Names in the bpf file system: finding them, and making new ones.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};
use skep::runtime::command::ObjectKind;
use skep::runtime::{Command, Fd, RuntimeKind, SharedRuntime, info};

use super::failure::{Failure, Outcome};
use super::json::Json;
use super::shell::Shell;

/// Where objects of one kind are pinned, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Pins(BTreeMap<u32, Vec<String>>);

impl Pins {
    /// Looks through every mounted bpf file system, if that is asked for.
    pub(crate) fn find(shell: &mut Shell, kind: ObjectKind) -> Outcome<Self> {
        let mut pins = Self::default();
        if shell.options.show_pinned {
            let runtime = shell.runtime()?;
            for pin in runtime.pins()?.into_iter().filter(|pin| pin.kind == kind) {
                pins.0.entry(pin.id).or_default().push(pin.path.to_string_lossy().into_owned());
            }
            if runtime.kind() != RuntimeKind::Kernel {
                return Ok(pins);
            }
            let mut seen = Vec::new();
            for mount in mounts() {
                // The same file system may be mounted at several places; its names are listed once.
                let device = fs::metadata(&mount).map(|metadata| metadata.dev()).ok();
                if device.is_some_and(|device| !seen.contains(&device)) {
                    seen.extend(device);
                    pins.walk(&runtime, kind, &mount);
                }
            }
        }
        Ok(pins)
    }

    fn walk(&mut self, runtime: &SharedRuntime, kind: ObjectKind, directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                self.walk(runtime, kind, &path);
            } else if let Some(id) = pinned_id(runtime, kind, &path) {
                self.0.entry(id).or_default().push(path.to_string_lossy().into_owned());
            }
        }
    }

    /// Where the object with that id is pinned.
    pub(crate) fn of(&self, id: u32) -> &[String] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Writes `"pinned": […]`, for every object if any is pinned.
    pub(crate) fn write_json(&self, json: &mut Json, id: u32) {
        if !self.0.is_empty() {
            json.name("pinned");
            json.begin_array();
            self.of(id).iter().for_each(|path| json.string(path));
            json.end_array();
        }
    }

    /// A line for each.
    pub(crate) fn write_text(&self, json: &mut Json, id: u32) {
        for path in self.of(id) {
            json.text(format_args!("\n\tpinned {path}"));
        }
    }
}

/// The id of what is pinned at a path, if it is of that kind.
fn pinned_id(runtime: &SharedRuntime, kind: ObjectKind, path: &Path) -> Option<u32> {
    let handle = runtime.bpf(Command::ObjGet { path }).and_then(|reply| info::owned(runtime, reply)).ok()?;
    let target = fs::read_link(format!("/proc/self/fd/{}", handle.fd().0)).ok()?;
    let expected = match kind {
        ObjectKind::Map => ["anon_inode:bpf-map"; 2],
        ObjectKind::Prog => ["anon_inode:bpf-prog"; 2],
        ObjectKind::Link => ["anon_inode:bpf-link", "anon_inode:bpf_link"],
        ObjectKind::Btf => return None,
    };
    if !expected.contains(&target.to_str()?) {
        return None;
    }
    // Maps, programs and links alike have their id in the second word of their information.
    let mut info = [0; 8];
    runtime.bpf(Command::ObjGetInfo { fd: handle.fd(), info: &mut info, arrays: &mut [] }).ok()?;
    Some(u32::from_ne_bytes([info[4], info[5], info[6], info[7]]))
}

/// Where bpf file systems are mounted.
pub(crate) fn mounts() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let of_bpf = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "bpf").then(|| PathBuf::from(path.replace("\\040", " ")))
    };
    table.lines().filter_map(of_bpf).collect()
}

/// Gives an object a name; its directory becomes a bpf file system if it is none.
pub(crate) fn pin(shell: &mut Shell, fd: Fd, path: &str) -> Outcome {
    let file = Path::new(path);
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    prepare(shell, directory)?;
    let runtime = shell.runtime()?;
    runtime.bpf(Command::ObjPin { fd, path: file }).map(drop).map_err(|e| Failure::refused(&e))
}

/// Makes sure that objects can be pinned in a directory: for the kernel's it has to be in a bpf file system, and one is
/// mounted over it unless that is forbidden.
pub(crate) fn prepare(shell: &mut Shell, directory: &Path) -> Outcome {
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    if shell.runtime()?.kind() != RuntimeKind::Kernel {
        return Ok(());
    }
    let found = rustix::fs::statfs(directory).map_err(|e| Failure::file(directory.display(), &e.into()))?;
    if found.f_type == BPF_FS_MAGIC {
        return Ok(());
    }
    let place = directory.display();
    if shell.options.no_mount {
        return Err(Failure::new(format!("`{place}` is not in a bpf file system"))
            .hint(format!("leave `--nomount` out, or `mount -t bpf bpffs {place}`")));
    }
    let hidden = fs::read_dir(directory).map_or(0, Iterator::count);
    if hidden > 0 {
        crate::term::warning(format_args!(
            "a bpf file system is mounted on {place}: it hides what is in there ({hidden}) until `umount {place}`"
        ));
    }
    mount("bpffs", directory, "bpf", MountFlags::empty(), Some(c"mode=0700"))
        .map_err(|e| Failure::file(format_args!("a bpf file system on {place}"), &e.into()))
}
