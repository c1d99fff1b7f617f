//! Which sites a mapping has: files are known by device and inode, and by what their path leads to where a file system
//! shows other numbers in `/proc/PID/maps` than stat(2) does.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Site, SiteId};
use crate::procfs::maps::Mapping;
use crate::sys::Tid;

/// Device and inode.
type FileId = (u64, u64);

/// The sites of a session, by file.
#[derive(Debug)]
pub(in crate::tracer) struct Places {
    files: Vec<File>,
    /// Files that were looked up before, by what maps say of them.
    known: HashMap<(FileId, PathBuf), Option<usize>>,
}

#[derive(Debug)]
struct File {
    id: FileId,
    /// Ascending by offset.
    sites: Vec<(u64, SiteId)>,
    semaphores: Vec<u64>,
}

impl Places {
    /// The places of these sites. A file that is gone since the sites were found has none.
    pub(in crate::tracer) fn new(sites: &[Site]) -> Self {
        let mut places = Self { files: Vec::new(), known: HashMap::new() };
        let mut by_path: HashMap<&Path, usize> = HashMap::new();
        for (number, site) in sites.iter().enumerate() {
            let file = by_path.entry(&site.path).or_insert_with(|| {
                let id = fs::metadata(&site.path).map(|m| (m.dev(), m.ino())).unwrap_or_default();
                places.files.push(File { id, sites: Vec::new(), semaphores: Vec::new() });
                places.files.len() - 1
            });
            let file = &mut places.files[*file];
            file.sites.push((site.offset, number));
            if site.semaphore != 0 && !file.semaphores.contains(&site.semaphore) {
                file.semaphores.push(site.semaphore);
            }
        }
        places.files.iter_mut().for_each(|file| file.sites.sort_unstable());
        places
    }

    /// Is there anything to probe?
    pub(in crate::tracer) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The number of a mapping's file.
    fn file(&mut self, tid: Tid, mapping: &Mapping) -> Option<usize> {
        if mapping.file.1 == 0 {
            return None;
        }
        let key = (mapping.file, mapping.path.clone());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let position = |id: FileId| self.files.iter().position(|file| file.id == id);
        let found = position(mapping.file).or_else(|| {
            let path = Path::new("/proc").join(tid.to_string()).join("root");
            let metadata = fs::metadata(path.join(mapping.path.strip_prefix("/").ok()?)).ok()?;
            position((metadata.dev(), metadata.ino()))
        });
        self.known.insert(key, found);
        found
    }

    /// The sites in a mapping, with their addresses.
    pub(super) fn sites(&mut self, tid: Tid, mapping: &Mapping) -> Vec<(u64, SiteId)> {
        if !mapping.executable {
            return Vec::new();
        }
        let Some(file) = self.file(tid, mapping) else { return Vec::new() };
        let sites = &self.files[file].sites;
        let first = sites.partition_point(|&(offset, _)| offset < mapping.offset);
        sites[first..]
            .iter()
            .map_while(|&(offset, site)| mapping.address_of(offset).map(|address| (address, site)))
            .collect()
    }

    /// The addresses of counters in a mapping.
    pub(super) fn semaphores(&mut self, tid: Tid, mapping: &Mapping) -> Vec<u64> {
        if !mapping.writable || !mapping.private {
            return Vec::new();
        }
        let Some(file) = self.file(tid, mapping) else { return Vec::new() };
        self.files[file].semaphores.iter().filter_map(|&offset| mapping.address_of(offset)).collect()
    }
}
