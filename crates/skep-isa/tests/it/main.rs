//! Tests of the crate's features, each against its public face.
#![allow(missing_docs)]

mod cfg;
mod codec;
mod helper;
mod text;
