//! `skep btf`: types of the kernel, of programs and maps, and in files.

pub(crate) mod dump;
pub(crate) mod raw;
pub(crate) mod show;
pub(crate) mod signature;
