//! Sets of processors that maps own: there may be so many at a time, so those that nobody frees would be missed.

use std::sync::Arc;

use skep_isa::helper::id;
use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{CallTarget, Imm64, JmpOp, Op, Operand, Reg};
use skep_verifier::SpecialField;
use skep_vm::{Map, MapRef, MapSpec, NoEnv, Program, ProgramInfo, Resolve};

use crate::build::{add, call, load_map, mov, mov_reg, slots, store};

/// More than there may be at a time.
const MANY: u64 = (1 << 15) + 100;

struct References(Arc<Map>);

impl Resolve for References {
    fn map(&self, _: MapRef) -> Option<Arc<Map>> {
        Some(Arc::clone(&self.0))
    }

    fn kfunc(&self, _: i32, _: i16) -> Option<String> {
        Some("bpf_cpumask_create".to_owned())
    }
}

fn owners(entries: u32) -> Arc<Map> {
    let kptr = SpecialField { name: "kptr", offset: 0, bytes: 8 };
    let spec = MapSpec::new(MapType::HASH, "owners", 8, 8, entries).with_fields(vec![kptr]);
    Map::create(spec).expect("the test's map is valid")
}

/// Puts a new set into the element whose key the context has, and does something then; answers 1 when there was none.
fn keeping(map: &Arc<Map>, then: &[Op]) -> Program {
    let key = |dst| mov_reg(dst, Reg::R7);
    let mut ops = vec![mov_reg(Reg::R7, Reg::R1), store(Reg::R10, -8, 0)];
    ops.extend([load_map(Reg::R1, 0), key(Reg::R2), mov_reg(Reg::R3, Reg::R10), add(Reg::R3, -8)]);
    ops.extend([mov(Reg::R4, 0), call(id::bpf_map_update_elem)]);
    ops.extend([
        load_map(Reg::R1, 0),
        key(Reg::R2),
        call(id::bpf_map_lookup_elem),
        mov_reg(Reg::R6, Reg::R0),
    ]);
    ops.push(Op::Call(CallTarget::Kfunc { btf_id: 1, fd_idx: 0 }));
    let rest = [mov_reg(Reg::R1, Reg::R6), mov_reg(Reg::R2, Reg::R0), call(id::bpf_kptr_xchg)];
    let made = Op::Jump { wide: true, op: JmpOp::Ne, dst: Reg::R0, src: Operand::Imm(0), off: 2 };
    ops.extend([made, mov(Reg::R0, 1), Op::Exit]);
    ops.extend(rest);
    ops.extend_from_slice(then);
    ops.extend([mov(Reg::R0, 0), Op::Exit]);
    let info = ProgramInfo::new("test", ProgType::RAW_TRACEPOINT);
    Program::prepare(&slots(&ops), &References(Arc::clone(map)), info).expect("the test prepares")
}

fn run(program: &Program, key: u64) -> u64 {
    program.run(&mut key.to_ne_bytes(), &mut NoEnv).expect("it runs")
}

#[test]
fn deleted_elements_free_what_they_own() {
    let map = owners(4);
    let delete = [
        Op::LoadImm64 { dst: Reg::R1, imm: Imm64::MapIdx(0) },
        mov_reg(Reg::R2, Reg::R7),
        call(id::bpf_map_delete_elem),
    ];
    let program = keeping(&map, &delete);
    assert!((0..MANY).all(|_| run(&program, 5) == 0));
}

#[test]
fn maps_free_what_they_own() {
    const ENTRIES: u32 = 1 << 12;
    for _ in 0..MANY.div_ceil(ENTRIES.into()) {
        let program = keeping(&owners(ENTRIES), &[]);
        assert!((0..ENTRIES.into()).all(|key| run(&program, key) == 0));
    }
}
