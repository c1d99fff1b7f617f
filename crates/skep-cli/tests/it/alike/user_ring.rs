//! User ring buffers: the same records sent, the same limits met, the same ones taken, on both runtimes.

use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep::object::Object;
use skep::runtime::SharedRuntime;
use skep::runtime::command::TestRun;
use skep::{Loaded, host, variables};

use super::runtimes;

const BUFFER_BYTES: usize = 4096;
/// Flags of `bpf_user_ringbuf_drain`: none, no wake-up, wake-up in any case, one that there is not.
const FLAGS: [u64; 4] = [0, 1, 2, 4];
const VARIABLES: [&str; 4] = ["taken", "sum", "bytes", "past_end"];

/// What happened, line by line.
fn story(runtime: &SharedRuntime, object: &Object) -> Vec<String> {
    let loaded = skep::load(runtime, object, host::link(object).expect("it links")).expect("it loads");
    let records = &loaded.map("records").expect("it is there").map;
    let mut producer = records.producer(BUFFER_BYTES).expect("it has a producer's side");
    let mut said = vec![format!("{:?}", records.producer(BUFFER_BYTES / 2).is_err())];
    let mut random = 88_172_645_463_325_252_u64;
    for round in 0..200_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Mostly short ones, some as long as the buffer and longer.
        let len = (random >> 33) % if round % 9 == 0 { 4200 } else { 300 };
        let refused = (0..20).find_map(|n| {
            let record: Vec<u8> = (0..len).map(|at| (at + n + round) as u8).collect();
            producer.send(&record).err().map(|e| (n, e.errno()))
        });
        let mut fds = [PollFd::from_borrowed_fd(producer.as_fd(), PollFlags::OUT)];
        let writable =
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("it can be waited for");
        let flags = FLAGS[(random >> 20) as usize % 4];
        let limit = (random >> 24) % 40;
        said.push(format!(
            "{round}: {len} bytes: {refused:?}, writable {writable}, {}",
            take(&loaded, flags, limit)
        ));
    }
    said
}

/// Drains, and tells what came of it.
fn take(loaded: &Loaded, flags: u64, limit: u64) -> String {
    for (name, value) in [("flags", flags), ("limit", limit)] {
        variables::write(loaded, name, &value.to_ne_bytes()).expect("a variable");
    }
    let drain = &loaded.program("drain").expect("it was loaded").program;
    let answer = drain.test_run(TestRun::default()).expect("it runs").retval as i32;
    let left = VARIABLES.map(|name| variables::read(loaded, name).expect("a variable"));
    format!("flags {flags}, at most {limit}: {answer}, {left:?}")
}

#[test]
fn records_for_programs() {
    let Some([user, kernel]) = runtimes() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/alike/user_ring.bpf.c");
    let object = skep::open(&path).expect("it compiles").object;
    let [ours, theirs] = [&user, &kernel].map(|runtime| story(runtime, &object));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "ours is left, the kernel's right");
    }
    assert!(theirs.iter().any(|line| line.contains("writable 0")), "the buffer was never full");
}
