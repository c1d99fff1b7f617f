//! The binary as a person uses it.

mod alike;
mod bad_input;
mod both;
mod daemon;
mod endings;
mod files;
mod functions;
mod getting_started;
mod harness;
mod helpers;
mod hooks;
mod katran;
mod light;
mod loading;
mod objects;
mod packets;
mod probes;
mod prog_run;
mod programs;
mod rejections;
mod run;
mod sampling;
mod sweeps;
mod tools;
mod verify;
