//! How deep the stack can get, over all chains of calls.

use skep_isa::uapi::ProgType;
use skep_isa::{CallTarget, Imm64, Op};

use super::Verifier;
use crate::state::{MAX_FRAMES, MAX_STACK};
use crate::stop::{Res, reject};

/// From this size on a function's frame is put into memory of its own, where the program type allows it.
const PRIVATE_STACK_MIN: i32 = 64;

impl Verifier<'_> {
    /// Checks every chain from the program and from callbacks that run later.
    pub(crate) fn check_depth(&mut self) -> Res {
        let tail_calls = self.code.subprogs.iter().any(|s| s.has_tail_call);
        let private = !tail_calls
            && matches!(
                self.prog_type(),
                ProgType::KPROBE | ProgType::TRACEPOINT | ProgType::PERF_EVENT | ProgType::RAW_TRACEPOINT
            );
        for i in (0..self.code.subprogs.len()).rev() {
            if i == 0 || self.code.subprogs[i].is_async_cb {
                let mut chain = Vec::new();
                self.descend(i as u32, 0, private && i == 0, &mut chain)?;
            }
        }
        Ok(())
    }

    fn descend(&self, subprog: u32, depth: i32, private: bool, chain: &mut Vec<u32>) -> Res {
        let info = &self.code.subprogs[subprog as usize];
        let in_callback = info.is_cb || chain.iter().any(|&s| self.code.subprogs[s as usize].is_cb);
        if info.has_ld_abs && in_callback {
            reject!("cannot use BPF_LD_[ABS|IND] within callback");
        }
        if subprog != 0 && info.has_tail_call && depth >= 256 {
            reject!(
                "tail_calls are not allowed when call stack of previous frames is {depth} bytes. Too large"
            );
        }
        let bytes = (info.stack_depth + 15) / 16 * 16;
        let own = private && (bytes >= PRIVATE_STACK_MIN || subprog == 0);
        let depth = if own { depth } else { depth + bytes };
        if own && bytes > MAX_STACK {
            reject!("stack size of subprog {subprog} is {bytes}. Too large");
        }
        if depth > MAX_STACK {
            reject!("combined stack size of {} calls is {depth}. Too large", chain.len() + 1);
        }
        chain.push(subprog);
        for pc in info.start..info.end {
            let call = match self.code.op(pc) {
                Some(Op::Call(CallTarget::Local(_))) => true,
                Some(Op::LoadImm64 { imm: Imm64::Func(_), .. }) => false,
                Some(Op::Call(CallTarget::Kfunc { .. })) if self.throws(pc) && in_callback => {
                    reject!("bpf_throw kfunc (insn {pc}) cannot be called from callback subprog {subprog}");
                }
                _ => continue,
            };
            let Some(callee) = self.code.callee(pc) else { continue };
            let target = &self.code.subprogs[callee as usize];
            if target.is_async_cb || target.is_exception_cb {
                if !call {
                    continue;
                }
                if target.is_exception_cb {
                    reject!("insn {pc} cannot call exception cb directly");
                }
            }
            if chain.len() >= MAX_FRAMES {
                reject!("the call stack of {} frames is too deep !", chain.len());
            }
            self.descend(callee, depth, private, chain)?;
        }
        chain.pop();
        Ok(())
    }
}
