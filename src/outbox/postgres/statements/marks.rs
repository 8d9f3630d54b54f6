//! The greatest numbers that are known.

use tokio_postgres::{GenericClient, Transaction};

use super::{Result, given};
use crate::delivery::Mark;
use crate::outbox::{Millis, RECOVERED};

/// Keeps a number, unless a greater one is known.
pub async fn raise(db: &impl GenericClient, mark: &Mark, at: Millis) -> Result<()> {
    let raise = "insert into marks (name, number, at) values ($1, $2, $3)
         on conflict (name) do update set number = greatest(marks.number, excluded.number), at = excluded.at";
    db.query_typed(raise, given![mark.name => TEXT, mark.number => INT8, at => INT8]).await?;
    Ok(())
}

pub async fn mark(db: &impl GenericClient, name: &str) -> Result<Option<i64>> {
    let row = db.query_typed_opt("select number from marks where name = $1", given![name => TEXT]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Forgets up to `most` of those that were last raised before `cutoff`; gives how many.
pub async fn forget_marks(db: &Transaction<'_>, cutoff: Millis, most: i64) -> Result<i64> {
    db.query_typed_one(
        "with gone as (
             delete from marks where name in
                 (select name from marks where at < $1 and not starts_with(name, $3) order by at limit $2) returning name
         )
         select count(*) from gone",
        given![cutoff => INT8, most => INT8, RECOVERED => TEXT],
    )
    .await?
    .try_get(0)
}
