//! Which of a trigger's variables let an issue's author write the call: Tracker pastes them as they are (T 2.4).

use std::collections::BTreeSet;

/// What can hold no sign that ends a text in JSON or a pair in a query: by its last part.
const HARMLESS: [&str; 9] =
    ["key", "id", "login", "iso8601", "timestamp", "urlEncodeUTF8", "base64", "currentDateTime", "json"];

/// The variables that stand raw inside quotes, each once: a `"` in the field's value ends the text and whatever follows is
/// JSON of the issue's author. `.json` brings its own quotes and escapes those inside.
pub fn raw_in_quotes(body: &str) -> BTreeSet<String> {
    let (mut found, mut inside, mut rest) = (BTreeSet::new(), false, body);
    while let Some(next) = rest.find(['"', '\\', '{']) {
        rest = &rest[next..];
        if let Some((variable, behind)) = variable(rest) {
            if inside && !is_harmless(variable) {
                found.insert(variable.to_owned());
            }
            rest = behind;
            continue;
        }
        // A sign that is escaped ends nothing.
        let signs = if inside && rest.starts_with('\\') { 2 } else { 1 };
        inside ^= rest.starts_with('"');
        rest = rest.char_indices().nth(signs).map_or("", |(at, _)| &rest[at..]);
    }
    found
}

/// The variables that stand in an address and are not encoded there: `&` in a value begins another pair.
pub fn raw_in_address(address: &str) -> BTreeSet<String> {
    let (mut found, mut rest) = (BTreeSet::new(), address);
    while let Some(next) = rest.find("{{") {
        let Some((variable, behind)) = variable(&rest[next..]) else { break };
        if !is_harmless(variable) {
            found.insert(variable.to_owned());
        }
        rest = behind;
    }
    found
}

/// The variable that a text begins with, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (variable, behind) = text.strip_prefix("{{")?.split_once("}}")?;
    Some((variable.trim(), behind))
}

fn is_harmless(variable: &str) -> bool {
    variable.rsplit('.').next().is_some_and(|last| HARMLESS.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::trigger::{Wanted, Watched};

    #[test]
    fn only_what_an_author_writes_is_found_and_only_inside_quotes() {
        let found = |body: &str| raw_in_quotes(body).into_iter().collect::<Vec<_>>();
        for (body, wanted) in [
            (r#"{"text": "{{issue.summary}}"}"#, &["issue.summary"][..]),
            (r#"{"text": "a \" {{ issue.summary }} b", "more": {{issue.description}}}"#, &["issue.summary"]),
            (r#"{"text": {{issue.summary.json}}, "key": "{{issue.key}}"}"#, &[]),
            (r#"{"a": "{{currentUser.login}} {{issue.deadline.iso8601}}", "b": "{x} \\"}"#, &[]),
            (r#"{"a": "\\", "b": {{issue.summary}}}"#, &[]),
            (r#"{"a": "{{issue.status}}{{issue.status}} {{userComment.text}}""#, &["issue.status", "userComment.text"]),
            ("{{", &[]),
            ("\"\\", &[]),
            ("", &[]),
        ] {
            assert_eq!(found(body), wanted, "{body}");
        }
    }

    #[test]
    fn our_own_bodies_hold_nothing_raw() {
        for watched in Watched::ALL {
            let wanted = Wanted::of(watched, "https://bells.example.com", "tracker", &"s3cret".into());
            assert!(raw_in_quotes(wanted.body()).is_empty(), "{}", wanted.body());
        }
    }

    #[test]
    fn an_address_wants_its_variables_encoded() {
        let address = "https://x/hooks/t?key={{issue.key}}&a={{issue.summary.urlEncodeUTF8}}&b={{issue.summary}}";
        assert_eq!(raw_in_address(address).into_iter().collect::<Vec<_>>(), ["issue.summary"]);
    }
}
