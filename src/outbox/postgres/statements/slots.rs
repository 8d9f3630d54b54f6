//! The slots of accounts, which replicas share.

use tokio_postgres::GenericClient;

use super::{Result, given};
use crate::outbox::Slot;

/// Gives back some slots of the account and takes up to `want` others below `most`, those first that are free first. Nobody
/// waits for another here: what somebody else is just taking is left to him.
pub async fn trade_slots(
    db: &impl GenericClient,
    lease: i64,
    account: &str,
    most: u32,
    back: &[Slot],
    want: usize,
) -> Result<Vec<Slot>> {
    let (numbers, free_at): (Vec<i32>, Vec<i64>) = back.iter().map(|slot| (slot.number as i32, slot.free_at)).unzip();
    let rows = db
        .query_typed(
            "with back as (
                 update slots set lease = null, free_at = b.free_at from unnest($4, $5) as b (number, free_at)
                 where account = $2 and slots.number = b.number and lease = $1
             )
             update slots set lease = $1 where account = $2 and number in
                 (select number from slots where account = $2 and lease is null and number < $3
                  order by free_at, number limit $6 for update skip locked)
             returning number, free_at",
            given![
                lease => INT8,
                account => TEXT,
                most as i32 => INT4,
                numbers => INT4_ARRAY,
                free_at => INT8_ARRAY,
                want as i64 => INT8,
            ],
        )
        .await?;
    rows.iter().map(|row| Ok(Slot { number: row.try_get::<_, i32>(0)? as u32, free_at: row.try_get(1)? })).collect()
}

/// Makes the account's slots that nobody has made yet.
pub async fn make_slots(db: &impl GenericClient, account: &str, most: u32) -> Result<()> {
    let make = "insert into slots (account, number) select $1, generate_series(0, $2 - 1) on conflict do nothing";
    db.query_typed(make, given![account => TEXT, most as i32 => INT4]).await?;
    Ok(())
}
