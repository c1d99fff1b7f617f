//! `prog load` and `prog loadall`: object to pinned programs, maps and links.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep::load::LeftOut;
use skep::object::section::SectionDef;
use skep::object::{AttachPoint, Object};
use skep::runtime::AttachOptions;
use skep::{Loaded, LoadedProgram, host};
use skep_isa::uapi::ProgType;

use super::super::btf::dump;
use super::super::failure::{Failure, Outcome};
use super::super::shell::Shell;
use super::super::words::Words;
use super::super::{pins, select};
use super::light;

/// What the words say.
#[derive(Default)]
struct Wanted<'a> {
    program_type: Option<&'a str>,
    pin_maps: Option<&'a str>,
    autoattach: bool,
    /// Types to relocate for, in place of the running kernel's.
    kernel_btf: Option<&'a str>,
    /// Maps to be used in place of new ones: which of the object's, and the id.
    maps: Vec<(Which<'a>, u32)>,
}

/// A map of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which<'a> {
    Name(&'a str),
    Index(u32),
}

impl Which<'_> {
    fn of(self, object: &Object) -> Outcome<String> {
        let found = object.maps.iter().zip(0..).find(|(map, index)| match self {
            Self::Name(name) => map.name == name,
            Self::Index(wanted) => *index == wanted,
        });
        let missing = || match self {
            Self::Name(name) => Failure::new(format!("the object has no map `{name}`")),
            Self::Index(index) => Failure::new(format!("the object has no map with index {index}")),
        };
        found.map(|(map, _)| map.name.clone()).ok_or_else(missing)
    }
}

/// `prog load OBJ PATH`: the first program is pinned there; `prog load -L OBJ` only tries it.
pub(crate) fn load(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    if shell.options.light {
        return light::load(shell, words);
    }
    place(shell, words, false)
}

/// `prog loadall OBJ DIR`: every program is pinned in there, under its name.
pub(crate) fn loadall(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    if shell.options.light {
        return Err(Failure::new("nothing of what a loader has loaded stays").hint("`-L` is for `prog load`"));
    }
    place(shell, words, true)
}

fn place(shell: &mut Shell, words: &mut Words<'_>, all: bool) -> Outcome {
    let file = words.need("the object")?;
    let path = Path::new(words.need("the path to pin to")?);
    let wanted = wanted(shell, words)?;
    let mut object = skep::open(Path::new(file))?.object;
    // Maps can be wanted alone.
    if !all || wanted.pin_maps.is_none() {
        object.require_programs()?;
    }
    if let Some(name) = wanted.program_type {
        set_type(&mut object, name)?;
    }
    for name in &shell.options.without {
        crate::run::leave_out(&mut object, name)?;
    }
    let mut target = host::target(&object);
    if let Some(file) = wanted.kernel_btf {
        target.btf = Some(Arc::new(dump::of_file(shell, file)?));
    }
    let maps = wanted.maps.iter().map(|(which, id)| Ok((which.of(&object)?, *id))).collect::<Outcome<_>>()?;
    let options = skep::load::Options { maps, ..skep::load::Options::default() };
    let mut loaded = skep::load::load_with(&shell.runtime()?, &object, object.link(&target)?, &options)?;
    tell_left_out(&object, std::mem::take(&mut loaded.left_out), all)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    pins::prepare(shell, parent)?;
    let mut pinned = Pinned::default();
    let result = pin_all(shell, &loaded, path, all, &wanted, &mut pinned);
    if result.is_err() {
        pinned.undo();
    }
    result
}

/// A mistake in the object fails it, and so does a first program that is wanted alone and lacks something of this machine;
/// other programs go without.
fn tell_left_out(object: &Object, left_out: Vec<LeftOut>, all: bool) -> Outcome {
    let first = object.programs.iter().find(|program| program.autoload);
    for left in left_out {
        let program = object.program(&left.program);
        let is_wrong = program.is_some_and(|program| program.section_error.is_some());
        let is_wanted = !all && first.is_some_and(|first| first.name == left.program);
        if is_wrong || is_wanted {
            return Err(left.reason.into());
        }
        crate::term::warning(format_args!("left out: {}", left.reason));
    }
    Ok(())
}

/// Names made so far, which go away if the rest fails.
#[derive(Default)]
struct Pinned {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Pinned {
    fn directory(&mut self, path: &Path) -> Outcome {
        match std::fs::create_dir(path) {
            Ok(()) => self.directories.push(path.to_owned()),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::file(path.display(), &e)),
        }
        Ok(())
    }

