//! Seccomp filters, as containers have them: some system calls are answered with an errno.
#![expect(unsafe_code, reason = "the filter is installed by prctl(2)")]

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K`.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Runs `body` in a thread in which the calls fail with `errno`.
pub(crate) fn answer_with<T: Send>(errno: i32, calls: &[libc::c_long], body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let confined = scope.spawn(|| {
            install(errno, calls);
            body()
        });
        confined.join().expect("it does not panic")
    })
}

fn install(errno: i32, calls: &[libc::c_long]) {
    let insn = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The call's number is the first word of `struct seccomp_data`.
    let mut filter = vec![insn(LOAD, 0, 0, 0)];
    for &call in calls {
        filter.push(insn(JUMP_IF_EQUAL, 0, 1, u32::try_from(call).expect("numbers of calls are small")));
        filter.push(insn(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()));
    }
    filter.push(insn(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("it is short"),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: only changes what this thread may gain by executing files.
    let bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(bound, 0);
    // SAFETY: the program leads to as many instructions as it says, and the kernel copies them.
    let installed =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(installed, 0);
}
