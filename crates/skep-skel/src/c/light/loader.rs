//! The loader: a program of type `syscall` that does with bpf(2) what libbpf would do, and the data that it works on.
//!
//! It loads the types, creates and fills the maps, loads the programs, and writes their descriptors into its context. All
//! descriptors are kept in the blob meanwhile, in one array: maps by their numbers first, which is how the programs' instructions
//! name them (`fd_array`), then the types, then all others. At the end what the context got is taken out, and what is left is
//! closed; after a failure that is everything.
//!
//! The context is `struct bpf_loader_ctx` of libbpf's `skel_internal.h`, a `struct bpf_map_desc` for each map that has a name
//! in C, and a `struct bpf_prog_desc` for each program.

use skep_isa::uapi::Cmd;
use skep_isa::{Insn, Reg};
use skep_obj::error::Result;
use skep_obj::map::{MapDef, SlotTarget};
use skep_obj::{Linked, LinkedProgram};

use super::attr;
use super::blob::{Blob, Place};
use super::code::{ATTR, CTX, Code, Helper, If, RESULT, Size, too_much};
use super::symbols::Symbols;

/// Bytes of `struct bpf_loader_ctx`, and where it says what the loader is to do.
const CTX_BYTES: usize = 24;
const CTX_FLAGS: i16 = 4;
const CTX_LOG_LEVEL: i16 = 8;
const CTX_LOG_SIZE: i16 = 12;
const CTX_LOG_BUF: i16 = 16;
/// The context's pointers are the kernel's own (`BPF_SKEL_KERNEL`).
const SKEL_KERNEL: i32 = 1;
/// Bytes of `struct bpf_map_desc`, and what it has beside the descriptor at its beginning.
const MAP_DESC_BYTES: usize = 16;
const MAP_DESC_MAX_ENTRIES: usize = 4;
const MAP_DESC_INITIAL_VALUE: usize = 8;
/// Bytes of `struct bpf_prog_desc`, which is a descriptor.
const PROG_DESC_BYTES: usize = 4;
/// Bytes of a descriptor.
const FD_BYTES: usize = 4;
/// Bytes of an instruction, and where its immediate value is.
pub(super) const INSN_BYTES: usize = Insn::SIZE;

/// A loader that is finished: a program of type `syscall` that may sleep, and the value of an array map with one element, whose
/// descriptor is the first of the program's `fd_array`. Run once, it answers 0, or a negative number of an error.
#[derive(Clone, Debug)]
pub struct Loader {
    /// The program.
    pub insns: Vec<Insn>,
    /// The value, as far as it is not zero.
    pub data: Vec<u8>,
    /// Bytes of the value, zeroes at the end among them.
    pub data_bytes: usize,
    /// Bytes of the context, which begins with this number and is zero otherwise.
    pub context_bytes: usize,
    /// Maps that the context describes.
    maps: usize,
}

impl Loader {
    /// The descriptors that a loader has left in its context: those of maps, then those of programs.
    pub fn descriptors(&self, context: &[u8]) -> Vec<i32> {
        let maps = (0..self.maps).map(|map| CTX_BYTES + map * MAP_DESC_BYTES);
        let programs = (CTX_BYTES + self.maps * MAP_DESC_BYTES..self.context_bytes).step_by(PROG_DESC_BYTES);
        let read = |at: usize| context.get(at..)?.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        maps.chain(programs).filter_map(read).filter(|&fd| fd > 0).collect()
    }
}

/// What is known about the context.
pub(super) struct Context<'a> {
    /// By number of the map its number among those that the context describes.
    pub(super) maps: &'a [Option<usize>],
    /// How many maps the context describes.
    pub(super) described: usize,
}

impl Context<'_> {
    /// Where a field of a map's description is.
    fn map(&self, map: usize, field: usize) -> Option<i16> {
        let number = self.maps.get(map).copied().flatten()?;
        i16::try_from(CTX_BYTES + number * MAP_DESC_BYTES + field).ok()
    }

    /// Instructions reach no further into the context than 32,767 bytes.
    fn check(&self, linked: &Linked) -> Result<()> {
        match i16::try_from(self.bytes(linked.programs.len())) {
            Ok(_) => Ok(()),
            Err(_) => Err(too_much()),
        }
    }

    /// Bytes of the context.
    fn bytes(&self, programs: usize) -> usize {
        CTX_BYTES + self.described * MAP_DESC_BYTES + programs * PROG_DESC_BYTES
    }

    /// Where a program's descriptor goes.
    fn program(&self, program: usize) -> Option<i16> {
        i16::try_from(self.bytes(program)).ok()
    }
}

