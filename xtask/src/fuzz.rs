//! `cargo xtask fuzz TARGET …`: builds the fuzz targets with overflow checks, and runs one. Without arguments it lists them.

use std::path::PathBuf;
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

/// Builds the targets as they are released, for where they are emulated; answers the binary.
pub(crate) fn build() -> Result<PathBuf, String> {
    let cargo = ["build", "--quiet", "--release", "--package", "skep-fuzz"];
    let status = Command::new(env!("CARGO")).args(cargo).current_dir(crate::root()).status();
    match status.map_err(|e| format!("cannot run cargo: {e}"))?.success() {
        true => Ok(crate::root().join("target/release/skep-fuzz")),
        false => Err("the fuzz targets do not build".to_owned()),
    }
}
