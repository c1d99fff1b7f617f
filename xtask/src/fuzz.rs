//! `cargo xtask fuzz TARGET …`: builds the fuzz targets with overflow checks, and runs one. Without arguments it lists them.

use std::process::Command;

/// Passes all arguments on.
pub(crate) fn fuzz(args: &[String]) -> Result<(), String> {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--profile", "fuzz", "--package", "skep-fuzz", "--"])
        .args(args)
        .status()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err("the fuzz target failed, or could not be run".to_owned()) }
}
