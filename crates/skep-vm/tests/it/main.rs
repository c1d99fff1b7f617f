//! What programs compute, what maps answer, and what is refused.

mod build;
mod interp;
mod maps;
mod random;
