//! The world of a program that runs on what the caller gives it: this process is the current one, and the network is that
//! of the host, as far as it may be looked at.

use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType};
use skep_btf::Btf;
use skep_vm::env::network::{Address, Device, NoRoute, Route, RouteQuery, Socket, SocketQuery};
use skep_vm::{Env, Errno, Fault, ProgramInfo};

use crate::Diagnostic;
use crate::hook::tested;
use crate::iterate::Output;
use crate::kernel::types::Types;
use crate::kernel::{KernelMemory, Object};
use crate::network;
use crate::output::Printk;
use crate::procfs;
use crate::procfs::Status;
use crate::runtime::Diagnostics;
use crate::sys::Tid;

/// What helpers ask.
pub(crate) struct World {
    memory: KernelMemory,
    printk: Arc<Printk>,
    diagnostics: Option<Diagnostics>,
    tid: Tid,
    tgid: Tid,
    cpu: Option<u32>,
    traced: Traced,
    /// What an iterator's program writes.
    output: Output,
}

/// What a program that looks at a function may ask of it.
#[derive(Default)]
struct Traced {
    arguments: &'static [u64],
    result: Option<u64>,
    cookie: u64,
}

impl World {
    /// The number of the loopback device.
    pub(crate) const LOOPBACK: u32 = 1;

    /// `types` lay out what programs read of the kernel.
    pub(crate) fn new(types: Arc<Btf>, printk: Arc<Printk>, diagnostics: Option<Diagnostics>) -> Self {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let tgid = rustix::process::getpid().as_raw_nonzero().get();
        let memory = KernelMemory::new(Types::new(types));
        Self {
            memory,
            printk,
            diagnostics,
            tid,
            tgid,
            cpu: None,
            traced: Traced::default(),
            output: Output::default(),
        }
    }

    /// Makes a structure of the kernel's that programs can follow pointers to; answers its address.
    pub(crate) fn lend(&mut self, name: &'static str, fields: &[(&'static str, u64)]) -> u64 {
        self.lend_named(name, fields, "")
    }

    /// The same for one that has a name.
    pub(crate) fn lend_named(
        &mut self,
        structure: &'static str,
        fields: &[(&'static str, u64)],
        name: &str,
    ) -> u64 {
        self.memory.lend(structure, fields, name)
    }

    /// The kernel's memory, for structures of more than one part.
    pub(crate) fn memory(&mut self) -> &mut KernelMemory {
        &mut self.memory
    }

    /// An iterator comes to another element: nothing is lent any more, and /proc is read anew.
    pub(crate) fn begin_element(&mut self, output: Output) {
        self.memory.begin();
        self.output = output;
    }

    /// What was written for the element.
    pub(crate) fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.output)
    }

    /// The `task_struct` of a thread that there is.
    pub(crate) fn task(&mut self, tid: Tid) -> Option<u64> {
        Object::existing_task(tid.try_into().ok()?).map(Object::addr)
    }

    /// A function is called, or has returned with this result; the cookie is that of who looks at it.
    pub(crate) fn call(&mut self, arguments: &'static [u64], result: Option<u64>, cookie: u64) {
        self.traced = Traced { arguments, result, cookie };
    }

    /// Pretends to be on a processor; false when there is none of this number.
    pub(crate) fn run_on(&mut self, cpu: u32) -> bool {
        let exists = std::fs::exists(format!("/sys/devices/system/cpu/cpu{cpu}")).unwrap_or(false);
        self.cpu = Some(cpu).filter(|_| exists);
        exists
    }

    /// Does the host have a network device of this number?
    pub(crate) fn knows_device(&mut self, ifindex: u32) -> bool {
        self.has_device(ifindex)
    }

    fn own_comm(&self) -> Vec<u8> {
        let mut comm = std::fs::read(format!("/proc/self/task/{}/comm", self.tid)).unwrap_or_default();
        comm.truncate(comm.iter().position(|byte| *byte == b'\n').unwrap_or(comm.len()));
        comm
    }
}

impl Env for World {
    fn pid_tgid(&mut self) -> u64 {
        (self.tgid as u64) << 32 | self.tid as u64
    }

    fn uid_gid(&mut self) -> u64 {
        let status = Status::read(self.tid).unwrap_or_default();
        u64::from(status.gids[0]) << 32 | u64::from(status.uids[0])
    }

