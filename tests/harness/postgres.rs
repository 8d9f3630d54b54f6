//! A PostgreSQL of the tests' own, from the machine's server binaries: on a socket in a temporary folder, gone with the
//! process. `CAMPANILE_TEST_POSTGRES` names another, on which a database can be made.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use campanile::outbox::PostgresUrl;
use tokio_postgres::{Client, NoTls};

use super::server::Server;

/// One database, for one test.
#[derive(Clone)]
pub struct Database {
    pub url: String,
}

impl Database {
    /// A new and empty one.
    pub async fn new() -> Self {
        Self::on(server()).await
    }

    /// On this server.
    pub async fn on(server: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        connect(server).await.batch_execute(&format!("create database {name}")).await.unwrap();
        let (before, options) =
            server.split_once('?').map_or((server, String::new()), |(url, it)| (url, format!("?{it}")));
        let (front, _) = before.rsplit_once('/').unwrap();
        Self { url: format!("{front}/{name}{options}") }
    }

    pub fn url(&self) -> PostgresUrl {
        PostgresUrl::read(&self.url).unwrap()
    }
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| {
        std::env::var("CAMPANILE_TEST_POSTGRES").unwrap_or_else(|_| {
            // Ends with the process: nobody drops what never goes out of scope.
            std::mem::ManuallyDrop::new(Server::start(&["fsync=off"])).url()
        })
    })
}
