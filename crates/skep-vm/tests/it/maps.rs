//! Maps from both sides.

use std::sync::Arc;

use skep_isa::helper::id;
use skep_isa::uapi::MapType;
use skep_isa::{JmpOp, Op, Operand, Reg};
use skep_vm::map::update;
use skep_vm::{Errno, Map, MapSpec};

use crate::build::{add, call, load, load_map, mov, mov_reg, run, store};

fn map(map_type: MapType, key: u32, value: u32, entries: u32) -> Arc<Map> {
    Map::create(MapSpec::new(map_type, "m", key, value, entries)).expect("the test's map is valid")
}

#[test]
fn hash_answers_as_the_kernel() {
    let map = map(MapType::HASH, 4, 8, 2);
    let key = |n: u32| n.to_ne_bytes();
    let mut value = [0; 8];
    assert_eq!(map.lookup(&key(1), &mut value, 0), Err(Errno::ENOENT));
    assert_eq!(map.update(&key(1), &[1; 8], update::EXIST), Err(Errno::ENOENT));
    assert_eq!(map.update(&key(1), &[1; 8], update::NOEXIST), Ok(()));
    assert_eq!(map.update(&key(1), &[1; 8], update::NOEXIST), Err(Errno::EEXIST));
    assert_eq!(map.update(&key(2), &[2; 8], 0), Ok(()));
    assert_eq!(map.update(&key(3), &[3; 8], 0), Err(Errno::E2BIG));
    assert_eq!(map.update(&key(2), &[4; 8], 0), Ok(()));
    assert_eq!(map.update(&key(2), &[4; 8], 3), Err(Errno::EINVAL));
    assert_eq!(map.lookup(&key(2), &mut value, 0).map(|()| value), Ok([4; 8]));
    assert_eq!(map.delete(&key(1)), Ok(()));
    assert_eq!(map.delete(&key(1)), Err(Errno::ENOENT));
    assert_eq!(map.update(&key(3), &[3; 8], 0), Ok(()));
}

#[test]
fn programs_count_in_a_hash() {
    let map = map(MapType::HASH, 8, 8, 16);
    let program = [
        store(Reg::R10, -8, 7),
        store(Reg::R10, -16, 5),
        load_map(Reg::R1, 0),
        mov_reg(Reg::R2, Reg::R10),
        add(Reg::R2, -8),
        mov_reg(Reg::R3, Reg::R10),
        add(Reg::R3, -16),
        mov(Reg::R4, 0),
        call(id::bpf_map_update_elem),
        load_map(Reg::R1, 0),
        mov_reg(Reg::R2, Reg::R10),
        add(Reg::R2, -8),
        call(id::bpf_map_lookup_elem),
        Op::Jump { wide: true, op: JmpOp::Eq, dst: Reg::R0, src: Operand::Imm(0), off: 3 },
        load(Reg::R1, Reg::R0, 0),
        store(Reg::R0, 0, 6),
        mov_reg(Reg::R0, Reg::R1),
        Op::Exit,
    ];
    assert_eq!(run(&program, &[Arc::clone(&map)]), Ok(5));
    let mut value = [0; 8];
    map.lookup(&7u64.to_ne_bytes(), &mut value, 0).expect("the program made it");
    assert_eq!(u64::from_ne_bytes(value), 6);
}
