//! What programs ask of the world around them.

pub mod network;

use self::network::{Address, Device, NoRoute, Route, RouteQuery, Socket, SocketQuery};
use crate::clock::{self, Clock};
use crate::{Errno, Fault, ProgramInfo};

/// Lowest address of the kernel's half of the address space; what programs know as kernel pointers lies above.
pub const KERNEL_HALF: u64 = 1 << 63;

/// The world as helpers see it: who is running, the memory of the traced process, clocks, output.
///
/// One implementation serves one hook. Everything has a default: real clocks, and "there is no such thing" for the rest, so
/// a program can be run without any hook. `NoEnv` is exactly that.
///
/// A run asks for its task ([`pid_tgid`](Self::pid_tgid)) and its processor ([`cpu`](Self::cpu)) once at most, and may do so
/// before the program does.
pub trait Env {
    /// Thread group id in the upper half, thread id in the lower (`bpf_get_current_pid_tgid`).
    fn pid_tgid(&mut self) -> u64 {
        0
    }

    /// Group id in the upper half, user id in the lower (`bpf_get_current_uid_gid`).
    fn uid_gid(&mut self) -> u64 {
        0
    }

    /// Name of the current thread, padded with zeros.
    fn comm(&mut self) -> [u8; 16] {
        [0; 16]
    }

    /// Address of the current `task_struct`: synthetic kernel memory that [`read_kernel`](Self::read_kernel) reads.
    fn current_task(&mut self) -> u64 {
        0
    }

    /// Address of the `task_struct` of a thread id, 0 when there is none.
    fn task_from_pid(&mut self, pid: u32) -> u64 {
        let _ = pid;
        0
    }

    /// Id of the current task's cgroup (version 2).
    fn cgroup_id(&mut self) -> u64 {
        0
    }

    /// Id of the ancestor of that cgroup at a level; the root has level 0. 0 when there is none.
    fn ancestor_cgroup_id(&mut self, level: i32) -> u64 {
        let _ = level;
        0
    }

    /// Is the current task in the cgroup of this id, or below it?
    fn under_cgroup(&mut self, id: u64) -> bool {
        (0..)
            .map_while(|level| Some(self.ancestor_cgroup_id(level)).filter(|id| *id != 0))
            .any(|own| own == id)
    }

    /// Process and thread id (`pid`, `tgid` of `struct bpf_pidns_info`) in the PID namespace with this device and inode.
    fn ns_pid_tgid(&mut self, dev: u64, ino: u64) -> Result<(u32, u32), Errno> {
        let _ = (dev, ino);
        Err(Errno::EINVAL)
    }

    /// Reads memory of the current process; all or nothing.
    fn read_user(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let _ = (addr, buf);
        Err(Errno::EFAULT)
    }

    /// Reads a string of the current process up to its NUL or the end of `buf`. Answers the bytes read, the NUL included;
    /// `buf.len()` without a NUL when the string is longer.
    fn read_user_str(&mut self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        read_str(addr, buf, |addr, part| self.read_user(addr, part))
    }

    /// Writes memory of the current process.
    fn write_user(&mut self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let _ = (addr, data);
        Err(Errno::EPERM)
    }

    /// Reads memory of the process of another task, given by the address of its `task_struct`.
    fn read_task_user(&mut self, task: u64, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let _ = (task, addr, buf);
        Err(Errno::EFAULT)
    }

    /// Reads synthetic kernel memory; all or nothing.
    fn read_kernel(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let _ = (addr, buf);
        Err(Errno::EFAULT)
    }

    /// Reads a string of synthetic kernel memory; answers as [`read_user_str`](Self::read_user_str) does.
    fn read_kernel_str(&mut self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        read_str(addr, buf, |addr, part| self.read_kernel(addr, part))
    }

    /// Address of a per-CPU kernel variable's copy for one processor; 0 when there is none.
    fn per_cpu(&mut self, variable: u64, cpu: u32) -> u64 {
        let _ = (variable, cpu);
        0
    }

    /// Nanoseconds of the monotonic clock (`CLOCK_MONOTONIC`).
    fn ktime_ns(&mut self) -> u64 {
        clock::read(Clock::Monotonic)
    }

