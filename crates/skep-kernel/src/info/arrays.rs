//! Where the kernel writes beside the structure that `BPF_OBJ_GET_INFO_BY_FD` fills: into arrays whose addresses and counts
//! the structure holds on entry. Before a command is passed on, every address in it must be one that was lent, with room
//! for what its count says.
//!
//! Where addresses are depends on what the descriptor is, and for links on their type. The tables are Linux 6.18's
//! (`include/uapi/linux/bpf.h`). A structure of another kind must come empty; then the kernel only fills it.

use std::fs;

use skep_isa::uapi::LinkType;
use skep_runtime::command::InfoArray;
use skep_runtime::{Command, Error, Fd, Result};

use super::word;
use crate::load;

/// One array of a structure: offsets of its address and its count, and how much one of its elements takes.
struct Place {
    address: usize,
    count: usize,
    element: Element,
}

enum Element {
    /// So many bytes.
    Bytes(usize),
    /// As many as the word at this offset says; the kernel refuses other sizes than its own.
    SaidAt(usize),
}

const fn place(address: usize, count: usize, bytes: usize) -> Place {
    Place { address, count, element: Element::Bytes(bytes) }
}

/// `struct bpf_prog_info`.
const PROG: &[Place] = &[
    place(24, 16, 1),                                                  // jited_prog_insns
    place(32, 20, 1),                                                  // xlated_prog_insns
    place(56, 52, 4),                                                  // map_ids
    place(112, 104, 8),                                                // jited_ksyms
    place(120, 108, 4),                                                // jited_func_lens
    Place { address: 136, count: 144, element: Element::SaidAt(132) }, // func_info
    Place { address: 152, count: 148, element: Element::SaidAt(172) }, // line_info
    Place { address: 160, count: 168, element: Element::SaidAt(176) }, // jited_line_info
    place(184, 180, 8),                                                // prog_tags
];
/// `struct bpf_map_info`: the hash of a signed loader's map.
const MAP: &[Place] = &[place(88, 96, 1)];
/// `struct bpf_btf_info`: the types, and their name.
const BTF: &[Place] = &[place(0, 8, 1), place(16, 24, 1)];
/// Links whose structure has a name.
const NAMED: &[Place] = &[place(16, 24, 1)];
const PERF_EVENT: &[Place] = &[place(24, 32, 1)];
/// Addresses and cookies.
const KPROBE_MULTI: &[Place] = &[place(16, 24, 8), place(40, 24, 8)];
/// The path; offsets, offsets of semaphores, and cookies.
const UPROBE_MULTI: &[Place] = &[place(16, 48, 1), place(24, 52, 8), place(32, 52, 8), place(40, 52, 8)];

/// Refuses a structure that would have the kernel write where nothing was lent.
pub(crate) fn check(fd: Fd, info: &[u8], arrays: &[InfoArray<'_>]) -> Result<()> {
    if arrays.is_empty() && info.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    // Asking what the descriptor is takes a call; a structure that would be right for any kind needs none.
    let any = [PROG, MAP, BTF, NAMED, PERF_EVENT, KPROBE_MULTI, UPROBE_MULTI];
    if any.iter().all(|places| has_room(places, info, arrays).is_ok()) {
        return Ok(());
    }
    fits(places(fd)?, info, arrays)
}

/// Where the structure of this object has arrays.
fn places(fd: Fd) -> Result<&'static [Place]> {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.0));
    let link = link.map_err(|e| {
        let errno = e.raw_os_error().unwrap_or(libc::EINVAL);
        Error::os(errno, format!("cannot tell what descriptor {} is: {e}", fd.0))
            .hint("is it open, and `/proc` mounted?")
    })?;
    match link.to_string_lossy().trim_start_matches("anon_inode:") {
        "bpf-prog" => Ok(PROG),
        "bpf-map" => Ok(MAP),
        "btf" => Ok(BTF),
        "bpf_link" | "bpf-link" => link_places(fd),
        other => Err(invalid(format!("descriptor {} is no BPF object but `{other}`", fd.0))),
    }
}

fn link_places(link: Fd) -> Result<&'static [Place]> {
    let mut info = [0; 4];
    load::command(Command::ObjGetInfo { fd: link, info: &mut info, arrays: &mut [] })?;
    match LinkType(word(&info, 0)) {
        LinkType::RAW_TRACEPOINT | LinkType::ITER => Ok(NAMED),
        LinkType::PERF_EVENT => Ok(PERF_EVENT),
        LinkType::KPROBE_MULTI => Ok(KPROBE_MULTI),
        LinkType::UPROBE_MULTI => Ok(UPROBE_MULTI),
        other => Err(invalid(format!("nothing is known of arrays that links of type `{other}` have"))),
    }
}

