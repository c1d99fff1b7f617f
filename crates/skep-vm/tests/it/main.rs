//! What programs compute, what maps answer, and what is refused.

mod build;
mod interp;
mod kernel;
mod maps;
mod random;
