//! The database's time, by which the holds of lanes and accounts end. It may go back: at a fail-over, or where somebody sets it.

use tokio_postgres::GenericClient;

use super::Result;

/// Notes the time for all replicas. If somebody noted one that is later by more than a second, all holds end by as much
/// earlier, once: whoever comes next finds it noted.
pub async fn note_time(db: &impl GenericClient) -> Result<()> {
    db.query_typed(
        "with now as materialized (
             select (extract(epoch from clock_timestamp()) * 1000)::bigint as now
         ), noted as materialized (
             select latest from clock for update
         ), back as materialized (
             select latest - now as by from noted, now where latest - now > 1000
         ), of_accounts as (
             update accounts set hold_until = hold_until - by from back
         ), of_lanes as (
             update lanes set hold_until = hold_until - by from back where hold_until is not null
         )
         update clock set latest = case when exists (select from back) then now else greatest(clock.latest, now) end
         from now",
        &[],
    )
    .await?;
    Ok(())
}

/// By how much later a replica, whose clock shows the parameter `$n`, takes it to be than the database does. That it has not
/// agreed on the database's time yet shows by more than a second; a clock of which the parameter tells nothing never does.
pub fn ahead(n: usize) -> String {
    format!(
        "(select case when abs(${n} - now) > 1000 then ${n} - now else 0 end
          from (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now) as told)"
    )
}
