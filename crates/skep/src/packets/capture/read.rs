//! Bytes of a capture in order, with the position for messages.

use std::io::{self, BufRead};

use super::Bad;

/// A stream that counts.
pub(super) struct Input<R> {
    inner: R,
    position: u64,
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, position: 0 }
    }

    /// Bytes taken so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next four bytes, not taken.
    pub(super) fn peek4(&mut self) -> Result<[u8; 4], Bad> {
        self.at_end()?;
        let bytes = self.inner.fill_buf()?;
        bytes.first_chunk().copied().ok_or(Bad::Truncated)
    }

    /// Is there nothing more?
    pub(super) fn at_end(&mut self) -> Result<bool, Bad> {
        loop {
            match self.inner.fill_buf() {
                Ok(bytes) => return Ok(bytes.is_empty()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Takes exactly these many bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes `len` bytes into a buffer, in place of what it held.
    pub(super) fn take_into(&mut self, buffer: &mut Vec<u8>, len: usize) -> Result<(), Bad> {
        let ready = self.inner.fill_buf()?;
        buffer.clear();
        // What is read ahead is taken without clearing the buffer first.
        if let Some(bytes) = ready.get(..len) {
            buffer.extend_from_slice(bytes);
            self.inner.consume(len);
            self.position += len as u64;
            return Ok(());
        }
        buffer.resize(len, 0);
        self.fill(buffer)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Bad> {
        self.inner.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Leaves out bytes.
    pub(super) fn skip(&mut self, mut len: usize) -> Result<(), Bad> {
        while len > 0 {
            let ready = self.inner.fill_buf()?.len().min(len);
            if ready == 0 {
                return Err(Bad::Truncated);
            }
            self.inner.consume(ready);
            self.position += ready as u64;
            len -= ready;
        }
        Ok(())
    }
}
