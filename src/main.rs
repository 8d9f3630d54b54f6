//! Parse, run, exit.

use std::process::ExitCode;

use campanile::cli::Cli;

/// Documents and messages are many small pieces, made on one thread and dropped on another: glibc's malloc took a sixth
/// of the CPU time of an accept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _fail_points = fail::FailScenario::setup();
    Cli::of_process().run().into()
}
