//! What must hold whatever comes in: one function for each fuzz target, which `cargo fuzz` calls with its inputs and the
//! test `fuzzed` with those of the corpus. Each ends by panicking where something does not hold.

pub mod config;
pub mod reader;
pub mod review;
pub mod splitting;
pub mod template;

mod findings;
mod sent;
