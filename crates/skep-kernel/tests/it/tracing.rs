//! Tracing programs on processes of our own, and the buffers that carry their records.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep::asynchronous::AsyncEvents;
use skep_isa::uapi::{MapType, ProgType};
use skep_isa::{Imm64, Insn, JmpOp, Op, Operand, Reg};
use skep_kernel::KernelRuntime;
use skep_obj::AttachPoint;
use skep_runtime::command::{MapCreate, ProgLoad};
use skep_runtime::{AttachOptions, Event, EventSource, Fd, Link, Map, Program, SharedRuntime};

use crate::asm::{PERF_EVENT_OUTPUT, RINGBUF_OUTPUT, call, load_map, mov, mov_reg, only_in, store};
use crate::{kernel, unless_refused};

/// What the programs write.
const RECORD: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];

/// A `cat` that writes when we tell it to, and ends with the test.
pub(crate) struct Cat(Child);

impl Cat {
    pub(crate) fn start() -> Self {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self(child.expect("there is a `cat`"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Has it read and write once.
    pub(crate) fn poke(&mut self) {
        let stdin = self.0.stdin.as_mut().expect("it was piped");
        stdin.write_all(b"x\n").expect("it reads");
        let stdout = self.0.stdout.as_mut().expect("it was piped");
        std::io::Read::read_exact(stdout, &mut [0; 2]).expect("it writes");
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        // It may be gone already; either way it is reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sixteen bytes on the stack, in `r4` (or `r2`) as the output helper wants them.
fn record() -> [Op; 2] {
    [store(Reg::R10, -16, 1), store(Reg::R10, -8, 2)]
}

fn to_ring_buffer(pid: u32, map: Fd) -> Vec<Insn> {
    let mut then = record().to_vec();
    then.extend([
        load_map(Reg::R1, map),
        mov_reg(Reg::R2, Reg::R10),
        crate::asm::alu(skep_isa::AluOp::Add, Reg::R2, -16),
        mov(Reg::R3, 16),
        mov(Reg::R4, 0),
        call(RINGBUF_OUTPUT),
    ]);
    only_in(pid, &then)
}

fn to_perf_buffer(pid: u32, map: Fd) -> Vec<Insn> {
    let mut then = record().to_vec();
    then.extend([
        mov_reg(Reg::R1, Reg::R6),
        load_map(Reg::R2, map),
        // `BPF_F_CURRENT_CPU`
        Op::LoadImm64 { dst: Reg::R3, imm: Imm64::Value(0xffff_ffff) },
        mov_reg(Reg::R4, Reg::R10),
        crate::asm::alu(skep_isa::AluOp::Add, Reg::R4, -16),
        mov(Reg::R5, 16),
        call(PERF_EVENT_OUTPUT),
    ]);
    only_in(pid, &then)
}

/// Records that arrive within a second.
fn drained(source: &mut dyn EventSource) -> Vec<Vec<u8>> {
    let mut fds = [PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN)];
    let second = Timespec::try_from(Duration::from_secs(1)).expect("a second is short");
    poll(&mut fds, Some(&second)).expect("buffers can be polled");
    let mut records = Vec::new();
    source
        .drain(&mut |event| {
            match event {
                Event::Record { data, .. } => records.push(data[..16].to_vec()),
                Event::Lost { count, .. } => panic!("{count} records were lost"),
            }
            ControlFlow::Continue(())
        })
        .expect("buffers can be read");
    records
}

fn check(
    kernel: &SharedRuntime,
    prog_type: ProgType,
    point: &AttachPoint,
    buffer: &MapCreate<'_>,
    code: fn(u32, Fd) -> Vec<Insn>,
) {
    let mut cat = Cat::start();
    let map = Map::create(kernel, buffer, 1).expect("a buffer");
    let mut events = map.events().expect("it can be read");
    let code = code(cat.pid(), map.fd());
    let program =
        Program::load(kernel, &ProgLoad::new(prog_type, "traced", &code, "GPL")).expect("it is safe");
    let Some(link) = unless_refused(program.attach(point, &AttachOptions::default())) else { return };
    cat.poke();
    assert_eq!(drained(&mut *events), [RECORD]);
    cat.poke();
    cat.poke();
    assert_eq!(drained(&mut *events).len(), 2);
    drop(link);
    cat.poke();
    assert_eq!(drained(&mut *events).len(), 0, "a dropped link detaches");
}

fn writes() -> AttachPoint {
    AttachPoint::Tracepoint { category: "syscalls".to_owned(), name: "sys_enter_write".to_owned() }
}

/// A program that every write runs, or `None` with a printed reason.
fn traced(kernel: &SharedRuntime, code: &[Insn]) -> Option<Link> {
    let program = Program::load(kernel, &ProgLoad::new(ProgType::TRACEPOINT, "traced", code, "GPL"));
    unless_refused(program.expect("it is safe").attach(&writes(), &AttachOptions::default()))
}

fn ring_buffer() -> MapCreate<'static> {
    MapCreate::new(MapType::RINGBUF, "ring", 0, 0, 4096)
}

/// Tasks of tokio wait for what a `cat` has written in its own time.
#[test]
fn tasks_wait_for_records() {
    let Some(kernel) = kernel() else { return };
    let perf_buffer = MapCreate::new(MapType::PERF_EVENT_ARRAY, "perf", 4, 4, 4096);
    type Code = fn(u32, Fd) -> Vec<Insn>;
    for (buffer, code) in [(ring_buffer(), to_ring_buffer as Code), (perf_buffer, to_perf_buffer)] {
        let mut cat = Cat::start();
        let map = Map::create(&kernel, &buffer, 1).expect("a buffer");
        let source = map.events().expect("it can be read");
        let Some(_link) = traced(&kernel, &code(cat.pid(), map.fd())) else { return };
        let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tasks.block_on(async {
            let mut events = AsyncEvents::new(source).expect("tokio takes it");
            // Nothing comes by itself, and nothing is taken by who does not wait any longer.
            let nothing = events.next(|_| ControlFlow::Continue(()));
            assert!(tokio::time::timeout(Duration::from_millis(50), nothing).await.is_err());
            for round in 0..3 {
                let poking = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    (0..=round).for_each(|_| cat.poke());
                    cat
                });
                assert_eq!(awaited(&mut events, round + 1).await, vec![RECORD; round + 1]);
                cat = poking.join().expect("it writes");
            }
        });
    }
}

/// So many records, in however many steps they come.
async fn awaited(events: &mut AsyncEvents, count: usize) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while records.len() < count {
        let sink = |event: Event<'_>| {
            if let Event::Record { data, .. } = event {
                records.push(data[..RECORD.len()].to_vec());
            }
            // One at a time: what is left is there at the next call.
            ControlFlow::Break(())
        };
        tokio::time::timeout(Duration::from_secs(60), events.next(sink))
            .await
            .expect("in time")
            .expect("read");
    }
    records
}

