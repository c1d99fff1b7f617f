//! A runtime in another process: the waist over a Unix socket.
//!
//! A process that wants to keep a BPF subsystem alive [`serve`]s it at a [`Socket`]; others [`connect`](client::connect) and
//! get a [`Runtime`](skep_runtime::Runtime) like any other. A connection is to the subsystem what a process is to the
//! kernel: it has descriptors of its own, and what it holds ends with it, however it ends.
//!
//! Requests and answers are frames ([`frame`]) of values ([`wire`]), one answer to each request. Readiness of events and
//! sessions is a descriptor that the server passes, so a client waits without asking. Both ends check whose process the
//! other is; this crate runs no programs and knows no runtime.
#![forbid(unsafe_code)]

pub mod client;
mod frame;
mod place;
mod server;
mod wire;

pub use place::{Socket, default_path};
pub use server::{Control, serve};
