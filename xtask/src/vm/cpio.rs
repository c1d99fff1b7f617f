//! Archives as the kernel unpacks them at boot: `newc` (`Documentation/driver-api/early-userspace/buffer-format.rst`).

/// Modes of directories and of executable files.
const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

/// An archive in the making.
pub(super) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: Vec<String>,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), inode: 0, directories: Vec::new() }
    }

    /// Adds a directory, once.
    pub(super) fn directory(&mut self, name: &str) {
        if !self.directories.iter().any(|known| known == name) {
            self.directories.push(name.to_owned());
            self.entry(name, DIRECTORY, &[]);
        }
    }

    /// Adds a file with the directories above it.
    pub(super) fn executable(&mut self, name: &str, data: &[u8]) {
        for (at, _) in name.match_indices('/') {
            self.directory(&name[..at]);
        }
        self.entry(name, EXECUTABLE, data);
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// A header of thirteen numbers in hexadecimal, the name with a zero, the data; each rounded up to four bytes.
    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.inode += 1;
        let numbers =
            [self.inode, mode, 0, 0, 1, 0, length(data.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend(b"070701");
        for number in numbers {
            self.bytes.extend(format!("{number:08x}").into_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_first_and_once() {
        let mut archive = Archive::new();
        archive.executable("lib/a/x", b"1");
        archive.executable("lib/a/y", b"2");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.find(name).expect("it is in the archive");
        assert!(at("lib\0") < at("lib/a\0") && at("lib/a\0") < at("lib/a/x\0"));
        assert_eq!(text.matches("lib/a\0").count(), 1);
        assert_eq!(text.matches("070701").count(), 5);
    }
}