    fn file(&mut self, shell: &mut Shell, fd: skep::runtime::Fd, path: PathBuf) -> Outcome {
        pins::pin(shell, fd, &path.to_string_lossy()).map_err(|e| e.with_status(u8::MAX))?;
        self.files.push(path);
        Ok(())
    }

    fn undo(&self) {
        self.files.iter().for_each(|file| drop(std::fs::remove_file(file)));
        self.directories.iter().for_each(|directory| drop(std::fs::remove_dir(directory)));
    }
}

fn pin_all(
    shell: &mut Shell,
    loaded: &Loaded,
    path: &Path,
    all: bool,
    wanted: &Wanted<'_>,
    pinned: &mut Pinned,
) -> Outcome {
    let mut programs = loaded.programs.iter().flatten();
    if all {
        pinned.directory(path)?;
        for program in programs {
            pin_program(shell, program, path.join(&program.linked.name), wanted.autoattach, pinned)?;
        }
    } else if let Some(first) = programs.next() {
        pin_program(shell, first, path.to_owned(), wanted.autoattach, pinned)?;
    }
    if let Some(directory) = wanted.pin_maps.map(Path::new) {
        pinned.directory(directory)?;
        for map in loaded.maps() {
            let name = map.def.name.replace('.', "_");
            pinned.file(shell, map.map.fd(), directory.join(name))?;
        }
    }
    Ok(())
}

/// Pins a program, or, with `autoattach`, the link that holds it to where its section says.
fn pin_program(
    shell: &mut Shell,
    program: &LoadedProgram,
    path: PathBuf,
    autoattach: bool,
    pinned: &mut Pinned,
) -> Outcome {
    let linked = &program.linked;
    if !autoattach || linked.attach == AttachPoint::None {
        return pinned.file(shell, program.program.fd(), path);
    }
    match program.program.attach(&linked.attach, &AttachOptions::default()) {
        Ok(link) => pinned.file(shell, link.fd(), path),
        Err(e) => {
            crate::term::warning(format_args!("program `{}` is pinned unattached: {e}", linked.name));
            pinned.file(shell, program.program.fd(), path)
        }
    }
}

fn wanted<'a>(shell: &mut Shell, words: &mut Words<'a>) -> Outcome<Wanted<'a>> {
    let mut wanted = Wanted::default();
    while !words.is_empty() {
        if words.keyword("type") {
            wanted.program_type = Some(words.need("the type")?);
        } else if words.keyword("pinmaps") {
            wanted.pin_maps = Some(words.need("the directory")?);
        } else if words.keyword("kernel_btf") {
            wanted.kernel_btf = Some(words.need("the kernel's types")?);
        } else if words.keyword("autoattach") {
            wanted.autoattach = true;
        } else if words.keyword("map") {
            let which = which(words)?;
            if wanted.maps.iter().any(|(known, _)| *known == which) {
                return Err(Failure::new("one of the object's maps is given twice"));
            }
            wanted.maps.push((which, select::map(shell, words)?.info.id));
        } else {
            let word = words.next().unwrap_or_default();
            return Err(Failure::new(format!("loading with `{word}` is not supported"))
                .hint("there are `type`, `map`, `pinmaps`, `kernel_btf` and `autoattach`"));
        }
    }
    Ok(wanted)
}

/// `idx N` or `name NAME`
fn which<'a>(words: &mut Words<'a>) -> Outcome<Which<'a>> {
    if words.keyword("idx") {
        return words.number("the map's index").map(Which::Index);
    }
    if words.keyword("name") {
        return words.need("the map's name").map(Which::Name);
    }
    Err(Failure::new("say which of the object's maps").hint("`map { idx N | name NAME } MAP`"))
}

/// Makes every program one of the type that a section name, or the type's own name, means.
fn set_type(object: &mut Object, name: &str) -> Outcome {
    let by_section = [name.to_owned(), format!("{name}/")].iter().find_map(|name| SectionDef::find(name));
    let (prog_type, attach_type) = match (by_section, ProgType::from_name(name)) {
        (Some(def), _) => (def.prog_type, def.attach_type),
        (None, Some(prog_type)) => (prog_type, None),
        (None, None) => {
            return Err(Failure::new(format!("there is no program type `{name}`"))
                .hint("give one such as `xdp`, or a section such as `cgroup/connect4`"));
        }
    };
    for program in &mut object.programs {
        program.prog_type = prog_type;
        program.expected_attach_type = attach_type;
        program.section_error = None;
    }
    Ok(())
}
