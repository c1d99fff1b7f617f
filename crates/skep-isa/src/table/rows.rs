//! The rows of the [table](super): every instruction of RFC 9669 and of Linux's extensions.
//!
//! `K` and `X` are the kernel's words for a constant and a register as second operand. The first text is what
//! `llvm-objdump -d` prints.

use AluOp::*;
use Imm64::{BtfId, Func, MapFd, MapFdValue, MapIdx, MapIdxValue, Value};
use JmpOp::*;
use Operand::{Imm as K, Reg as X};
use Size::*;

use super::{Field, Isa, LD_IMM64, Layout, Row, Texts, Use};
use crate::insn::{Insn, Reg};
use crate::op::{AluOp, AtomicOp, CallTarget, Endian, Imm64, JmpOp, Op, Operand, Size, Slots};

instructions! {
    // LD: wide immediates and the packet loads of classic BPF (RFC 9669 sections 5.4, 5.5).
    0x18 (dst, src = 0, imm64) V1 LoadImm64 { dst, imm: Value(imm64) }
        "r{dst} = {imm64} ll", kernel "r{dst} = {imm64}", suite "lddw r{dst}, {imm64}";
    0x18 (dst, src = 1, imm) Linux LoadImm64 { dst, imm: MapFd(imm) }
        "ld_pseudo\tr{dst}, 0x1, {uimm}", kernel "r{dst} = map[id:{uimm}]";
    0x18 (dst, src = 2, imm, unext) Linux LoadImm64 { dst, imm: MapFdValue { fd: imm, off: unext } }
        "ld_pseudo\tr{dst}, 0x2, {uimm}{more}", kernel "r{dst} = map[id:{uimm}][0]+{next}";
    0x18 (dst, src = 3, uimm, next) Linux LoadImm64 { dst, imm: BtfId { id: uimm, obj_fd: next } }
        "ld_pseudo\tr{dst}, 0x3, {uimm}{more}", kernel "r{dst} = btf[id:{uimm}]{more}";
    0x18 (dst, src = 4, imm) Linux LoadImm64 { dst, imm: Func(imm) }
        "ld_pseudo\tr{dst}, 0x4, {uimm}", kernel "r{dst} = subprog[{rel}]", also "r{dst} = {far} ll",
        also "lddw r{dst}, {far}";
    0x18 (dst, src = 5, imm) Linux LoadImm64 { dst, imm: MapIdx(imm) }
        "ld_pseudo\tr{dst}, 0x5, {uimm}", kernel "r{dst} = map[idx:{uimm}]";
    0x18 (dst, src = 6, imm, unext) Linux LoadImm64 { dst, imm: MapIdxValue { idx: imm, off: unext } }
        "ld_pseudo\tr{dst}, 0x6, {uimm}{more}", kernel "r{dst} = map[idx:{uimm}]+{next}";
    0x20 (imm) V1 LoadAbs { size: W, imm }
        "r0 = *(u32 *)skb[{imm}]", suite "ldabsw {imm}";
    0x28 (imm) V1 LoadAbs { size: H, imm }
        "r0 = *(u16 *)skb[{imm}]", suite "ldabsh {imm}";
    0x30 (imm) V1 LoadAbs { size: B, imm }
        "r0 = *(u8 *)skb[{imm}]", suite "ldabsb {imm}";
    0x40 (src, imm) V1 LoadInd { size: W, src, imm }
        "r0 = *(u32 *)skb[r{src}{ind}]", suite "ldindw r{src}, {imm}";
    0x48 (src, imm) V1 LoadInd { size: H, src, imm }
        "r0 = *(u16 *)skb[r{src}{ind}]", suite "ldindh r{src}, {imm}";
    0x50 (src, imm) V1 LoadInd { size: B, src, imm }
        "r0 = *(u8 *)skb[r{src}{ind}]", suite "ldindb r{src}, {imm}";

    // LDX: loads (sections 5.1, 5.2).
    0x61 (dst, src, off) V1 Load { size: W, signed: false, dst, base: src, off }
        "a{dst} = *(u32 *)(r{src}{off})", suite "ldxw r{dst}, [r{src}{off}]";
    0x69 (dst, src, off) V1 Load { size: H, signed: false, dst, base: src, off }
        "a{dst} = *(u16 *)(r{src}{off})", suite "ldxh r{dst}, [r{src}{off}]";
    0x71 (dst, src, off) V1 Load { size: B, signed: false, dst, base: src, off }
        "a{dst} = *(u8 *)(r{src}{off})", suite "ldxb r{dst}, [r{src}{off}]";
    0x79 (dst, src, off) V1 Load { size: DW, signed: false, dst, base: src, off }
        "r{dst} = *(u64 *)(r{src}{off})", suite "ldxdw r{dst}, [r{src}{off}]";
    0x81 (dst, src, off) V4 Load { size: W, signed: true, dst, base: src, off }
        "r{dst} = *(s32 *)(r{src}{off})", suite "ldxsw r{dst}, [r{src}{off}]";
    0x89 (dst, src, off) V4 Load { size: H, signed: true, dst, base: src, off }
        "r{dst} = *(s16 *)(r{src}{off})", suite "ldxsh r{dst}, [r{src}{off}]";
    0x91 (dst, src, off) V4 Load { size: B, signed: true, dst, base: src, off }
        "r{dst} = *(s8 *)(r{src}{off})", suite "ldxsb r{dst}, [r{src}{off}]";

    // ST: stores of immediates (section 5.1).
    0x62 (dst, off, imm) V1 Store { size: W, base: dst, off, src: K(imm) }
        "*(u32 *)(r{dst}{off}) = {imm}", suite "stw [r{dst}{off}], {imm}";
    0x6a (dst, off, imm) V1 Store { size: H, base: dst, off, src: K(imm) }
        "*(u16 *)(r{dst}{off}) = {imm}", suite "sth [r{dst}{off}], {imm}";
    0x72 (dst, off, imm) V1 Store { size: B, base: dst, off, src: K(imm) }
        "*(u8 *)(r{dst}{off}) = {imm}", suite "stb [r{dst}{off}], {imm}";
    0x7a (dst, off, imm) V1 Store { size: DW, base: dst, off, src: K(imm) }
        "*(u64 *)(r{dst}{off}) = {imm}", suite "stdw [r{dst}{off}], {imm}";

    // STX: stores of registers and atomics (sections 5.1, 5.3).
    0x63 (dst, off, src) V1 Store { size: W, base: dst, off, src: X(src) }
        "*(u32 *)(r{dst}{off}) = a{src}", suite "stxw [r{dst}{off}], r{src}";
    0x6b (dst, off, src) V1 Store { size: H, base: dst, off, src: X(src) }
        "*(u16 *)(r{dst}{off}) = a{src}", suite "stxh [r{dst}{off}], r{src}";
    0x73 (dst, off, src) V1 Store { size: B, base: dst, off, src: X(src) }
        "*(u8 *)(r{dst}{off}) = a{src}", suite "stxb [r{dst}{off}], r{src}";
    0x7b (dst, off, src) V1 Store { size: DW, base: dst, off, src: X(src) }
        "*(u64 *)(r{dst}{off}) = r{src}", suite "stxdw [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0x00) V1 Atomic { size: W, op: AtomicOp::Add { fetch: false }, base: dst, off, src }
        "lock *(u32 *)(r{dst}{off}) += a{src}", suite "lock add32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0x40) V3 Atomic { size: W, op: AtomicOp::Or { fetch: false }, base: dst, off, src }
        "lock *(u32 *)(r{dst}{off}) |= w{src}", kernel "lock *(u32 *)(r{dst}{off}) |= r{src}",
        suite "lock or32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0x50) V3 Atomic { size: W, op: AtomicOp::And { fetch: false }, base: dst, off, src }
        "lock *(u32 *)(r{dst}{off}) &= w{src}", kernel "lock *(u32 *)(r{dst}{off}) &= r{src}",
        suite "lock and32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0xa0) V3 Atomic { size: W, op: AtomicOp::Xor { fetch: false }, base: dst, off, src }
        "lock *(u32 *)(r{dst}{off}) ^= w{src}", kernel "lock *(u32 *)(r{dst}{off}) ^= r{src}",
        suite "lock xor32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0x01) V3 Atomic { size: W, op: AtomicOp::Add { fetch: true }, base: dst, off, src }
        "w{src} = atomic_fetch_add((u32 *)(r{dst}{off}), w{src})",
        kernel "r{src} = atomic_fetch_add((u32 *)(r{dst}{off}), r{src})",
        suite "lock fetch add32 [r{dst}{off}], r{src}", also "lock fetch_add32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0x41) V3 Atomic { size: W, op: AtomicOp::Or { fetch: true }, base: dst, off, src }
        "w{src} = atomic_fetch_or((u32 *)(r{dst}{off}), w{src})",
        kernel "r{src} = atomic_fetch_or((u32 *)(r{dst}{off}), r{src})",
        suite "lock fetch or32 [r{dst}{off}], r{src}", also "lock fetch_or32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0x51) V3 Atomic { size: W, op: AtomicOp::And { fetch: true }, base: dst, off, src }
        "w{src} = atomic_fetch_and((u32 *)(r{dst}{off}), w{src})",
        kernel "r{src} = atomic_fetch_and((u32 *)(r{dst}{off}), r{src})",
        suite "lock fetch and32 [r{dst}{off}], r{src}", also "lock fetch_and32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0xa1) V3 Atomic { size: W, op: AtomicOp::Xor { fetch: true }, base: dst, off, src }
        "w{src} = atomic_fetch_xor((u32 *)(r{dst}{off}), w{src})",
        kernel "r{src} = atomic_fetch_xor((u32 *)(r{dst}{off}), r{src})",
        suite "lock fetch xor32 [r{dst}{off}], r{src}", also "lock fetch_xor32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0xe1) V3 Atomic { size: W, op: AtomicOp::Xchg, base: dst, off, src }
        "w{src} = xchg32_32(r{dst}{off}, w{src})",
        kernel "r{src} = atomic_xchg((u32 *)(r{dst}{off}), r{src})",
        suite "lock xchg32 [r{dst}{off}], r{src}";
    0xc3 (dst, off, src, imm = 0xf1) V3 Atomic { size: W, op: AtomicOp::Cmpxchg, base: dst, off, src }
        "w0 = cmpxchg32_32(r{dst}{off}, w0, w{src})",
        kernel "r0 = atomic_cmpxchg((u32 *)(r{dst}{off}), r0, r{src})",
        suite "lock cmpxchg32 [r{dst}{off}], r{src}";
    0xc3 (dst, src, off, imm = 0x100) Linux LoadAcquire { size: W, dst, base: src, off }
        "w{dst} = load_acquire((u32 *)(r{src}{off}))", kernel "r{dst} = load_acquire((u32 *)(r{src}{off}))";
    0xc3 (dst, off, src, imm = 0x110) Linux StoreRelease { size: W, base: dst, off, src }
        "store_release((u32 *)(r{dst}{off}), w{src})", kernel "store_release((u32 *)(r{dst}{off}), r{src})";
    0xcb (dst, src, off, imm = 0x100) Linux LoadAcquire { size: H, dst, base: src, off }
        "w{dst} = load_acquire((u16 *)(r{src}{off}))", kernel "r{dst} = load_acquire((u16 *)(r{src}{off}))";
    0xcb (dst, off, src, imm = 0x110) Linux StoreRelease { size: H, base: dst, off, src }
        "store_release((u16 *)(r{dst}{off}), w{src})", kernel "store_release((u16 *)(r{dst}{off}), r{src})";
    0xd3 (dst, src, off, imm = 0x100) Linux LoadAcquire { size: B, dst, base: src, off }
        "w{dst} = load_acquire((u8 *)(r{src}{off}))", kernel "r{dst} = load_acquire((u8 *)(r{src}{off}))";
    0xd3 (dst, off, src, imm = 0x110) Linux StoreRelease { size: B, base: dst, off, src }
        "store_release((u8 *)(r{dst}{off}), w{src})", kernel "store_release((u8 *)(r{dst}{off}), r{src})";
    0xdb (dst, off, src, imm = 0x00) V1 Atomic { size: DW, op: AtomicOp::Add { fetch: false }, base: dst, off, src }
        "lock *(u64 *)(r{dst}{off}) += r{src}", suite "lock add [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0x40) V3 Atomic { size: DW, op: AtomicOp::Or { fetch: false }, base: dst, off, src }
        "lock *(u64 *)(r{dst}{off}) |= r{src}", suite "lock or [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0x50) V3 Atomic { size: DW, op: AtomicOp::And { fetch: false }, base: dst, off, src }
        "lock *(u64 *)(r{dst}{off}) &= r{src}", suite "lock and [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0xa0) V3 Atomic { size: DW, op: AtomicOp::Xor { fetch: false }, base: dst, off, src }
        "lock *(u64 *)(r{dst}{off}) ^= r{src}", suite "lock xor [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0x01) V3 Atomic { size: DW, op: AtomicOp::Add { fetch: true }, base: dst, off, src }
        "r{src} = atomic_fetch_add((u64 *)(r{dst}{off}), r{src})",
        kernel "r{src} = atomic64_fetch_add((u64 *)(r{dst}{off}), r{src})",
        suite "lock fetch add [r{dst}{off}], r{src}", also "lock fetch_add [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0x41) V3 Atomic { size: DW, op: AtomicOp::Or { fetch: true }, base: dst, off, src }
        "r{src} = atomic_fetch_or((u64 *)(r{dst}{off}), r{src})",
        kernel "r{src} = atomic64_fetch_or((u64 *)(r{dst}{off}), r{src})",
        suite "lock fetch or [r{dst}{off}], r{src}", also "lock fetch_or [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0x51) V3 Atomic { size: DW, op: AtomicOp::And { fetch: true }, base: dst, off, src }
        "r{src} = atomic_fetch_and((u64 *)(r{dst}{off}), r{src})",
        kernel "r{src} = atomic64_fetch_and((u64 *)(r{dst}{off}), r{src})",
        suite "lock fetch and [r{dst}{off}], r{src}", also "lock fetch_and [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0xa1) V3 Atomic { size: DW, op: AtomicOp::Xor { fetch: true }, base: dst, off, src }
        "r{src} = atomic_fetch_xor((u64 *)(r{dst}{off}), r{src})",
        kernel "r{src} = atomic64_fetch_xor((u64 *)(r{dst}{off}), r{src})",
        suite "lock fetch xor [r{dst}{off}], r{src}", also "lock fetch_xor [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0xe1) V3 Atomic { size: DW, op: AtomicOp::Xchg, base: dst, off, src }
        "r{src} = xchg_64(r{dst}{off}, r{src})",
        kernel "r{src} = atomic64_xchg((u64 *)(r{dst}{off}), r{src})",
        suite "lock xchg [r{dst}{off}], r{src}";
    0xdb (dst, off, src, imm = 0xf1) V3 Atomic { size: DW, op: AtomicOp::Cmpxchg, base: dst, off, src }
        "r0 = cmpxchg_64(r{dst}{off}, r0, r{src})",
        kernel "r0 = atomic64_cmpxchg((u64 *)(r{dst}{off}), r0, r{src})",
        suite "lock cmpxchg [r{dst}{off}], r{src}";
    0xdb (dst, src, off, imm = 0x100) Linux LoadAcquire { size: DW, dst, base: src, off }
        "r{dst} = load_acquire((u64 *)(r{src}{off}))";
    0xdb (dst, off, src, imm = 0x110) Linux StoreRelease { size: DW, base: dst, off, src }
        "store_release((u64 *)(r{dst}{off}), r{src})";

    // ALU: 32-bit arithmetic and byte order (sections 4.1, 4.2).
    0x04 (dst, imm) V1 Alu { wide: false, op: Add, dst, src: K(imm) }
        "w{dst} += {imm}", suite "add32 r{dst}, {imm}";
    0x0c (dst, src) V1 Alu { wide: false, op: Add, dst, src: X(src) }
        "w{dst} += w{src}", suite "add32 r{dst}, r{src}";
    0x14 (dst, imm) V1 Alu { wide: false, op: Sub, dst, src: K(imm) }
        "w{dst} -= {imm}", suite "sub32 r{dst}, {imm}";
    0x1c (dst, src) V1 Alu { wide: false, op: Sub, dst, src: X(src) }
        "w{dst} -= w{src}", suite "sub32 r{dst}, r{src}";
    0x24 (dst, imm) V1 Alu { wide: false, op: Mul, dst, src: K(imm) }
        "w{dst} *= {imm}", suite "mul32 r{dst}, {imm}";
    0x2c (dst, src) V1 Alu { wide: false, op: Mul, dst, src: X(src) }
        "w{dst} *= w{src}", suite "mul32 r{dst}, r{src}";
    0x34 (dst, imm) V1 Alu { wide: false, op: Div, dst, src: K(imm) }
        "w{dst} /= {imm}", suite "div32 r{dst}, {imm}";
    0x34 (dst, imm, off = 1) V4 Alu { wide: false, op: Sdiv, dst, src: K(imm) }
        "w{dst} s/= {imm}", suite "sdiv32 r{dst}, {imm}";
    0x3c (dst, src) V1 Alu { wide: false, op: Div, dst, src: X(src) }
        "w{dst} /= w{src}", suite "div32 r{dst}, r{src}";
    0x3c (dst, src, off = 1) V4 Alu { wide: false, op: Sdiv, dst, src: X(src) }
        "w{dst} s/= w{src}", suite "sdiv32 r{dst}, r{src}";
    0x44 (dst, imm) V1 Alu { wide: false, op: Or, dst, src: K(imm) }
        "w{dst} |= {imm}", suite "or32 r{dst}, {imm}";
    0x4c (dst, src) V1 Alu { wide: false, op: Or, dst, src: X(src) }
        "w{dst} |= w{src}", suite "or32 r{dst}, r{src}";
    0x54 (dst, imm) V1 Alu { wide: false, op: And, dst, src: K(imm) }
        "w{dst} &= {imm}", suite "and32 r{dst}, {imm}";
    0x5c (dst, src) V1 Alu { wide: false, op: And, dst, src: X(src) }
        "w{dst} &= w{src}", suite "and32 r{dst}, r{src}";
    0x64 (dst, imm) V1 Alu { wide: false, op: Lsh, dst, src: K(imm) }
        "w{dst} <<= {imm}", suite "lsh32 r{dst}, {imm}";
    0x6c (dst, src) V1 Alu { wide: false, op: Lsh, dst, src: X(src) }
        "w{dst} <<= w{src}", suite "lsh32 r{dst}, r{src}";
    0x74 (dst, imm) V1 Alu { wide: false, op: Rsh, dst, src: K(imm) }
        "w{dst} >>= {imm}", suite "rsh32 r{dst}, {imm}";
    0x7c (dst, src) V1 Alu { wide: false, op: Rsh, dst, src: X(src) }
        "w{dst} >>= w{src}", suite "rsh32 r{dst}, r{src}";
    0x84 (dst) V1 Neg { wide: false, dst }
        "w{dst} = -w{dst}", suite "neg32 r{dst}";
    0x94 (dst, imm) V1 Alu { wide: false, op: Mod, dst, src: K(imm) }
        "w{dst} %= {imm}", suite "mod32 r{dst}, {imm}";
    0x94 (dst, imm, off = 1) V4 Alu { wide: false, op: Smod, dst, src: K(imm) }
        "w{dst} s%= {imm}", suite "smod32 r{dst}, {imm}";
    0x9c (dst, src) V1 Alu { wide: false, op: Mod, dst, src: X(src) }
        "w{dst} %= w{src}", suite "mod32 r{dst}, r{src}";
    0x9c (dst, src, off = 1) V4 Alu { wide: false, op: Smod, dst, src: X(src) }
        "w{dst} s%= w{src}", suite "smod32 r{dst}, r{src}";
    0xa4 (dst, imm) V1 Alu { wide: false, op: Xor, dst, src: K(imm) }
        "w{dst} ^= {imm}", suite "xor32 r{dst}, {imm}";
    0xac (dst, src) V1 Alu { wide: false, op: Xor, dst, src: X(src) }
        "w{dst} ^= w{src}", suite "xor32 r{dst}, r{src}";
    0xb4 (dst, imm) V1 Alu { wide: false, op: Mov, dst, src: K(imm) }
        "w{dst} = {imm}", suite "mov32 r{dst}, {imm}";
    0xbc (dst, src) V1 Alu { wide: false, op: Mov, dst, src: X(src) }
        "w{dst} = w{src}", suite "mov32 r{dst}, r{src}";
    0xbc (dst, src, off = 8) V4 MovSx { wide: false, bits: 8, dst, src }
        "w{dst} = (s8)w{src}", suite "movsx832 r{dst}, r{src}";
    0xbc (dst, src, off = 16) V4 MovSx { wide: false, bits: 16, dst, src }
        "w{dst} = (s16)w{src}", suite "movsx1632 r{dst}, r{src}";
    0xc4 (dst, imm) V1 Alu { wide: false, op: Arsh, dst, src: K(imm) }
        "w{dst} s>>= {imm}", suite "arsh32 r{dst}, {imm}";
    0xcc (dst, src) V1 Alu { wide: false, op: Arsh, dst, src: X(src) }
        "w{dst} s>>= w{src}", suite "arsh32 r{dst}, r{src}";
    0xd4 (dst, imm = 16) V1 Endian { kind: Endian::Le, bits: 16, dst }
        "r{dst} = le16 r{dst}", suite "le16 r{dst}";
    0xd4 (dst, imm = 32) V1 Endian { kind: Endian::Le, bits: 32, dst }
        "r{dst} = le32 r{dst}", suite "le32 r{dst}";
    0xd4 (dst, imm = 64) V1 Endian { kind: Endian::Le, bits: 64, dst }
        "r{dst} = le64 r{dst}", suite "le64 r{dst}";
    0xdc (dst, imm = 16) V1 Endian { kind: Endian::Be, bits: 16, dst }
        "r{dst} = be16 r{dst}", suite "be16 r{dst}";
    0xdc (dst, imm = 32) V1 Endian { kind: Endian::Be, bits: 32, dst }
        "r{dst} = be32 r{dst}", suite "be32 r{dst}";
    0xdc (dst, imm = 64) V1 Endian { kind: Endian::Be, bits: 64, dst }
        "r{dst} = be64 r{dst}", suite "be64 r{dst}";

    // JMP: 64-bit jumps, calls, exit (section 4.3).
    0x05 (near) V1 Ja { long: false, off: near }
        "goto {to}", suite "ja {to}";
    0x15 (dst, imm, off) V1 Jump { wide: true, op: Eq, dst, src: K(imm), off }
        "if r{dst} == {cmp} goto {to}", suite "jeq r{dst}, {imm}, {to}";
    0x1d (dst, src, off) V1 Jump { wide: true, op: Eq, dst, src: X(src), off }
        "if r{dst} == r{src} goto {to}", suite "jeq r{dst}, r{src}, {to}";
    0x25 (dst, imm, off) V1 Jump { wide: true, op: Gt, dst, src: K(imm), off }
        "if r{dst} > {cmp} goto {to}", suite "jgt r{dst}, {imm}, {to}";
    0x2d (dst, src, off) V1 Jump { wide: true, op: Gt, dst, src: X(src), off }
        "if r{dst} > r{src} goto {to}", suite "jgt r{dst}, r{src}, {to}";
    0x35 (dst, imm, off) V1 Jump { wide: true, op: Ge, dst, src: K(imm), off }
        "if r{dst} >= {cmp} goto {to}", suite "jge r{dst}, {imm}, {to}";
    0x3d (dst, src, off) V1 Jump { wide: true, op: Ge, dst, src: X(src), off }
        "if r{dst} >= r{src} goto {to}", suite "jge r{dst}, r{src}, {to}";
    0x45 (dst, imm, off) V1 Jump { wide: true, op: Set, dst, src: K(imm), off }
        "if r{dst} & {cmp} goto {to}", suite "jset r{dst}, {imm}, {to}";
    0x4d (dst, src, off) V1 Jump { wide: true, op: Set, dst, src: X(src), off }
        "if r{dst} & r{src} goto {to}", suite "jset r{dst}, r{src}, {to}";
    0x55 (dst, imm, off) V1 Jump { wide: true, op: Ne, dst, src: K(imm), off }
        "if r{dst} != {cmp} goto {to}", suite "jne r{dst}, {imm}, {to}";
    0x5d (dst, src, off) V1 Jump { wide: true, op: Ne, dst, src: X(src), off }
        "if r{dst} != r{src} goto {to}", suite "jne r{dst}, r{src}, {to}";
    0x65 (dst, imm, off) V1 Jump { wide: true, op: Sgt, dst, src: K(imm), off }
        "if r{dst} s> {cmp} goto {to}", suite "jsgt r{dst}, {imm}, {to}";
    0x6d (dst, src, off) V1 Jump { wide: true, op: Sgt, dst, src: X(src), off }
        "if r{dst} s> r{src} goto {to}", suite "jsgt r{dst}, r{src}, {to}";
    0x75 (dst, imm, off) V1 Jump { wide: true, op: Sge, dst, src: K(imm), off }
        "if r{dst} s>= {cmp} goto {to}", suite "jsge r{dst}, {imm}, {to}";
    0x7d (dst, src, off) V1 Jump { wide: true, op: Sge, dst, src: X(src), off }
        "if r{dst} s>= r{src} goto {to}", suite "jsge r{dst}, r{src}, {to}";
    0x85 (src = 0, uimm) V1 Call(CallTarget::Helper(uimm))
        "call {id}", kernel "call {helper}", also "call helper {id}";
    0x85 (src = 1, imm) V1 Call(CallTarget::Local(imm))
        "call {imm}", kernel "call {far}", suite "call local {far}";
    0x85 (src = 2, off, imm) Linux Call(CallTarget::Kfunc { btf_id: imm, fd_idx: off })
        "call {imm}", kernel "call {kfunc}{fd}", suite "call runtime {imm}{fd}";
    0x8d (dst) Linux Call(CallTarget::Indirect(dst))
        "callx r{dst}";
    0x95 () V1 Exit
        "exit";
    0xa5 (dst, imm, off) V2 Jump { wide: true, op: Lt, dst, src: K(imm), off }
        "if r{dst} < {cmp} goto {to}", suite "jlt r{dst}, {imm}, {to}";
    0xad (dst, src, off) V2 Jump { wide: true, op: Lt, dst, src: X(src), off }
        "if r{dst} < r{src} goto {to}", suite "jlt r{dst}, r{src}, {to}";
    0xb5 (dst, imm, off) V2 Jump { wide: true, op: Le, dst, src: K(imm), off }
        "if r{dst} <= {cmp} goto {to}", suite "jle r{dst}, {imm}, {to}";
    0xbd (dst, src, off) V2 Jump { wide: true, op: Le, dst, src: X(src), off }
        "if r{dst} <= r{src} goto {to}", suite "jle r{dst}, r{src}, {to}";
    0xc5 (dst, imm, off) V2 Jump { wide: true, op: Slt, dst, src: K(imm), off }
        "if r{dst} s< {cmp} goto {to}", suite "jslt r{dst}, {imm}, {to}";
    0xcd (dst, src, off) V2 Jump { wide: true, op: Slt, dst, src: X(src), off }
        "if r{dst} s< r{src} goto {to}", suite "jslt r{dst}, r{src}, {to}";
    0xd5 (dst, imm, off) V2 Jump { wide: true, op: Sle, dst, src: K(imm), off }
        "if r{dst} s<= {cmp} goto {to}", suite "jsle r{dst}, {imm}, {to}";
    0xdd (dst, src, off) V2 Jump { wide: true, op: Sle, dst, src: X(src), off }
        "if r{dst} s<= r{src} goto {to}", suite "jsle r{dst}, r{src}, {to}";
    0xe5 (off) Linux MayGoto { off }
        "may_goto {to}";

    // JMP32: 32-bit jumps (section 4.3).
    0x06 (far) V4 Ja { long: true, off: far }
        "gotol {far}", suite "ja32 {far}";
    0x16 (dst, imm, off) V3 Jump { wide: false, op: Eq, dst, src: K(imm), off }
        "if w{dst} == {cmp} goto {to}", suite "jeq32 r{dst}, {imm}, {to}";
    0x1e (dst, src, off) V3 Jump { wide: false, op: Eq, dst, src: X(src), off }
        "if w{dst} == w{src} goto {to}", suite "jeq32 r{dst}, r{src}, {to}";
    0x26 (dst, imm, off) V3 Jump { wide: false, op: Gt, dst, src: K(imm), off }
        "if w{dst} > {cmp} goto {to}", suite "jgt32 r{dst}, {imm}, {to}";
    0x2e (dst, src, off) V3 Jump { wide: false, op: Gt, dst, src: X(src), off }
        "if w{dst} > w{src} goto {to}", suite "jgt32 r{dst}, r{src}, {to}";
    0x36 (dst, imm, off) V3 Jump { wide: false, op: Ge, dst, src: K(imm), off }
        "if w{dst} >= {cmp} goto {to}", suite "jge32 r{dst}, {imm}, {to}";
    0x3e (dst, src, off) V3 Jump { wide: false, op: Ge, dst, src: X(src), off }
        "if w{dst} >= w{src} goto {to}", suite "jge32 r{dst}, r{src}, {to}";
    0x46 (dst, imm, off) V3 Jump { wide: false, op: Set, dst, src: K(imm), off }
        "if w{dst} & {cmp} goto {to}", suite "jset32 r{dst}, {imm}, {to}";
    0x4e (dst, src, off) V3 Jump { wide: false, op: Set, dst, src: X(src), off }
        "if w{dst} & w{src} goto {to}", suite "jset32 r{dst}, r{src}, {to}";
    0x56 (dst, imm, off) V3 Jump { wide: false, op: Ne, dst, src: K(imm), off }
        "if w{dst} != {cmp} goto {to}", suite "jne32 r{dst}, {imm}, {to}";
    0x5e (dst, src, off) V3 Jump { wide: false, op: Ne, dst, src: X(src), off }
        "if w{dst} != w{src} goto {to}", suite "jne32 r{dst}, r{src}, {to}";
    0x66 (dst, imm, off) V3 Jump { wide: false, op: Sgt, dst, src: K(imm), off }
        "if w{dst} s> {cmp} goto {to}", suite "jsgt32 r{dst}, {imm}, {to}";
    0x6e (dst, src, off) V3 Jump { wide: false, op: Sgt, dst, src: X(src), off }
        "if w{dst} s> w{src} goto {to}", suite "jsgt32 r{dst}, r{src}, {to}";
    0x76 (dst, imm, off) V3 Jump { wide: false, op: Sge, dst, src: K(imm), off }
        "if w{dst} s>= {cmp} goto {to}", suite "jsge32 r{dst}, {imm}, {to}";
    0x7e (dst, src, off) V3 Jump { wide: false, op: Sge, dst, src: X(src), off }
        "if w{dst} s>= w{src} goto {to}", suite "jsge32 r{dst}, r{src}, {to}";
    0xa6 (dst, imm, off) V3 Jump { wide: false, op: Lt, dst, src: K(imm), off }
        "if w{dst} < {cmp} goto {to}", suite "jlt32 r{dst}, {imm}, {to}";
    0xae (dst, src, off) V3 Jump { wide: false, op: Lt, dst, src: X(src), off }
        "if w{dst} < w{src} goto {to}", suite "jlt32 r{dst}, r{src}, {to}";
    0xb6 (dst, imm, off) V3 Jump { wide: false, op: Le, dst, src: K(imm), off }
        "if w{dst} <= {cmp} goto {to}", suite "jle32 r{dst}, {imm}, {to}";
    0xbe (dst, src, off) V3 Jump { wide: false, op: Le, dst, src: X(src), off }
        "if w{dst} <= w{src} goto {to}", suite "jle32 r{dst}, r{src}, {to}";
    0xc6 (dst, imm, off) V3 Jump { wide: false, op: Slt, dst, src: K(imm), off }
        "if w{dst} s< {cmp} goto {to}", suite "jslt32 r{dst}, {imm}, {to}";
    0xce (dst, src, off) V3 Jump { wide: false, op: Slt, dst, src: X(src), off }
        "if w{dst} s< w{src} goto {to}", suite "jslt32 r{dst}, r{src}, {to}";
    0xd6 (dst, imm, off) V3 Jump { wide: false, op: Sle, dst, src: K(imm), off }
        "if w{dst} s<= {cmp} goto {to}", suite "jsle32 r{dst}, {imm}, {to}";
    0xde (dst, src, off) V3 Jump { wide: false, op: Sle, dst, src: X(src), off }
        "if w{dst} s<= w{src} goto {to}", suite "jsle32 r{dst}, r{src}, {to}";

    // ALU64: 64-bit arithmetic (sections 4.1, 4.2).
    0x07 (dst, imm) V1 Alu { wide: true, op: Add, dst, src: K(imm) }
        "r{dst} += {imm}", suite "add r{dst}, {imm}";
    0x0f (dst, src) V1 Alu { wide: true, op: Add, dst, src: X(src) }
        "r{dst} += r{src}", suite "add r{dst}, r{src}";
    0x17 (dst, imm) V1 Alu { wide: true, op: Sub, dst, src: K(imm) }
        "r{dst} -= {imm}", suite "sub r{dst}, {imm}";
    0x1f (dst, src) V1 Alu { wide: true, op: Sub, dst, src: X(src) }
        "r{dst} -= r{src}", suite "sub r{dst}, r{src}";
    0x27 (dst, imm) V1 Alu { wide: true, op: Mul, dst, src: K(imm) }
        "r{dst} *= {imm}", suite "mul r{dst}, {imm}";
    0x2f (dst, src) V1 Alu { wide: true, op: Mul, dst, src: X(src) }
        "r{dst} *= r{src}", suite "mul r{dst}, r{src}";
    0x37 (dst, imm) V1 Alu { wide: true, op: Div, dst, src: K(imm) }
        "r{dst} /= {imm}", suite "div r{dst}, {imm}";
    0x37 (dst, imm, off = 1) V4 Alu { wide: true, op: Sdiv, dst, src: K(imm) }
        "r{dst} s/= {imm}", suite "sdiv r{dst}, {imm}";
    0x3f (dst, src) V1 Alu { wide: true, op: Div, dst, src: X(src) }
        "r{dst} /= r{src}", suite "div r{dst}, r{src}";
    0x3f (dst, src, off = 1) V4 Alu { wide: true, op: Sdiv, dst, src: X(src) }
        "r{dst} s/= r{src}", suite "sdiv r{dst}, r{src}";
    0x47 (dst, imm) V1 Alu { wide: true, op: Or, dst, src: K(imm) }
        "r{dst} |= {imm}", suite "or r{dst}, {imm}";
    0x4f (dst, src) V1 Alu { wide: true, op: Or, dst, src: X(src) }
        "r{dst} |= r{src}", suite "or r{dst}, r{src}";
    0x57 (dst, imm) V1 Alu { wide: true, op: And, dst, src: K(imm) }
        "r{dst} &= {imm}", suite "and r{dst}, {imm}";
    0x5f (dst, src) V1 Alu { wide: true, op: And, dst, src: X(src) }
        "r{dst} &= r{src}", suite "and r{dst}, r{src}";
    0x67 (dst, imm) V1 Alu { wide: true, op: Lsh, dst, src: K(imm) }
        "r{dst} <<= {imm}", suite "lsh r{dst}, {imm}";
    0x6f (dst, src) V1 Alu { wide: true, op: Lsh, dst, src: X(src) }
        "r{dst} <<= r{src}", suite "lsh r{dst}, r{src}";
    0x77 (dst, imm) V1 Alu { wide: true, op: Rsh, dst, src: K(imm) }
        "r{dst} >>= {imm}", suite "rsh r{dst}, {imm}";
    0x7f (dst, src) V1 Alu { wide: true, op: Rsh, dst, src: X(src) }
        "r{dst} >>= r{src}", suite "rsh r{dst}, r{src}";
    0x87 (dst) V1 Neg { wide: true, dst }
        "r{dst} = -r{dst}", suite "neg r{dst}";
    0x97 (dst, imm) V1 Alu { wide: true, op: Mod, dst, src: K(imm) }
        "r{dst} %= {imm}", suite "mod r{dst}, {imm}";
    0x97 (dst, imm, off = 1) V4 Alu { wide: true, op: Smod, dst, src: K(imm) }
        "r{dst} s%= {imm}", suite "smod r{dst}, {imm}";
    0x9f (dst, src) V1 Alu { wide: true, op: Mod, dst, src: X(src) }
        "r{dst} %= r{src}", suite "mod r{dst}, r{src}";
    0x9f (dst, src, off = 1) V4 Alu { wide: true, op: Smod, dst, src: X(src) }
        "r{dst} s%= r{src}", suite "smod r{dst}, r{src}";
    0xa7 (dst, imm) V1 Alu { wide: true, op: Xor, dst, src: K(imm) }
        "r{dst} ^= {imm}", suite "xor r{dst}, {imm}";
    0xaf (dst, src) V1 Alu { wide: true, op: Xor, dst, src: X(src) }
        "r{dst} ^= r{src}", suite "xor r{dst}, r{src}";
    0xb7 (dst, imm) V1 Alu { wide: true, op: Mov, dst, src: K(imm) }
        "r{dst} = {imm}", suite "mov r{dst}, {imm}";
    0xbf (dst, src) V1 Alu { wide: true, op: Mov, dst, src: X(src) }
        "r{dst} = r{src}", suite "mov r{dst}, r{src}";
    0xbf (dst, src, off = 8) V4 MovSx { wide: true, bits: 8, dst, src }
        "r{dst} = (s8)r{src}", suite "movsx864 r{dst}, r{src}";
    0xbf (dst, src, off = 16) V4 MovSx { wide: true, bits: 16, dst, src }
        "r{dst} = (s16)r{src}", suite "movsx1664 r{dst}, r{src}";
    0xbf (dst, src, off = 32) V4 MovSx { wide: true, bits: 32, dst, src }
        "r{dst} = (s32)r{src}", suite "movsx3264 r{dst}, r{src}";
    0xbf (dst, src, off = 1, uimm) Linux AddrSpaceCast { dst, src, imm: uimm }
        "r{dst} = addr_space_cast(r{src}, {high}, {low})";
    0xc7 (dst, imm) V1 Alu { wide: true, op: Arsh, dst, src: K(imm) }
        "r{dst} s>>= {imm}", suite "arsh r{dst}, {imm}";
    0xcf (dst, src) V1 Alu { wide: true, op: Arsh, dst, src: X(src) }
        "r{dst} s>>= r{src}", suite "arsh r{dst}, r{src}";
    0xd7 (dst, imm = 16) V4 Endian { kind: Endian::Swap, bits: 16, dst }
        "r{dst} = bswap16 r{dst}", suite "bswap16 r{dst}", also "swap16 r{dst}";
    0xd7 (dst, imm = 32) V4 Endian { kind: Endian::Swap, bits: 32, dst }
        "r{dst} = bswap32 r{dst}", suite "bswap32 r{dst}", also "swap32 r{dst}";
    0xd7 (dst, imm = 64) V4 Endian { kind: Endian::Swap, bits: 64, dst }
        "r{dst} = bswap64 r{dst}", suite "bswap64 r{dst}", also "swap64 r{dst}";
}
