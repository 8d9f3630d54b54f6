#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test is the outside that the bans name"))]

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod event;
pub mod finding;
pub mod http;
pub mod lane;
pub mod layers;
pub mod lifecycle;
pub mod message;
pub mod messenger;
pub mod outbox;
pub mod route;
pub mod source;
pub mod telemetry;
pub mod template;
