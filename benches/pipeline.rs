//! The speed and size of the real binary, end to end: `cargo bench --bench pipeline -- [--quick] [--explain] [sqlite] [postgres]
//! [ROW…]`: both stores and all rows unless some are named.
//!
//! Three processes on one machine: `campanile serve` (with PostgreSQL beside it, where that is the store), the messengers
//! (this executable in another role), and this one, which sends the triggers and reads the figures. Beside each figure stands a bare one from the same run: machines
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
#[path = "../tests/harness/postgres.rs"]
#[allow(dead_code, reason = "the tests ask it for more")]
mod postgres;
#[path = "../tests/harness/process.rs"]
#[allow(dead_code, reason = "the tests ask it for more")]
mod process;
#[path = "pipeline/rows.rs"]
mod rows;
#[path = "../tests/harness/server.rs"]
#[allow(dead_code, reason = "the tests ask it for more")]
mod server;
#[path = "pipeline/store.rs"]
mod store;
#[path = "pipeline/syncs.rs"]
mod syncs;
#[path = "pipeline/table.rs"]
mod table;

use std::process::ExitCode;

use rows::{How, ROWS, Run};
use store::Store;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(role) = arguments.first().and_then(|argument| argument.strip_prefix("role:")) {
        child::play(role);
        return ExitCode::SUCCESS;
    }
    let mut asked = |word: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != word);
        arguments.len() < before
    };
    let how = How { is_quick: asked("--quick"), explains: asked("--explain") };
    let stores = Store::ALL.map(|store| (store, asked(store.word())));
    if let Some(unknown) = arguments.iter().find(|name| !ROWS.iter().any(|(row, _)| row == name)) {
        let known: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
        eprintln!("no row `{unknown}`; the rows are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let all_stores = stores.iter().all(|(_, asked)| !asked);
    let mut run = Run::new(how);
    for (name, row) in ROWS {
        if !arguments.is_empty() && !arguments.iter().any(|asked| asked == name) {
            continue;
        }
        for (store, _) in stores.iter().filter(|(_, asked)| *asked || all_stores) {
            eprintln!("{name} on {} …", store.word());
            row(&mut run, *store);
        }
    }
    println!("{}\n", machine::describe());
    print!("{}", run.table);
    ExitCode::SUCCESS
}
