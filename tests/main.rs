//! One test binary: the real server over a real store, with the simulators over real HTTP. A file per capability.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "the tests are the outside that the bans name")]

mod harness;

mod accept;
mod actions;
mod admin;
mod architecture;
mod asking;
mod benches;
mod commands;
mod connect;
mod connecting;
mod crash;
mod defaults;
mod delivery;
mod demo;
mod dependencies;
mod deploy;
mod disk;
mod doctor;
mod enrichment;
mod faults;
mod fuzzed;
mod hostile;
mod import;
mod limits;
mod links;
mod metrics;
mod outbox;
mod pace;
mod pg_faults;
mod reading;
mod readme;
mod recovery;
mod reload;
mod rendering;
mod replay;
mod replicas;
mod reviews;
mod routing;
mod secrets;
mod shutdown;
mod start;
mod templates;
mod threads;
mod tracker;
mod triggers;
mod tutorials;
mod upgrade;
