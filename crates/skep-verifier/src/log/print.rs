//! Registers, slots and frames as the kernel's log shows them (`kernel/bpf/log.c`, Linux 6.18).

use std::fmt::Write as _;

use crate::reg::{ADD_CONST, Base, BtfRef, Detail, DynptrKind, IterState, Reg};
use crate::scalar::Scalar;
use crate::state::{Frame, Ref, Slot, SlotKind, State};
use crate::types::Types;

/// Names for what registers have only numbers of.
pub(crate) struct Names<'a> {
    /// Name, bytes of a key and bytes of a value of each map.
    pub(crate) maps: Vec<(String, u32, u32)>,
    /// The types at hand.
    pub(crate) types: &'a Types,
}

impl Names<'_> {
    fn ty(&self, ty: BtfRef) -> &str {
        self.types.name(ty)
    }
}

/// Registers and slots touched since they were shown last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Touched {
    /// A bit for each register.
    pub(crate) regs: u16,
    /// A bit for each slot.
    pub(crate) slots: u64,
}

impl Touched {
    /// Everything.
    pub(crate) const ALL: Self = Self { regs: u16::MAX, slots: u64::MAX };

    /// Nothing?
    pub(crate) fn is_empty(self) -> bool {
        self.regs == 0 && self.slots == 0
    }
}

/// Appends the touched part of a frame, each item after a blank, and ends the line.
pub(crate) fn frame(out: &mut String, state: &State, number: usize, touched: Touched, names: &Names<'_>) {
    let Some(frame) = state.frames.get(number) else { return };
    if number > 0 {
        put(out, format_args!(" frame{number}:"));
    }
    for (i, reg) in frame.regs.iter().enumerate() {
        if reg.ty.base != Base::NotInit && touched.regs & (1 << i) != 0 {
            put(out, format_args!(" R{i}="));
            register(out, reg, number, names);
        }
    }
    slots(out, frame, number, touched, names);
    references(out, &state.refs);
    if frame.in_callback {
        out.push_str(" cb");
    }
    if frame.in_async_callback {
        out.push_str(" async_cb");
    }
    out.push('\n');
}

fn references(out: &mut String, refs: &[Ref]) {
    for (i, reference) in refs.iter().filter(|r| r.id != 0).enumerate() {
        let lead = if i == 0 { " refs=" } else { "," };
        put(out, format_args!("{lead}{}", reference.id));
    }
}

fn slots(out: &mut String, frame: &Frame, number: usize, touched: Touched, names: &Names<'_>) {
    let mut skip = false;
    for (i, slot) in frame.stack.iter().enumerate() {
        let is_touched = i >= 64 || touched.slots & (1 << i) != 0;
        let unused = slot.kind.iter().all(|kind| *kind == SlotKind::Invalid);
        if std::mem::take(&mut skip) || !is_touched || unused {
            continue;
        }
        let off = -8 * (i as i64 + 1);
        match slot.kind[7] {
            SlotKind::Spill => {
                let spilled = slot.kind.iter().position(|kind| *kind == SlotKind::Spill).unwrap_or(0);
                put(out, format_args!(" fp{off}={}", letters(&slot.kind[..spilled])));
                register(out, &slot.reg, number, names);
            }
            // Two slots make one dynptr; what it is stands at the second, the lower one.
            SlotKind::Dynptr => {
                let first = frame.stack.get(i + 1).unwrap_or(slot);
                dynptr(out, first, off - 8);
                skip = true;
            }
            SlotKind::Iter => iterator(out, slot, off, names),
            _ => put(out, format_args!(" fp{off}={}", letters(&slot.kind))),
        }
    }
}

fn letters(kinds: &[SlotKind]) -> String {
    let letter = |kind: &SlotKind| match kind {
        SlotKind::Invalid => '?',
        SlotKind::Spill => 'r',
        SlotKind::Misc => 'm',
        SlotKind::Zero => '0',
        SlotKind::Dynptr => 'd',
        SlotKind::Iter => 'i',
        SlotKind::IrqFlag => 'f',
    };
    kinds.iter().map(letter).collect()
}

