//! Kernel functions that programs call by their BTF id: their list, and those that need little.
//!
//! They are known by name; the numbers are the running kernel's.

use super::packet::xdp;
use super::{
    Call, HelperFn, HelperResult, arena, control, cpumask, dynptr, errno, fill, iter, probe, strings, timer,
};
use crate::Errno;

/// Every kernel function served, and its implementation.
const SERVED: &[(&str, HelperFn)] = &[
    ("bpf_rcu_read_lock", nothing),
    ("bpf_rcu_read_unlock", nothing),
    ("bpf_preempt_disable", nothing),
    ("bpf_preempt_enable", nothing),
    ("bpf_local_irq_save", nothing),
    ("bpf_local_irq_restore", nothing),
    ("bpf_cast_to_kern_ctx", itself),
    ("bpf_rdonly_cast", itself),
    ("bpf_task_acquire", itself),
    ("bpf_task_release", nothing),
    ("bpf_task_from_pid", task_from_pid),
    ("bpf_task_from_vpid", task_from_pid),
    ("bpf_session_is_return", session_is_return),
    ("bpf_session_cookie", session_cookie),
    ("bpf_iter_num_new", iter::num_new),
    ("bpf_iter_num_next", iter::num_next),
    ("bpf_iter_num_destroy", nothing),
    ("bpf_iter_bits_new", iter::bits_new),
    ("bpf_iter_bits_next", iter::bits_next),
    ("bpf_iter_bits_destroy", iter::bits_destroy),
    ("bpf_map_sum_elem_count", sum_elem_count),
    ("bpf_dynptr_from_skb", dynptr::from_packet),
    ("bpf_dynptr_from_xdp", dynptr::from_packet),
    ("bpf_dynptr_adjust", dynptr::adjust),
    ("bpf_dynptr_is_null", dynptr::is_null),
    ("bpf_dynptr_is_rdonly", dynptr::is_read_only),
    ("bpf_dynptr_size", dynptr::size),
    ("bpf_dynptr_clone", dynptr::clone),
    ("bpf_dynptr_slice", dynptr::slice),
    ("bpf_dynptr_slice_rdwr", dynptr::slice_writable),
    ("bpf_dynptr_copy", fill::copy),
    ("bpf_dynptr_memset", fill::memset),
    ("bpf_probe_read_user_dynptr", fill::probe_user),
    ("bpf_probe_read_kernel_dynptr", fill::probe_kernel),
    ("bpf_probe_read_user_str_dynptr", fill::probe_user_str),
    ("bpf_probe_read_kernel_str_dynptr", fill::probe_kernel_str),
    ("bpf_copy_from_user_dynptr", fill::copy_from_user),
    ("bpf_copy_from_user_str_dynptr", fill::copy_from_user_str),
    ("bpf_copy_from_user_task_dynptr", fill::copy_from_user_task),
    ("bpf_xdp_pull_data", xdp::pull_data),
    ("bpf_arena_alloc_pages", arena::alloc_pages),
    ("bpf_arena_free_pages", arena::free_pages),
    ("bpf_wq_init", timer::work_init),
    ("bpf_wq_set_callback_impl", timer::work_set_callback),
    ("bpf_wq_start", timer::work_start),
    ("bpf_copy_from_user_str", copy_from_user_str),
    ("bpf_cpumask_create", cpumask::create),
    ("bpf_cpumask_acquire", cpumask::acquire),
    ("bpf_cpumask_release", cpumask::release),
    ("bpf_cpumask_first", cpumask::first),
    ("bpf_cpumask_first_zero", cpumask::first_zero),
    ("bpf_cpumask_first_and", cpumask::first_and),
    ("bpf_cpumask_set_cpu", cpumask::set_cpu),
    ("bpf_cpumask_clear_cpu", cpumask::clear_cpu),
    ("bpf_cpumask_test_cpu", cpumask::test_cpu),
    ("bpf_cpumask_test_and_set_cpu", cpumask::test_and_set_cpu),
    ("bpf_cpumask_test_and_clear_cpu", cpumask::test_and_clear_cpu),
    ("bpf_cpumask_setall", cpumask::set_all),
    ("bpf_cpumask_clear", cpumask::clear),
    ("bpf_cpumask_and", cpumask::and),
    ("bpf_cpumask_or", cpumask::or),
    ("bpf_cpumask_xor", cpumask::xor),
    ("bpf_cpumask_equal", cpumask::equal),
    ("bpf_cpumask_intersects", cpumask::intersects),
    ("bpf_cpumask_subset", cpumask::subset),
    ("bpf_cpumask_empty", cpumask::empty),
    ("bpf_cpumask_full", cpumask::full),
    ("bpf_cpumask_copy", cpumask::copy),
    ("bpf_cpumask_any_distribute", cpumask::any_distribute),
    ("bpf_cpumask_any_and_distribute", cpumask::any_and_distribute),
    ("bpf_cpumask_weight", cpumask::weight),
    ("bpf_cpumask_populate", cpumask::populate),
    ("bpf_throw", control::throw),
    ("bpf_res_spin_lock", control::res_spin_lock),
    ("bpf_res_spin_unlock", control::spin_unlock),
    ("bpf_res_spin_lock_irqsave", control::res_spin_lock),
    ("bpf_res_spin_unlock_irqrestore", control::spin_unlock),
    ("bpf_strlen", strings::strlen),
    ("bpf_strnlen", strings::strnlen),
    ("bpf_strcmp", strings::strcmp),
    ("bpf_strchr", strings::strchr),
    ("bpf_strrchr", strings::strrchr),
    ("bpf_strstr", strings::strstr),
    ("bpf_strcasecmp", strings::strcasecmp),
    ("bpf_strnchr", strings::strnchr),
    ("bpf_strchrnul", strings::strchrnul),
    ("bpf_strspn", strings::strspn),
    ("bpf_strcspn", strings::strcspn),
    ("bpf_strnstr", strings::strnstr),
];

