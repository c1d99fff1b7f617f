//! Packets through a program: one after another, each with a verdict.
//!
//! A runtime may have a way of its own ([`Runtime::packets`](crate::Runtime::packets)); [`TestRunner`] does it with test runs, which every
//! runtime has.

use crate::command::TestRun;
use crate::handle::Program;
use crate::{ErrorKind, Result};

/// A packet as a capture or a device gives it.
#[derive(Clone, Copy, Debug)]
pub struct PacketIn<'a> {
    /// An Ethernet frame.
    pub data: &'a [u8],
    /// The device that it comes from, 0 when that is not known.
    pub ifindex: u32,
}

/// What a program did with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketRan {
    /// What it returned.
    pub retval: u32,
    /// Has it sent off copies meanwhile? Then [`PacketRunner::take_copies`] has them.
    pub has_copies: bool,
}

/// Runs one program on packets.
pub trait PacketRunner {
    /// Runs it on a packet.
    fn run(&mut self, packet: &PacketIn<'_>) -> Result<PacketRan>;

    /// What the last run has left of its packet, with its link-layer header; in `room` where it does not lie in one piece.
    fn left<'a>(&'a mut self, packet: &PacketIn<'_>, room: &'a mut Vec<u8>) -> &'a [u8];

    /// Copies that the last run sent off, with their devices.
    fn take_copies(&mut self) -> Vec<(u32, Vec<u8>)> {
        Vec::new()
    }
}

/// Packets by test runs (`BPF_PROG_TEST_RUN`).
#[derive(Debug)]
pub struct TestRunner<'a> {
    program: &'a Program,
    /// Does the program see data from the network header on?
    above_link: bool,
    /// The packet as the program left it.
    out: Vec<u8>,
}

impl<'a> TestRunner<'a> {
    /// Room for what a program adds to a packet.
    const ROOM: usize = 4096;
    /// Bytes of an Ethernet header.
    const LINK: usize = 14;

    /// For a program; `above_link` for types whose data begins at the network header.
    pub fn new(program: &'a Program, above_link: bool) -> Self {
        Self { program, above_link, out: Vec::new() }
    }
}

impl PacketRunner for TestRunner<'_> {
    fn run(&mut self, packet: &PacketIn<'_>) -> Result<PacketRan> {
        let out = &mut self.out;
        out.clear();
        out.resize(packet.data.len() + Self::ROOM, 0);
        let run = TestRun { data_in: packet.data, data_out: out, repeat: 1, ..TestRun::default() };
        let ran = self.program.test_run(run).map_err(|e| match e.kind() {
            ErrorKind::Invalid => e.hint(
                "test runs take packets from 14 bytes up to what a page holds; `--runtime user` takes any",
            ),
            _ => e,
        })?;
        out.truncate(ran.data_size_out as usize);
        if self.above_link && out.len() >= Self::LINK {
            // A test run clears the header that the program has not seen.
            out[..Self::LINK].copy_from_slice(&packet.data[..Self::LINK]);
        }
        Ok(PacketRan { retval: ran.retval, ..PacketRan::default() })
    }

    fn left<'a>(&'a mut self, _packet: &PacketIn<'_>, _room: &'a mut Vec<u8>) -> &'a [u8] {
        &self.out
    }
}
