//! By what a code host shows that a call is its own (code-hosts.md, section 9): a signature over the body's bytes as
//! they came, or GitLab's token.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use sha2::Sha256;

use super::{Admission, Secrets};
use crate::event::Host;

/// GitLab's signing tokens begin so; the rest is base64.
const SIGNING: &str = "whsec_";
/// How far a signed time may be from ours.
const TIME_WITHIN: Duration = Duration::from_secs(5 * 60);
const TOKEN: &str = "x-gitlab-token";
const STANDARD_SIGNATURE: &str = "webhook-signature";

/// Where a host's hexadecimal HMAC-SHA256 stands, and what stands before it there. On GitHub and Gitea
/// `X-Hub-Signature` is a SHA-1 and counts for nothing.
fn signed_in(host: Host) -> (&'static [&'static str], &'static str) {
    match host {
        Host::BitbucketCloud | Host::BitbucketServer => (&["x-hub-signature"], "sha256="),
        Host::GitHub => (&["x-hub-signature-256"], "sha256="),
        Host::Gitea => (&["x-gitea-signature", "x-forgejo-signature"], ""),
        Host::GitLab => (&[], ""),
    }
}

/// What the head alone says.
pub fn admit(host: Host, secrets: &Secrets, headers: &HeaderMap) -> Admission {
    match host {
        Host::BitbucketServer if is_trial(headers) => Admission::Ping,
        Host::GitLab if headers.get(TOKEN).is_some_and(|token| secrets.admit_text(token)) => Admission::Yes,
        Host::GitLab if headers.contains_key(STANDARD_SIGNATURE) => Admission::AfterBody,
        _ if signed_in(host).0.iter().any(|name| headers.contains_key(*name)) => Admission::AfterBody,
        _ => Admission::No,
    }
}

/// Whether anything is there that could be meant for a signature.
pub fn offered(host: Host, headers: &HeaderMap) -> bool {
    signed_in(host).0.iter().chain(&[TOKEN, STANDARD_SIGNATURE]).any(|name| headers.contains_key(*name))
}

/// Data Center's button "Test connection", which signs nothing (section 4).
fn is_trial(headers: &HeaderMap) -> bool {
    headers.get("x-event-key").is_some_and(|key| key == "diagnostics:ping")
}

/// Whether a signature of the head is the body's, by any of the secrets. Nothing of the body is parsed before.
pub fn verify(host: Host, secrets: &Secrets, headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
    match host {
        Host::GitLab => secrets.all().any(|secret| is_standard(secret, headers, body, now)),
        Host::Gitea => is_signed(host, secrets, headers, &json(headers, body)),
        Host::BitbucketCloud | Host::BitbucketServer | Host::GitHub => is_signed(host, secrets, headers, body),
    }
}

fn is_signed(host: Host, secrets: &Secrets, headers: &HeaderMap, text: &[u8]) -> bool {
    let (names, before) = signed_in(host);
    let told = names.iter().flat_map(|name| headers.get_all(*name));
    let told: Vec<_> = told.filter_map(|value| of_hex(value.to_str().ok()?.strip_prefix(before)?)).collect();
    secrets.all().any(|secret| {
        let Some(mac) = hmac(secret.as_bytes(), &[text]) else { return false };
        told.iter().any(|told| mac.clone().verify_slice(told).is_ok())
    })
}

/// Standard Webhooks, as GitLab's signing token has them (section 6): over `<id>.<time>.<body>`, several signatures
/// with blanks between, and only for a while.
fn is_standard(secret: &str, headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
    let check = || {
        let key = STANDARD.decode(secret.strip_prefix(SIGNING)?).ok().filter(|key| !key.is_empty())?;
        let one = |name: &str| headers.get(name)?.to_str().ok();
        let (id, time, told) = (one("webhook-id")?, one("webhook-timestamp")?, one(STANDARD_SIGNATURE)?);
        let signed_at = Timestamp::from_second(time.parse().ok()?).ok()?;
        let mac = hmac(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body])?;
        let is_right = |told: &str| {
            let told = told.strip_prefix("v1,").and_then(|told| STANDARD.decode(told).ok());
            told.is_some_and(|told| mac.clone().verify_slice(&told).is_ok())
        };
        Some(told.split(' ').any(is_right) && now.duration_since(signed_at).unsigned_abs() <= TIME_WITHIN)
    };
    check().unwrap_or(false)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mac = Hmac::new_from_slice(key).ok()?;
    Some(parts.iter().fold(mac, |mac, part| mac.chain_update(part)))
}

