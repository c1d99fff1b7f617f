//! What is claimed, and how cases of it are made and judged.

mod abstract_contains_concrete;
mod interp_vs_jit;
mod made;
mod verified_never_faults;
mod verify_always_answers;
mod vm_vs_kernel;

pub use abstract_contains_concrete::AbstractContainsConcrete;
pub use interp_vs_jit::InterpVsJit;
pub use verified_never_faults::VerifiedNeverFaults;
pub use verify_always_answers::VerifyAlwaysAnswers;
pub use vm_vs_kernel::{KernelAnswers, KernelQuestions, VmVsAnswers, VmVsKernel};
