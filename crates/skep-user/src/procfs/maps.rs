//! What is mapped where in a process: the lines of `/proc/PID/maps`.

use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::sys::Tid;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) range: Range<u64>,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
    /// Written to by nobody else.
    pub(crate) private: bool,
    /// Where it begins in its file.
    pub(crate) offset: u64,
    /// Device and inode of its file; zeroes for memory without one.
    pub(crate) file: (u64, u64),
    /// The file's path, or a name in brackets (`[vdso]`).
    pub(crate) path: PathBuf,
}

impl Mapping {
    /// All mappings of a process, lowest first; none when it is gone.
    pub(crate) fn all(tid: Tid) -> Vec<Self> {
        let bytes = fs::read(format!("/proc/{tid}/maps")).unwrap_or_default();
        bytes.split(|&byte| byte == b'\n').filter_map(Self::parse).collect()
    }

    /// `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH`, numbers in hexadecimal but for the inode.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let start = rest.iter().position(|&byte| byte != b' ')?;
            let end = rest[start..].iter().position(|&byte| byte == b' ').map_or(rest.len(), |n| start + n);
            let field = std::str::from_utf8(&rest[start..end]).ok();
            rest = &rest[end..];
            field
        };
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (start, end) = field()?.split_once('-')?;
        let permissions = field()?.as_bytes();
        let offset = hex(field()?)?;
        let (major, minor) = field()?.split_once(':')?;
        let inode = field()?.parse().ok()?;
        let device = libc::makedev(hex(major)? as u32, hex(minor)? as u32);
        let path = rest.iter().position(|&byte| byte != b' ').map_or(&[][..], |at| &rest[at..]);
        Some(Self {
            range: hex(start)?..hex(end)?,
            readable: permissions.first() == Some(&b'r'),
            writable: permissions.get(1) == Some(&b'w'),
            executable: permissions.get(2) == Some(&b'x'),
            private: permissions.get(3) == Some(&b'p'),
            offset,
            file: (device, inode),
            path: PathBuf::from(OsStr::from_bytes(path)),
        })
    }

    /// `VM_READ` and its like.
    pub(crate) fn flags(&self) -> u64 {
        let flags = [self.readable, self.writable, self.executable, !self.private];
        flags.into_iter().zip([1, 2, 4, 8]).map(|(is, flag)| u64::from(is) * flag).sum()
    }

    /// Where an offset of the file is in memory, if this mapping has it.
    pub(crate) fn address_of(&self, offset: u64) -> Option<u64> {
        let at = self.range.start.checked_add(offset.checked_sub(self.offset)?)?;
        self.range.contains(&at).then_some(at)
    }
}

/// The gap of at least `bytes` that is nearest to an address: its start. Gaps begin at `lowest`.
pub(crate) fn nearest_gap(mappings: &[Mapping], address: u64, bytes: u64, lowest: u64) -> Option<u64> {
    let mut free = lowest;
    let mut best: Option<u64> = None;
    for mapping in mappings {
        if mapping.range.start >= free.saturating_add(bytes) {
            // Nearest to a higher address is the gap's end, to a lower one its start.
            let place = if address >= mapping.range.start { mapping.range.start - bytes } else { free };
            if best.is_none_or(|best| best.abs_diff(address) > place.abs_diff(address)) {
                best = Some(place);
            }
        }
        free = free.max(mapping.range.end);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let line = b"7f0000001000-7f0000003000 r-xp 00002000 08:01 1234                  /usr/lib/a b.so";
        let mapping = Mapping::parse(line).expect("a well-formed line");
        assert_eq!(mapping.range, 0x7f00_0000_1000..0x7f00_0000_3000);
        assert!(mapping.executable && mapping.private && !mapping.writable);
        assert_eq!((mapping.offset, mapping.file), (0x2000, (libc::makedev(8, 1), 1234)));
        assert_eq!(mapping.path, PathBuf::from("/usr/lib/a b.so"));
        assert_eq!(mapping.address_of(0x2010), Some(0x7f00_0000_1010));
        assert_eq!(mapping.address_of(0x1fff), None);
        assert_eq!(mapping.address_of(0x4000), None);
        let anonymous = Mapping::parse(b"1000-2000 rw-s 00000000 00:00 0 ").expect("a well-formed line");
        assert!(anonymous.path.as_os_str().is_empty() && !anonymous.private);
        assert_eq!(Mapping::parse(b""), None);
        assert_eq!(Mapping::parse(b"x-y r-xp 0 0:0 0"), None);
    }

    #[test]
    fn gaps_are_near() {
        let mapping = |start: u64, end: u64| {
            let line = format!("{start:x}-{end:x} r-xp 0 0:0 0");
            Mapping::parse(line.as_bytes()).expect("a well-formed line")
        };
        let all = [mapping(0x10000, 0x20000), mapping(0x30000, 0x40000), mapping(0x80000, 0x90000)];
        assert_eq!(nearest_gap(&all, 0x35000, 0x1000, 0x1000), Some(0x2f000));
        assert_eq!(nearest_gap(&all, 0x3f000, 0x1000, 0x1000), Some(0x40000));
        assert_eq!(nearest_gap(&all, 0x11000, 0x20000, 0x1000), Some(0x40000));
        assert_eq!(nearest_gap(&[], 0, 1, 0), None);
    }
}
