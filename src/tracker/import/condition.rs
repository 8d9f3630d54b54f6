//! A trigger's conditions as the condition of a route, in CEL. Source: T 1.6.

use serde_json::Value;

use super::variable::is_name;

/// What became of conditions.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    /// None: nothing is asked for.
    pub when: Option<String>,
    /// Those that could not be carried over, and why.
    pub lost: Vec<String>,
}

/// A member of an event that a field became.
enum Member {
    /// With a `key`.
    Reference(&'static str),
    /// With a `login`.
    Person(&'static str),
    Text(&'static str),
    Texts(&'static str),
    /// A queue's own field.
    Own(String),
}

/// All of the parts must hold: each stands in brackets where it needs them.
pub(super) fn told(conditions: &Value) -> Told {
    let mut lost = Vec::new();
    let list = match conditions {
        Value::Array(list) => list.clone(),
        Value::Null => Vec::new(),
        one if one["type"] == "And" => one["conditions"].as_array().cloned().unwrap_or_default(),
        one => vec![one.clone()],
    };
    let parts: Vec<String> = list.iter().filter_map(|one| condition(one, &mut lost)).collect();
    Told { when: (!parts.is_empty()).then(|| parts.join(" && ")), lost }
}

fn group(list: &[Value], sign: &str, lost: &mut Vec<String>) -> Option<String> {
    let parts: Vec<String> = list.iter().filter_map(|one| condition(one, lost)).collect();
    match parts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        parts => Some(format!("({})", parts.join(sign))),
    }
}

fn condition(given: &Value, lost: &mut Vec<String>) -> Option<String> {
    let kind = given["type"].as_str().unwrap_or_default();
    let list = given["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    match kind {
        "And" => return group(list, " && ", lost),
        "Or" => {
            let before = lost.len();
            let group = group(list, " || ", lost);
            if lost.len() > before && group.is_some() {
                lost.push("without it, the group `Or` holds less often".to_owned());
            }
            return group;
        }
        _ => {}
    }
    let told = of_event(kind).or_else(|| of_comment(kind, given)).or_else(|| of_field(kind, given));
    if told.is_none() {
        let field = given["field"].as_str().map(|field| format!(" of `{field}`")).unwrap_or_default();
        lost.push(format!("the condition `{kind}`{field} has no counterpart"));
    }
    told
}

fn of_event(kind: &str) -> Option<String> {
    Some(match kind {
        "Event.create" => is_kind("created"),
        "Event.comment-create" => is_kind("comment_added"),
        "Event.update" => "!(event.kind in [\"issue.created\", \"issue.comment_added\"])".to_owned(),
        _ => return None,
    })
}

fn is_kind(kind: &str) -> String {
    format!("event.kind == \"issue.{kind}\"")
}

/// A text as CEL writes it: JSON's escapes are among its own.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn of_comment(kind: &str, given: &Value) -> Option<String> {
    let words = || -> Option<Vec<String>> {
        match given.get("words").or_else(|| given.get("word"))? {
            Value::String(word) => Some(vec![quoted(word)]),
            Value::Array(words) => words.iter().map(|word| word.as_str().map(quoted)).collect(),
            _ => None,
        }
    };
    let any = || {
        let contains = words()?.iter().map(|word| format!("comment.text.contains({word})")).collect::<Vec<_>>();
        (!contains.is_empty()).then(|| contains.join(" || "))
    };
    let author = || given["user"].as_str().filter(|user| is_login(user)).map(quoted);
    Some(match kind {
        "CommentAnyMatchCondition" | "CommentStringMatchCondition" => format!("(has(comment.text) && ({}))", any()?),
        "CommentNoneMatchCondition" | "CommentStringNotMatchCondition" => {
            format!("(has(comment.text) && !({}))", any()?)
        }
        "CommentFullyMatchCondition" => {
            format!("(has(comment.text) && comment.text == {})", words()?.first()?)
        }
        "CommentAuthor" => format!("(has(comment.author) && comment.author.login == {})", author()?),
        "CommentAuthorNot" => format!("!(has(comment.author) && comment.author.login == {})", author()?),
        _ => return None,
    })
}

/// Digits alone are an id, which events do not have.
fn is_login(user: &str) -> bool {
    !user.is_empty() && user.bytes().any(|byte| !byte.is_ascii_digit())
}

fn of_field(kind: &str, given: &Value) -> Option<String> {
    let field = given["field"].as_str()?;
    let changed = || match field {
        "status" => is_kind("status_changed"),
        "assignee" => is_kind("assigned"),
        _ => format!("changes.exists(it, it.field == {})", quoted(field.rsplit("--").next().unwrap_or(field))),
    };
    let (member, value) = (member(field)?, given.get("value"));
    let filled = || member.filled();
    Some(match kind {
        "FieldChangedCondition" => changed(),
        "FieldEquals" | "FieldEqualsString" => member.equals(value?)?,
        "FieldBecameEqual" => format!("({} && {})", changed(), member.equals(value?)?),
        "FieldIsEmpty" => format!("!{}", filled()),
        "FieldIsNotEmpty" => filled(),
        "FieldBecameEmpty" => format!("({} && !{})", changed(), filled()),
        // It fires at the making of the issue too.
        "FieldBecameNotEmpty" => format!("(({} || {}) && {})", changed(), is_kind("created"), filled()),
        "ContainerContainsAny" => format!("({} && {})", filled(), member.has_of(value?, "exists")?),
        "ContainerContainsNone" => format!("!({} && {})", filled(), member.has_of(value?, "exists")?),
        "ContainsAnyOfStrings" => format!("({} && ({}))", filled(), member.contains(value?)?),
        "ContainsNoneOfStrings" => format!("!({} && ({}))", filled(), member.contains(value?)?),
        _ => return None,
    })
}

fn member(field: &str) -> Option<Member> {
    Some(match field {
        "status" => Member::Reference("issue.status"),
        "priority" => Member::Reference("issue.priority"),
        "type" => Member::Reference("issue.type"),
        "resolution" => Member::Reference("issue.resolution"),
        "queue" => Member::Reference("issue.queue"),
        "parent" => Member::Reference("issue.parent"),
        "assignee" => Member::Person("issue.assignee"),
        "createdBy" | "author" => Member::Person("issue.author"),
        "updatedBy" => Member::Person("actor"),
        "summary" => Member::Text("issue.summary"),
        "description" => Member::Text("issue.description"),
        "deadline" => Member::Text("issue.deadline"),
        "tags" => Member::Texts("issue.tags"),
        _ => {
            let (_, key) = field.split_once("--").filter(|(_, key)| is_name(key))?;
            Member::Own(format!("issue.fields.{key}"))
        }
    })
}

impl Member {
    fn path(&self) -> &str {
        match self {
            Self::Reference(path) | Self::Person(path) | Self::Text(path) | Self::Texts(path) => path,
            Self::Own(path) => path,
        }
    }

    fn filled(&self) -> String {
        match self {
            Self::Own(path) => format!("(has(issue.fields) && has({path}))"),
            // A root is always there.
            Self::Person("actor") => "has(actor.login)".to_owned(),
            known => format!("has({})", known.path()),
        }
    }

    fn equals(&self, value: &Value) -> Option<String> {
        let word = match value {
            Value::Object(members) => members.get("key").or_else(|| members.get("login"))?.as_str()?,
            value => value.as_str()?,
        };
        let path = self.path();
        Some(match self {
            // An id of a word is a number; events have keys.
            Self::Reference(_) if !is_login(word) => return None,
            Self::Reference("issue.queue") => format!("{path}.key == {}", quoted(word)),
            Self::Reference(_) => format!("(has({path}) && {path}.key == {})", quoted(word)),
            Self::Person("actor") => format!("(has(actor.login) && actor.login == {})", quoted(word)),
            Self::Person(_) if is_login(word) => format!("(has({path}) && {path}.login == {})", quoted(word)),
            Self::Person(_) | Self::Texts(_) => return None,
            Self::Text(_) | Self::Own(_) => format!("({} && {path} == {})", self.filled(), quoted(word)),
        })
    }

    fn has_of(&self, value: &Value, how: &str) -> Option<String> {
        let Self::Texts(path) = self else { return None };
        Some(format!("{path}.{how}(it, it in [{}])", texts(value)?.join(", ")))
    }

    fn contains(&self, value: &Value) -> Option<String> {
        let Self::Text(path) = self else { return None };
        Some(texts(value)?.iter().map(|text| format!("{path}.contains({text})")).collect::<Vec<_>>().join(" || "))
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts: Vec<String> = match value {
        Value::String(text) => vec![quoted(text)],
        Value::Array(texts) => texts.iter().map(|text| text.as_str().map(quoted)).collect::<Option<_>>()?,
        _ => return None,
    };
    (!texts.is_empty()).then_some(texts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn when(conditions: Value) -> String {
        let told = told(&conditions);
        assert_eq!(told.lost, [""; 0]);
        told.when.unwrap_or_default()
    }

    #[test]
    fn conditions_become_cel() {
        let table = [
            (json!([]), ""),
            (json!([{"type": "Event.create"}]), r#"event.kind == "issue.created""#),
            (json!({"type": "FieldChangedCondition", "field": "status"}), r#"event.kind == "issue.status_changed""#),
            (
                json!([{"type": "FieldEquals", "field": "type", "value": "release"},
                    {"type": "FieldBecameEqual", "field": "status", "value": {"key": "readyForTest"}}]),
                r#"(has(issue.type) && issue.type.key == "release") && (event.kind == "issue.status_changed" && (has(issue.status) && issue.status.key == "readyForTest"))"#,
            ),
            (
                json!({"type": "Or", "conditions": [{"type": "FieldIsEmpty", "field": "assignee"},
                    {"type": "And", "conditions": [{"type": "Event.comment-create"},
                        {"type": "CommentStringMatchCondition", "word": "say \"so\""}]}]}),
                r#"(!has(issue.assignee) || (event.kind == "issue.comment_added" && (has(comment.text) && (comment.text.contains("say \"so\"")))))"#,
            ),
            (
                json!([{"type": "ContainerContainsAny", "field": "tags", "value": ["a", "b"]}]),
                r#"(has(issue.tags) && issue.tags.exists(it, it in ["a", "b"]))"#,
            ),
            (
                json!([{"type": "FieldBecameNotEmpty", "field": "65f1--bench"}]),
                r#"((changes.exists(it, it.field == "bench") || event.kind == "issue.created") && (has(issue.fields) && has(issue.fields.bench)))"#,
            ),
        ];
        for (conditions, expected) in table {
            assert_eq!(when(conditions.clone()), expected, "{conditions}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        let unknown = json!([{"type": "Event.create"}, {"type": "UserInGroups", "field": "assignee", "value": [1]}]);
        let got = told(&unknown);
        assert_eq!(got.when.as_deref(), Some(r#"event.kind == "issue.created""#));
        assert_eq!(got.lost, ["the condition `UserInGroups` of `assignee` has no counterpart"]);
        let alone = told(&json!({"type": "CalculationFormulaWatch"}));
        assert_eq!((alone.when, alone.lost.len()), (None, 1));
        let by_id = told(&json!([{"type": "FieldEquals", "field": "assignee", "value": "1120000000211494"}]));
        assert_eq!((by_id.when, by_id.lost.len()), (None, 1));
        let either = told(&json!({"type": "Or", "conditions": [{"type": "Event.create"}, {"type": "ChecklistDone"}]}));
        assert_eq!(either.lost.len(), 2, "{:?}", either.lost);
    }
}
