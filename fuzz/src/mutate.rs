//! Changes to programs: a few, so that much of a program keeps its meaning, or so many that nothing does.

use std::sync::Arc;

use skep_btf::Btf;
use skep_isa::uapi::{AttachType, MapType, ProgType};
use skep_isa::{Insn, Reg};
use skep_verifier::{Input, MapInfo};

use crate::rng::Rng;

/// Everything of a program that a mutation may change.
#[derive(Clone)]
pub struct Mutant {
    /// Its type.
    pub prog_type: ProgType,
    /// Its attach type.
    pub attach_type: AttachType,
    /// Under a GPL-compatible licence?
    pub gpl: bool,
    /// May it sleep?
    pub sleepable: bool,
    /// Creation flags.
    pub flags: u32,
    /// Instructions.
    pub insns: Vec<Insn>,
    /// Maps.
    pub maps: Vec<MapInfo>,
    /// Types of functions.
    pub func_info: Vec<(u32, u32)>,
    /// Types.
    pub btf: Option<Arc<Btf>>,
}

impl Mutant {
    /// An unchanged copy.
    pub fn of(input: &Input<'_>) -> Self {
        Self {
            prog_type: input.prog_type,
            attach_type: input.attach_type,
            gpl: input.gpl,
            sleepable: input.sleepable,
            flags: input.flags,
            insns: input.insns.to_vec(),
            maps: input.maps.to_vec(),
            func_info: input.func_info.to_vec(),
            btf: input.btf.clone(),
        }
    }

    /// The copy as the verifier takes it; what mutations do not touch is `base`'s.
    pub fn input<'a>(&'a self, base: &Input<'a>) -> Input<'a> {
        Input {
            prog_type: self.prog_type,
            attach_type: self.attach_type,
            gpl: self.gpl,
            sleepable: self.sleepable,
            flags: self.flags,
            insns: &self.insns,
            maps: &self.maps,
            func_info: &self.func_info,
            btf: self.btf.clone(),
            ..base.clone()
        }
    }

    /// Makes one to eight changes, mostly few and mostly of instructions.
    pub fn change(&mut self, rng: &mut Rng) {
        let changes = 1 + rng.below(3) * rng.below(4);
        for _ in 0..changes {
            match rng.below(32) {
                0 => self.change_program(rng),
                1 => self.change_map(rng),
                2 => self.change_function(rng),
                3 => self.change_types(rng),
                _ => change_code(&mut self.insns, rng),
            }
        }
    }

    fn change_program(&mut self, rng: &mut Rng) {
        match rng.below(5) {
            0 => self.prog_type = ProgType(rng.below(34) as u32),
            1 => self.attach_type = AttachType(rng.below(60) as u32),
            2 => self.gpl = !self.gpl,
            3 => self.sleepable = !self.sleepable,
            _ => self.flags ^= 1 << rng.below(8),
        }
    }

    fn change_map(&mut self, rng: &mut Rng) {
        if self.maps.is_empty() {
            return;
        }
        let at = rng.below(self.maps.len());
        let (number, other) = (rng.number() as u32, rng.below(self.maps.len()));
        match rng.below(7) {
            0 => self.maps[at].ty = MapType(rng.below(36) as u32),
            1 => self.maps[at].key_size = number,
            2 => self.maps[at].value_size = number,
            3 => self.maps[at].max_entries = number,
            4 => self.maps[at].flags ^= 1 << rng.below(19),
            5 => self.maps[at].value_type = rng.below(200) as u32,
            _ => {
                let mut inner = self.maps[other].clone();
                inner.inner = None;
                self.maps[at].inner = Some(Box::new(inner));
            }
        }
    }

    fn change_function(&mut self, rng: &mut Rng) {
        let len = self.func_info.len();
        match rng.below(3) {
            _ if len == 0 => self.func_info.push((0, rng.below(100) as u32)),
            0 => drop(self.func_info.remove(rng.below(len))),
            1 => self.func_info[rng.below(len)].1 = rng.below(200) as u32,
            _ => self.func_info[rng.below(len)].0 = rng.below(self.insns.len() + 2) as u32,
        }
    }

    /// Changes a few bytes behind the header of the program's types.
    fn change_types(&mut self, rng: &mut Rng) {
        let Some(btf) = &self.btf else { return };
        let mut bytes = btf.bytes().to_vec();
        for _ in 0..1 + rng.below(4) {
            let at = 24 + rng.below(bytes.len().saturating_sub(24));
            let Some(byte) = bytes.get_mut(at) else { return };
            *byte = if rng.one_in(2) { rng.next() as u8 } else { byte.wrapping_add(1) };
        }
        if let Ok(changed) = Btf::parse(Arc::new(bytes)) {
            self.btf = Some(Arc::new(changed));
        }
    }
}

/// Changes, moves, copies or drops an instruction or a few.
pub fn change_code(insns: &mut Vec<Insn>, rng: &mut Rng) {
    let len = insns.len();
    if len == 0 {
        return insns.push(anything(rng));
    }
    let (at, other) = (rng.below(len), rng.below(len));
    match rng.below(16) {
        0 => insns.swap(at, other),
        1 => insns[at] = insns[other],
        2 => drop(insns.remove(at)),
        3 => insns.insert(at, insns[other]),
        4 => insns[at] = Insn::new(0x05, Reg::R0, Reg::R0, 0, 0),
        5 => insns[at] = anything(rng),
        6 => repeat(insns, at, rng),
        7 if rng.one_in(8) => insns.truncate(at),
        _ => change_field(&mut insns[at], rng),
    }
}

/// Puts a stretch of the program in at another place.
fn repeat(insns: &mut Vec<Insn>, at: usize, rng: &mut Rng) {
    let len = (1 + rng.below(8)).min(insns.len() - at);
    let stretch: Vec<Insn> = insns[at..at + len].to_vec();
    let to = rng.below(insns.len());
    insns.splice(to..to, stretch);
}

/// Gives one field another value.
fn change_field(insn: &mut Insn, rng: &mut Rng) {
    match rng.below(8) {
        0 => insn.code ^= 1 << rng.below(8),
        1 => insn.code = rng.next() as u8,
        2 => insn.regs = (insn.regs & 0xf0) | rng.below(12) as u8,
        3 => insn.regs = (insn.regs & 0x0f) | ((rng.below(12) as u8) << 4),
        4 => insn.off = insn.off.wrapping_add(rng.pick(&[1, -1, 8, -8, 4, -2])),
        5 => insn.off = rng.number() as i16,
        6 => insn.imm = insn.imm.wrapping_add(rng.pick(&[1, -1, 8, -8, 4, -2])),
        _ => insn.imm = rng.number() as i32,
    }
}

/// Bytes that may or may not be an instruction.
pub fn anything(rng: &mut Rng) -> Insn {
    let mut insn = Insn::from_le_bytes(rng.next().to_le_bytes());
    insn.regs = rng.below(11) as u8 | ((rng.below(11) as u8) << 4);
    if rng.one_in(2) {
        insn.off = rng.below(24) as i16 - 12;
    }
    if rng.one_in(2) {
        insn.imm = rng.number() as i32;
    }
    insn
}
