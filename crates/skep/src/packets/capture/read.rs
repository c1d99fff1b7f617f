//! Bytes of a capture in order, with the position for messages.

use std::io::{self, BufRead as _, BufReader, Read};

use super::{BUFFER, Bad};

/// A stream that counts.
pub(super) struct Input<R> {
    inner: BufReader<R>,
    position: u64,
    /// Bytes at the front of what is read ahead that are lent; they are taken with the next call.
    lent: usize,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner: BufReader::with_capacity(BUFFER, inner), position: 0, lent: 0 }
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

    /// Takes `len` bytes that are read ahead already, without moving them; [`lent`](Self::lent) has them until the next
    /// call. `false` when they are not all there.
    #[inline]
    pub(super) fn lend(&mut self, len: usize) -> bool {
        self.take_lent();
        if self.inner.buffer().len() < len {
            return false;
        }
        self.lent = len;
        self.position += len as u64;
        true
    }

    /// What is read ahead and not yet taken.
    #[inline]
    pub(super) fn ahead(&mut self) -> &[u8] {
        self.take_lent();
        self.inner.buffer()
    }

    /// Leaves out `before` bytes of what is read ahead, and lends the `len` behind them; the caller has seen them all.
    #[inline]
    pub(super) fn lend_behind(&mut self, before: usize, len: usize) {
        debug_assert!(self.lent == 0, "invariant: what was lent has been taken");
        self.inner.consume(before);
        self.lent = len;
        self.position += (before + len) as u64;
    }

    /// What is lent.
    #[inline]
    pub(super) fn lent(&self) -> &[u8] {
        &self.inner.buffer()[..self.lent]
    }

    #[inline]
    fn take_lent(&mut self) {
        self.inner.consume(std::mem::take(&mut self.lent));
    }

    /// Is there nothing more?
    #[inline]
    pub(super) fn at_end(&mut self) -> Result<bool, Bad> {
        self.take_lent();
        if self.inner.buffer().is_empty() { self.read_ahead() } else { Ok(false) }
    }

    #[cold]
    fn read_ahead(&mut self) -> Result<bool, Bad> {
        loop {
            match self.inner.fill_buf() {
                Ok(bytes) => return Ok(bytes.is_empty()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Takes exactly these many bytes.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        self.take_lent();
        if let Some(bytes) = self.inner.buffer().first_chunk().copied() {
            self.inner.consume(N);
            self.position += N as u64;
            return Ok(bytes);
        }
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes `len` bytes into a buffer, in place of what it held.
    pub(super) fn take_into(&mut self, buffer: &mut Vec<u8>, len: usize) -> Result<(), Bad> {
        buffer.clear();
        // What is read ahead is taken without clearing the buffer first.
        if self.lend(len) {
            buffer.extend_from_slice(self.lent());
            return Ok(());
        }
        buffer.resize(len, 0);
        self.fill(buffer)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Bad> {
        self.take_lent();
        self.inner.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Leaves out bytes.
    pub(super) fn skip(&mut self, mut len: usize) -> Result<(), Bad> {
        self.take_lent();
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