    fn comm(&mut self) -> [u8; 16] {
        let mut name = [0; 16];
        let comm = self.own_comm();
        let len = comm.len().min(15);
        name[..len].copy_from_slice(&comm[..len]);
        name
    }

    fn current_task(&mut self) -> u64 {
        self.memory.refresh();
        Object::task(self.tid).addr()
    }

    fn task_from_pid(&mut self, pid: u32) -> u64 {
        self.memory.refresh();
        Object::existing_task(pid).map_or(0, Object::addr)
    }

    fn read_kernel(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        match tested::memory(addr, buf.len()) {
            Some(bytes) => {
                buf.copy_from_slice(bytes);
                Ok(())
            }
            None => self.memory.read(addr, buf),
        }
    }

    fn read_kernel_str(&mut self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        self.memory.read_str(addr, buf)
    }

    fn type_bytes(&mut self, id: u32) -> Option<usize> {
        self.memory.type_bytes(id)
    }

    fn typed_text(&mut self, id: u32, value: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        self.memory.typed_text(id, value, flags)
    }

    fn find_vma(&mut self, task: u64, addr: u64) -> Result<u64, Errno> {
        self.memory.find_vma(task, addr)
    }

    fn forget_vma(&mut self, vma: u64) {
        self.memory.forget_vma(vma);
    }

    fn file_path(&mut self, path: u64) -> Result<Vec<u8>, Errno> {
        self.memory.file_path(path)
    }

    fn attach_cookie(&mut self) -> u64 {
        self.traced.cookie
    }

    fn func_arg_count(&mut self) -> Result<u32, Errno> {
        Ok(self.traced.arguments.len() as u32)
    }

    fn func_arg(&mut self, n: u32) -> Result<u64, Errno> {
        self.traced.arguments.get(n as usize).copied().ok_or(Errno::EINVAL)
    }

    fn func_ret(&mut self) -> Result<u64, Errno> {
        self.traced.result.ok_or(Errno::EOPNOTSUPP)
    }

    fn cpu(&mut self) -> u32 {
        self.cpu.unwrap_or_else(|| rustix::thread::sched_getcpu() as u32)
    }

    fn trace_printk(&mut self, line: &[u8]) {
        self.printk.push(&self.own_comm(), self.tid, line);
    }

    fn seq_write(&mut self, data: &[u8]) -> Result<(), Errno> {
        self.output.write(data)
    }

    fn has_device(&mut self, ifindex: u32) -> bool {
        device_exists(ifindex)
    }

    fn cgroup_id(&mut self) -> u64 {
        procfs::cgroup_id(self.tid).unwrap_or(0)
    }

    fn ancestor_cgroup_id(&mut self, level: i32) -> u64 {
        let level = usize::try_from(level).ok();
        level.and_then(|level| procfs::ancestor_cgroup_id(self.tid, level)).unwrap_or(0)
    }

    fn device(&mut self, ifindex: u32) -> Option<Device> {
        network::device(ifindex)
    }

    fn route(&mut self, query: &RouteQuery) -> Result<Route, NoRoute> {
        network::route(query)
    }

    fn neighbour(&mut self, device: u32, family: u8, of: &Address) -> Option<[u8; 6]> {
        network::neighbour(device, family, of)
    }

    fn socket(&mut self, query: &SocketQuery) -> Option<Socket> {
        network::socket(query)
    }

    fn netns_cookie(&mut self) -> u64 {
        crate::sys::net::netns_cookie().unwrap_or(1)
    }

    fn later(&mut self) -> Box<dyn Env + Send> {
        Box::new(Self::new(self.memory.types(), Arc::clone(&self.printk), self.diagnostics.clone()))
    }

    fn failed_later(&mut self, program: &ProgramInfo, fault: &Fault) {
        if let Some(tell) = &self.diagnostics {
            tell(Diagnostic::Fault { prog_id: program.id, insn: fault.insn, message: fault.to_string() });
        }
    }
}

/// Does the host have a network device of this number?
pub(crate) fn device_exists(ifindex: u32) -> bool {
    device_name(ifindex).is_some()
}

/// The name of a network device of the host.
fn device_name(ifindex: u32) -> Option<String> {
    let any = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::index_to_name(any, ifindex).ok()
}
