//! What `postgres://…` says.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::form_urlencoded;

use super::encryption::Encryption;

/// For TCP alone, so that a name's second address still has time when the first is silent.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// What was sent and is not acknowledged in that time was sent to nobody.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// `postgres://…`, read. Shows nothing of itself: it may hold a password.
#[derive(Clone)]
pub struct PostgresUrl {
    /// One for each host that it names.
    hosts: Vec<Config>,
    encryption: Encryption,
    folder: PathBuf,
}

impl PostgresUrl {
    /// # Errors
    /// What is wrong with it, without the URL.
    pub fn read(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err("it does not begin with postgres://".into());
        }
        let (front, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = front.split_at(front.find('/').unwrap_or(front.len()));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        // Otherwise a part of the password would pass for a host, and be shown.
        if user.contains('@') || (user.is_empty() && rest.contains('@')) {
            return Err("in a user and a password `@` is written %40, `/` %2F, `?` %3F, `%` %25".into());
        }
        let own = ["sslmode", "sslrootcert", "target_session_attrs"];
        let name = |piece: &str| piece.split('=').next().unwrap_or_default().to_owned();
        let (ours, theirs): (Vec<_>, Vec<_>) =
            query.split('&').filter(|piece| !piece.is_empty()).partition(|piece| own.contains(&&*name(piece)));
        let value = |wanted: &str| {
            let piece = ours.iter().rfind(|piece| name(piece) == wanted)?.replace('+', "%2B"); // not a space here
            form_urlencoded::parse(piece.as_bytes()).next().map(|(_, value)| value.into_owned())
        };
        let encryption = Encryption::read(value("sslmode").as_deref(), value("sslrootcert").as_deref())?;
        if !matches!(value("target_session_attrs").as_deref(), None | Some("any" | "read-write" | "primary")) {
            return Err("`target_session_attrs` can only be read-write: the outbox is written".into());
        }
        let at = if user.is_empty() { "" } else { "@" };
        let each = |host| config(&format!("{scheme}://{user}{at}{host}{path}?{}", theirs.join("&")), encryption.mode);
        let hosts = hosts.split(',').map(each).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { hosts, encryption, folder: PathBuf::new() })
    }

    /// The folder of relative paths in it.
    pub fn in_folder(self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..self }
    }

    pub fn has_password(&self) -> bool {
        self.hosts.iter().any(|host| host.get_password().is_some())
    }

    pub fn hosts(&self) -> &[Config] {
        &self.hosts
    }

    /// # Errors
    /// Certificates to trust that cannot be read.
    pub fn connector(&self) -> Result<MakeRustlsConnect, String> {
        self.encryption.connector(&self.folder)
    }

    /// Where it leads, for people: no user, no password.
    pub fn place(&self) -> String {
        let hosts = self.hosts.iter().map(host).collect::<Vec<_>>().join(",");
        let first = self.hosts.first();
        let database = first.and_then(|host| host.get_dbname().or(host.get_user())).unwrap_or_default();
        format!("PostgreSQL at {hosts}, database `{database}`")
    }
}

fn config(url: &str, encryption: SslMode) -> Result<Config, String> {
    let mut config = Config::from_str(url).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("it names no host".into());
    }
    let is_socket = config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
    config.ssl_mode(if is_socket { SslMode::Disable } else { encryption }); // as libpq: nobody is between
    config.application_name("campanile").target_session_attrs(TargetSessionAttrs::ReadWrite);
    config.connect_timeout(CONNECT_WITHIN).tcp_user_timeout(SILENT_FOR);
    config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(SILENT_FOR);
    Ok(config)
}

/// A host, for people.
pub fn host(config: &Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Unix(folder)), _) => folder.display().to_string(),
        (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
        (None, address) => address.map(|address| format!("{address}:{port}")).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match PostgresUrl::read(url) {
            Ok(read) => panic!("{url} is taken for {}", read.place()),
            Err(why) => why,
        }
    }

    #[test]
    fn every_host_is_read_with_its_port_and_the_rest() {
        let url = PostgresUrl::read("postgresql://u:p%40%2F@a:1,b,[::1]:3/db?sslmode=disable&channel_binding=disable");
        let url = url.unwrap();
        assert_eq!(url.place(), "PostgreSQL at a:1,b:5432,::1:3, database `db`");
        assert!(url.has_password());
        for host in url.hosts() {
            assert_eq!((host.get_user(), host.get_password()), (Some("u"), Some(&b"p@/"[..])));
            assert_eq!(host.get_ssl_mode(), SslMode::Disable);
            assert_eq!(host.get_channel_binding(), tokio_postgres::config::ChannelBinding::Disable);
        }
        let socket = PostgresUrl::read("postgres://u@%2Fvar%2Frun/db?sslmode=require").unwrap();
        assert_eq!(socket.place(), "PostgreSQL at /var/run, database `db`");
        assert_eq!(socket.hosts()[0].get_ssl_mode(), SslMode::Disable);
        let named = PostgresUrl::read("postgres:///db?host=c&user=u").unwrap();
        assert_eq!((named.place().as_str(), named.has_password()), ("PostgreSQL at c:5432, database `db`", false));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_a_password_never_shown() {
        for (url, why) in [
            ("postgres://u:hunter2@hunter2@h/db", "%40"),
            ("postgres://u:hunter2/hunter2@h/db", "%2F"),
            ("postgres://u:hunter2?hunter2@h/db", "%3F"),
            ("postgres://u:hunter2@h:hunter2/db", "`port`"),
            ("postgres://u:hunter2@h/db?sslmode=on", "one of disable"),
            ("postgres://u:hunter2@h/db?sslmode=verify-ca", "needs `sslrootcert=PATH`"),
            ("postgres://u:hunter2@h/db?sslrootcert=a.pem", "goes with `sslmode=verify-full`"),
            ("postgres://u:hunter2@h/db?sslmode=require&sslrootcert=system", "goes with `sslmode=verify-full`"),
            ("postgres://u:hunter2@h/db?target_session_attrs=standby", "read-write"),
            ("postgres://u:hunter2@h/db?sslcert=a", "sslcert"),
            ("postgres://u:hunter2@/db", "no host"),
            ("hunter2", "begin with"),
            ("mysql://u:hunter2@h", "begin with"),
        ] {
            let told = refused(url);
            assert!(told.contains(why) && !told.contains("hunter2"), "{url}: {told}");
        }
    }
}
