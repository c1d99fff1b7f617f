//! Helpers: the kernel functions that programs call by number.
//!
//! One list says which are served here, see [`is_served`]; names and prototypes come from [`skep_isa::helper`]. Helpers get five
//! registers, as in the kernel, and cut them to the argument's C type themselves. Their results and error numbers are
//! Linux's. What a pointer argument points to is checked by the run's memory, so a wild pointer ends the run, not the
//! process.

mod arena;
mod control;
mod cpumask;
mod dynptr;
mod files;
mod fill;
mod format;
mod iter;
pub(crate) mod kfunc;
mod maps;
mod output;
pub(crate) mod packet;
mod print;
mod probe;
mod stack;
mod strings;
mod text;
mod timer;
mod world;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use kfunc::is_kfunc_served;
use skep_isa::helper::id;

use crate::machine::Machine;
use crate::map::Map;
use crate::program::Program;
use crate::{Errno, Fault, Reason};

/// A helper's implementation.
pub(crate) type HelperFn = fn(&mut Call<'_, '_>) -> HelperResult;

/// A function of the embedder that programs call as a helper: it gets `r1` to `r5` and answers `r0`. Both engines call it
/// directly, so it costs what a call of a C function does; it knows nothing of the run. Numbers beyond the arguments of the
/// helper that it stands for are any.
pub type HostFn = extern "C" fn(u64, u64, u64, u64, u64) -> u64;

/// What goes into `r0`, or why the program does not go on behind the call.
pub(crate) type HelperResult = Result<u64, Box<Stop>>;

/// Why a program does not go on behind a call.
pub(crate) enum Stop {
    /// It goes on in another program.
    TailCall(Arc<Program>),
    /// An access of the helper on the program's behalf is not allowed.
    Failed(Reason),
    /// An argument is of no use.
    Argument(String),
    /// Its callback failed.
    Inside(Box<Fault>),
}

impl From<Reason> for Box<Stop> {
    #[cold]
    fn from(reason: Reason) -> Self {
        Box::new(Stop::Failed(reason))
    }
}

/// One call of a helper.
pub(crate) struct Call<'m, 'a> {
    /// The run.
    pub(crate) machine: &'m mut Machine<'a>,
    /// Who calls.
    pub(crate) program: &'m Program,
    /// `r1` to `r5`.
    pub(crate) args: [u64; 5],
}

/// A map that a program passed by its address.
pub(crate) enum MapArg<'m> {
    Own(&'m Arc<Map>),
    Inner(Arc<Map>),
}

impl Deref for MapArg<'_> {
    type Target = Arc<Map>;

    fn deref(&self) -> &Arc<Map> {
        match self {
            Self::Own(map) => map,
            Self::Inner(map) => map,
        }
    }
}

impl<'m> Call<'m, '_> {
    /// The map that an argument is the address of.
    #[inline]
    pub(crate) fn map(&self, arg: usize) -> Result<MapArg<'m>, Box<Stop>> {
        let handle = self.args[arg];
        let program: &'m Program = self.program;
        match program.maps().iter().find(|map| map.handle() == handle) {
            Some(map) => Ok(MapArg::Own(map)),
            None => self.inner_map(handle),
        }
    }

    #[cold]
    fn inner_map(&self, handle: u64) -> Result<MapArg<'m>, Box<Stop>> {
        let known = self.machine.inner_maps.iter().find(|map| map.handle() == handle);
        known
            .map(|map| MapArg::Inner(Arc::clone(map)))
            .ok_or_else(|| argument(format!("{handle:#x} is no map")))
    }

    /// An argument of a C type of 32 bits.
    pub(crate) fn u32(&self, arg: usize) -> u32 {
        self.args[arg] as u32
    }

    /// Copies out `len` bytes that an argument points to.
    pub(crate) fn bytes(&mut self, arg: usize, len: usize) -> Result<Vec<u8>, Box<Stop>> {
        Ok(self.machine.read_vec(self.args[arg], len)?)
    }

    /// Copies in where an argument points to.
    pub(crate) fn store(&mut self, arg: usize, data: &[u8]) -> Result<(), Box<Stop>> {
        Ok(self.machine.write(self.args[arg], data)?)
    }

    /// The function that an argument is the address of.
    pub(crate) fn function(&self, arg: usize) -> Result<usize, Box<Stop>> {
        let addr = self.args[arg];
        self.program.function(addr).ok_or_else(|| argument(format!("{addr:#x} is no function")))
    }

    /// Calls a function of the program.
    pub(crate) fn callback(&mut self, function: usize, args: [u64; 5]) -> HelperResult {
        self.machine.callback(self.program, function, args)
    }
}

