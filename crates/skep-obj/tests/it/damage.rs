//! Damaged objects: whatever the bytes, reading and linking answer, and nothing panics.

use skep_obj::{Object, Target};

use crate::fixture::{bytes, names};

/// A small generator of numbers (xorshift), so that every run damages the same bytes.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Reads, and does with the object what can be done with it.
fn exercise(bytes: &[u8]) -> bool {
    let Ok(object) = Object::read(bytes, "damaged.bpf.o") else {
        return false;
    };
    for variable in &object.variables {
        let _ = object.variable_bytes(&variable.name);
    }
    if let Ok(linked) = object.link(&Target::default()) {
        for program in &linked.programs {
            assert_eq!(program.func_info_bytes().len() % 8, 0);
            for insn in 0..program.insns.len() {
                let _ = program.source_line(insn);
            }
            for reference in &program.map_refs {
                assert!(reference.map < linked.maps.len() && reference.insn + 1 < program.insns.len());
            }
        }
    }
    if let Ok(linked) = object.link(&Target { deferred: true, ..Target::default() }) {
        for program in &linked.programs {
            let slots = program.insns.len();
            assert!(program.deferred.core_relos.iter().all(|relo| (relo.insn_off as usize) < slots * 8));
            let externs = &program.deferred.externs;
            assert!(externs.iter().all(|r| r.insn < slots && r.ext < linked.externs.len()));
        }
    }
    true
}

#[test]
fn flipped_bits() {
    let mut numbers = Numbers(0x5eed_0b7e_c7ab_1e55);
    let (mut read, mut refused) = (0, 0);
    for name in names() {
        let whole = bytes(&name);
        for _ in 0..600 {
            let mut damaged = whole.clone();
            for _ in 0..1 + numbers.below(3) {
                let at = numbers.below(damaged.len());
                damaged[at] ^= 1 << numbers.below(8);
            }
            *if exercise(&damaged) { &mut read } else { &mut refused } += 1;
        }
    }
    assert!(read > 100 && refused > 100, "both must happen: {read} read, {refused} refused");
}

#[test]
fn extreme_words() {
    let words = [0, 1, 7, 8, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, u32::MAX];
    let mut numbers = Numbers(0x0ff5_e75a_11da_7a00);
    for name in names() {
        let whole = bytes(&name);
        for at in (0..whole.len() - 4).step_by(4) {
            let mut damaged = whole.clone();
            damaged[at..at + 4].copy_from_slice(&words[numbers.below(words.len())].to_le_bytes());
            exercise(&damaged);
        }
    }
}

#[test]
fn missing_ends() {
    for name in names() {
        let whole = bytes(&name);
        for len in (0..whole.len()).step_by(37) {
            assert!(!exercise(&whole[..len]), "{name}: {len} of {} bytes", whole.len());
        }
    }
}