/// Writes the loader of what is linked.
pub(super) fn build(linked: &Linked, context: &Context<'_>) -> Result<Loader> {
    context.check(linked)?;
    let mut work = Work::new(linked);
    work.code.copy(CTX, Reg::R1);
    work.types();
    for (number, def) in wanted_maps(linked) {
        work.map(number, def, context);
    }
    let symbols = Symbols::look_up(&mut work, linked);
    work.refer(|target| matches!(target, SlotTarget::Map(_)));
    for (number, program) in wanted_programs(linked) {
        work.program(number, program, &symbols)?;
    }
    work.refer(|target| matches!(target, SlotTarget::Program(_)));
    work.finish(context)
}

/// The maps that are created, with their numbers.
fn wanted_maps(linked: &Linked) -> impl Iterator<Item = (usize, &MapDef)> {
    linked.maps.iter().enumerate().filter(|(_, def)| def.autocreate)
}

/// The programs that are loaded, with their numbers.
pub(super) fn wanted_programs(linked: &Linked) -> impl Iterator<Item = (usize, &LinkedProgram)> {
    linked.programs.iter().enumerate().filter(|(_, program)| program.autoload)
}

/// A loader under work.
pub(super) struct Work<'a> {
    linked: &'a Linked,
    pub(super) code: Code,
    pub(super) blob: Blob,
    /// Descriptors, by their places in the array.
    fds: Place,
    used: usize,
    /// By number of the program the place of its descriptor.
    programs: Vec<Option<usize>>,
    /// The key 0.
    zero: Place,
}

impl<'a> Work<'a> {
    fn new(linked: &'a Linked) -> Self {
        let mut blob = Blob::default();
        // For each map one and its template; for each program one, what it is attached to and every extern.
        let most = linked.maps.len() * 2 + 1 + linked.programs.len() * 2 + linked.externs.len();
        let fds = blob.zeroes(most * FD_BYTES);
        let zero = blob.zeroes(FD_BYTES);
        let used = linked.maps.len() + 1;
        let programs = vec![None; linked.programs.len()];
        Self { linked, code: Code::default(), blob, fds, used, programs, zero }
    }

    /// The place of the types' descriptor.
    fn types_fd(&self) -> usize {
        self.linked.maps.len()
    }

    /// A place for one more descriptor.
    pub(super) fn fd(&mut self) -> usize {
        self.used += 1;
        self.used - 1
    }

    /// Where a descriptor is.
    pub(super) fn fd_place(&self, number: usize) -> Place {
        self.fds.plus(number * FD_BYTES)
    }

    /// Begins an attribute.
    fn attr(&mut self, bytes: &[u8]) -> Place {
        let place = self.blob.add(bytes);
        self.code.address(ATTR, place);
        place
    }

    /// Fills in the address of something in the blob.
    fn fill_address(&mut self, field: i16, place: Place) {
        self.code.address(Reg::R0, place);
        self.code.store(Size::Double, ATTR, field, Reg::R0);
    }

    /// Fills in a descriptor.
    fn fill_fd(&mut self, field: i16, number: usize) {
        self.code.address(Reg::R0, self.fd_place(number));
        self.code.load(Size::Word, Reg::R0, Reg::R0, 0);
        self.code.store(Size::Word, ATTR, field, Reg::R0);
    }

    /// Fills in where the caller wants the verifier's log.
    fn fill_log(&mut self, level: i16, size: i16, buf: i16) {
        for (bytes, from, to) in [
            (Size::Word, CTX_LOG_LEVEL, level),
            (Size::Word, CTX_LOG_SIZE, size),
            (Size::Double, CTX_LOG_BUF, buf),
        ] {
            self.code.load(bytes, Reg::R0, CTX, from);
            self.code.store(bytes, ATTR, to, Reg::R0);
        }
    }

    /// Gives the attribute to the kernel.
    fn command(&mut self, cmd: Cmd, bytes: usize) {
        self.code.set(Reg::R1, cmd.0 as i32);
        self.code.copy(Reg::R2, ATTR);
        self.code.set(Reg::R3, bytes as i32);
        self.code.call(Helper::SysBpf);
        self.code.copy(RESULT, Reg::R0);
        self.code.fail_if_negative();
    }

