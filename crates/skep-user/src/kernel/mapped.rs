//! What processes have opened and mapped, as structures lent to a program.

use std::path::Path;

use skep_vm::Errno;
use skep_vm::env::KERNEL_HALF;

use super::{KernelMemory, Object, ObjectKind};
use crate::procfs;
use crate::procfs::maps::Mapping;
use crate::sys::Tid;

const PAGE: u64 = 4096;

impl KernelMemory {
    /// An `inode`: number, mode, device.
    pub(crate) fn lend_inode(&mut self, number: u64, mode: u32, device: u64) -> u64 {
        // The kernel's numbers of devices have the minor in their lower 20 bits.
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let device = u64::from(major) << 20 | u64::from(minor);
        let system = self.lend("super_block", &[("s_dev", device)], "");
        self.lend("inode", &[("i_ino", number), ("i_mode", mode.into()), ("i_sb", system)], "")
    }

    /// An open `file` with these fields.
    pub(crate) fn lend_file(&mut self, fields: &[(&'static str, u64)], path: &Path) -> u64 {
        let file = self.lend("file", fields, "");
        self.lent.set_path(file, path.to_owned());
        file
    }

    /// A `vm_area_struct`. Taken back, it takes its file along.
    pub(crate) fn lend_vma(&mut self, tid: Tid, mapping: &Mapping) -> u64 {
        let vma = self.lent.add(Vec::new());
        let file = match mapping.file {
            (_, 0) => 0,
            (device, number) => {
                let inode = self.lend_inode(number, 0, device);
                self.lend_file(&[("f_inode", inode)], &mapping.path)
            }
        };
        let flags = mapping.flags();
        let fields = [
            ("vm_start", mapping.range.start),
            ("vm_end", mapping.range.end),
            ("vm_flags", flags),
            ("__vm_flags", flags),
            ("vm_pgoff", mapping.offset / PAGE),
            ("vm_mm", Object { kind: ObjectKind::Mm, tid }.addr()),
            ("vm_file", file),
        ];
        let bytes = self.structure("vm_area_struct", &fields, "").unwrap_or_default();
        self.lent.fill(vma, bytes);
        vma
    }

    /// What a task, given by the address of its `task_struct`, has mapped at an address.
    pub(crate) fn find_vma(&mut self, task: u64, addr: u64) -> Result<u64, Errno> {
        let Some((Object { kind: ObjectKind::Task, tid }, 0)) = Object::at(task) else {
            return Err(Errno::ENOENT);
        };
        // The page of old system calls is in no address space.
        let mapping = Mapping::all(tid)
            .into_iter()
            .find(|mapping| mapping.range.contains(&addr) && mapping.range.start < KERNEL_HALF)
            .ok_or(Errno::ENOENT)?;
        Ok(self.lend_vma(tid, &mapping))
    }

    /// Takes back what was found.
    pub(crate) fn forget_vma(&mut self, vma: u64) {
        self.lent.take_back(vma);
    }

    /// The path of the file whose `struct path` is at an address.
    pub(crate) fn file_path(&mut self, addr: u64) -> Result<Vec<u8>, Errno> {
        use std::os::unix::ffi::OsStrExt as _;
        let places = ["f_path", "__f_path"].map(|name| self.types.place("file", name));
        let at = places.into_iter().flatten().next().ok_or(Errno::EFAULT)?.offset;
        let executable = match Object::at(addr) {
            Some((Object { kind: ObjectKind::ExeFile, tid }, offset)) if offset == at => {
                procfs::executable(tid)
            }
            _ => None,
        };
        let path = executable
            .as_deref()
            .or_else(|| self.lent.path(addr).filter(|(_, offset)| *offset == at).map(|(path, _)| path));
        path.map(|path| path.as_os_str().as_bytes().to_vec()).ok_or(Errno::EFAULT)
    }
}
