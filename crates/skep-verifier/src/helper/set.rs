//! Sets of helpers: written by name, asked by number.

use skep_isa::helper::ALL;

/// A set of helpers, a bit for each number.
#[derive(Clone, Copy)]
pub(crate) struct Set([u64; 4]);

impl Set {
    /// No helper.
    pub(crate) const NONE: Self = Self([0; 4]);

    /// The helpers of these names, which are without `bpf_`. A constant with a name that no helper has does not compile.
    pub(crate) const fn of(names: &[&str]) -> Self {
        let mut set = Self::NONE;
        let mut i = 0;
        while i < names.len() {
            let id = number(names[i].as_bytes());
            set.0[id as usize / 64] |= 1 << (id % 64);
            i += 1;
        }
        set
    }

    /// Is the helper of this number in it?
    pub(crate) const fn contains(&self, id: u32) -> bool {
        let word = id as usize / 64;
        word < self.0.len() && self.0[word] >> (id % 64) & 1 != 0
    }
}

const fn number(name: &[u8]) -> u32 {
    let mut i = 0;
    while i < ALL.len() {
        if is_named(ALL[i].name.as_bytes(), name) {
            return ALL[i].id;
        }
        i += 1;
    }
    panic!("no helper has this name")
}

/// Is `full` the name `short` after `bpf_`? The last letters differ most often, so they are compared first.
const fn is_named(full: &[u8], short: &[u8]) -> bool {
    const PREFIX: usize = "bpf_".len();
    let mut left = short.len();
    if full.len() != left + PREFIX {
        return false;
    }
    while left > 0 {
        left -= 1;
        if full[PREFIX + left] != short[left] {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_isa::helper::id;

    #[test]
    fn a_set_holds_what_it_names() {
        const SET: Set = Set::of(&["map_lookup_elem", "ktime_get_ns", "get_branch_snapshot"]);
        let held: Vec<u32> = (0..1000).filter(|&id| SET.contains(id)).collect();
        assert_eq!(held, [id::bpf_map_lookup_elem, id::bpf_ktime_get_ns, id::bpf_get_branch_snapshot]);
    }
}