fn of_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The JSON of a host's call: its body, or the `payload` of a form (sections 5 and 7).
pub fn json<'a>(headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
    let payload = || url::form_urlencoded::parse(body).find(|(name, _)| name == "payload");
    match is_form(headers).then(payload).flatten() {
        Some((_, payload)) => Cow::Owned(payload.into_owned().into_bytes()),
        None => Cow::Borrowed(body),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let told = headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let kind = told.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use secrecy::SecretString;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn verifies(host: Host, secret: &str, pairs: &[(&'static str, &str)], body: &str) -> bool {
        let secrets = Secrets::new(&[SecretString::from("another"), SecretString::from(secret)]);
        let headers = headers(pairs);
        let now = Timestamp::from_second(1_614_265_330 + 300).unwrap();
        match admit(host, &secrets, &headers) {
            Admission::AfterBody => verify(host, &secrets, &headers, body.as_bytes(), now),
            admission => matches!(admission, Admission::Yes),
        }
    }

    /// Section 9's.
    const GITHUB: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    const KEYED: &str = "ba213e71c7b87fb7f5b0afa5a3da70cc4eeeb9430745e07e98145e2ee8fd33f1";
    const EMPTY: &str = "133d813ee4a71fbf8380e8442f7e731edde77824411d9b8d5a0dedf126004cae";
    const WEBHOOKS: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_vectors_of_section_9() {
        for (secret, body, expected) in [
            ("It's a Secret to Everybody", "Hello, World!", GITHUB),
            ("fixture-secret", r#"{"title":"Задача TEST-123"}"#, KEYED),
            ("fixture-secret", "", EMPTY),
        ] {
            for (host, header, before) in [
                (Host::GitHub, "x-hub-signature-256", "sha256="),
                (Host::BitbucketCloud, "x-hub-signature", "sha256="),
                (Host::BitbucketServer, "x-hub-signature", "sha256="),
                (Host::Gitea, "x-gitea-signature", ""),
                (Host::Gitea, "x-forgejo-signature", ""),
            ] {
                let verifies = |told: &str, body: &str| verifies(host, secret, &[(header, told)], body);
                let right = format!("{before}{expected}");
                assert!(verifies(&right, body) && verifies(&format!("{before}{}", expected.to_uppercase()), body));
                assert!(!verifies(&right, "another body"), "{host:?}");
                let other_prefix = format!("{}{expected}", if before.is_empty() { "sha256=" } else { "" });
                for wrong in [before, "", &other_prefix, &right[..right.len() - 1], &format!("{right}0"), "sha1=01dc"] {
                    assert!(!verifies(wrong, body), "{host:?}: {wrong}");
                }
            }
        }
        let sha1 = "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59";
        assert!(!verifies(Host::GitHub, "It's a Secret to Everybody", &[("x-hub-signature", sha1)], "Hello, World!"));
    }

    #[test]
    fn a_signing_token_of_gitlab() {
        let told = |time, signature| {
            let id = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
            [id, ("webhook-timestamp", time), ("webhook-signature", signature)]
        };
        let body = r#"{"test": 2432232314}"#;
        let several = format!("v1,AAAA v2,x {WEBHOOKS}");
        for (secret, time, signature, expected) in [
            (WHSEC, "1614265330", WEBHOOKS, true), // exactly five minutes ago
            (WHSEC, "1614265330", &several, true),
            (WHSEC, "1614265331", WEBHOOKS, false),
            (WHSEC, "1614265330", &WEBHOOKS[3..], false),
            (WHSEC, "soon", WEBHOOKS, false),
            (WHSEC, "1614265330", "", false),
            ("whsec_", "1614265330", WEBHOOKS, false),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "1614265330", WEBHOOKS, false),
        ] {
            assert_eq!(verifies(Host::GitLab, secret, &told(time, signature), body), expected, "{time} {signature}");
        }
        let secrets = Secrets::new(&[SecretString::from(WHSEC)]);
        for (seconds, expected) in [(-300, true), (-301, false), (300, true), (301, false)] {
            let now = Timestamp::from_second(1_614_265_330 + seconds).unwrap();
            let headers = headers(&told("1614265330", WEBHOOKS));
            assert_eq!(verify(Host::GitLab, &secrets, &headers, body.as_bytes(), now), expected, "{seconds} s later");
        }
    }

    #[test]
    fn a_token_of_gitlab_counts_before_the_body() {
        let secrets = Secrets::new(&[SecretString::from("plain")]);
        let admits = |pairs| admit(Host::GitLab, &secrets, &headers(pairs));
        assert!(matches!(admits(&[("x-gitlab-token", "plain")]), Admission::Yes));
        for wrong in [&[("x-gitlab-token", "Plain")][..], &[("x-gitlab-token", "")], &[("authorization", "plain")], &[]]
        {
            assert!(matches!(admits(wrong), Admission::No), "{wrong:?}");
        }
    }

    #[test]
    fn only_data_centers_trial_is_unsigned() {
        let trial = headers(&[("x-event-key", "diagnostics:ping")]);
        let secrets = Secrets::new(&[SecretString::from("plain")]);
        for host in Host::ALL {
            let is_let_in = matches!(admit(host, &secrets, &trial), Admission::Ping);
            assert_eq!(is_let_in, host == Host::BitbucketServer);
        }
        let more = headers(&[("x-event-key", "diagnostics:ping:more")]);
        assert!(matches!(admit(Host::BitbucketServer, &secrets, &more), Admission::No));
    }

    #[test]
    fn the_form_of_github_is_signed_as_it_is_and_giteas_by_its_payload() {
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let body = r"payload=%7B%22title%22%3A%22%D0%97%D0%B0%D0%B4%D0%B0%D1%87%D0%B0+TEST-123%22%7D";
        assert!(verifies(Host::Gitea, "fixture-secret", &[form, ("x-gitea-signature", KEYED)], body));
        let of_payload = format!("sha256={KEYED}");
        assert!(!verifies(Host::GitHub, "fixture-secret", &[form, ("x-hub-signature-256", &of_payload)], body));
        let of_form = hmac(b"fixture-secret", &[body.as_bytes()]).unwrap().finalize().into_bytes();
        let of_form: String = of_form.iter().map(|byte| format!("{byte:02x}")).collect();
        let of_form = format!("sha256={of_form}");
        assert!(verifies(Host::GitHub, "fixture-secret", &[form, ("x-hub-signature-256", &of_form)], body));
        assert_eq!(&*json(&headers(&[form]), body.as_bytes()), r#"{"title":"Задача TEST-123"}"#.as_bytes());
    }
}