    /// Nanoseconds since boot, suspension included (`CLOCK_BOOTTIME`).
    fn ktime_boot_ns(&mut self) -> u64 {
        clock::read(Clock::Boot)
    }

    /// The monotonic clock as of the last tick (`CLOCK_MONOTONIC_COARSE`).
    fn ktime_coarse_ns(&mut self) -> u64 {
        clock::read(Clock::Coarse)
    }

    /// International atomic time (`CLOCK_TAI`).
    fn ktime_tai_ns(&mut self) -> u64 {
        clock::read(Clock::Tai)
    }

    /// Ticks of 1/250 s; like the kernel's counter, it passes 2^32 five minutes after boot.
    fn jiffies64(&mut self) -> u64 {
        (u64::from(u32::MAX) - 300 * 250 + 1) + self.ktime_ns() / 4_000_000
    }

    /// The processor that the event happened on; selects the slots of per-CPU maps.
    fn cpu(&mut self) -> u32 {
        clock::current_cpu().0
    }

    /// The memory node of that processor.
    fn numa_node(&mut self) -> u32 {
        clock::current_cpu().1
    }

    /// 32 random bits.
    fn random(&mut self) -> u32 {
        crate::random::next()
    }

    /// The `vm_area_struct` of what a task, given by the address of its `task_struct`, has mapped at an address: good until
    /// [`forget_vma`](Self::forget_vma). `ENOENT` when nothing is mapped there.
    fn find_vma(&mut self, task: u64, addr: u64) -> Result<u64, Errno> {
        let _ = (task, addr);
        Err(Errno::ENOENT)
    }

    /// The program has looked at what [`find_vma`](Self::find_vma) has found.
    fn forget_vma(&mut self, vma: u64) {
        let _ = vma;
    }

    /// The path of an open file, given by the address of its `struct path`.
    fn file_path(&mut self, path: u64) -> Result<Vec<u8>, Errno> {
        let _ = path;
        Err(Errno::EFAULT)
    }

    /// Bytes of a type of the kernel's, by its number; `None` when there is none of that number.
    fn type_bytes(&mut self, id: u32) -> Option<usize> {
        let _ = id;
        None
    }

    /// The text of a value of such a type, by the flags of `bpf_snprintf_btf` (`BTF_F_*`).
    fn typed_text(&mut self, id: u32, value: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        let _ = (id, value, flags);
        Err(Errno::ENOENT)
    }

    /// Takes what an iterator's program writes to its file (`bpf_seq_write`); `EOVERFLOW` when the buffer is full.
    fn seq_write(&mut self, data: &[u8]) -> Result<(), Errno> {
        let _ = data;
        Err(Errno::EINVAL)
    }

    /// Takes a line that a program printed by `bpf_trace_printk`; it may or may not end in a newline.
    fn trace_printk(&mut self, line: &[u8]) {
        let _ = line;
    }

    /// Sends a signal to the current process, or only to its current thread.
    fn send_signal(&mut self, signal: u32, thread: bool) -> Result<(), Errno> {
        let _ = (signal, thread);
        Err(Errno::EPERM)
    }

    /// Appends the return addresses of the current thread's user stack, the innermost first.
    fn user_stack(&mut self, out: &mut Vec<u64>) -> Result<(), Errno> {
        let _ = out;
        Err(Errno::EFAULT)
    }

    /// Appends the return addresses of the kernel stack, the innermost first.
    fn kernel_stack(&mut self, out: &mut Vec<u64>) -> Result<(), Errno> {
        let _ = out;
        Err(Errno::EFAULT)
    }

    /// Appends the user stack of another task, given by the address of its `task_struct`.
    fn task_user_stack(&mut self, task: u64, out: &mut Vec<u64>) -> Result<(), Errno> {
        let _ = (task, out);
        Err(Errno::EOPNOTSUPP)
    }

    /// Names a code address (`%pB`), such as `do_sys_open+0x10`.
    fn symbol(&mut self, addr: u64) -> Option<String> {
        let _ = addr;
        None
    }

