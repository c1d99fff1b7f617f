//! Expected results in files: `BLESS=1 cargo test -p skep-btf` writes them anew.

use std::path::Path;

/// Compares with `tests/data/NAME`.
#[track_caller]
pub(crate) fn check(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = actual.lines().zip(expected.lines()).find(|(a, e)| a != e);
    assert!(actual == expected, "differs from tests/data/{name}, first at {differing:#?}");
}
