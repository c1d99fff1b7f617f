//! What a program, or a function verified on its own, may return.

use skep_isa::uapi::{AttachType, ProgType};

use super::Verifier;
use super::calls::{invalid_return, within};
use crate::stop::{Res, reject, unsupported};

impl Verifier<'_> {
    /// Checks `r0` at the end of a program or of a function verified on its own.
    pub(crate) fn check_return(&mut self) -> Res {
        self.check_return_of(0)
    }

    /// The same for another register: what an exception returns in place of `r0`.
    pub(crate) fn check_return_of(&mut self, regno: usize) -> Res {
        let frame = &self.cur.frames[0];
        let (subprog, exception) = (frame.subprog != 0, frame.in_exception_callback);
        let later = frame.in_async_callback;
        if (!subprog || exception) && self.returns_nothing() {
            return Ok(());
        }
        self.check_readable_reg(regno as u8)?;
        let reg = *self.cur.reg(regno);
        let (range, when) = if later {
            (Some((0, 0)), "At async callback return")
        } else if subprog && !exception {
            if !reg.is_scalar() {
                reject!("At subprogram exit the register R0 is not a scalar value ({})", reg.ty);
            }
            return Ok(());
        } else {
            if self.prog_type() == ProgType::STRUCT_OPS && self.returns_reference()? {
                return Ok(());
            }
            (self.return_range(), "At program exit")
        };
        let Some(range) = range else { return Ok(()) };
        if !reg.is_scalar() {
            reject!("{when} the register R0 is not a known value ({})", reg.ty);
        }
        self.mark_precise(regno)?;
        let low_half = self.prog_type() == ProgType::LSM && self.input.attach_type != AttachType::LSM_CGROUP;
        if !within(range, &reg.val, low_half) {
            return Err(invalid_return(&reg, range, when));
        }
        Ok(())
    }

    /// Hooks whose function is `void` take no result.
    fn returns_nothing(&self) -> bool {
        match self.prog_type() {
            ProgType::LSM => self.input.attach_type != AttachType::LSM_CGROUP && self.attach_returns_void(),
            ProgType::STRUCT_OPS => self.attach_returns_void(),
            _ => false,
        }
    }

    /// A `struct_ops` member that returns a pointer wants a reference of that type, or null.
    fn returns_reference(&self) -> Res<bool> {
        let Some((func, _)) = self.attached_function() else { return Ok(false) };
        let func = self.types.strip(func).map_or(func, |(r, _)| r);
        let Some((r, proto)) = self.types.proto(func) else { return Ok(false) };
        if self.types.pointee(self.types.at(r, proto.ret)).is_none() {
            return Ok(false);
        }
        unsupported!("`struct_ops` member that returns a pointer")
    }

    /// Results the kernel takes; `None` for any.
    fn return_range(&self) -> Option<(i32, i32)> {
        let attach = self.input.attach_type;
        match self.prog_type() {
            ProgType::CGROUP_SOCK_ADDR => Some(match attach {
                AttachType::CGROUP_UDP4_RECVMSG
                | AttachType::CGROUP_UDP6_RECVMSG
                | AttachType::CGROUP_UNIX_RECVMSG
                | AttachType::CGROUP_INET4_GETPEERNAME
                | AttachType::CGROUP_INET6_GETPEERNAME
                | AttachType::CGROUP_UNIX_GETPEERNAME
                | AttachType::CGROUP_INET4_GETSOCKNAME
                | AttachType::CGROUP_INET6_GETSOCKNAME
                | AttachType::CGROUP_UNIX_GETSOCKNAME => (1, 1),
                AttachType::CGROUP_INET4_BIND | AttachType::CGROUP_INET6_BIND => (0, 3),
                _ => (0, 1),
            }),
            ProgType::CGROUP_SKB if attach == AttachType::CGROUP_INET_EGRESS => Some((0, 3)),
            ProgType::CGROUP_SKB
            | ProgType::CGROUP_SOCK
            | ProgType::SOCK_OPS
            | ProgType::CGROUP_DEVICE
            | ProgType::CGROUP_SYSCTL
            | ProgType::CGROUP_SOCKOPT
            | ProgType::SK_LOOKUP
            | ProgType::NETFILTER => Some((0, 1)),
            ProgType::TRACING => match attach {
                AttachType::TRACE_FENTRY | AttachType::TRACE_FEXIT => Some((0, 0)),
                AttachType::TRACE_ITER => Some((0, 1)),
                _ => None,
            },
            ProgType::KPROBE => match attach {
                AttachType::TRACE_KPROBE_SESSION | AttachType::TRACE_UPROBE_SESSION => Some((0, 1)),
                _ => None,
            },
            ProgType::LSM => self.lsm_range(),
            _ => None,
        }
    }

    fn lsm_range(&self) -> Option<(i32, i32)> {
        if self.input.attach_type == AttachType::LSM_CGROUP {
            return Some(if self.attach_returns_void() { (1, 1) } else { (0, 1) });
        }
        self.hook_range()
    }

    /// What a security hook returns, where it returns something.
    pub(super) fn hook_range(&self) -> Option<(i32, i32)> {
        (!self.attach_returns_void()).then(|| self.hook().range())
    }
}
