//! What the admin listener shows: the API over the outbox, and metrics.

mod api;
mod metrics;

pub use api::{Api, Configuration, RefusedConfiguration, api_router};
pub use metrics::metrics_page;
