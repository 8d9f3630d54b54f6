//! Calls that tell of a test bench: JSON or a form of `{branch | issue, url, state: ready | gone, …}`.

use http::Uri;
use serde_json::{Map, Value, json};

use super::read::taken::{self, Taken};
use super::read::{pairs, strict};
use super::told::{Told, is_name};
use super::{Call, Object, Read, Said, Source, dedupe, time, tracker};
use crate::event::{Bench, Event, Head, Reading};
use crate::key::Place;

/// Longest address that goes into an issue's field, in bytes.
const LONGEST_URL: usize = 2048;
/// GitLab's `CI_COMMIT_REF_SLUG` ends here, and with it perhaps the issue's number (code-hosts.md, section 13).
const CUT_SLUG: usize = 63;

pub fn read(source: &Source, call: &Call<'_>) -> Said {
    match told(call).and_then(|(taken, reading)| bench(source, call, taken, reading)) {
        Ok(said) => said,
        Err(why) => Said::Unreadable { why },
    }
}

fn told(call: &Call<'_>) -> Result<(Taken, Reading), String> {
    let text = String::from_utf8_lossy(call.body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let form = || Some((pairs::form(text)?, Reading::Form));
    match strict::object(text) {
        Ok(taken) => Ok((taken, Reading::Strict)),
        Err(error) => form().ok_or_else(|| format!("the body is neither a JSON object nor a form: {error}")),
    }
}

/// # Errors
/// What a pipeline's author has to mend.
fn bench(source: &Source, call: &Call<'_>, taken: Taken, reading: Reading) -> Result<Said, String> {
    let (key, degraded) = (taken.key(), taken.repeated);
    let members = taken.into_present();
    let body = Value::Object(members.clone());
    let told = Told(&body);
    let branch = told.text("branch").map(|branch| plain_branch(&branch).to_owned());
    if branch.as_deref().is_some_and(|branch| !is_name(branch)) {
        return Err("`branch` is no branch's name".into());
    }
    let state = told.text("state").map_or_else(|| "ready".to_owned(), |state| state.trim().to_ascii_lowercase());
    let url = match state.as_str() {
        "ready" => Some(told.text("url").ok_or("`url` is missing: where the bench is")?),
        "gone" => None,
        _ => return Err("`state` is `ready` or `gone`".into()),
    };
    if let Some(url) = &url {
        check(url)?;
    }
    let keys = match (key, &branch) {
        (Some(key), _) => vec![source.reader.queues.named(key)],
        (None, None) => return Err("neither `issue` names an issue, as in TEST-1, nor `branch` a branch".into()),
        (None, Some(branch)) if is_cut(branch) => {
            let why =
                "the branch has the 63 characters of a name that was cut, so its number may be: send the whole name";
            return Ok(Said::Ignored { why: why.into() });
        }
        (None, Some(branch)) => source.reader.queues.keys(branch, Place::Branch),
    };
    if keys.is_empty() {
        let branch = branch.as_deref().unwrap_or_default();
        return Ok(Said::Ignored { why: format!("no issue key in branch `{branch}`") });
    }
    Ok(Said::Events(events(source, call, Bench { url, branch, state }, (members, reading, degraded), &keys)))
}

fn events(
    source: &Source,
    call: &Call<'_>,
    bench: Bench,
    (members, reading, degraded): (Map<String, Value>, Reading, bool),
    keys: &[String],
) -> Vec<Read> {
    let at = members.get("at").and_then(time::read);
    let head = Head { reading, degraded, ..source.head(&format!("bench.{}", bench.state), at, call) };
    let (mark, remember) = dedupe::mark(&source.name, call, &members, source.dedupe);
    let object = bench.branch.as_ref().map(|branch| Object {
        key: format!("bench:{branch}"),
        at: at.unwrap_or(call.received_at).as_millisecond(),
        state: taken::present_value(json!({"url": bench.url, "state": bench.state})).unwrap_or_default(),
    });
    let event = Event {
        event: head,
        issue: None,
        actor: members.get("actor").cloned().and_then(tracker::person),
        changes: Vec::new(),
        comment: None,
        review: None,
        bench: Some(bench),
        link: None,
        body: members,
    };
    let read = |key: &String| Read {
        event: Event { issue: Some(source.reader.issue(key)), ..event.clone() },
        fingerprint: dedupe::of_key(mark, Some(key)),
        guard: None,
        remember,
        object: object.clone(),
        line: source.enrich.then(|| key.clone()),
    };
    keys.iter().map(read).collect()
}

fn plain_branch(branch: &str) -> &str {
    let branch = branch.trim();
    let fronts = ["refs/heads/", "refs/remotes/", "origin/"];
    fronts.iter().fold(branch, |branch, front| branch.strip_prefix(front).unwrap_or(branch))
}

fn is_cut(branch: &str) -> bool {
    branch.len() == CUT_SLUG
        && branch.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// # Errors
/// It is no address that may go into a field and be opened by people (section 13).
fn check(url: &str) -> Result<(), String> {
    let uri = url.parse::<Uri>().ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    match authority {
        _ if url.len() > LONGEST_URL => Err(format!("`url` is longer than {LONGEST_URL} bytes")),
        Some(authority) if authority.as_str().contains('@') => {
            Err("`url` names a user: whoever sees the issue would see the password".into())
        }
        Some(_) if matches!(uri.as_ref().and_then(Uri::scheme_str), Some("http" | "https")) => Ok(()),
        _ => Err("`url` is no http:// or https:// address".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_people_may_open() {
        for (url, expected) in [
            ("https://bench-7.example.com/a?b=c#d", true),
            ("http://10.0.0.7:8080", true),
            ("https://[::1]:8080/", true),
            ("https://стенд.example.com/", false),
            ("ftp://a.b", false),
            ("javascript:alert(1)", false),
            ("//a.b", false),
            ("a.b", false),
            ("https://", false),
            ("https://user:pass@a.b/", false),
            ("https://user@a.b/", false),
            ("https://a.b/ c", false),
            ("https://a.b/\n", false),
        ] {
            assert_eq!(check(url).is_ok(), expected, "{url}: {:?}", check(url));
        }
        let long = |length: usize| format!("https://a.b/{}", "x".repeat(length - 12));
        assert!(check(&long(2048)).is_ok() && check(&long(2049)).is_err());
    }

    #[test]
    fn branches_as_pipelines_name_them() {
        for (branch, plain) in [
            ("refs/heads/feature/TEST-1", "feature/TEST-1"),
            ("origin/feature/TEST-1", "feature/TEST-1"),
            ("refs/remotes/origin/TEST-1", "TEST-1"),
            (" TEST-1 ", "TEST-1"),
        ] {
            assert_eq!(plain_branch(branch), plain);
        }
        let slug = format!("feature-test-1{}", "-x".repeat(24)) + "y";
        assert!(is_cut(&slug) && !is_cut(&slug[1..]) && !is_cut(&slug.replacen('f', "F", 1)));
    }
}
