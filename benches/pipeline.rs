//! The speed and size of the real binary, end to end: `cargo bench --bench pipeline -- [--quick] [ROW…]`.
//!
//! Three processes on one machine: `campanile serve`, the messengers (this executable in another role), and this one,
//! which sends the triggers and reads the figures. Beside each figure stands a bare one from the same run: machines
//! differ, ratios less so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "real time is what is measured, and nobody holds it")]

#[path = "pipeline/bare.rs"]
mod bare;
#[path = "pipeline/bridge.rs"]
mod bridge;
#[path = "pipeline/child.rs"]
mod child;
#[path = "pipeline/load.rs"]
mod load;
#[path = "pipeline/machine.rs"]
mod machine;
#[path = "pipeline/messengers.rs"]
mod messengers;
#[path = "pipeline/rows.rs"]
mod rows;
#[path = "pipeline/table.rs"]
mod table;

use std::process::ExitCode;

use rows::{ROWS, Run};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(role) = arguments.first().and_then(|argument| argument.strip_prefix("role:")) {
        child::play(role);
        return ExitCode::SUCCESS;
    }
    let before = arguments.len();
    arguments.retain(|argument| argument != "--quick");
    let is_quick = arguments.len() < before;
    if let Some(unknown) = arguments.iter().find(|name| !ROWS.iter().any(|(row, _)| row == name)) {
        let known: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
        eprintln!("no row `{unknown}`; the rows are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let mut run = Run::new(is_quick);
    for (name, row) in ROWS {
        if arguments.is_empty() || arguments.iter().any(|asked| asked == name) {
            eprintln!("{name} …");
            row(&mut run);
        }
    }
    println!("{}\n", machine::describe());
    print!("{}", run.table);
    ExitCode::SUCCESS
}
