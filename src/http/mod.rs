//! The listeners: connections with whole deadlines, and what each path means.

mod admin;
mod answer;
mod hooks;
mod links;
mod server;

pub use admin::{Admin, Guard, admin_router};
pub use hooks::{Hooks, Readiness, public_router};
pub use server::serve;