/// Ends the run because of an argument.
#[cold]
pub(crate) fn argument(message: impl Into<String>) -> Box<Stop> {
    Box::new(Stop::Argument(message.into()))
}

/// An error number for `r0`.
pub(crate) fn errno(errno: Errno) -> HelperResult {
    Ok(errno.to_reg())
}

/// Zero or an error number for `r0`.
pub(crate) fn status(result: Result<(), Errno>) -> HelperResult {
    Ok(result.map_or_else(Errno::to_reg, |()| 0))
}

/// A number of kernel functions, which have none.
pub(crate) const KFUNC: u16 = u16::MAX;

/// The name of a helper, for messages.
pub(crate) fn name(id: u16) -> &'static str {
    skep_isa::helper::by_id(id.into()).map_or("kernel function", |helper| helper.name)
}

/// Every helper served, and its implementation.
const SERVED: &[(u32, HelperFn)] = &[
    (id::bpf_map_lookup_elem, maps::lookup),
    (id::bpf_map_update_elem, maps::update_elem),
    (id::bpf_map_delete_elem, maps::delete),
    (id::bpf_map_push_elem, maps::push),
    (id::bpf_map_pop_elem, maps::pop),
    (id::bpf_map_peek_elem, maps::peek),
    (id::bpf_map_lookup_percpu_elem, maps::lookup_percpu),
    (id::bpf_for_each_map_elem, maps::for_each),
    (id::bpf_task_storage_get, maps::task_storage_get),
    (id::bpf_task_storage_delete, maps::task_storage_delete),
    (id::bpf_sk_storage_get, maps::sk_storage_get),
    (id::bpf_sk_storage_delete, maps::sk_storage_delete),
    (id::bpf_inode_storage_get, maps::inode_storage_get),
    (id::bpf_inode_storage_delete, maps::inode_storage_delete),
    (id::bpf_cgrp_storage_get, maps::cgrp_storage_get),
    (id::bpf_cgrp_storage_delete, maps::cgrp_storage_delete),
    (id::bpf_probe_read, probe::read_any),
    (id::bpf_probe_read_user, probe::read_user),
    (id::bpf_probe_read_kernel, probe::read_kernel),
    (id::bpf_probe_read_str, probe::read_any_str),
    (id::bpf_probe_read_user_str, probe::read_user_str),
    (id::bpf_probe_read_kernel_str, probe::read_kernel_str),
    (id::bpf_copy_from_user, probe::read_user),
    (id::bpf_copy_from_user_task, probe::copy_from_user_task),
    (id::bpf_find_vma, files::find_vma),
    (id::bpf_d_path, files::d_path),
    (id::bpf_probe_write_user, probe::write_user),
    (id::bpf_ktime_get_ns, world::ktime_ns),
    (id::bpf_ktime_get_boot_ns, world::ktime_boot_ns),
    (id::bpf_ktime_get_coarse_ns, world::ktime_coarse_ns),
    (id::bpf_ktime_get_tai_ns, world::ktime_tai_ns),
    (id::bpf_jiffies64, world::jiffies64),
    (id::bpf_get_prandom_u32, world::random),
    (id::bpf_get_smp_processor_id, world::cpu),
    (id::bpf_get_numa_node_id, world::numa_node),
    (id::bpf_get_current_pid_tgid, world::pid_tgid),
    (id::bpf_get_current_uid_gid, world::uid_gid),
    (id::bpf_get_current_comm, world::comm),
    (id::bpf_get_current_task, world::current_task),
    (id::bpf_get_current_task_btf, world::current_task),
    (id::bpf_task_pt_regs, world::task_pt_regs),
    (id::bpf_get_current_cgroup_id, world::cgroup_id),
    (id::bpf_get_current_ancestor_cgroup_id, world::ancestor_cgroup_id),
    (id::bpf_current_task_under_cgroup, world::task_under_cgroup),
    (id::bpf_get_ns_current_pid_tgid, world::ns_pid_tgid),
    (id::bpf_get_attach_cookie, world::attach_cookie),
    (id::bpf_get_func_ip, world::func_ip),
    (id::bpf_get_func_arg, world::func_arg),
    (id::bpf_get_func_arg_cnt, world::func_arg_count),
    (id::bpf_get_func_ret, world::func_ret),
    (id::bpf_per_cpu_ptr, world::per_cpu_ptr),
    (id::bpf_this_cpu_ptr, world::this_cpu_ptr),
    (id::bpf_send_signal, world::send_signal),
    (id::bpf_send_signal_thread, world::send_signal_thread),
    (id::bpf_perf_event_output, output::perf_event_output),
    (id::bpf_ringbuf_output, output::ringbuf_output),
    (id::bpf_ringbuf_reserve, output::ringbuf_reserve),
    (id::bpf_ringbuf_submit, output::ringbuf_submit),
    (id::bpf_ringbuf_discard, output::ringbuf_discard),
    (id::bpf_ringbuf_query, output::ringbuf_query),
    (id::bpf_user_ringbuf_drain, output::user_ringbuf_drain),
    (id::bpf_dynptr_from_mem, dynptr::from_mem),
    (id::bpf_dynptr_read, dynptr::read),
    (id::bpf_dynptr_write, dynptr::write),
    (id::bpf_dynptr_data, dynptr::data),
    (id::bpf_ringbuf_reserve_dynptr, dynptr::ringbuf_reserve),
    (id::bpf_ringbuf_submit_dynptr, dynptr::ringbuf_submit),
    (id::bpf_ringbuf_discard_dynptr, dynptr::ringbuf_discard),
    (id::bpf_trace_printk, print::trace_printk),
    (id::bpf_trace_vprintk, print::trace_vprintk),
    (id::bpf_snprintf, print::snprintf),
    (id::bpf_snprintf_btf, print::snprintf_btf),
    (id::bpf_seq_printf, print::seq_printf),
    (id::bpf_seq_printf_btf, print::seq_printf_btf),
    (id::bpf_seq_write, print::seq_write),
    (id::bpf_strtol, text::strtol),
    (id::bpf_strtoul, text::strtoul),
    (id::bpf_strncmp, text::strncmp),
    (id::bpf_csum_diff, text::csum_diff),
    (id::bpf_xdp_adjust_head, packet::xdp::adjust_head),
    (id::bpf_xdp_adjust_tail, packet::xdp::adjust_tail),
    (id::bpf_xdp_adjust_meta, packet::xdp::adjust_meta),
    (id::bpf_xdp_get_buff_len, packet::xdp::buffer_len),
    (id::bpf_xdp_load_bytes, packet::xdp::load_bytes),
    (id::bpf_xdp_store_bytes, packet::xdp::store_bytes),
    (id::bpf_skb_store_bytes, packet::skb::store_bytes),
    (id::bpf_skb_load_bytes, packet::skb::load_bytes),
    (id::bpf_skb_load_bytes_relative, packet::skb::load_bytes_relative),
    (id::bpf_skb_pull_data, packet::skb::pull_data),
    (id::bpf_skb_vlan_push, packet::skb::vlan_push),
    (id::bpf_skb_vlan_pop, packet::skb::vlan_pop),
    (id::bpf_skb_change_proto, packet::skb::change_proto),
    (id::bpf_skb_change_type, packet::skb::change_type),
    (id::bpf_skb_change_tail, packet::skb::change_tail),
    (id::bpf_skb_change_head, packet::skb::change_head),
    (id::bpf_skb_adjust_room, packet::skb::adjust_room),
    (id::bpf_skb_ecn_set_ce, packet::skb::ecn_set_ce),
    (id::bpf_lwt_push_encap, packet::skb::lwt_push_encap),
    (id::bpf_skb_set_tstamp, packet::skb::set_tstamp),
    (id::bpf_get_hash_recalc, packet::skb::hash_recalc),
    (id::bpf_set_hash, packet::skb::set_hash),
    (id::bpf_set_hash_invalid, packet::skb::set_hash_invalid),
    (id::bpf_get_cgroup_classid, packet::skb::cgroup_classid),
    (id::bpf_get_route_realm, packet::skb::zero),
    (id::bpf_skb_cgroup_id, packet::skb::cgroup_id),
    (id::bpf_skb_ancestor_cgroup_id, packet::skb::ancestor_cgroup_id),
    (id::bpf_skb_cgroup_classid, packet::skb::zero),
    (id::bpf_get_socket_uid, packet::skb::socket_uid),
    (id::bpf_l3_csum_replace, packet::checksum::l3_replace),
    (id::bpf_l4_csum_replace, packet::checksum::l4_replace),
    (id::bpf_csum_update, packet::checksum::update),
    (id::bpf_csum_level, packet::checksum::level),
    (id::bpf_redirect, packet::redirect::redirect),
    (id::bpf_redirect_map, packet::redirect::redirect_map),
    (id::bpf_redirect_peer, packet::redirect::redirect_peer),
    (id::bpf_redirect_neigh, packet::redirect::redirect_neigh),
    (id::bpf_clone_redirect, packet::redirect::clone_redirect),
    (id::bpf_fib_lookup, packet::route::fib_lookup),
    (id::bpf_check_mtu, packet::route::check_mtu),
    (id::bpf_sk_lookup_tcp, packet::socket::lookup_tcp),
    (id::bpf_sk_lookup_udp, packet::socket::lookup_udp),
    (id::bpf_skc_lookup_tcp, packet::socket::lookup_tcp),
    (id::bpf_sk_release, packet::socket::release),
    (id::bpf_sk_fullsock, packet::socket::full),
    (id::bpf_get_listener_sock, packet::socket::listener),
    (id::bpf_sk_assign, packet::socket::assign),
    (id::bpf_get_netns_cookie, packet::socket::netns_cookie),
    (id::bpf_get_socket_cookie, packet::socket::cookie),
    (id::bpf_tcp_raw_gen_syncookie_ipv4, packet::syncookie::generate_ipv4),
    (id::bpf_tcp_raw_gen_syncookie_ipv6, packet::syncookie::generate_ipv6),
    (id::bpf_tcp_raw_check_syncookie_ipv4, packet::syncookie::check_ipv4),
    (id::bpf_tcp_raw_check_syncookie_ipv6, packet::syncookie::check_ipv6),
    (id::bpf_skb_set_tunnel_key, packet::tunnel::set_key),
    (id::bpf_skb_get_tunnel_key, packet::tunnel::key),
    (id::bpf_skb_set_tunnel_opt, packet::tunnel::set_options),
    (id::bpf_skb_get_tunnel_opt, packet::tunnel::options),
    (id::bpf_skb_get_xfrm_state, packet::tunnel::xfrm_state),
    (id::bpf_skb_under_cgroup, packet::skb::under_cgroup),
    (id::bpf_get_local_storage, maps::local_storage),
    (id::bpf_get_stackid, stack::get_stackid),
    (id::bpf_get_stack, stack::get_stack),
    (id::bpf_get_task_stack, stack::get_task_stack),
    (id::bpf_tail_call, control::tail_call),
    (id::bpf_loop, control::loop_),
    (id::bpf_timer_init, timer::init),
    (id::bpf_timer_set_callback, timer::set_callback),
    (id::bpf_timer_start, timer::start),
    (id::bpf_timer_cancel, timer::cancel),
    (id::bpf_spin_lock, control::spin_lock),
    (id::bpf_spin_unlock, control::spin_unlock),
    (id::bpf_kptr_xchg, control::kptr_xchg),
    (id::bpf_get_branch_snapshot, stack::get_branch_snapshot),
    (id::bpf_read_branch_records, stack::get_branch_snapshot),
];