fn dynptr(out: &mut String, slot: &Slot, off: i64) {
    let kind = match slot.reg.detail {
        Detail::Dynptr { kind, .. } => dynptr_kind(kind),
        _ => "<invalid>",
    };
    put(out, format_args!(" fp{off}=dynptr_{kind}("));
    let mut list = List::new(out);
    if slot.reg.id != 0 {
        list.item(format_args!("id={}", slot.reg.id));
    }
    if slot.reg.ref_obj_id != 0 {
        list.item(format_args!("ref_id={}", slot.reg.ref_obj_id));
    }
    // The kernel keeps this mark where other registers have the dynptr they belong to, and shows it as such.
    if matches!(slot.reg.detail, Detail::Dynptr { first: true, .. }) {
        list.item(format_args!("dynptr_id=1"));
    }
    out.push(')');
}

fn dynptr_kind(kind: DynptrKind) -> &'static str {
    match kind {
        DynptrKind::Local => "local",
        DynptrKind::Ringbuf => "ringbuf",
        DynptrKind::Skb => "skb",
        DynptrKind::Xdp => "xdp",
        DynptrKind::SkbMeta => "skb_meta",
        DynptrKind::File => "file",
    }
}

fn iterator(out: &mut String, slot: &Slot, off: i64, names: &Names<'_>) {
    // An iterator of several slots is shown at the one that has its reference.
    let Detail::Iter { ty, state, depth } = slot.reg.detail else { return };
    if slot.reg.ref_obj_id == 0 {
        return;
    }
    let state = match state {
        IterState::Active => "active",
        IterState::Drained => "drained",
        IterState::Invalid => "<invalid>",
    };
    let name = names.ty(ty);
    let name = name.strip_prefix("bpf_iter_").unwrap_or(name);
    put(
        out,
        format_args!(" fp{off}=iter_{name}(ref_id={},state={state},depth={depth})", slot.reg.ref_obj_id),
    );
}

/// Appends a register; `frame` is the one it is in.
pub(crate) fn register(out: &mut String, reg: &Reg, frame: usize, names: &Names<'_>) {
    if reg.is_scalar() {
        if reg.precise {
            out.push('P');
        }
        if reg.val.is_const() {
            signed(out, reg.val.bits.value as i64);
            return;
        }
    }
    put(out, format_args!("{}", reg.ty));
    match reg.ty.base {
        Base::Arena => return,
        Base::Stack => {
            if reg.frame() != frame {
                put(out, format_args!("[{}]", reg.frame()));
            }
            if reg.val.is_const() {
                signed(out, (reg.val.bits.value as i64).wrapping_add(i64::from(reg.off)));
                return;
            }
        }
        Base::BtfId => out.push_str(reg.btf().map_or("", |ty| names.ty(ty))),
        _ => {}
    }
    out.push('(');
    let mut list = List::new(out);
    identity(&mut list, reg);
    if let Detail::Map { map, .. } = reg.detail
        && let Some((name, key, value)) = names.maps.get(map as usize)
    {
        // The kernel keeps 15 bytes of a name.
        if !name.is_empty() {
            list.item(format_args!("map={}", name.get(..15).unwrap_or(name)));
        }
        list.item(format_args!("ks={key},vs={value}"));
    }
    position(&mut list, reg);
    value(&mut list, &reg.val);
    out.push(')');
}

fn identity(list: &mut List<'_>, reg: &Reg) {
    if reg.id != 0 {
        list.item(format_args!("id={}", reg.id & !ADD_CONST));
    }
    if reg.id & ADD_CONST != 0 {
        put(list.out, format_args!("{:+}", reg.off));
    }
    if reg.ref_obj_id != 0 {
        list.item(format_args!("ref_obj_id={}", reg.ref_obj_id));
    }
    if reg.ty.is_non_owning() {
        list.item(format_args!("non_own_ref"));
    }
}

