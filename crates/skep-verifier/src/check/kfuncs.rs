//! Calls of kernel functions by BTF.

use super::Verifier;
use crate::flow::CallShape;
use crate::reg::BtfRef;
use crate::stop::{Res, unsupported};

/// A kernel function a call names.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// Its name.
    pub(crate) name: String,
    /// Its parameters.
    pub(crate) params: Vec<(String, BtfRef)>,
}

impl Resolved {
    /// What the call does to the flow of control.
    pub(crate) fn shape(&self) -> CallShape {
        CallShape::default()
    }
}

impl Verifier<'_> {
    /// Finds the kernel function of every call.
    pub(crate) fn resolve_kfuncs(&mut self) -> Res {
        use skep_isa::{CallTarget, Op};
        for pc in 0..self.code.len() {
            let Some(Op::Call(CallTarget::Kfunc { btf_id, fd_idx })) = self.code.op(pc).copied() else {
                continue;
            };
            let obj = if fd_idx == 0 { BtfRef::KERNEL } else { fd_idx as u16 + 1 };
            let func = self.types.canonical(BtfRef { obj, id: btf_id as u32 });
            let (name, params) = (self.types.name(func).to_owned(), self.types.params(func));
            self.kfuncs[pc as usize] = Some(Resolved { name, params });
        }
        Ok(())
    }

    /// Calls the kernel function at the current instruction; true where the path ends there.
    pub(crate) fn call_kfunc(&mut self) -> Res<bool> {
        let name = self.kfuncs[self.pc as usize].as_ref().map_or("?", |k| &k.name);
        unsupported!("kfunc `{name}`")
    }

    /// May it be called while a lock is held?
    pub(crate) fn may_call_kfunc_locked(&self) -> bool {
        true
    }

    /// Does the call at `pc` throw?
    pub(crate) fn throws(&self, pc: u32) -> bool {
        self.kfuncs[pc as usize].as_ref().is_some_and(|k| k.name == "bpf_throw")
    }

    /// Are we in the comparison callback of a tree, whose lock is held?
    pub(crate) fn in_rbtree_callback(&self) -> bool {
        false
    }
}
