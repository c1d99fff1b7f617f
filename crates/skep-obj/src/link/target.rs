//! The machine an object is linked for, as a value.

use std::collections::HashMap;
use std::sync::Arc;

use skep_btf::Btf;

/// What the machine has. The default knows nothing; reading the host is the caller's.
#[derive(Clone, Debug)]
pub struct Target {
    /// Types of the kernel.
    pub btf: Option<Arc<Btf>>,
    /// Types of its modules, split from the kernel's.
    pub modules: Vec<Module>,
    /// The kernel's configuration: names with `CONFIG_`, values as in the file (`y`, `m`, `"text"`, `250`).
    /// Options that are not set are not here. `None`: not known.
    pub kconfig: Option<HashMap<String, String>>,
    /// Addresses of kernel symbols; those of [`Object::wanted_ksyms`](crate::Object::wanted_ksyms) suffice.
    pub ksyms: HashMap<String, u64>,
    /// `LINUX_VERSION_CODE`, such as `0x61200` for 6.18.0.
    pub kernel_version: u32,
    /// Do system calls have wrappers that take a `struct pt_regs` (`LINUX_HAS_SYSCALL_WRAPPER`)?
    pub syscall_wrapper: bool,
    /// Does the kernel know cookies of attachments (`LINUX_HAS_BPF_COOKIE`)?
    pub bpf_cookie: bool,
    /// Bytes of a page, which ring buffers consist of.
    pub page_bytes: u32,
    /// Possible processors, for perf event arrays without a size.
    pub cpus: u32,
    /// Is what depends on the kernel's types and symbols left to those who load the programs? Then there is nothing of them
    /// in the code, and [`LinkedProgram::deferred`](super::LinkedProgram::deferred) says what goes where.
    pub deferred: bool,
}

/// The types of a kernel module.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its types.
    pub btf: Arc<Btf>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            btf: None,
            modules: Vec::new(),
            kconfig: None,
            ksyms: HashMap::new(),
            kernel_version: 0,
            syscall_wrapper: true,
            bpf_cookie: true,
            page_bytes: 4096,
            cpus: 1,
            deferred: false,
        }
    }
}

impl Target {
    /// Reads the text of a kernel's configuration (`/boot/config-*`) into the form of [`Target::kconfig`].
    pub fn parse_kconfig(text: &str) -> HashMap<String, String> {
        let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
        let options = lines.filter_map(|line| line.split_once('='));
        options.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    /// The kernel's types, then each module's with its number.
    pub(crate) fn all_btf(&self) -> impl Iterator<Item = (Option<usize>, &Btf)> {
        let modules = self.modules.iter().enumerate().map(|(n, module)| (Some(n), &*module.btf));
        self.btf.iter().map(|btf| (None, &**btf)).chain(modules)
    }
}