/// Is a kernel function served here?
pub fn is_kfunc_served(name: &str) -> bool {
    serve(name).is_some()
}

/// The implementation of a kernel function.
pub(crate) fn serve(name: &str) -> Option<HelperFn> {
    SERVED.iter().find(|(served, _)| *served == name).map(|(_, run)| *run)
}

/// What has no effect here: nothing is freed or interrupted while a program runs.
fn nothing(_: &mut Call<'_, '_>) -> HelperResult {
    Ok(0)
}

/// What answers its argument: references to tasks need no counting.
fn itself(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.args[0])
}

fn task_from_pid(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.task_from_pid(call.u32(0)))
}

fn session_is_return(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.machine.env.session_is_return().into())
}

/// The address of eight bytes behind the context.
fn session_cookie(call: &mut Call<'_, '_>) -> HelperResult {
    let offset = call.machine.env.session_cookie();
    let space = &call.machine.space;
    // The program accesses it without asking.
    let inside = |offset: &u64| offset.checked_add(8).is_some_and(|end| end <= space.context_len());
    Ok(offset.filter(inside).map_or(0, |offset| space.context() + offset))
}

/// `bpf_map_sum_elem_count(map)`.
fn sum_elem_count(call: &mut Call<'_, '_>) -> HelperResult {
    Ok(call.map(0)?.elements().counted().into())
}

/// `bpf_copy_from_user_str(dst, size, src, flags)`: the length with the NUL; flag 1 fills the rest with zeros.
fn copy_from_user_str(call: &mut Call<'_, '_>) -> HelperResult {
    const PAD_ZEROS: u64 = 1;
    let size = call.u32(1) as usize;
    let [_, _, src, flags, _] = call.args;
    if flags & !PAD_ZEROS != 0 {
        return errno(Errno::EINVAL);
    }
    if size == 0 {
        return Ok(0);
    }
    call.machine.writable(call.args[0], size as u64)?;
    let text = probe::user_string(call.machine, src, size);
    let mut out = text.clone().unwrap_or_default();
    out.push(0);
    let len = out.len() as u64;
    if flags & PAD_ZEROS != 0 {
        out.resize(size, 0);
    }
    if text.is_ok() || flags & PAD_ZEROS != 0 {
        call.store(0, &out)?;
    }
    Ok(text.map_or_else(Errno::to_reg, |_| len))
}
