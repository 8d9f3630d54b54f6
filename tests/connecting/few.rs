//! When there are few connections: the database has no more to give, or others want them for long.

use tokio::task::JoinSet;

use super::*;

const FULL: &str = "too many clients";
const NO_LOGIN: &str = "is not permitted to log in";
/// Of the server.
const MOST: usize = 5;

impl Tcp {
    /// One that gives so many connections, and no more.
    fn with_few() -> Self {
        Self::start(&[&format!("max_connections={MOST}"), "superuser_reserved_connections=0"])
    }

    /// Takes all that are left.
    async fn filled(&self) -> Vec<tokio_postgres::Client> {
        let mut taken = Vec::new();
        let url = self.server.url().replacen("/postgres", &format!(":{}/postgres", self.port), 1);
        while let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            taken.push(client);
        }
        taken
    }

    async fn until_refused_more_than(&self, times: usize, why: &str) {
        let refused = async {
            while self.refused(why) <= times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, refused).await.expect("it refuses a connection");
    }

    fn refused(&self, why: &str) -> usize {
        self.server.log().matches(why).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_no_more_connections_those_that_there_are_are_waited_for() {
    let server = Tcp::with_few();
    those_that_there_are_are_waited_for(&server, FULL).await;
}

/// As where the role's password has just been changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_is_let_in_any_more_those_who_are_in_go_on() {
    let server = Tcp::start(&[]);
    those_that_there_are_are_waited_for(&server, NO_LOGIN).await;
}

async fn those_that_there_are_are_waited_for(server: &Tcp, why: &str) {
    let mut admin = server.admin().await;
    let outbox = open(&server.url("127.0.0.1", ""), &clock()).await.unwrap();
    let hears = async {
        while !outbox.fleet().unwrap().wakes {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, hears).await.expect("it has all the connections that it wants by itself");
    let writable = outbox.writable();
    let lock = admin.transaction().await.unwrap();
    lock.batch_execute("lock table moved_chats").await.unwrap();
    let _others = if why == FULL { server.filled().await } else { Vec::new() };
    if why == NO_LOGIN {
        server.admin().await.batch_execute("alter role current_user nologin").await.unwrap();
    }
    let refused = server.refused(why);
    let mut questions = JoinSet::new();
    for _ in 0..MOST {
        let outbox = outbox.clone();
        questions.spawn(async move { outbox.moves().await.map(drop) });
    }
    server.until_refused_more_than(refused, why).await;
    let accept = outbox.accept(arrival(1));
    let both = async {
        let (accepted, rolled_back) = tokio::join!(accept, lock.rollback());
        rolled_back.unwrap();
        accepted
    };
    let accepted = tokio::time::timeout(PATIENCE, both).await.expect("it waits for ever");
    assert!(matches!(accepted, Ok(Accepted::New { .. })), "{accepted:?}");
    for end in questions.join_all().await {
        end.unwrap();
    }
    assert!(
        outbox.can_write() && !writable.has_changed().unwrap(),
        "a connection that is busy says nothing of the store"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_that_take_long_leave_connections_to_the_others() {
    let (database, clock) = (Database::new().await, clock());
    let outbox = open(&database.url, &clock).await.unwrap();
    let mut admin = connect(&database.url).await;
    let lock = admin.transaction().await.unwrap();
    lock.batch_execute("lock table events").await.unwrap();
    let mut listings = JoinSet::new();
    for _ in 0..20 {
        let outbox = outbox.clone();
        listings.spawn(async move { outbox.event(EventId(1)).await.map(drop) });
    }
    let waiting = "select count(*) from pg_locks where not granted and database =
                       (select oid from pg_database where datname = current_database())";
    let waiting = async || lock.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0);
    let some_wait = async {
        while waiting().await < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, some_wait).await.expect("the listings wait");
    for _ in 0..50 {
        outbox.set_aside(Aside::Ignored).await.expect("a connection for it");
    }
    assert_eq!(waiting().await, 2);
    lock.rollback().await.unwrap();
    for end in listings.join_all().await {
        end.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_begins_with_a_single_connection() {
    let server = Tcp::with_few();
    let mut others = vec![server.admin().await];
    others.extend(server.filled().await);
    drop(others.pop());
    // The server is a while about it until a connection is free that was closed.
    let opened = async { while open(&server.url("127.0.0.1", ""), &clock()).await.is_err() {} };
    tokio::time::timeout(PATIENCE, opened).await.expect("it never begins");
}
