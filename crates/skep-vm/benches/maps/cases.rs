//! What is measured: maps, what they hold, and one operation on each, as text and as calls.

use skep_isa::Insn;
use skep_isa::asm::assemble;
use skep_isa::uapi::MapType;
use skep_vm::MapSpec;
use skep_vm::map::flags;

/// How the key of an operation is made from a number below [`Case::keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The number in four bytes.
    Index,
    /// The number in eight bytes.
    Word,
    /// The prefix of this number, of 16 to 31 bits of an IPv4 address.
    Prefix,
    /// All 32 bits of a random IPv4 address.
    Address,
}

/// What is done with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Nothing: what is taken off the others.
    Nothing,
    /// `bpf_map_lookup_elem`, and a load of the value.
    Lookup,
    /// `bpf_map_update_elem`.
    Update,
    /// `bpf_ringbuf_reserve`, a store, and `bpf_ringbuf_submit`.
    Reserve,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) spec: MapSpec,
    /// Elements that the map is filled with.
    pub(crate) filled: u32,
    /// Numbers that keys are made from.
    pub(crate) keys: u32,
    pub(crate) key: Key,
    pub(crate) operation: Operation,
}

/// Every case; those of one map stand together.
pub(crate) fn all() -> Vec<Case> {
    use Key::{Address, Index, Prefix, Word};
    use Operation::{Lookup, Reserve, Update};
    let spec = |map_type, key, entries| MapSpec::new(map_type, "m", key, 8, entries);
    let array = spec(MapType::ARRAY, 4, 1024);
    let percpu_array = spec(MapType::PERCPU_ARRAY, 4, 1024);
    let hash = spec(MapType::HASH, 8, 10_000);
    let large = spec(MapType::HASH, 8, 1_000_000);
    let percpu = spec(MapType::PERCPU_HASH, 8, 10_000);
    let lru = spec(MapType::LRU_HASH, 8, 10_000);
    let trie = spec(MapType::LPM_TRIE, 8, 100_000).flags(flags::NO_PREALLOC);
    let ring = MapSpec::new(MapType::RINGBUF, "m", 0, 0, 1 << 20);
    let case = |name, spec: &MapSpec, filled, keys, key, operation| {
        let spec = spec.clone();
        Case { name, spec, filled, keys, key, operation }
    };
    vec![
        case("array look-up", &array, 0, 1024, Index, Lookup),
        case("array update", &array, 0, 1024, Index, Update),
        case("per-CPU array look-up", &percpu_array, 0, 1024, Index, Lookup),
        case("hash look-up, 10,000", &hash, 10_000, 10_000, Word, Lookup),
        case("hash update, 10,000", &hash, 10_000, 10_000, Word, Update),
        case("hash look-up, missing", &hash, 10_000, 1 << 31, Word, Lookup),
        case("hash look-up, 1,000,000", &large, 1_000_000, 1_000_000, Word, Lookup),
        case("hash update, 1,000,000", &large, 1_000_000, 1_000_000, Word, Update),
        case("per-CPU hash look-up", &percpu, 10_000, 10_000, Word, Lookup),
        case("per-CPU hash update", &percpu, 10_000, 10_000, Word, Update),
        case("LRU hash look-up", &lru, 9_000, 9_000, Word, Lookup),
        case("LRU hash update", &lru, 9_000, 9_000, Word, Update),
        case("LRU hash update, evicting", &lru, 9_000, 1 << 20, Word, Update),
        case("LPM trie look-up", &trie, 100_000, 1, Address, Lookup),
        case("LPM trie update", &trie, 100_000, 100_000, Prefix, Update),
        case("ring buffer reserve+submit", &ring, 0, 1, Word, Reserve),
    ]
}

/// A factor of full period modulo 2^64, and what is added to the product.
pub(crate) const FACTOR: u64 = 0x5851_f42d_4c95_7f2d;
pub(crate) const SUMMAND: u32 = 12345;
/// Spreads prefix numbers over addresses.
pub(crate) const SPREAD: u32 = 0x9e37_79b1;

impl Case {
    /// The same keys and nothing done with them.
    pub(crate) fn empty(&self) -> Self {
        Self { operation: Operation::Nothing, ..self.clone() }
    }

    /// The key of a number, and of the random number that it was made from, as a program makes it.
    pub(crate) fn key_bytes(&self, number: u32, random: u64) -> [u8; 8] {
        match self.key {
            Key::Index | Key::Word => u64::from(number).to_ne_bytes(),
            Key::Prefix => [16 + (number & 15), number.wrapping_mul(SPREAD).to_be()]
                .map(u32::to_ne_bytes)
                .as_flattened()
                .try_into()
                .expect("invariant: eight bytes"),
            Key::Address => [32, random as u32]
                .map(u32::to_ne_bytes)
                .as_flattened()
                .try_into()
                .expect("invariant: eight bytes"),
        }
    }

    /// Bytes of a key.
    pub(crate) fn key_size(&self) -> usize {
        self.spec.key_size as usize
    }

    /// A program that does it `iterations` times, on the map of index 0. The field `mark` of its context is 0, which the
    /// kernel's verifier does not know: it would walk through every iteration.
    pub(crate) fn insns(&self, iterations: u32) -> Vec<Insn> {
        let (key, operation) = (self.key_text(), self.operation_text());
        let text = format!(
            "r6 = {SUMMAND}\nr7 = {FACTOR:#x} ll\nr8 = *(u32 *)(r1 + 8)\n*(u64 *)(r10 - 16) = 7\n\
             loop: {key}\n{operation}\nr8 += 1\nif r8 >= {iterations} goto done\nmay_goto done\ngoto loop\n\
             done: r0 = 0\nexit\n"
        );
        assemble(&text).unwrap_or_else(|e| panic!("{e}: {text}")).insns
    }

    /// Makes the next key, at `r10 - 8`.
    fn key_text(&self) -> String {
        let number =
            format!("r6 *= r7\nr6 += {SUMMAND}\nr1 = r6\nr1 >>= 32\nr1 *= {}\nr1 >>= 32\n", self.keys);
        number
            + &match self.key {
                Key::Index | Key::Word => "*(u64 *)(r10 - 8) = r1".to_owned(),
                Key::Prefix => format!(
                    "r2 = r1\nr2 &= 15\nr2 += 16\n*(u32 *)(r10 - 8) = r2\nw1 *= {}\nr1 = be32 r1\n*(u32 *)(r10 - 4) = r1",
                    SPREAD as i32
                ),
                Key::Address => "*(u32 *)(r10 - 8) = 32\n*(u32 *)(r10 - 4) = r6".to_owned(),
            }
    }

    fn operation_text(&self) -> &'static str {
        match self.operation {
            Operation::Nothing => "",
            Operation::Lookup => {
                "r1 = map[idx:0]\nr2 = r10\nr2 += -8\ncall 1\nif r0 == 0 goto missing\n\
                 r0 = *(u64 *)(r0 + 0)\nmissing:"
            }
            Operation::Update => "r1 = map[idx:0]\nr2 = r10\nr2 += -8\nr3 = r10\nr3 += -16\nr4 = 0\ncall 2",
            Operation::Reserve => {
                "r1 = map[idx:0]\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto full\n*(u64 *)(r0 + 0) = r6\n\
                 r1 = r0\nr2 = 0\ncall 132\nfull:"
            }
        }
    }
}
