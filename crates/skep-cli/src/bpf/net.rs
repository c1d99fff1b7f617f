//! Network devices by number and name.

use std::fs;

/// The name of a network device of this namespace.
pub(crate) fn device_name(ifindex: u32) -> Option<String> {
    let devices = fs::read_dir("/sys/class/net").ok()?;
    devices.flatten().find_map(|device| {
        let index = fs::read_to_string(device.path().join("ifindex")).ok()?;
        (index.trim().parse() == Ok(ifindex)).then(|| device.file_name().to_string_lossy().into_owned())
    })
}
