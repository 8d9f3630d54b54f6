//! `store:` — where the outbox is.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::reader::{Findings, Placed, word};
use super::secret::{self, Secret, SecretError};
use super::tree::{Kind, Node};
use crate::outbox::PostgresUrl;

/// Where the outbox is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Store {
    /// A file, absolute or from the working folder.
    Sqlite(PathBuf),
    Postgres(Url),
}

/// `postgres://…`, which may hold a password.
#[derive(Clone, Debug)]
pub enum Url {
    /// As it stands in config.yaml.
    Written(SecretString),
    Secret(Placed<Secret>),
}

impl Url {
    /// # Errors
    /// The secret has no value.
    pub fn resolve(&self, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, SecretError> {
        match self {
            Self::Written(url) => Ok(url.clone()),
            Self::Secret(secret) => secret.value.resolve(base, env),
        }
    }
}

impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Written(one), Self::Written(other)) => one.expose_secret() == other.expose_secret(),
            (Self::Secret(one), Self::Secret(other)) => one.value == other.value,
            _ => false,
        }
    }
}

impl Eq for Url {}

const NO_ADDRESS: &str = "is no address of a PostgreSQL";
const ADDRESS: &str = "as in postgres://user@host:5432/campanile";

/// What is wrong with an address that a secret holds, without the address, and a hint.
pub(super) fn misfit(url: &SecretString) -> Option<(String, &'static str)> {
    PostgresUrl::read(url.expose_secret()).err().map(|why| (format!("{NO_ADDRESS}: {why}"), ADDRESS))
}

pub(super) fn read(node: &Node, folder: &Path, findings: &mut Findings) -> Option<Store> {
    if matches!(node.kind, Kind::Map(_)) {
        return secret::secret(node, findings).map(|secret| Store::Postgres(Url::Secret(secret)));
    }
    let url = word(node, findings)?;
    match url.split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() => {
            let file = folder.join(path);
            if !file.is_dir() {
                return Some(Store::Sqlite(file));
            }
            let hint = format!("name a file in it: sqlite://{}/campanile.db", path.trim_end_matches('/'));
            findings.hinted(node.place, "`store` names a folder", hint);
        }
        Some(("postgres" | "postgresql", _)) => match PostgresUrl::read(url) {
            Ok(read) => {
                if read.has_password() {
                    findings.veiled(|findings| {
                        let hint = "keep it out: `store: {env: DATABASE_URL}`, or {file: PATH}";
                        findings.warning(node.place, "a password stands in this file", hint);
                    });
                }
                return Some(Store::Postgres(Url::Written(url.into())));
            }
            Err(why) => findings.veiled(|findings| {
                findings.hinted(node.place, format!("`store` {NO_ADDRESS}: {why}"), ADDRESS);
            }),
        },
        _ => {
            let finding = findings.error(node.place, "`store` must be sqlite:// and a file's path, or postgres://…");
            finding.hint = Some("as in sqlite://data/campanile.db; an absolute path gives three slashes".to_owned());
            finding.veiled = true;
        }
    }
    None
}
