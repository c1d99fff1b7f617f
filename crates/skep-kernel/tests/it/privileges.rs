//! What a caller without privileges is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use skep_isa::uapi::MapType;
use skep_kernel::KernelRuntime;
use skep_runtime::command::MapCreate;
use skep_runtime::{ErrorKind, Map, SharedRuntime};

/// User and group `nobody`.
const NOBODY: u32 = 65534;

#[test]
fn refusals_say_what_is_needed() {
    if rustix::process::geteuid().is_root() {
        return again_as_nobody();
    }
    let runtime: SharedRuntime = Arc::new(KernelRuntime::new());
    let refusal = Map::create(&runtime, &MapCreate::new(MapType::LRU_HASH, "m", 4, 4, 1), 1)
        .expect_err("nobody may not make such maps");
    assert_eq!(refusal.kind(), ErrorKind::Denied);
    let advice = refusal.advice().expect("a refusal says what to do");
    assert!(advice.contains("CAP_BPF") && advice.contains("--runtime user"), "{advice}");
}

/// Runs this test in a copy of this executable that `nobody` can reach.
fn again_as_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let copy = dir.path().join("it");
    fs::copy(std::env::current_exe().expect("we run"), &copy).expect("there is room");
    let output = Command::new(copy)
        .args(["--exact", "privileges::refusals_say_what_is_needed"])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("it can be executed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
