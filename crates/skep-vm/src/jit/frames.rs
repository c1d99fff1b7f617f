//! Takes the frame out of functions that have nothing in it, which Cranelift gives every function on x86-64.
//!
//! Entering and leaving a frame is most of what the shortest programs do. A function that calls nothing, saves nothing and
//! has nothing on the stack only pushes and pops the frame pointer.

use cranelift_codegen::ir::{Function, Opcode};

/// `push rbp; mov rbp, rsp`.
const ENTER: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
/// `mov rsp, rbp; pop rbp; ret`.
const LEAVE: [u8; 5] = [0x48, 0x89, 0xec, 0x5d, 0xc3];
/// `sub rsp, …`, by which room is made.
const MAKE_ROOM: [[u8; 3]; 2] = [[0x48, 0x83, 0xec], [0x48, 0x81, 0xec]];

/// Nothing in four bytes; and returning, in five.
const NOTHING: [u8; 4] = [0x0f, 0x1f, 0x40, 0x00];
const RETURN: [u8; 5] = [0xc3, 0xcc, 0xcc, 0xcc, 0xcc];

/// Changes a function's code, if it is such a function.
pub(super) fn take_out(func: &Function, code: &mut [u8]) {
    if cfg!(not(target_arch = "x86_64")) || !is_plain(func) {
        return;
    }
    let Some((enter, rest)) = code.split_first_chunk_mut() else { return };
    let makes_room = rest.first_chunk().is_some_and(|first| MAKE_ROOM.contains(first));
    let Some((_, leave)) = rest.split_last_chunk_mut() else { return };
    if *enter == ENTER && *leave == LEAVE && !makes_room {
        (*enter, *leave) = (NOTHING, RETURN);
    }
}

/// Does it call nothing, and return in one place? There it leaves its frame.
fn is_plain(func: &Function) -> bool {
    let insts = || func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    let opcode = |inst| func.dfg.insts[inst].opcode();
    !insts().any(|inst| opcode(inst).is_call())
        && insts().filter(|inst| opcode(*inst) == Opcode::Return).count() == 1
}
