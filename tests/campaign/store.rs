//! What the database says, asked from outside.

use std::collections::HashMap;

use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub struct Delivery {
    pub id: i64,
    pub n: usize,
    pub channel: String,
    /// 0 pending, 1 delivered, 2 dead.
    pub state: i16,
    pub unclear: bool,
    pub reason: Option<String>,
}

pub struct Stored {
    /// The number that the event's trigger carried.
    pub events: HashMap<i64, usize>,
    pub deliveries: Vec<Delivery>,
    /// What is wrong with the ledger.
    pub ledger: Option<String>,
}

pub async fn read(url: &str) -> Stored {
    let db = connect(url).await;
    let number = "(document::json -> 'body' ->> 'n')::bigint";
    let events = db.query(&format!("select id, {number} from events"), &[]).await.unwrap();
    let events: HashMap<i64, usize> = events.iter().map(|row| (row.get(0), row.get::<_, i64>(1) as usize)).collect();
    let rows = "select d.id, d.event, c.name, d.state, d.unclear, d.reason
        from deliveries d join channels c on c.id = d.channel order by d.id";
    let deliveries = db.query(rows, &[]).await.unwrap().into_iter().map(|row| Delivery {
        id: row.get(0),
        n: events[&row.get::<_, i64>(1)],
        channel: row.get(2),
        state: row.get(3),
        unclear: row.get(4),
        reason: row.get(5),
    });
    let deliveries = deliveries.collect();
    let sums = "select sum(received)::bigint, sum(routed)::bigint, sum(duplicate)::bigint, sum(planned)::bigint,
        sum(delivered)::bigint, sum(pending)::bigint, sum(dead)::bigint,
        (select count(*) from events), (select count(*) from deliveries),
        (select count(*) from deliveries where state = 1), (select count(*) from deliveries where state = 2) from ledger";
    let row = db.query_one(sums, &[]).await.unwrap();
    let [received, routed, duplicate, planned, delivered, pending, dead, events_in, rows, sent, given_up] =
        std::array::from_fn(|at| row.get::<_, i64>(at));
    let balances = received == routed + duplicate
        && routed == events_in
        && planned == delivered + pending + dead
        && (planned, delivered, dead) == (rows, sent, given_up);
    let ledger = (!balances).then(|| {
        format!(
            "received {received} = routed {routed} ({events_in} events) + duplicate {duplicate}; planned {planned} \
                 ({rows} rows) = delivered {delivered} ({sent}) + pending {pending} + dead {dead} ({given_up})"
        )
    });
    Stored { events, deliveries, ledger }
}

/// Nothing is pending, and there are no more leases than replicas.
pub async fn is_at_rest(url: &str, replicas: usize) -> bool {
    let db = connect(url).await;
    let rest = "select not exists (select from deliveries where state = 0) and (select count(*) from leases) = $1";
    db.query_one(rest, &[&(replicas as i64)]).await.unwrap().get(0)
}

pub async fn what_stays(url: &str) -> String {
    let db = connect(url).await;
    let pending = "select l.key || ': ' || count(*) || ' from ' || min(d.id) || ', lease ' || coalesce(max(v.lease)::text, 'none')
            || ', hold ' || coalesce(max(l.hold_reason), 'none')
        from deliveries d join channels c on c.id = d.channel left join lanes l on l.id = c.lane
        left join conversations v on v.id = l.conversation where d.state = 0 group by l.key";
    let leases = "select 'lease ' || id || ' of ' || holder || ' beat ' || beat from leases";
    let mut all = Vec::<String>::new();
    for statement in [pending, leases] {
        all.extend(db.query(statement, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
    }
    all.join("; ")
}

pub async fn leases(url: &str) -> i64 {
    connect(url).await.query_one("select count(*) from leases", &[]).await.unwrap().get(0)
}

/// Ends connections of the replicas: all, or each with a chance of a half.
pub async fn cut(url: &str, all: bool) {
    let each = "select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'campanile' and ($1 or random() < 0.5)";
    connect(url).await.query(each, &[&all]).await.unwrap();
}
