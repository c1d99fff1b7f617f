//! Names that C accepts, each once in its name space.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::TypeId;

/// FxHash: names come by the ten thousand, and nobody gains by making them collide in a text for himself.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.write_u64(chunk.try_into().map_or(0, u64::from_le_bytes));
        }
        chunks.remainder().iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Names given so far. Tags have one name space, typedefs, enumerators and functions another.
#[derive(Default)]
pub(super) struct Names<'a> {
    tags: Space<'a>,
    identifiers: Space<'a>,
}

#[derive(Default)]
struct Space<'a> {
    /// How often each name was asked for.
    uses: HashMap<&'a str, u32, BuildHasherDefault<NameHasher>>,
    /// The use that a type has made of its name, by id: the first one, the second one, …; 0 before that.
    nth: Vec<u32>,
}

impl<'a> Names<'a> {
    /// Room for the names of so many types.
    pub(super) fn with_room_for(types: usize) -> Self {
        let space = |uses| Space {
            uses: HashMap::with_capacity_and_hasher(uses, BuildHasherDefault::default()),
            nth: vec![0; types],
        };
        // Of a kernel's types, a ninth are structures and the like, and there is about an enumerator for every fourth.
        Self { tags: space(types / 8), identifiers: space(types / 4) }
    }

    /// The tag of a structure, union or enumeration, the same each time.
    pub(super) fn tag(&mut self, id: TypeId, name: &'a str) -> Cow<'a, str> {
        self.tags.of(id, name)
    }

    /// The name of a typedef, the same each time.
    pub(super) fn typedef(&mut self, id: TypeId, name: &'a str) -> Cow<'a, str> {
        self.identifiers.of(id, name)
    }

    /// A name for an enumerator or a function.
    pub(super) fn identifier(&mut self, name: &'a str) -> Cow<'a, str> {
        self.identifiers.next(name)
    }
}

impl<'a> Space<'a> {
    fn of(&mut self, id: TypeId, name: &'a str) -> Cow<'a, str> {
        let at = id.0 as usize;
        if self.nth.len() <= at {
            self.nth.resize(at + 1, 0);
        }
        if self.nth[at] == 0 {
            self.nth[at] = self.count(name);
        }
        numbered(name, self.nth[at])
    }

    fn next(&mut self, name: &'a str) -> Cow<'a, str> {
        let nth = self.count(name);
        numbered(name, nth)
    }

    fn count(&mut self, name: &'a str) -> u32 {
        let uses = self.uses.entry(name).or_default();
        *uses += 1;
        *uses
    }
}

fn numbered(name: &str, nth: u32) -> Cow<'_, str> {
    match nth {
        1 => valid(name),
        nth => format!("{}___{nth}", valid(name)).into(),
    }
}

/// The name with everything that C does not accept replaced; other languages have names like `Option<u8>`.
pub(super) fn valid(name: &str) -> Cow<'_, str> {
    static ACCEPTED: [bool; 256] = {
        let mut accepted = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            accepted[byte] =
                (byte as u8).is_ascii_alphanumeric() || byte == b'_' as usize || byte == b'$' as usize;
            byte += 1;
        }
        accepted
    };
    let accepted = |byte: u8| ACCEPTED[usize::from(byte)];
    if name.bytes().all(accepted) && !name.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return name.into();
    }
    let accepted = |c: char| u8::try_from(c).is_ok_and(accepted);
    name.chars()
        .fold(String::from("_"), |mut text, c| {
            text.push(if accepted(c) { c } else { '_' });
            text
        })
        .into()
}
