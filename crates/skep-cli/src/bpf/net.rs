//! `skep net`: what is attached to network devices, and attaching more.

mod attach;
mod show;

pub(crate) use attach::{attach, detach};
pub(crate) use show::show;

use skep_kernel::network;

use super::failure::{Failure, Outcome};
use super::words::Words;

/// The name of a network device of this namespace.
pub(crate) fn device_name(ifindex: u32) -> Option<String> {
    let devices = network::devices(Some(ifindex)).ok()?;
    devices.into_iter().next().map(|device| device.name)
}

/// `dev NAME`: the device's number.
fn device(words: &mut Words<'_>) -> Outcome<u32> {
    if !words.keyword("dev") {
        return Err(expected("`dev`", words).hint("`dev NAME` says which network device"));
    }
    let name = words.need("the network device")?;
    network::device_index(name).map_err(Failure::from)
}

fn expected(what: &str, words: &Words<'_>) -> Failure {
    match words.peek() {
        Some(word) => Failure::usage(format!("expected {what}, not `{word}`")),
        None => Failure::new(format!("expected {what}")),
    }
}
