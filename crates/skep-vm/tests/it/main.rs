//! What programs compute, what maps answer, and what is refused.

mod build;
mod helpers;
mod interp;
mod kernel;
mod maps;
mod print;
mod random;
mod threads;
