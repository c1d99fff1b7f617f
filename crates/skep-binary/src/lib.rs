//! Executables and libraries as probes in user space see them.
//!
//! [`find`] turns a name into a file, [`Binary`] reads one and says where its functions and static probes are, and [`usdt`]
//! turns a static probe's arguments into what programs are given. Places are offsets in the file, as uprobes count them,
//! because the same file is mapped elsewhere in every process. Both runtimes use it; nothing here attaches anything.

mod binary;
mod file;
mod pattern;
pub mod usdt;

pub use binary::{Binary, Note};
pub use file::find;
pub use pattern::glob;