#[test]
fn tracepoints_fill_ring_buffers() {
    let Some(kernel) = kernel() else { return };
    check(&kernel, ProgType::TRACEPOINT, &writes(), &ring_buffer(), to_ring_buffer);
}

#[test]
fn tracepoints_fill_perf_buffers() {
    let Some(kernel) = kernel() else { return };
    let buffer = MapCreate::new(MapType::PERF_EVENT_ARRAY, "perf", 4, 4, 4096);
    check(&kernel, ProgType::TRACEPOINT, &writes(), &buffer, to_perf_buffer);
}

#[test]
fn a_missing_tracepoint_is_named() {
    let Some(kernel) = kernel() else { return };
    let code = crate::asm::slots(&crate::asm::leave());
    let program = Program::load(&kernel, &ProgLoad::new(ProgType::TRACEPOINT, "p", &code, "GPL"));
    let point =
        AttachPoint::Tracepoint { category: "syscalls".to_owned(), name: "sys_enter_frob".to_owned() };
    let missing =
        program.expect("it is safe").attach(&point, &AttachOptions::default()).expect_err("no such");
    assert!(missing.to_string().contains("`syscalls/sys_enter_frob`"), "{missing}");
    assert!(missing.advice().is_some_and(|advice| advice.contains("events/syscalls")), "{missing:?}");
}

