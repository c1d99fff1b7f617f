//! What the kernel says of its objects (`struct bpf_map_info`, `struct bpf_prog_info`).

pub(crate) mod arrays;

use skep_isa::uapi::{MapType, ProgType};
use skep_runtime::command::InfoArray;
use skep_runtime::{Command, Fd, Result};

use crate::load;

/// Bytes of the structures that we ask for; newer kernels know more, older ones less.
const MAP_INFO: usize = 80;
const PROG_INFO: usize = 80;

/// A map's shape.
pub(crate) struct MapInfo {
    pub(crate) map_type: MapType,
    pub(crate) id: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) name: String,
}

impl MapInfo {
    pub(crate) fn of(map: Fd) -> Result<Self> {
        let mut info = [0; MAP_INFO];
        load::command(Command::ObjGetInfo { fd: map, info: &mut info, arrays: &mut [] })?;
        let name: Vec<u8> = info[24..40].iter().copied().take_while(|&byte| byte != 0).collect();
        Ok(Self {
            map_type: MapType(word(&info, 0)),
            id: word(&info, 4),
            value_size: word(&info, 12),
            max_entries: word(&info, 16),
            name: String::from_utf8_lossy(&name).into_owned(),
        })
    }
}

/// What kind of program it is.
pub(crate) fn prog_type(prog: Fd) -> Result<ProgType> {
    let mut info = [0; PROG_INFO];
    load::command(Command::ObjGetInfo { fd: prog, info: &mut info, arrays: &mut [] })?;
    Ok(ProgType(word(&info, 0)))
}

/// The ids of the maps that a program uses.
pub(crate) fn map_ids(prog: Fd) -> Result<Vec<u32>> {
    const COUNT: usize = 52; // nr_map_ids
    const ARRAY: usize = 56; // map_ids
    let mut info = [0; PROG_INFO];
    load::command(Command::ObjGetInfo { fd: prog, info: &mut info, arrays: &mut [] })?;
    let count = word(&info, COUNT);
    let mut ids = vec![0; count as usize * 4];
    let mut info = [0; PROG_INFO];
    info[COUNT..COUNT + 4].copy_from_slice(&count.to_ne_bytes());
    let arrays = &mut [InfoArray { address_at: ARRAY, bytes: &mut ids }];
    load::command(Command::ObjGetInfo { fd: prog, info: &mut info, arrays })?;
    Ok(ids.as_chunks().0.iter().map(|&bytes| u32::from_ne_bytes(bytes)).collect())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
