//! Names of the kernel's functions, for the calls of a translated program.

use std::collections::BTreeMap;
use std::fs;

use skep_isa::text::Style;
use skep_isa::{CallTarget, Imm64, Insn, Op};

/// What calls in a translated program lead to.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// Functions of the kernel are called by their distance from here.
    base: u64,
    names: BTreeMap<u64, String>,
}

impl Symbols {
    /// Looks up what `insns` call, and the functions at `addresses`.
    pub(crate) fn find(insns: &[Insn], addresses: &[u64]) -> Self {
        let calls: Vec<i64> = calls(insns).collect();
        if calls.is_empty() && addresses.is_empty() {
            return Self::default();
        }
        let table = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let symbol = |line: &str| {
            let (address, rest) = line.split_once(' ')?;
            let name = rest.get(2..)?.split('\t').next()?;
            Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
        };
        let base = table.lines().find(|line| line.ends_with(" __bpf_call_base")).and_then(symbol);
        let base = base.map_or(0, |(address, _)| address);
        let mut wanted: Vec<u64> = calls.iter().map(|&imm| base.wrapping_add_signed(imm)).collect();
        wanted.extend(addresses);
        wanted.sort_unstable();
        let names =
            table.lines().filter_map(symbol).filter(|(at, _)| wanted.binary_search(at).is_ok()).collect();
        Self { base, names }
    }

    /// The function at an address.
    pub(crate) fn at(&self, address: u64) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }
}

/// The distances of the kernel's functions that a translated program calls.
fn calls(insns: &[Insn]) -> impl Iterator<Item = i64> {
    (0..insns.len()).filter_map(|pc| match skep_isa::decode_xlated(insns, pc) {
        Ok(Op::Call(target)) => distance(target),
        _ => None,
    })
}

/// How far from where calls are counted a function of the kernel is; kernels that call by any distance have its type there.
fn distance(target: CallTarget) -> Option<i64> {
    match target {
        CallTarget::Helper(id) => Some(i64::from(id.cast_signed())),
        CallTarget::Kfunc { btf_id, .. } => Some(i64::from(btf_id)),
        CallTarget::Local(_) | CallTarget::Indirect(_) => None,
    }
}

impl skep_isa::disasm::Names for Symbols {
    fn call(&self, target: CallTarget) -> Option<String> {
        self.at(self.base.wrapping_add_signed(distance(target)?)).map(str::to_owned)
    }

    /// The kernel puts ids in place of descriptors.
    fn imm64(&self, imm: Imm64) -> Option<String> {
        match imm {
            Imm64::MapFd(id) => Some(format!("map[id:{id}]")),
            Imm64::MapFdValue { fd, off } => Some(format!("map[id:{fd}][0]+{off}")),
            Imm64::Func(off) => Some(format!("subprog[{off:+}]")),
            _ => None,
        }
    }
}

/// The dialect of listings.
pub(crate) const STYLE: Style = Style::Kernel;
