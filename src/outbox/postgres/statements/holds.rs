//! Holds that were reckoned by a time that counts no more.

use tokio_postgres::GenericClient;

use super::{Result, given};
use crate::outbox::Millis;

/// Ends by so much earlier the holds that end at these times. Each of several replicas may do so: who comes later finds
/// none that ends then.
pub async fn bring_holds_forward(db: &impl GenericClient, by: Millis, held_until: &[Millis]) -> Result<()> {
    for table in ["accounts", "lanes"] {
        let earlier = format!("update {table} set hold_until = hold_until - $1 where hold_until = any ($2)");
        db.query_typed(&earlier, given![by => INT8, held_until => INT8_ARRAY]).await?;
    }
    Ok(())
}
