//! How many processors there are.

use std::fs;
use std::sync::OnceLock;

/// Processors that this machine may ever have: the number of slots in a per-CPU value. It does not change while the kernel
/// runs.
pub fn possible() -> usize {
    static POSSIBLE: OnceLock<usize> = OnceLock::new();
    *POSSIBLE.get_or_init(|| {
        let text = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
        count(text.trim()).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    })
}

/// Counts the processors in a list such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let last = list.rsplit([',', '-']).next()?;
    last.parse::<usize>().ok().map(|highest| highest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-7"), Some(8));
        assert_eq!(count("0,2-3"), Some(4));
        assert_eq!(count(""), None);
    }
}
