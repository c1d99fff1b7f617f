//! Skeletons: an object as source text that embeds it, with its programs, maps and variables as members of a structure.
//!
//! Takes an [`Object`](skep_obj::Object) and its bytes; gives text. [`rust`] writes a module for the `skep` crate; [`c`]
//! writes the header that a program written with libbpf includes, with the names that libbpf's own tool gives. Both
//! only compute; [`build`] is the front for build scripts, which calls clang and writes files.
#![forbid(unsafe_code)]

pub mod build;
pub mod c;
pub mod rust;

/// A name as C and Rust take it: whatever is no letter or digit becomes `_`.
pub fn identifier(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    match clean.chars().next() {
        Some('0'..='9') => format!("_{clean}"),
        Some(_) => clean,
        None => "_".to_owned(),
    }
}

/// The name of a skeleton by its object's file: `opensnoop_bpf` for `/x/opensnoop.bpf.o`.
pub fn name_of_file(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    identifier(base.strip_suffix(".o").unwrap_or(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types of these words, which need make no sense.
    pub(crate) fn damaged(words: &[u32]) -> skep_btf::Btf {
        let bytes = words.len() as u32 * 4;
        let strings = b"\0x\0\0";
        let header = [0x0001_eb9f, 24, 0, bytes, bytes, strings.len() as u32];
        let mut data: Vec<u8> = header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect();
        data.extend_from_slice(strings);
        skep_btf::Btf::parse(std::sync::Arc::new(data)).expect("a header that is right")
    }

    #[test]
    fn files_give_names() {
        assert_eq!(name_of_file("/x/opensnoop.bpf.o"), "opensnoop_bpf");
        assert_eq!(name_of_file("9lives.o"), "_9lives");
        assert_eq!(name_of_file(""), "_");
    }
}
