//! Whole objects on hooks that take more than instructions: structures of functions, and functions of other programs.
//!
//! The objects are beside their sources in `tests/objects`; `make objects` compiles them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use skep::Loaded;
use skep::load::Options;
use skep::object::Object;
use skep_runtime::command::TestRun;
use skep_runtime::info::MapInfo;
use skep_runtime::{Fd, SharedRuntime};

use crate::faults::{bpffs, unmount};
use crate::netns::in_namespace;
use crate::{kernel, unless_refused};

fn load(kernel: &SharedRuntime, bytes: &[u8], options: &Options) -> skep::Result<Loaded> {
    let object = Object::read(bytes, "object")?;
    skep::load::load_with(kernel, &object, skep::host::link(&object)?, options)
}

/// Loads an object; `None` with a printed reason where this machine does not let us.
fn loaded(kernel: &SharedRuntime, bytes: &[u8], extends: &[(&str, Fd)]) -> Option<Loaded> {
    let extends = extends.iter().map(|(name, fd)| ((*name).to_owned(), *fd)).collect();
    match load(kernel, bytes, &Options { extends, ..Options::default() }) {
        Ok(loaded) => Some(loaded),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}

fn number(loaded: &Loaded, variable: &str) -> u64 {
    let bytes = skep::variables::read(loaded, variable).expect("it can be read");
    u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
}

/// A socket that controls its congestion so.
fn controlled(name: &str) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_tcp_congestion(&socket, name)?;
    assert_eq!(sockopt::tcp_congestion(&socket)?, name);
    Ok(socket)
}

#[test]
fn congestion_is_controlled() {
    in_namespace("objects::congestion_is_controlled", |kernel| {
        let object = include_bytes!("../objects/congestion.bpf.o");
        let Some(loaded) = loaded(kernel, object, &[]) else { return };
        assert!(controlled("skep_counts").is_err(), "nobody knows it yet");
        let registered = match loaded.attach_structs() {
            Ok(registered) => registered,
            Err(e) => return eprintln!("skipped: {e}"),
        };
        assert_eq!(registered.len(), 1);

        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
        let socket = controlled("skep_counts").expect("it is registered");
        let to = listener.local_addr().expect("it is bound");
        connect(&socket, &to).expect("somebody listens");
        let (mut there, _) = listener.accept().expect("somebody has connected");
        let (mut here, data) = (TcpStream::from(socket), vec![7; 1 << 20]);
        let sends = std::thread::spawn(move || here.write_all(&data));
        let mut received = vec![0; 1 << 20];
        there.read_exact(&mut received).expect("it arrives");
        sends.join().expect("it ends").expect("it is sent");
        assert!(received.iter().all(|&byte| byte == 7));
        assert!(number(&loaded, "acknowledged") > 1, "{} segments", number(&loaded, "acknowledged"));
        drop((there, registered));
        assert!(controlled("skep_counts").is_err(), "it is taken back");
    });
}

#[test]
fn functions_of_programs_are_replaced() {
    let Some(kernel) = kernel() else { return };
    let Some(replaced) = loaded(&kernel, include_bytes!("../objects/replaced.bpf.o"), &[]) else { return };
    let asks = replaced.program("asks").expect("it is in the object");
    let answer = || {
        let run = TestRun { data_in: &[0; 64], repeat: 1, ..TestRun::default() };
        asks.program.test_run(run).expect("it runs").retval
    };
    assert_eq!(answer(), 1);
    let extends = [("answers", asks.program.fd())];
    let Some(replaces) = loaded(&kernel, include_bytes!("../objects/replaces.bpf.o"), &extends) else {
        return;
    };
    let answers = replaces.program("answers").expect("it is in the object");
    assert_eq!((answer(), number(&replaces, "asked")), (1, 0), "not before it is attached");
    let link = answers.program.attach(&answers.linked.attach, &skep_runtime::AttachOptions::default());
    let Some(link) = unless_refused(link) else { return };
    assert_eq!((answer(), answer(), number(&replaces, "asked")), (2, 2, 2));
    drop(link);
    assert_eq!((answer(), number(&replaces, "asked")), (1, 2), "the function is its own again");
}

#[test]
fn maps_are_shared_under_their_names() {
    let Some(kernel) = kernel() else { return };
    let Some(directory) = bpffs() else { return };
    let options = Options { pin_directory: directory.path().to_owned(), ..Options::default() };
    let load =
        || load(&kernel, include_bytes!("../objects/shared.bpf.o"), &options).expect("every kernel has them");
    let maps = |loaded: &Loaded| -> Vec<(String, bool, u32)> {
        let id = |map: &skep::LoadedMap| MapInfo::of(&kernel, map.map.fd()).expect("a map").id;
        loaded.maps().map(|map| (map.def.name.clone(), map.reused, id(map))).collect()
    };
    let first = maps(&load());
    assert!(first.iter().all(|(_, reused, _)| !reused), "{first:?}");
    // Nobody but the file system holds them now.
    let again = maps(&load());
    let expected: Vec<_> = first.iter().map(|(name, _, id)| (name.clone(), true, *id)).collect();
    assert_eq!(again, expected);
    first
        .iter()
        .for_each(|(name, ..)| std::fs::remove_file(directory.path().join(name)).expect("it is ours"));
    unmount(directory.path());
}
