//! The file that a bare name stands for: a library as the dynamic linker finds it, or a program on the `PATH`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use skep_runtime::{Error, Result};

/// Where libraries are when nothing says otherwise.
const LIBRARY_DIRS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
const PROGRAM_DIRS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds the file; a path with a slash is one already.
pub fn find(name: &str) -> Result<PathBuf> {
    let found = if name.contains('/') {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    } else if name.contains(".so") {
        library(name)
    } else {
        in_dirs(env::split_paths(&env::var_os("PATH").unwrap_or_else(|| PROGRAM_DIRS.into())), name)
            .or_else(|| library(&format!("{name}.so")))
    };
    found.ok_or_else(|| {
        let error = Error::os(libc::ENOENT, format!("there is no file `{name}`"));
        if name.contains('/') { error } else { error.hint("give its path") }
    })
}

fn library(name: &str) -> Option<PathBuf> {
    let named = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    in_dirs(env::split_paths(&named).filter(|dir| dir.is_absolute()), name)
        .or_else(|| in_cache(&fs::read("/etc/ld.so.cache").unwrap_or_default(), name))
        .or_else(|| in_dirs(LIBRARY_DIRS.iter().map(PathBuf::from), name))
}

fn in_dirs(dirs: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    dirs.map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Marks the layout that glibc has written since 2.2 (`sysdeps/generic/dl-cache.h`).
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes of the header, and of an entry: flags, name, path, version, hardware; names and paths are offsets.
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// Looks a library up in the dynamic linker's cache. An older layout may come first in the file; offsets count from the
/// newer one.
fn in_cache(cache: &[u8], name: &str) -> Option<PathBuf> {
    let start = cache.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let cache = &cache[start..];
    let count = word(cache, MAGIC.len())? as usize;
    let text = |at: usize| -> Option<&str> {
        let bytes = cache.get(word(cache, at)? as usize..)?;
        std::str::from_utf8(bytes.split(|&byte| byte == 0).next()?).ok()
    };
    let exact = name.ends_with(".so") || name.contains(".so.");
    (0..count.min(cache.len() / ENTRY))
        .map(|n| HEADER + n * ENTRY)
        .filter(|&entry| text(entry + 4).is_some_and(|soname| exact && soname == name))
        .filter_map(|entry| text(entry + 8).map(Path::new))
        .find(|path| path.is_file())
        .map(Path::to_owned)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_on_the_path() {
        assert!(find("sh").expect("every system has a shell").ends_with("sh"));
        assert!(find("no-such-program").is_err());
        assert!(find("/no/such/file").is_err());
    }

    #[test]
    fn damaged_caches_find_nothing() {
        assert_eq!(in_cache(b"", "libc.so.6"), None);
        let mut cache = MAGIC.to_vec();
        cache.extend([0xff; 100]);
        assert_eq!(in_cache(&cache, "libc.so.6"), None);
    }
}
