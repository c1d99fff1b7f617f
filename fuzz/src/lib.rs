//! Random and mutated programs against the verifier and the interpreter: generators, oracles, campaigns.
//!
//! A [`campaign`] runs numbered cases of a [`target`]. A case is made from a seed and its number alone: a program of the
//! [`corpus`] with [changes](mutate), or one [made up](generate). What fails is [made smaller](minimise), and told with the
//! command that runs it again.
//!
//! This is no part of what is installed.

pub mod campaign;
pub mod corpus;
pub mod execute;
pub mod generate;
pub mod minimise;
pub mod mutate;
pub mod rng;
pub mod target;
