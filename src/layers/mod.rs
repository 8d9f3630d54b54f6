//! Tower layers, one a file. Each says where in a stack it belongs; the stack itself is `messenger::sender`.

pub mod breaker;
pub mod lease;
pub mod observe;
pub mod retry;
pub mod timeout;