/// What the helpers need that are not served: each kind by words in their names, the more special first.
const NEEDS: &[(&[&str], &str)] = &[
    (&["sysctl", "retval", "sockopt", "bind"], "the kernel's cgroup hooks on sockets and settings"),
    (&["sys_bpf", "sys_close", "btf_find", "kallsyms"], "the kernel's program loader"),
    (&["override_return"], "error injection into kernel functions"),
    (&["perf_event_read", "perf_prog_read"], "the processor's performance counters"),
    (&["seg6"], "the kernel's routes and their encapsulations"),
    (
        &["msg_", "sock_map", "sock_hash", "sk_redirect"],
        "the kernel's hooks on data that sockets send and receive",
    ),
    (&["hdr_opt", "sock_ops"], "the kernel's hooks on the events of TCP connections"),
    (&["select_reuseport"], "the kernel's choice among sockets of one port"),
    (&["syncookie", "tcp_", "skc_to"], "the state of the kernel's TCP connections"),
    (&["sk_cgroup", "sk_ancestor"], "the control group of a socket of the kernel"),
    (&["sock_from_file"], "the kernel's files"),
    (&["skb_output", "xdp_output"], "the kernel's own packet structures"),
    (&["inode", "ima", "bprm"], "the kernel's files"),
    (&["rc_"], "an infrared receiver"),
];

/// A helper that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name; nothing when there is no helper of this number.
    pub name: Option<&'static str>,
    /// What it needs.
    pub needs: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => {
                write!(f, "helper `{name}` is not served in user space: it needs {}", self.needs)
            }
            None => f.write_str("there is no helper of this number"),
        }
    }
}

/// Is a helper served here? If not, why.
pub fn is_served(id: u32) -> Result<(), Refused> {
    serve(id).map(drop)
}

/// The implementation of a helper.
pub(crate) fn serve(id: u32) -> Result<HelperFn, Refused> {
    if let Some((_, run)) = SERVED.iter().find(|(served, _)| *served == id) {
        return Ok(*run);
    }
    let name = skep_isa::helper::by_id(id).map(|helper| helper.name);
    let needs = |words: &[&str]| words.iter().any(|word| name.is_some_and(|name| name.contains(word)));
    let needs = NEEDS.iter().find(|(words, _)| needs(words)).map_or("the kernel", |(_, what)| what);
    Err(Refused { name, needs })
}
