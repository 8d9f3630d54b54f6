//! What PostgreSQL's errors mean to people, and the way out.

use std::io;

use rustls::CertificateError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::connect::ANSWERS_WITHIN;

/// An error of the database, in words.
#[derive(Debug, thiserror::Error)]
#[error("{}", words(.0))]
pub struct Told(pub Error);

pub fn plain(error: Error) -> String {
    words(&error)
}

/// One sentence, with the way out where it is known.
pub fn words(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        return answered(said);
    }
    if error.is_closed() {
        return "the connection was cut: the database stopped, or gave no answer in time".into();
    }
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(deeper) = cause.source().or_else(|| inside(cause)) {
        cause = deeper;
    }
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return encrypted(error);
    }
    match cause.to_string().as_str() {
        // In tokio-postgres' words, which has no variants.
        "database does not allow writes" => {
            "it is read-only, as a standby is: name the primary, or all hosts of the cluster".into()
        }
        "server does not support TLS" => {
            "it has no TLS: switch it on there (ssl=on), or write `sslmode=disable` if nobody is between".into()
        }
        "password missing" => "it wants a password, and `store` has none".into(),
        cause => format!("it cannot be reached: {cause}; does it run, and are host and port right?"),
    }
}

/// `io::Error` hides what it was made of.
fn inside<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

fn answered(said: &DbError) -> String {
    let way_out = match *said.code() {
        SqlState::INVALID_PASSWORD => "; mend user and password in `store`",
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => "; mend the user in `store`, or the server's pg_hba.conf",
        SqlState::INVALID_CATALOG_NAME => "; make it: create database NAME owner USER",
        SqlState::INSUFFICIENT_PRIVILEGE | SqlState::INVALID_SCHEMA_NAME => {
            "; let the user own the database and its tables: alter database NAME owner to USER, or reassign owned"
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => "; name the primary, or all hosts of the cluster",
        SqlState::QUERY_CANCELED => {
            let within = ANSWERS_WITHIN.as_secs();
            return format!(
                "a statement was cancelled ({}): it had no answer in {within} s, or `statement_timeout` is shorter; \
                 does somebody hold a lock?",
                said.message()
            );
        }
        _ => "",
    };
    format!("{}{way_out}", said.message())
}

fn encrypted(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(error) = error else { return format!("TLS fails: {error}") };
    match error {
        // The second: by somebody of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by nobody who is trusted: name who signed it by `sslrootcert=PATH`".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host: write the host as the certificate does, or `sslmode=verify-ca`".into()
        }
        other => format!("its certificate is refused: {other}"),
    }
}