    /// The cookie given when the program was attached.
    fn attach_cookie(&mut self) -> u64 {
        0
    }

    /// Does the traced function return, where one program sees both its entry and its return?
    fn session_is_return(&mut self) -> bool {
        false
    }

    /// Where in the context there are eight bytes that this run of the traced function keeps from entry to return.
    fn session_cookie(&mut self) -> Option<u64> {
        None
    }

    /// Address of the traced function.
    fn func_ip(&mut self) -> u64 {
        0
    }

    /// Number of the traced function's arguments (`bpf_get_func_arg_cnt`).
    fn func_arg_count(&mut self) -> Result<u32, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// One argument of the traced function.
    fn func_arg(&mut self, n: u32) -> Result<u64, Errno> {
        let _ = n;
        Err(Errno::EINVAL)
    }

    /// What the traced function returned.
    fn func_ret(&mut self) -> Result<u64, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The `struct pt_regs` of a task, given by the address of its `task_struct`; 0 when there is none.
    fn task_pt_regs(&mut self, task: u64) -> u64 {
        let _ = task;
        0
    }

    /// Is there a network device of this number?
    fn has_device(&mut self, ifindex: u32) -> bool {
        let _ = ifindex;
        false
    }

    /// A network device by its number.
    fn device(&mut self, ifindex: u32) -> Option<Device> {
        let _ = ifindex;
        None
    }

    /// The route that a packet would take.
    fn route(&mut self, query: &RouteQuery) -> Result<Route, NoRoute> {
        let _ = query;
        Err(NoRoute::NotForwarded)
    }

    /// The link-layer address of a neighbour at a device, where it is known.
    fn neighbour(&mut self, device: u32, family: u8, of: &Address) -> Option<[u8; 6]> {
        let _ = (device, family, of);
        None
    }

    /// The host's socket that a packet is for.
    fn socket(&mut self, query: &SocketQuery) -> Option<Socket> {
        let _ = query;
        None
    }

    /// The number of the network namespace (`SO_NETNS_COOKIE`).
    fn netns_cookie(&mut self) -> u64 {
        1
    }

    /// The world for what a program has called later, by timers and work queues: when nobody is known to run.
    fn later(&mut self) -> Box<dyn Env + Send> {
        Box::new(NoEnv)
    }

    /// A function that was called later did what it must not, which ended it.
    fn failed_later(&mut self, program: &ProgramInfo, fault: &Fault) {
        let _ = (program, fault);
    }

    /// Does [`step`](Self::step) want to hear of instructions?
    fn watches(&self) -> bool {
        false
    }

    /// Called before each instruction with its slot and the registers `r0` to `r10`, if [`watches`](Self::watches) says so
    /// when a function is entered. Compiled code tells nothing: [`Engine::Interpreter`](crate::Engine::Interpreter) does.
    fn step(&mut self, slot: usize, regs: &[u64; 11]) {
        let _ = (slot, regs);
    }

    /// Copies packet bytes for `LD_ABS` and `LD_IND`. `EOPNOTSUPP` says that the hook has no packets; any other error that
    /// the packet is shorter, which ends the program with 0.
    fn load_packet(&mut self, off: i64, buf: &mut [u8]) -> Result<(), Errno> {
        let _ = (off, buf);
        Err(Errno::EOPNOTSUPP)
    }
}

/// A world that has only clocks and random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEnv;

impl Env for NoEnv {}

/// Reads a string in pieces that do not cross a page, because the page after its end may be missing.
fn read_str(
    addr: u64,
    buf: &mut [u8],
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Errno>,
) -> Result<usize, Errno> {
    const PIECE: u64 = 256;
    let mut done = 0;
    while done < buf.len() {
        let at = addr.wrapping_add(done as u64);
        let piece = (PIECE - at % PIECE).min((buf.len() - done) as u64) as usize;
        let part = &mut buf[done..done + piece];
        read(at, part)?;
        if let Some(nul) = part.iter().position(|b| *b == 0) {
            return Ok(done + nul + 1);
        }
        done += piece;
    }
    Ok(done)
}
