//! Objects to begin with: real programs, which a change or two makes into interesting ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep::host;
use skep_btf::Btf;
use skep_isa::uapi::ProgType;
use skep_obj::{Linked, Object, Target};

use crate::rng::Rng;

/// Objects, and the kernel they are linked for.
pub struct Corpus {
    files: Vec<PathBuf>,
    kernel: Option<Arc<Btf>>,
}

impl Corpus {
    /// All files `*.o` of these directories (or these files), in the order of their names.
    pub fn find(places: &[PathBuf]) -> Result<Self, String> {
        let mut files = Vec::new();
        for place in places {
            if place.is_file() {
                files.push(place.clone());
                continue;
            }
            let entries = fs::read_dir(place).map_err(|e| format!("`{}`: {e}", place.display()))?;
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            files.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "o")));
        }
        files.sort();
        if files.is_empty() {
            return Err("there is no object to begin with".to_owned());
        }
        Ok(Self { files, kernel: host::kernel_btf() })
    }

    /// An object with programs, which only the number decides; `None` where there is none in a few files.
    pub fn object(&self, number: u64) -> Option<(Linked, Target)> {
        let mut rng = Rng::new(0, number);
        (0..16).find_map(|_| self.link(&self.files[rng.below(self.files.len())]))
    }

    /// Reads and links a file; `None` where that does not give programs.
    fn link(&self, file: &Path) -> Option<(Linked, Target)> {
        let mut object = Object::read(&fs::read(file).ok()?, &file.display().to_string()).ok()?;
        for program in &mut object.programs {
            program.autoload = true;
            if program.prog_type == ProgType::UNSPEC {
                program.prog_type = ProgType::SOCKET_FILTER;
                program.section_error = None;
            }
        }
        let target = Target { btf: self.kernel.clone(), ..host::target(&object) };
        let linked = object.link(&target).ok()?;
        linked.programs.iter().any(|program| program.result.is_ok()).then_some((linked, target))
    }
}