    /// Keeps the descriptor that the last command answered.
    fn keep(&mut self, number: usize) {
        self.code.address(Reg::R1, self.fd_place(number));
        self.code.store(Size::Word, Reg::R1, 0, RESULT);
    }

    /// Loads the object's types.
    fn types(&mut self) {
        let Some(btf) = &self.linked.btf else { return };
        let data = self.blob.add(btf.bytes());
        let attr = attr::btf_load(btf.bytes().len());
        self.attr(&attr);
        self.fill_address(attr::btf::DATA, data);
        self.fill_log(attr::btf::LOG_LEVEL, attr::btf::LOG_SIZE, attr::btf::LOG_BUF);
        self.command(Cmd::BTF_LOAD, attr.len());
        self.keep(self.types_fd());
    }

    /// Creates a map, and fills it with its initial value.
    fn map(&mut self, number: usize, def: &MapDef, context: &Context<'_>) {
        let template = def.inner.as_deref().map(|inner| {
            let fd = self.fd();
            self.create(fd, inner, None, None);
            fd
        });
        self.create(number, def, template, context.map(number, MAP_DESC_MAX_ENTRIES));
        if def.is_data() {
            self.initial_value(number, def, context.map(number, MAP_DESC_INITIAL_VALUE));
        }
        if def.is_frozen() {
            let attr = attr::map_freeze();
            self.attr(&attr);
            self.fill_fd(attr::element::MAP_FD, number);
            self.command(Cmd::MAP_FREEZE, attr.len());
        }
    }

    /// Creates a map. Where the context has another number of elements than 0, it counts.
    fn create(&mut self, fd: usize, def: &MapDef, template: Option<usize>, max_entries: Option<i16>) {
        let attr = attr::map_create(def);
        self.attr(&attr);
        if self.linked.btf.is_some() && attr::types_of(def).is_some() {
            self.fill_fd(attr::create::BTF_FD, self.types_fd());
        }
        if let Some(template) = template {
            self.fill_fd(attr::create::INNER_MAP_FD, template);
        }
        if let Some(from) = max_entries {
            self.code.load(Size::Word, Reg::R0, CTX, from);
            let as_it_is = self.code.jump_if(If::Equal, Reg::R0, 0);
            self.code.store(Size::Word, ATTR, attr::create::MAX_ENTRIES, Reg::R0);
            self.code.land(as_it_is);
        }
        self.command(Cmd::MAP_CREATE, attr.len());
        self.keep(fd);
    }

    /// Writes the value of a map of variables: the caller's, or else the object's.
    fn initial_value(&mut self, number: usize, def: &MapDef, given: Option<i16>) {
        if def.data.is_empty() && given.is_none() {
            return;
        }
        let value = match def.data.iter().any(|&byte| byte != 0) {
            true => self.blob.add(&def.data),
            false => self.blob.zeroes(def.value_size as usize),
        };
        if let Some(from) = given {
            self.copy_given(from, value, def.value_size);
        }
        self.update(number, self.zero, value);
    }

    /// Copies a value from where the context says, if it does.
    fn copy_given(&mut self, from: i16, to: Place, bytes: u32) {
        let code = &mut self.code;
        code.load(Size::Double, Reg::R3, CTX, from);
        let none = code.jump_if(If::Equal, Reg::R3, 0);
        code.address(Reg::R1, to);
        code.set(Reg::R2, bytes as i32);
        code.load(Size::Word, Reg::R0, CTX, CTX_FLAGS);
        code.and(Reg::R0, SKEL_KERNEL);
        let kernel = code.jump_if(If::NotEqual, Reg::R0, 0);
        code.call(Helper::CopyFromUser);
        let copied = code.jump();
        code.land(kernel);
        code.call(Helper::ProbeReadKernel);
        code.land(copied);
        code.copy(RESULT, Reg::R0);
        code.fail_if_negative();
        code.land(none);
    }

    /// Writes an element.
    fn update(&mut self, map: usize, key: Place, value: Place) {
        let attr = attr::map_update();
        self.attr(&attr);
        self.fill_fd(attr::element::MAP_FD, map);
        self.fill_address(attr::element::KEY, key);
        self.fill_address(attr::element::VALUE, value);
        self.command(Cmd::MAP_UPDATE_ELEM, attr.len());
    }

