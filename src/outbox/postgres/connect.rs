//! The way to the database: what its URL says, the connections to it, and what its errors mean to people.

use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

/// For accepts, settles, heads, claims, listings and the lease, with a few to spare while one is made anew.
const CONNECTIONS: usize = 8;
/// To connect, and for a connection out of the pool.
const WITHIN: Duration = Duration::from_secs(5);

/// `postgres://…`, read. Shows nothing of itself: it may hold a password.
#[derive(Clone)]
pub struct PostgresUrl(Config);

impl PostgresUrl {
    /// # Errors
    /// What is wrong with it, without the URL.
    pub fn read(url: &str) -> Result<Self, String> {
        config(url).map(Self)
    }

    pub fn has_password(&self) -> bool {
        self.0.get_password().is_some()
    }

    pub fn config(&self) -> &Config {
        &self.0
    }
}

fn config(url: &str) -> Result<Config, String> {
    let mut config = Config::from_str(url).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err("`sslmode=require` comes with a later version".into());
    }
    config.ssl_mode(SslMode::Disable);
    config.application_name("campanile").connect_timeout(WITHIN).keepalives_idle(Duration::from_secs(30));
    config.tcp_user_timeout(Duration::from_secs(10));
    if config.get_hosts().len() > 1 {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    Ok(config)
}

/// Connections that are made when they are wanted.
pub fn pool(config: Config) -> Result<Pool, String> {
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let timeouts = Timeouts { wait: Some(WITHIN), create: Some(WITHIN), recycle: Some(WITHIN) };
    let pool = Pool::builder(manager).max_size(CONNECTIONS).timeouts(timeouts).runtime(Runtime::Tokio1);
    pool.build().map_err(|error| error.to_string())
}

/// Where it leads, for people: no user, no password.
pub fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    format!("PostgreSQL at {hosts}, database `{}`", config.get_dbname().or(config.get_user()).unwrap_or_default())
}

pub fn plain(error: tokio_postgres::Error) -> String {
    words(&error)
}

/// What an error says, with the way out where it is known.
pub fn words(error: &tokio_postgres::Error) -> String {
    let Some(said) = error.as_db_error() else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        return format!("cannot be reached: {cause}; does it run, and is its address right?");
    };
    let way_out = match *said.code() {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "; mend user and password in `store`, or pg_hba.conf"
        }
        SqlState::INVALID_CATALOG_NAME => "; make it: create database",
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "; the user must own the schema: grant create, usage on schema public to it"
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => "; name the primary, or all hosts of the cluster",
        _ => "",
    };
    format!("{}{way_out}", said.message())
}
