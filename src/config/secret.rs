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
    #[error("the environment variable it names is not set or empty")]
    UnsetAndUnshown,
    #[error("the secret's file `{}` {what}", .path.display())]
    File { path: PathBuf, what: String },
    #[error("the file it names {what}")]
    FileUnshown { what: String },
}

impl SecretError {
    /// Whether the line it speaks of must not be shown either.
    pub fn veils(&self) -> bool {
        matches!(self, Self::UnsetAndUnshown | Self::FileUnshown { .. })
    }
}

impl Secret {
    /// The secret itself. `base` is the folder of config.yaml, `env` gives the value of an environment variable.
    /// Line ends at its end are not part of it.
    ///
    /// # Errors
    /// Unset and empty, for both; a file that cannot be read, is no UTF-8 or is larger than 64 KiB.
    pub fn resolve(&self, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, SecretError> {
        match self {
            Self::Env(name) => {
                env(name).as_deref().and_then(without_line_ends).ok_or_else(|| match is_variable(name) {
                    true => SecretError::Unset(name.clone()),
                    false => SecretError::UnsetAndUnshown,
                })
            }
            Self::File(named) => {
                let path = base.join(named);
                read(&path).map_err(|what| match path.exists() || named.to_str().is_some_and(is_path) {
                    true => SecretError::File { path, what },
                    false => SecretError::FileUnshown { what },
                })
            }
        }
    }
}

/// Whether a name after `env:` may be shown. A secret that was pasted there often passes for a name, so only what is
/// written as names of variables usually are does.
pub fn is_variable(name: &str) -> bool {
    !name.contains(char::is_lowercase) && name.split('_').all(is_word)
}

/// Whether a path after `file:` may be shown: nothing in it is as mixed as a token, and a name alone has no digits.
pub fn is_path(path: &str) -> bool {
    let in_a_folder = path.contains('/');
    (in_a_folder || !path.contains(|c: char| c.is_ascii_digit())) && path.split(['/', '.', '-', '_']).all(is_word)
}

/// As people write words: short, or letters of one case and perhaps a number behind.
fn is_word(word: &str) -> bool {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut behind_the_first = letters.chars().skip(1);
    let one_case = letters.chars().all(char::is_uppercase) || behind_the_first.all(char::is_lowercase);
    match word.chars().count() {
        0..=4 => word.chars().all(|c| c.is_alphanumeric() || c == '~'),
        5..=16 => letters.chars().all(char::is_alphabetic) && one_case && (word.len() - letters.len() <= 4),
        _ => false,
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    let mut bytes = Vec::new();
    let unread = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // A pipe is not even opened: whoever reads it waits for somebody to write.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err("is no file".to_owned());
    }
    std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(unread)?;
    if bytes.len() as u64 > LONGEST {
        return Err("is larger than 64 KiB".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    without_line_ends(&text).ok_or_else(|| "is empty".to_owned())
}

/// Shells and editors put them behind what they write.
fn without_line_ends(text: &str) -> Option<SecretString> {
    Some(text.trim_end_matches(['\r', '\n'])).filter(|secret| !secret.is_empty()).map(Into::into)
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

    fn mkfifo(path: &Path) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn a_secret_comes_from_the_environment_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let env = |name: &str| match name {
            "SET" => Some("s3cret".to_owned()),
            "ENDED" => Some("s3cret\r\n".to_owned()),
            "EMPTY" => Some("\n".to_owned()),
            _ => None,
        };
        for (file, content) in [("token", "s3cret\r\n"), ("bare", "s3cret"), ("empty", "\n"), ("big", "")] {
            std::fs::write(folder.path().join(file), content).unwrap();
        }
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        mkfifo(&folder.path().join("pipe"));
        std::fs::write(folder.path().join("big"), vec![b'x'; LONGEST as usize + 1]).unwrap();
        std::fs::write(folder.path().join("full"), vec![b'x'; LONGEST as usize]).unwrap();
        let of = |secret: Secret| {
            let resolved = secret.resolve(folder.path(), &env);
            resolved.map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.to_string())
        };
        let file = |name: &str| of(Secret::File(name.into()));

        assert_eq!(of(Secret::Env("SET".into())).unwrap(), "s3cret");
        assert_eq!(of(Secret::Env("ENDED".into())).unwrap(), "s3cret");
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
            (file("."), "is no file"),
            (file("pipe"), "is no file"),
            (file("big/x"), "cannot be read"),
        ] {
            let error = result.unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn what_may_be_the_secret_itself_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("xoxb-1a2b3c4d"), "").unwrap();
        let told = |secret: Secret| {
            let error = secret.resolve(folder.path(), &|_| None).unwrap_err();
            (error.to_string(), error.veils())
        };
        for path in [
            "/run/secrets/slack_token",
            "secrets/telegram.token",
            "slack-token",
            "../k8s/..2026_11_22/tls2048.key",
            "/etc/Campanile/API_KEY",
            "~/секреты/бот",
            "xoxb-1a2b3c4d", // it is there, so it is a file
        ] {
            let (text, veils) = told(Secret::File(path.into()));
            assert!(text.contains(path) && !veils, "{text}");
        }
        for pasted in [
            "xoxb-2154321-9384756-AbCdEfGh",
            "123456:AAF-q1w2e3r4",
            "https://hooks.slack.com/services/T012AB3CD/B012AB3CD/q1w2e3r4",
            "T012AB3CD/B012AB3CD/q1w2e3r4t5",
            "y0_AgAAAAB1c2d3/x",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCY",
            "a/b+c==d",
            "/deadbeefdeadbeefdeadbeef",
            "correcthorsebatterystaple",
            "hunter2",
        ] {
            let (text, veils) = told(Secret::File(pasted.into()));
            assert!(veils && text == "the file it names does not exist", "{pasted}: {text}");
        }
        for name in ["SLACK_BOT_TOKEN", "HOOK", "S3_KEY_2", "TOKEN2026"] {
            let (text, veils) = told(Secret::Env(name.into()));
            assert!(text.contains(name) && !veils, "{text}");
        }
        for pasted in ["A1B2C3D4E5F6", "hook_secret", "QWERTYUIOPASDFGHJ", "AKIA0IOS7FODNN7"] {
            let (text, veils) = told(Secret::Env(pasted.into()));
            assert!(veils && !text.contains(pasted), "{pasted}: {text}");
        }
    }

    #[test]
    fn a_resolved_secret_does_not_show() {
        let secret = Secret::Env("SET".into()).resolve(Path::new("."), &|_| Some("s3cret".to_owned())).unwrap();
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