    /// Writes the maps' initial references to maps or to programs; the value is a descriptor, which is where it was kept.
    fn refer(&mut self, which: impl Fn(&SlotTarget) -> bool) {
        for (number, def) in wanted_maps(self.linked) {
            for slot in def.slots.iter().filter(|slot| which(&slot.target)) {
                let fd = match slot.target {
                    SlotTarget::Map(map) => {
                        self.linked.maps.get(map).filter(|def| def.autocreate).map(|_| map)
                    }
                    SlotTarget::Program(program) => self.programs.get(program).copied().flatten(),
                };
                if let Some(fd) = fd {
                    let key = self.blob.add(&slot.at.to_le_bytes());
                    self.update(number, key, self.fd_place(fd));
                }
            }
        }
    }

    /// Loads a program.
    fn program(&mut self, number: usize, program: &LinkedProgram, symbols: &Symbols) -> Result<()> {
        let (functions, lines) = (program.func_info_bytes(), program.line_info_bytes());
        let insns = self.blob.add(&attr::insns(&program.insns));
        let license = self.blob.text(&self.linked.license);
        let attr = attr::prog_load(program, functions.len(), lines.len());
        self.attr(&attr);
        self.fill_address(attr::load::INSNS, insns);
        self.fill_address(attr::load::LICENSE, license);
        self.fill_address(attr::load::FD_ARRAY, self.fds);
        for (field, bytes) in [
            (attr::load::FUNC_INFO, functions),
            (attr::load::LINE_INFO, lines),
            (attr::load::CORE_RELOS, attr::core_relos(program)),
        ] {
            if !bytes.is_empty() {
                let place = self.blob.add(&bytes);
                self.fill_address(field, place);
            }
        }
        if self.linked.btf.is_some() {
            self.fill_fd(attr::load::BTF_FD, self.types_fd());
        }
        self.fill_log(attr::load::LOG_LEVEL, attr::load::LOG_SIZE, attr::load::LOG_BUF);
        if let Some(hook) = &program.deferred.hook {
            self.hook(hook);
        }
        for reference in &program.deferred.externs {
            let place = insns.plus(reference.insn * INSN_BYTES);
            symbols.fill(self, reference.ext, place, program.insns[reference.insn]);
        }
        self.command(Cmd::PROG_LOAD, attr.len());
        let fd = self.fd();
        self.keep(fd);
        self.programs[number] = Some(fd);
        Ok(())
    }

    /// Fills in the type that the program attaches to.
    fn hook(&mut self, hook: &skep_obj::link::Wanted) {
        super::symbols::find(self, hook);
        self.code.fail_if_negative();
        self.code.store(Size::Word, ATTR, attr::load::ATTACH_BTF_ID, RESULT);
        self.code.shift_right(RESULT, 32);
        self.code.store(Size::Word, ATTR, attr::load::ATTACH_BTF_OBJ_FD, RESULT);
        let fd = self.fd();
        self.keep(fd);
    }

    /// Gives the descriptors of maps and programs to the context, and closes all others; the latter is where failures end, too.
    fn finish(mut self, context: &Context<'_>) -> Result<Loader> {
        for (number, _) in wanted_maps(self.linked) {
            if let Some(to) = context.map(number, 0) {
                self.give(number, to);
            }
        }
        for (number, fd) in self.programs.clone().into_iter().enumerate() {
            if let (Some(fd), Some(to)) = (fd, context.program(number)) {
                self.give(fd, to);
            }
        }
        self.code.set(RESULT, 0);
        self.code.land_failures()?;
        for number in 0..self.used {
            self.code.address(Reg::R1, self.fd_place(number));
            self.code.load(Size::Word, Reg::R1, Reg::R1, 0);
            let none = self.code.jump_if(If::Equal, Reg::R1, 0);
            self.code.call(Helper::SysClose);
            self.code.land(none);
        }
        self.code.exit();
        let insns = self.code.finish(&self.blob)?;
        let maps = context.described;
        Ok(Loader {
            insns,
            data: self.blob.data().to_vec(),
            data_bytes: self.blob.len(),
            context_bytes: context.bytes(self.programs.len()),
            maps,
        })
    }

    /// Moves a descriptor to the context.
    fn give(&mut self, fd: usize, to: i16) {
        self.code.address(Reg::R1, self.fd_place(fd));
        self.code.load(Size::Word, Reg::R0, Reg::R1, 0);
        self.code.store(Size::Word, CTX, to, Reg::R0);
        self.code.store_imm(Size::Word, Reg::R1, 0, 0);
    }
}
