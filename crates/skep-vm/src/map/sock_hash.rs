//! Sockets by key (`net/core/sock_map.c`). Sockets have no place in user space, so the map stays empty and answers as an empty
//! one does; objects that have one, and programs that look into it, run.

use skep_isa::uapi::MapType;

use super::{Elements, MapSpec};
use crate::Errno;

/// A hash of sockets, of which there are none.
pub(crate) struct SockHash {
    value_size: u32,
}

impl SockHash {
    pub(super) fn new(spec: &MapSpec) -> Self {
        debug_assert_eq!(spec.map_type, MapType::SOCKHASH);
        Self { value_size: spec.value_size }
    }
}

impl Elements for SockHash {
    fn addr(&self, _key: &[u8], _cpu: u32) -> Option<u64> {
        None
    }

    fn read(&self, _key: &[u8], _value: &mut [u8], _flags: u64) -> Result<(), Errno> {
        // Reading gives cookies, which need eight bytes.
        Err(if self.value_size == 8 { Errno::ENOENT } else { Errno::ENOSPC })
    }

    fn write(&self, _key: &[u8], _value: &[u8], _flags: u64) -> Result<(), Errno> {
        // Descriptors of sockets, of which none is of the right kind.
        Err(Errno::EOPNOTSUPP)
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    fn next_key(&self, _key: Option<&[u8]>, _next: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }
}
