//! Tower layers, one a file. Each says where in a stack it belongs; the order of all of them is `stack.rs`.

pub mod breaker;
pub mod lease;
pub mod observe;
pub mod rate;
pub mod retry;
pub mod stack;
pub mod timeout;
