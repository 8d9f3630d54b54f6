//! Secrets of sources: every form in which Tracker's trigger settings can send one. Signatures stand in `signature.rs`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Our own header, for those who cannot set `Authorization`.
const TOKEN_HEADER: &str = "x-campanile-token";

/// One secret, or two while they are rotated.
pub struct Secrets(Vec<Known>);

struct Known {
    secret: SecretString,
    /// Comparing digests takes the same time for every guess.
    digest: [u8; 32],
}

impl Secrets {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let known =
            |secret: &SecretString| Known { secret: secret.clone(), digest: digest(secret.expose_secret().as_bytes()) };
        Self(secrets.into_iter().filter(|secret| !secret.expose_secret().is_empty()).map(known).collect())
    }

    /// The secrets themselves, for those who sign with them.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|known| known.secret.expose_secret())
    }

    /// Whether a header carries a secret: `<secret>`, `<any word> <secret>`, or Basic with any user. One match is
    /// enough; all candidates are compared, so the time tells nothing.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let mut matched = Choice::from(0);
        for value in headers.get_all(AUTHORIZATION).iter().chain(headers.get_all(TOKEN_HEADER).iter()) {
            let value = value.as_bytes().trim_ascii();
            matched |= self.matches(value);
            let Some(space) = value.iter().position(|byte| *byte == b' ') else { continue };
            let (word, rest) = (&value[..space], value[space..].trim_ascii());
            matched |= self.matches(rest);
            if word.eq_ignore_ascii_case(b"basic") {
                matched |= self.matches(&password(rest));
            }
        }
        matched.into()
    }

    /// Whether a header carries anything that could be meant for a secret.
    pub fn offered(headers: &HeaderMap) -> bool {
        [AUTHORIZATION.as_str(), TOKEN_HEADER].iter().any(|name| headers.contains_key(*name))
    }

    /// Whether a part of the path, or the whole of a header, is a secret.
    pub fn admit_text(&self, text: impl AsRef<[u8]>) -> bool {
        self.matches(text.as_ref()).into()
    }

    /// A call's body as it may be kept: old Giteas put the secret there too (code-hosts.md, section 7).
    pub fn cut(&self, body: &[u8]) -> Vec<u8> {
        let mut forms: Vec<String> = self.all().flat_map(written).filter(|form| !form.is_empty()).collect();
        forms.sort_unstable_by(|one, other| (other.len(), other).cmp(&(one.len(), one))); // one may be the front of another
        forms.dedup();
        forms.iter().fold(body.to_vec(), |body, form| replaced(&body, form.as_bytes(), b"[secret]"))
    }

    fn matches(&self, candidate: &[u8]) -> Choice {
        let candidate = digest(candidate);
        self.0.iter().fold(Choice::from(0), |matched, known| matched | known.digest.ct_eq(&candidate))
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A secret as it may stand in a body: as it is, in JSON, in JSON as Go writes it, and each of them in a form.
fn written(secret: &str) -> [String; 6] {
    let json = serde_json::Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let go = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let plain = [secret.to_owned(), json, go];
    let in_form = plain.each_ref().map(|text| url::form_urlencoded::byte_serialize(text.as_bytes()).collect());
    let ([one, two, three], [four, five, six]) = (plain, in_form);
    [one, two, three, four, five, six]
}

fn replaced(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let (mut rest, mut done) = (bytes, Vec::with_capacity(bytes.len()));
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        done.extend_from_slice(&rest[..at]);
        done.extend_from_slice(with);
        rest = &rest[at + what.len()..];
    }
    done.extend_from_slice(rest);
    done
}

/// The password of Basic credentials; empty when they cannot be read, which no secret is.
fn password(encoded: &[u8]) -> Vec<u8> {
    let decoded = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).unwrap_or_default();
    match decoded.iter().position(|byte| *byte == b':') {
        Some(colon) => decoded[colon + 1..].to_vec(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(header: &'static str, value: &str) -> bool {
        let secrets = [SecretString::from("s3cret:with colon"), SecretString::from("old")];
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "Bearer something-else".parse().unwrap());
        headers.append(header, value.parse().unwrap());
        Secrets::new(&secrets).admit(&headers)
    }

    #[test]
    fn every_form_that_tracker_can_send() {
        for (header, value, expected) in [
            ("authorization", "s3cret:with colon", true),
            ("authorization", "Bearer s3cret:with colon", true),
            ("authorization", "OAuth old", true),
            ("authorization", "bearer   old", true),
            ("authorization", &format!("Basic {}", STANDARD.encode("anyone:s3cret:with colon")), true),
            ("authorization", &format!("basic {}", STANDARD_NO_PAD.encode(":old")), true),
            ("x-campanile-token", "old", true),
            ("x-campanile-token", "Bearer old", true),
            ("x-campanile-token", "olD", false),
            ("x-campanile-token", "", false),
            ("x-campanile-token", "Bearer ", false),
            ("authorization", "Basic !!!", false),
            ("authorization", &format!("Basic {}", STANDARD.encode("old")), false),
            ("authorization", &format!("Basic {}", STANDARD.encode("old:")), false),
            ("cookie", "old", false),
        ] {
            assert_eq!(admits(header, value), expected, "{header}: {value}");
        }
    }

    #[test]
    fn a_body_that_is_kept_holds_no_secret() {
        let secrets = Secrets::new(&[SecretString::from("s3cret"), SecretString::from(r#"a&b"c d"#)]);
        for (body, kept) in [
            (
                &b"{\"secret\": \"s3cret\", \"s3cret\": s3cre \xff"[..],
                &b"{\"secret\": \"[secret]\", \"[secret]\": s3cre \xff"[..],
            ),
            (br#"{"secret": "a&b\"c d"}"#, br#"{"secret": "[secret]"}"#),
            (br#"{"secret": "a\u0026b\"c d"}"#, br#"{"secret": "[secret]"}"#),
            (b"payload=%22a%5Cu0026b%5C%22c+d%22", b"payload=%22[secret]%22"),
            (b"", b""),
        ] {
            assert_eq!(secrets.cut(body), kept, "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(Secrets::new([]).cut(b"any"), b"any");
        let rotated = Secrets::new(&[SecretString::from("s3cret"), SecretString::from("s3cret-2")]);
        assert_eq!(rotated.cut(b"s3cret-2 s3cret"), b"[secret] [secret]");
    }

    #[test]
    fn without_a_secret_nobody_is_admitted() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "".parse().unwrap());
        assert!(!Secrets::new([]).admit(&headers));
        assert!(!Secrets::new([&SecretString::from("")]).admit(&headers), "an empty secret is none");
    }
}
