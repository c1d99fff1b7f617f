//! Ring buffer records that compiled code has reserved and not yet given back. There are few at a time, so the first ones
//! take no allocation.

/// One of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LentRecord {
    /// Where its first byte is.
    pub(crate) start: u64,
    /// Bytes that the program asked for.
    pub(crate) len: u64,
    /// Address of whom it belongs to, and what that knows it by.
    pub(crate) owner: u64,
    pub(crate) position: u64,
}

const FEW: usize = 2;

/// All of them.
#[derive(Default)]
pub(crate) struct LentRecords {
    few: [LentRecord; FEW],
    count: usize,
    more: Vec<LentRecord>,
}

impl LentRecords {
    #[inline]
    pub(crate) fn put(&mut self, record: LentRecord) {
        match self.few.get_mut(self.count) {
            Some(place) => {
                *place = record;
                self.count += 1;
            }
            None => self.more.push(record),
        }
    }

    /// Takes out that which begins here.
    #[inline]
    pub(crate) fn take(&mut self, start: u64) -> Option<LentRecord> {
        let few = self.few.get_mut(..self.count)?;
        if let Some(at) = few.iter().rposition(|record| record.start == start) {
            let record = few[at];
            self.count -= 1;
            // The one reserved last is the first to go, mostly: moving it onto itself would wait for its writing.
            if at != self.count {
                self.few[at] = self.few[self.count];
            }
            return Some(record);
        }
        let at = self.more.iter().position(|record| record.start == start)?;
        Some(self.more.swap_remove(at))
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count + self.more.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LentRecord> {
        self.few[..self.count].iter().chain(&self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_once() {
        let mut records = LentRecords::default();
        let starts = [8, 16, 24, 32];
        for start in starts {
            records.put(LentRecord { start, len: start, ..LentRecord::default() });
        }
        for (taken, start) in [16, 32, 8, 24].into_iter().enumerate() {
            assert_eq!(records.len(), starts.len() - taken);
            assert!(records.iter().any(|record| record.start == start));
            assert_eq!(records.take(start).map(|record| record.len), Some(start));
            assert!(records.take(start).is_none());
        }
        assert_eq!(records.iter().count(), 0);
    }
}
