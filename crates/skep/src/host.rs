//! Facts of this machine, as the values that linking takes: kernel types, configuration, symbols, version.
//!
//! Each fact is read when it is asked for, once; a fact that the machine does not have is absent, not an error.

mod mapping;

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use skep_btf::{Btf, Bytes};
pub use skep_kernel::cpus::possible as possible_cpus;
use skep_obj::externs::ExternKind;
use skep_obj::{Linked, Module, Object, Target};

/// Where Linux shows its own types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where it shows those of its modules, too.
const MODULE_BTF: &str = "/sys/kernel/btf";

/// What linking `object` needs to know of this machine; facts that the object does not ask for are not read.
pub fn target(object: &Object) -> Target {
    let wants_kconfig = object.externs.iter().any(|wanted| matches!(wanted.kind, ExternKind::Kconfig { .. }));
    let wanted_ksyms: Vec<&str> = object.wanted_ksyms().collect();
    Target {
        btf: object.wants_kernel_types().then(kernel_btf).flatten(),
        kconfig: wants_kconfig.then(kconfig).flatten(),
        ksyms: ksyms(&wanted_ksyms),
        kernel_version: kernel_version(),
        page_bytes: u32::try_from(rustix::param::page_size()).unwrap_or(4096),
        cpus: u32::try_from(possible_cpus()).unwrap_or(u32::MAX),
        ..Target::default()
    }
}

/// The running kernel's types, mapped, not read; `None` where the kernel does not show them.
pub fn kernel_btf() -> Option<Arc<Btf>> {
    Btf::parse(kernel_btf_bytes().ok()?).ok().map(Arc::new)
}

/// The bytes of those types, as the kernel shows them in `/sys/kernel/btf/vmlinux`.
pub fn kernel_btf_bytes() -> std::io::Result<Bytes> {
    read_shared(Path::new(KERNEL_BTF))
}

/// Links an object for this machine. The kernel's modules are looked at only for what the kernel itself does not have.
pub fn link(object: &Object) -> skep_obj::error::Result<Linked> {
    let mut target = target(object);
    let linked = object.link(&target)?;
    if !linked.lacks_types() {
        return Ok(linked);
    }
    target.modules = target.btf.as_ref().map(modules).unwrap_or_default();
    if target.modules.is_empty() { Ok(linked) } else { object.link(&target) }
}

/// The types of the loaded modules, as far as the kernel shows them.
pub fn modules(kernel: &Arc<Btf>) -> Vec<Module> {
    let Ok(entries) = fs::read_dir(MODULE_BTF) else { return Vec::new() };
    let module = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| name != "vmlinux")?;
        let bytes: Bytes = Arc::new(fs::read(entry.path()).ok()?);
        Some(Module { name, btf: Arc::new(Btf::parse_split(bytes, Arc::clone(kernel)).ok()?) })
    };
    let mut modules: Vec<Module> = entries.flatten().filter_map(module).collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    modules
}

/// A file's bytes: mapped where that works, read otherwise.
fn read_shared(path: &Path) -> std::io::Result<Bytes> {
    let file = fs::File::open(path)?;
    match mapping::map(&file) {
        Ok(map) => Ok(Arc::new(map)),
        // Before Linux 6.16 sysfs does not map BTF.
        Err(_) => Ok(Arc::new(fs::read(path)?)),
    }
}

/// `LINUX_VERSION_CODE` of the running kernel: major, minor and patch level (at most 255) in three bytes.
pub fn kernel_version() -> u32 {
    let uname = rustix::system::uname();
    version_code(&uname.release().to_string_lossy())
}

fn version_code(release: &str) -> u32 {
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>().unwrap_or(0))
        .chain(std::iter::repeat(0));
    let mut next = || parts.next().unwrap_or(0);
    (next() << 16) + (next() << 8) + next().min(255)
}

/// The running kernel's configuration, `CONFIG_X` → value as written; `None` where it is not to be had: neither where
/// distributions put it, nor in the kernel itself.
pub fn kconfig() -> Option<HashMap<String, String>> {
    let uname = rustix::system::uname();
    let path = format!("/boot/config-{}", uname.release().to_string_lossy());
    let text = fs::read_to_string(path).or_else(|_| packed_kconfig()).ok()?;
    Some(Target::parse_kconfig(&text))
}

/// What the kernel says of itself, if it was built to (`CONFIG_IKCONFIG_PROC`).
fn packed_kconfig() -> std::io::Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open("/proc/config.gz")?).read_to_string(&mut text)?;
    Ok(text)
}

/// Addresses of these kernel symbols, as far as there are such; 0 for callers who may not see addresses.
fn ksyms(wanted: &[&str]) -> HashMap<String, u64> {
    if wanted.is_empty() {
        return HashMap::new();
    }
    let text = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let address = u64::from_str_radix(fields.next()?, 16).ok()?;
            let name = fields.nth(1)?;
            wanted.contains(&name).then(|| (name.to_owned(), address))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_codes() {
        assert_eq!(version_code("6.18.44-fc-v769"), 0x06_12_2c);
        assert_eq!(version_code("5.4"), 0x05_04_00);
        assert_eq!(version_code("4.19.300-generic"), 0x04_13_ff);
    }

    #[test]
    fn kconfig_lines() {
        let config = Target::parse_kconfig(
            "# comment\nCONFIG_BPF=y\nCONFIG_HZ=250\n# CONFIG_X is not set\nCONFIG_S=\"a=b\"\n",
        );
        assert_eq!(config.get("CONFIG_HZ").map(String::as_str), Some("250"));
        assert_eq!(config.get("CONFIG_S").map(String::as_str), Some("\"a=b\""));
        assert_eq!(config.len(), 3);
    }
}
