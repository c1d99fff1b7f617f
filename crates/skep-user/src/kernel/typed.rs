//! Values as text by the kernel's types.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use skep_btf::TypeId;
use skep_btf::value::kernel;
use skep_vm::Errno;

use super::KernelMemory;

impl KernelMemory {
    /// Bytes of a type.
    pub(crate) fn type_bytes(&self, id: u32) -> Option<usize> {
        usize::try_from(self.types().size_of(TypeId(id)).ok()?).ok()
    }

    /// A value as the kernel prints it.
    pub(crate) fn typed_text(&self, id: u32, value: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        kernel::show(&self.types(), TypeId(id), value, flags, &hash).map_err(|_| Errno::EINVAL)
    }
}

/// What stands for an address in text: 32 bits, the same for the same address as long as this process is there.
fn hash(addr: u64) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(addr) & u64::from(u32::MAX)
}
