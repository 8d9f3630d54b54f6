//! Secrets stand outside config.yaml: in the environment or in a file.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::reader::{Findings, Placed, word};
use super::tree::{Kind, Node};
use crate::finding::nearest;

/// The largest file of a secret, in bytes: a path to something else is a mistake.
const LONGEST: u64 = 64 * 1024;

/// Where a secret is found. Holds the way to it, never the secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Secret {
    /// `{env: NAME}`
    Env(String),
    /// `{file: PATH}`, relative to the folder of config.yaml.
    File(PathBuf),
}

/// Why there is no secret. The texts name the way to it and never what is there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable `{0}` is not set or empty")]
    Unset(String),
    /// A secret pasted after `env:` often passes for a name. Only what is written as names usually are is shown.
    #[error("the environment variable it names is not set or empty")]
    UnsetAndUnshown,
    #[error("the secret's file `{}` {what}", .path.display())]
    File { path: PathBuf, what: String },
}

impl Secret {
    /// The secret itself. `base` is the folder of config.yaml, `env` gives the value of an environment variable.
    /// Line ends at the end of a file are not part of its secret.
    ///
    /// # Errors
    /// Unset and empty, for both; a file that cannot be read, is no UTF-8 or is larger than 64 KiB.
    pub fn resolve(&self, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => env(name).filter(|value| !value.is_empty()).map(Into::into).ok_or_else(|| {
                match name.contains(|c: char| c.is_ascii_lowercase()) {
                    false => SecretError::Unset(name.clone()),
                    true => SecretError::UnsetAndUnshown,
                }
            }),
            Self::File(path) => {
                let path = base.join(path);
                read(&path).map_err(|what| SecretError::File { path, what })
            }
        }
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    if bytes.len() as u64 > LONGEST {
        return Err("is larger than 64 KiB".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("is empty".to_owned()),
        secret => Ok(secret.into()),
    }
}

/// `{env: NAME}` or `{file: PATH}`. What stands there instead may be the secret itself: no finding prints it or its line.
pub(super) fn secret(node: &Node, findings: &mut Findings) -> Option<Placed<Secret>> {
    findings.veiled(|findings| way(node, findings)).map(|value| Placed { value, place: node.place })
}

fn way(node: &Node, findings: &mut Findings) -> Option<Secret> {
    const WAYS: &str = "write {env: NAME} or {file: PATH}";
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        Kind::Scalar(_) | Kind::List(_) => {
            findings.hinted(node.place, format!("the secret `{}` must stand outside this file", node.name), WAYS);
            return None;
        }
        Kind::Empty | Kind::Refused => return findings.must_be(node, "{env: NAME} or {file: PATH}"),
    };
    let [entry] = entries else {
        findings.hinted(node.place, format!("the secret `{}` needs one of `env` and `file`", node.name), WAYS);
        return None;
    };
    match &*entry.key {
        "env" => variable(&entry.value, findings),
        "file" => word(&entry.value, findings).map(|path| Secret::File(path.into())),
        other => {
            let near = nearest(other, ["env", "file"]).map(|near| format!("did you mean `{near}`?"));
            let message = format!("the secret `{}` takes `env` or `file` and nothing else", node.name);
            findings.hinted(entry.place, message, near.unwrap_or_else(|| WAYS.to_owned()));
            None
        }
    }
}

fn variable(node: &Node, findings: &mut Findings) -> Option<Secret> {
    let name = word(node, findings)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        // Without the name: whoever writes the secret itself after `env:` should not find it in a log.
        findings.error(node.place, "`env` must be the name of an environment variable: letters, digits, `_`");
        return None;
    }
    Some(Secret::Env(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_comes_from_the_environment_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let env = |name: &str| match name {
            "SET" => Some("s3cret".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (file, content) in [("token", "s3cret\r\n"), ("bare", "s3cret"), ("empty", "\n"), ("big", "")] {
            std::fs::write(folder.path().join(file), content).unwrap();
        }
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        std::fs::write(folder.path().join("big"), vec![b'x'; LONGEST as usize + 1]).unwrap();
        std::fs::write(folder.path().join("full"), vec![b'x'; LONGEST as usize]).unwrap();
        let of = |secret: Secret| {
            let resolved = secret.resolve(folder.path(), &env);
            resolved.map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.to_string())
        };
        let file = |name: &str| of(Secret::File(name.into()));

        assert_eq!(of(Secret::Env("SET".into())).unwrap(), "s3cret");
        assert_eq!(file("token").unwrap(), "s3cret");
        assert_eq!(file("bare").unwrap(), "s3cret");
        assert_eq!(file("full").unwrap().len(), LONGEST as usize);
        for (result, what) in [
            (of(Secret::Env("UNSET".into())), "`UNSET` is not set"),
            (of(Secret::Env("EMPTY".into())), "`EMPTY` is not set or empty"),
            (file("absent"), "does not exist"),
            (file("empty"), "is empty"),
            (file("binary"), "is not UTF-8"),
            (file("big"), "larger than 64 KiB"),
            (file("."), "cannot be read"),
        ] {
            let error = result.unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_resolved_secret_does_not_show() {
        let secret = Secret::Env("SET".into()).resolve(Path::new("."), &|_| Some("s3cret".to_owned())).unwrap();
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
