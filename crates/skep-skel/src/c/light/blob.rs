//! The data that a loader works on: one value of an array map, which holds attributes, names, code and initial values.
//!
//! What is zero to begin with stands behind everything else, so that the header need not spell it out. Its place is known when
//! all the rest is there; until then a [`Place`] only says how far into it something is.

/// Everything begins at a multiple of this, so that any of it can be loaded and stored as numbers.
const ALIGN: usize = 8;

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Bytes from the beginning.
    Data(usize),
    /// Bytes from the beginning of the zeroes.
    Zero(usize),
}

/// The data so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Blob {
    data: Vec<u8>,
    zeroes: usize,
}

impl Blob {
    /// Adds some bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Place {
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(ALIGN), 0);
        Place::Data(at)
    }

    /// Adds a text, with the zero that ends it.
    pub(super) fn text(&mut self, text: &str) -> Place {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.add(&bytes)
    }

    /// Adds some zeroes.
    pub(super) fn zeroes(&mut self, bytes: usize) -> Place {
        let at = self.zeroes;
        self.zeroes = at.saturating_add(bytes).next_multiple_of(ALIGN);
        Place::Zero(at)
    }

    /// Where it is from the beginning, once nothing is added any more.
    pub(super) fn offset(&self, place: Place) -> usize {
        match place {
            Place::Data(at) => at,
            Place::Zero(at) => self.data.len().saturating_add(at),
        }
    }

    /// All bytes, zeroes among them.
    pub(super) fn len(&self) -> usize {
        self.data.len().saturating_add(self.zeroes)
    }

    /// The bytes in front of the zeroes.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }
}

impl Place {
    /// So many bytes further.
    pub(super) fn plus(self, bytes: usize) -> Self {
        match self {
            Self::Data(at) => Self::Data(at + bytes),
            Self::Zero(at) => Self::Zero(at + bytes),
        }
    }
}
