//! Tracker's variables, and what a template writes in their place. Source: T 2.1, 2.2.

/// Stands for an issue's address, where a text has put it together of Tracker's own and the key.
pub(super) const URL: &str = "issue.url";

/// As in `{{issue.summary}}`; or why there is nothing to write.
pub(super) fn handlebars(variable: &str) -> Result<String, &'static str> {
    const NO_MEMBER: &str = "an event has nothing of the kind";
    let (path, time) = without_modifiers(variable.trim());
    let mut parts = path.splitn(3, '.');
    let known = match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next()) {
        ("issue", "key", None) => "{{issue.key}}".into(),
        ("issue", "url", None) => "{{issue.url}}".into(),
        ("issue", name @ ("summary" | "description"), None) => format!("{{{{issue.{name}}}}}"),
        ("issue", name @ ("status" | "priority" | "type" | "resolution"), None | Some("display" | "name")) => {
            format!("{{{{default issue.{name}.display issue.{name}.key}}}}")
        }
        ("issue", name @ ("status" | "priority" | "type" | "resolution"), Some("key")) => {
            format!("{{{{issue.{name}.key}}}}")
        }
        ("issue", name @ ("queue" | "parent"), None | Some("key")) => format!("{{{{issue.{name}.key}}}}"),
        ("issue", "author" | "createdBy", part) => person("issue.author", part).ok_or(NO_MEMBER)?,
        ("issue", "assignee", part) => person("issue.assignee", part).ok_or(NO_MEMBER)?,
        ("issue", "updatedBy", part) => person("actor", part).ok_or(NO_MEMBER)?,
        ("issue", "followers", None | Some("login")) => "{{join issue.followers \", \" \"login\"}}".into(),
        ("issue", "followers", Some("email")) => "{{join issue.followers \", \" \"email\"}}".into(),
        ("issue", "tags", None) => "{{join issue.tags \", \"}}".into(),
        ("issue", "components", None | Some("display")) => "{{join issue.components \", \" \"display\"}}".into(),
        ("issue", "deadline" | "dueDate", None) if time == Time::Exact => "{{issue.deadline}}".into(),
        ("issue", "deadline" | "dueDate", None) => "{{date issue.deadline}}".into(),
        ("issue", "local", Some(key)) if is_name(key) => format!("{{{{issue.fields.{key}}}}}"),
        ("currentUser", part, rest) => {
            person("actor", Some(part).filter(|it| !it.is_empty())).filter(|_| rest.is_none()).ok_or(NO_MEMBER)?
        }
        ("currentDateTime", "", None) if time == Time::Exact => "{{event.at}}".into(),
        ("currentDateTime", "", None) => "{{date event.at}}".into(),
        ("userComment", name @ ("id" | "text"), None) => format!("{{{{comment.{name}}}}}"),
        ("userComment", "author", part) => person("comment.author", part).ok_or(NO_MEMBER)?,
        ("comment", "author", Some("display")) => "{{comment.author.display}}".into(),
        ("generatedComment", ..) => return Err("what automation wrote is not told"),
        ("issue", ..) => return Err(NO_MEMBER),
        _ => return Err("it is no variable of issues: a secret variable of the queue?"),
    };
    Ok(known)
}

#[derive(PartialEq)]
enum Time {
    /// As people write it.
    Words,
    Exact,
}

fn without_modifiers(variable: &str) -> (&str, Time) {
    let (mut path, mut time) = (variable, Time::Words);
    loop {
        let Some((rest, last)) = path.rsplit_once('.') else { return (path, time) };
        match last {
            "json" | "urlEncodeUTF8" | "urlEncodeUTF16" | "date" => {}
            "iso8601" | "unixEpoch" => time = Time::Exact,
            _ => return (path, time),
        }
        path = rest;
    }
}

fn person(place: &str, part: Option<&str>) -> Option<String> {
    Some(match part {
        None | Some("display" | "firstName" | "lastName" | "lastname") => {
            format!("{{{{default {place}.display {place}.login}}}}")
        }
        Some(part @ ("login" | "email")) => format!("{{{{{place}.{part}}}}}"),
        Some(_) => return None,
    })
}

pub(super) fn is_name(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_paths_of_an_event() {
        for (variable, expected) in [
            ("issue.key", "{{issue.key}}"),
            ("issue.summary.json", "{{issue.summary}}"),
            (" issue.summary.urlEncodeUTF8 ", "{{issue.summary}}"),
            ("issue.status", "{{default issue.status.display issue.status.key}}"),
            ("issue.assignee.login.json", "{{issue.assignee.login}}"),
            ("issue.author.firstName", "{{default issue.author.display issue.author.login}}"),
            ("issue.deadline", "{{date issue.deadline}}"),
            ("issue.deadline.iso8601", "{{issue.deadline}}"),
            ("issue.local.benchLink", "{{issue.fields.benchLink}}"),
            ("issue.tags.json", "{{join issue.tags \", \"}}"),
            ("currentUser", "{{default actor.display actor.login}}"),
            ("currentUser.login", "{{actor.login}}"),
            ("currentDateTime", "{{date event.at}}"),
            ("userComment.text", "{{comment.text}}"),
            ("userComment.author.login", "{{comment.author.login}}"),
        ] {
            assert_eq!(handlebars(variable).as_deref(), Ok(expected), "{variable}");
        }
        for variable in
            ["issue.sprint", "issue.author.uid", "issue.votes", "generatedComment.text", "slackToken", "", "issue"]
        {
            assert!(handlebars(variable).is_err(), "{variable}");
        }
    }
}