fn position(list: &mut List<'_>, reg: &Reg) {
    if !reg.is_scalar() && reg.off != 0 {
        list.item(format_args!("off="));
        signed(list.out, i64::from(reg.off));
    }
    if reg.ty.is_packet() {
        list.item(format_args!("r="));
        unsigned(list.out, i64::from(reg.range()) as u64);
    }
    if reg.ty.base == Base::Mem {
        list.item(format_args!("sz="));
        unsigned(list.out, u64::from(reg.mem_size()));
    }
    if let (Base::Dynptr, Detail::Dynptr { kind, .. }) = (reg.ty.base, reg.detail) {
        list.item(format_args!("type={}", dynptr_kind(kind)));
    }
}

fn value(list: &mut List<'_>, val: &Scalar) {
    if val.is_const() {
        // Of a pointer: what was added beside the fixed offset.
        if val.bits.value != 0 {
            list.item(format_args!("imm="));
            signed(list.out, val.bits.value as i64);
        }
        return;
    }
    ranges(list, val);
    if !(val.bits.value == 0 && val.bits.mask == u64::MAX) {
        list.item(format_args!("var_off=({}; {})", Hex(val.bits.value), Hex(val.bits.mask)));
    }
}

/// The bounds that say something; those of equal value are named together: `smax=umax=255`.
fn ranges(list: &mut List<'_>, val: &Scalar) {
    let half = |x: i32| if is_short(i64::from(x)) { i64::from(x) as u64 } else { u64::from(x as u32) };
    let bounds = [
        ("smin", val.smin as u64, val.smin == i64::MIN),
        ("smax", val.smax as u64, val.smax == i64::MAX),
        ("umin", val.umin, val.umin == 0),
        ("umax", val.umax, val.umax == u64::MAX),
        ("smin32", half(val.smin32), val.smin32 == i32::MIN),
        ("smax32", half(val.smax32), val.smax32 == i32::MAX),
        ("umin32", u64::from(val.umin32), val.umin32 == 0),
        ("umax32", u64::from(val.umax32), val.umax32 == u32::MAX),
    ];
    let mut shown = bounds.map(|(_, _, says_nothing)| says_nothing);
    let is_signed = |i: usize| bounds[i].0.starts_with('s');
    let is_negative = |i: usize| is_signed(i) && (bounds[i].1 as i64) < 0;
    for i in 0..bounds.len() {
        if shown[i] {
            continue;
        }
        list.item(format_args!("{}=", bounds[i].0));
        for j in (i + 2..bounds.len()).step_by(2) {
            if !shown[j] && bounds[j].1 == bounds[i].1 && is_negative(i) == is_negative(j) {
                shown[j] = true;
                put(list.out, format_args!("{}=", bounds[j].0));
            }
        }
        if is_signed(i) {
            signed(list.out, bounds[i].1 as i64);
        } else {
            unsigned(list.out, bounds[i].1);
        }
    }
}

/// Numbers of more than 16 bits are written in hexadecimal.
fn is_short(x: i64) -> bool {
    i16::try_from(x).is_ok()
}

fn signed(out: &mut String, x: i64) {
    if is_short(x) {
        put(out, format_args!("{x}"));
    } else {
        put(out, format_args!("{}", Hex(x as u64)));
    }
}

fn unsigned(out: &mut String, x: u64) {
    if x <= u64::from(u16::MAX) {
        put(out, format_args!("{x}"));
    } else {
        put(out, format_args!("{}", Hex(x)));
    }
}

/// Hexadecimal as the kernel writes it; zero is written `0x0` there as in C's other dialects.
struct Hex(u64);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Items between commas.
struct List<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> List<'o> {
    fn new(out: &'o mut String) -> Self {
        Self { out, first: true }
    }

    fn item(&mut self, item: std::fmt::Arguments<'_>) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        put(self.out, item);
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("invariant: a string takes any text");
}
