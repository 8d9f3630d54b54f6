//! Which of a trigger's variables let an issue's author write the call: Tracker pastes them as they are (T 2.4).

use std::collections::BTreeSet;

/// What can hold no sign that ends a text in JSON or a pair in a query: by its last part.
const HARMLESS: [&str; 9] =
    ["key", "id", "login", "iso8601", "timestamp", "urlEncodeUTF8", "base64", "currentDateTime", "json"];

/// The variables that stand raw in a body or an address, each once. Inside quotes a `"` in the field's value ends the
/// text, outside of them the whole value is read as JSON, in an address `&` begins another pair: in each place what
/// follows is the issue's author's. `.json` brings its own quotes and escapes those inside.
pub fn raw(text: &str) -> BTreeSet<String> {
    let (mut found, mut rest) = (BTreeSet::new(), text);
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
    fn only_what_an_author_writes_is_found_inside_of_quotes_and_outside() {
        let found = |body: &str| raw(body).into_iter().collect::<Vec<_>>();
        for (body, wanted) in [
            (r#"{"text": "{{issue.summary}}"}"#, &["issue.summary"][..]),
            (
                r#"{"text": "a \" {{ issue.summary }} b", "more": {{issue.description}}}"#,
                &["issue.description", "issue.summary"],
            ),
            (r#"{"text": {{issue.summary.json}}, "key": "{{issue.key}}"}"#, &[]),
            (r#"{"a": "{{currentUser.login}} {{issue.deadline.iso8601}}", "b": "{x} \\"}"#, &[]),
            (r#"{"a": "\\", "b": {{issue.summary}}}"#, &["issue.summary"]),
            // `"x", "priority": "critical"` in the summary would be members of the author's own.
            (r#"{"summary": {{issue.summary}}, "key": {{ issue.key }}}"#, &["issue.summary"]),
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
            assert!(raw(wanted.body()).is_empty(), "{}", wanted.body());
        }
    }

    #[test]
    fn an_address_wants_its_variables_encoded() {
        let address = "https://x/hooks/t?key={{issue.key}}&a={{issue.summary.urlEncodeUTF8}}&b={{issue.summary}}";
        assert_eq!(raw(address).into_iter().collect::<Vec<_>>(), ["issue.summary"]);
    }
}