/// The kernel, with programs that count what they lose.
fn counting_losses() -> Option<SharedRuntime> {
    kernel().map(|_| -> SharedRuntime { Arc::new(KernelRuntime::new().counting_losses()) })
}

/// What a source tells of records that were lost.
fn lost(source: &mut dyn EventSource) -> u64 {
    let mut lost = 0;
    let mut sink = |event: Event<'_>| {
        if let Event::Lost { count, .. } = event {
            lost += count;
        }
        ControlFlow::Continue(())
    };
    source.drain(&mut sink).expect("buffers can be read");
    lost
}

/// Reserves a record of 16 bytes in each buffer, from registers that are kept, and gives it up or submits it.
fn to_two_ring_buffers(pid: u32, maps: [Fd; 2]) -> Vec<Insn> {
    const RINGBUF_RESERVE: u32 = 131;
    const RINGBUF_DISCARD: u32 = 133;
    let reserve = |register| {
        [
            mov_reg(Reg::R1, register),
            mov(Reg::R2, 16),
            mov(Reg::R3, 0),
            call(RINGBUF_RESERVE),
            Op::Jump { wide: true, op: JmpOp::Eq, dst: Reg::R0, src: Operand::Imm(0), off: 3 },
            mov_reg(Reg::R1, Reg::R0),
            mov(Reg::R2, 0),
            call(RINGBUF_DISCARD),
        ]
    };
    let mut then = vec![load_map(Reg::R7, maps[0]), load_map(Reg::R8, maps[1])];
    then.extend(reserve(Reg::R7));
    then.extend(reserve(Reg::R8));
    only_in(pid, &then)
}

#[test]
fn losses_are_counted_where_that_is_wanted() {
    let Some(kernel) = counting_losses() else { return };
    let mut cat = Cat::start();
    let map = Map::create(&kernel, &ring_buffer(), 1).expect("a buffer");
    let mut events = map.events().expect("it can be read");
    let code = to_ring_buffer(cat.pid(), map.fd());
    let Some(_link) = traced(&kernel, &code) else { return };
    for _ in 0..200 {
        cat.poke();
    }
    assert_eq!(lost(&mut *events), 200 - 4095 / 24);
    assert_eq!(lost(&mut *events), 0, "what was told is not told again");
    cat.poke();
    assert_eq!(drained(&mut *events), [RECORD], "there is room again");
}

#[test]
fn each_buffer_has_its_own_losses() {
    let Some(kernel) = counting_losses() else { return };
    let mut cat = Cat::start();
    let maps = [4096, 8192].map(|bytes| {
        Map::create(&kernel, &MapCreate::new(MapType::RINGBUF, "ring", 0, 0, bytes), 1).expect("a buffer")
    });
    let code = to_two_ring_buffers(cat.pid(), [maps[0].fd(), maps[1].fd()]);
    let Some(_link) = traced(&kernel, &code) else { return };
    for _ in 0..400 {
        cat.poke();
    }
    let lost = maps.map(|map| lost(&mut *map.events().expect("it can be read")));
    assert_eq!(lost, [400 - 4095 / 24, 400 - 8191 / 24]);
}

#[test]
fn a_full_ring_buffer_loses_and_goes_on() {
    let Some(kernel) = kernel() else { return };
    let mut cat = Cat::start();
    let map = Map::create(&kernel, &ring_buffer(), 1).expect("a buffer");
    let mut events = map.events().expect("it can be read");
    let code = to_ring_buffer(cat.pid(), map.fd());
    let Some(_link) = traced(&kernel, &code) else { return };
    for _ in 0..200 {
        cat.poke();
    }
    // Records of 24 bytes; the producer never fills the last of the 4096.
    assert_eq!(drained(&mut *events).len(), 4095 / 24);
    cat.poke();
    assert_eq!(drained(&mut *events), [RECORD]);
}