fn fits(places: &[Place], info: &[u8], arrays: &[InfoArray<'_>]) -> Result<()> {
    let unknown = |array: &&InfoArray<'_>| !places.iter().any(|place| place.address == array.address_at);
    if let Some(array) = arrays.iter().find(unknown) {
        return Err(invalid(format!("an object of this kind has no array at offset {}", array.address_at)));
    }
    has_room(places, info, arrays)
}

/// Every address at these places is of something that was lent, with room for what is asked for.
fn has_room(places: &[Place], info: &[u8], arrays: &[InfoArray<'_>]) -> Result<()> {
    for place in places {
        // What is beyond the end is zero for the kernel: an address, a count, the upper half of an address.
        let address = info.get(place.address..info.len().min(place.address + 8)).unwrap_or_default();
        let mut lent = arrays.iter().filter(|array| array.address_at == place.address);
        let room = lent.next().map_or(0, |array| array.bytes.len());
        if room == 0 || address.len() < 8 {
            if address.iter().any(|&byte| byte != 0) {
                let at = place.address;
                return Err(invalid(format!("the address at offset {at} is of nothing that was lent")));
            }
            continue;
        }
        let element = match place.element {
            Element::Bytes(bytes) => bytes,
            Element::SaidAt(at) => word_or_zero(info, at),
        };
        let wanted = word_or_zero(info, place.count).saturating_mul(element);
        if wanted > room || lent.next().is_some() {
            let at = place.address;
            return Err(invalid(format!(
                "the array at offset {at} has {room} bytes where {wanted} are asked for"
            )));
        }
    }
    Ok(())
}

fn word_or_zero(info: &[u8], at: usize) -> usize {
    if at + 4 <= info.len() { word(info, at) as usize } else { 0 }
}

fn invalid(message: String) -> Error {
    Error::os(libc::EINVAL, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a program's structure with these words, and room for so many bytes at these offsets.
    fn said(words: &[(usize, u32)], lent: &[(usize, usize)]) -> String {
        let mut info = [0; 232];
        for &(at, word) in words {
            info[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        let mut room: Vec<(usize, Vec<u8>)> = lent.iter().map(|&(at, bytes)| (at, vec![0; bytes])).collect();
        let arrays: Vec<InfoArray<'_>> =
            room.iter_mut().map(|(address_at, bytes)| InfoArray { address_at: *address_at, bytes }).collect();
        fits(PROG, &info, &arrays).map_or_else(|e| e.to_string(), |()| "fits".to_owned())
    }

    #[test]
    fn the_kernel_writes_only_where_something_was_lent() {
        assert_eq!(said(&[(52, 3)], &[(56, 12)]), "fits");
        assert!(said(&[(52, 4)], &[(56, 12)]).contains("12 bytes where 16"));
        // A count without an address asks for nothing.
        assert_eq!(said(&[(52, 3)], &[]), "fits");
        assert!(said(&[(56, 4096), (52, 1)], &[]).contains("offset 56 is of nothing"));
        assert!(said(&[(56, 4096), (52, 1)], &[(56, 0)]).contains("offset 56 is of nothing"));
        assert!(said(&[], &[(60, 8)]).contains("no array at offset 60"));
        assert!(said(&[(52, 1)], &[(56, 8), (56, 2)]).contains("offset 56"));
    }

    #[test]
    fn records_are_as_long_as_the_structure_says() {
        assert_eq!(said(&[(144, 2), (132, 8)], &[(136, 16)]), "fits");
        assert!(said(&[(144, 2), (132, 12)], &[(136, 16)]).contains("16 bytes where 24"));
        assert!(said(&[(144, u32::MAX), (132, u32::MAX)], &[(136, 16)]).contains("16 bytes"));
    }

    #[test]
    fn a_structure_that_is_cut_has_no_arrays_behind_its_end() {
        assert!(fits(PROG, &[1; 20], &[]).is_ok());
        let mut cut = [0; 60];
        assert!(fits(PROG, &cut, &[InfoArray { address_at: 56, bytes: &mut [0; 8] }]).is_ok());
        cut[56] = 1;
        assert!(fits(PROG, &cut, &[]).is_err(), "half an address is one");
        assert!(fits(BTF, &[1; 8], &[]).is_err());
    }
}
