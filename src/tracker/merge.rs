//! What Tracker knows goes into the event: what the call said comes first, Tracker second (T 10.7).

use serde_json::Value;

use super::field::local_key;
use super::issue::{Changed, Named, User};
use super::look::Look;
use crate::event::{Change, Event, Issue, Person, Reference};

/// `web_url`: where people open issues, without the slash before the key. The issue's key, address and queue are
/// Tracker's: it may have been moved. Where the changelog tells what something became, that counts, and not what it is
/// by now.
pub fn merge(event: &mut Event, look: &Look, web_url: &str) {
    let is_change = event.review.is_none() && event.bench.is_none() && event.link.is_none();
    let actor = look.actor(event);
    issue(event.issue.get_or_insert_default(), look, web_url);
    if !is_change {
        return;
    }
    event.actor = known(event.actor.take(), actor, look);
    if event.changes.is_empty() {
        event.changes = look.entry.iter().flat_map(|entry| &entry.fields).filter_map(change).collect();
    }
    if look.comment.is_some() || event.comment.is_some() {
        let (comment, found) = (event.comment.get_or_insert_default(), look.comment.clone().unwrap_or_default());
        comment.id = comment.id.take().or(found.id);
        comment.text = comment.text.take().or(found.text);
        comment.author = known(comment.author.take(), found.created_by.as_ref(), look);
    }
}

fn issue(issue: &mut Issue, look: &Look, web_url: &str) {
    let now = &*look.issue;
    issue.key.clone_from(&now.key);
    issue.url = Some(format!("{web_url}/{}", now.key));
    let display = now.queue.as_ref().and_then(|queue| queue.display.clone());
    issue.queue = Some(Reference { key: Some(now.queue().to_owned()), display });
    for (member, said, now) in [
        ("status", &mut issue.status, &now.status),
        ("priority", &mut issue.priority, &now.priority),
        ("type", &mut issue.kind, &now.kind),
        ("resolution", &mut issue.resolution, &now.resolution),
        ("parent", &mut issue.parent, &now.parent),
    ] {
        let now = now.as_ref().map(reference);
        let became = look.became(member).map(|to| serde_json::from_value::<Reference>(to.clone()).ok());
        *said = match said.take() {
            Some(said) => Some(whole(said, look.keys.get(member), became.into_iter().flatten().chain(now))),
            None => became.unwrap_or(now),
        };
    }
    issue.summary = issue.summary.take().or_else(|| now.summary.clone());
    issue.description = issue.description.take().or_else(|| now.description.clone());
    issue.deadline = issue.deadline.take().or_else(|| now.deadline.clone());
    issue.author = known(issue.author.take(), now.created_by.as_ref(), look);
    issue.assignee = known(issue.assignee.take(), now.assignee.as_ref(), look);
    if issue.followers.is_empty() {
        issue.followers = now.followers.iter().map(|user| person(user, look)).collect();
    }
    if issue.tags.is_empty() {
        issue.tags.clone_from(&now.tags);
    }
    if issue.components.is_empty() {
        issue.components = now.components.iter().map(reference).collect();
    }
    // A queue's own fields, by the keys that people know.
    for (id, value) in &now.members {
        if let Some(key) = local_key(id)
            && !value.is_null()
        {
            issue.fields.entry(key).or_insert_with(|| value.clone());
        }
    }
}

fn reference(named: &Named) -> Reference {
    Reference { key: named.key.clone(), display: named.display.clone() }
}

/// With the other half of what was said: the key of a name, the name of a key.
fn whole(said: Reference, key: Option<&String>, known: impl Iterator<Item = Reference>) -> Reference {
    let Reference { mut key, mut display } = Reference { key: said.key.or_else(|| key.cloned()), ..said };
    for known in known {
        if key.is_some() && known.key == key {
            display = display.or(known.display);
        } else if key.is_none() && display.is_some() && known.display == display {
            key = known.key;
        }
    }
    Reference { key, display }
}

/// The one that was said, else the one that is there, with all that is known of the person.
fn known(said: Option<Person>, now: Option<&User>, look: &Look) -> Option<Person> {
    let Some(said) = said else { return now.map(|user| person(user, look)) };
    let by_login = said.login.as_ref().and_then(|login| look.people.get(login)).map(|user| person(user, look));
    let same = |now: &Person| said.login.is_none() && said.display.is_some() && now.display == said.display;
    let found = by_login.or_else(|| now.map(|user| person(user, look)).filter(same)).unwrap_or_default();
    Some(Person {
        login: said.login.or(found.login),
        display: said.display.or(found.display),
        email: said.email.or(found.email),
    })
}

fn person(user: &User, look: &Look) -> Person {
    let found = user.names().find_map(|name| look.people.get(name)).unwrap_or(user);
    let or = |own: &Option<String>, found: &Option<String>| own.clone().or_else(|| found.clone());
    Person {
        login: or(&user.login, &found.login),
        display: or(&user.display, &found.display),
        email: or(&user.email, &found.email),
    }
}

fn change(changed: &Changed) -> Option<Change> {
    let id = changed.id()?;
    let field = local_key(id).unwrap_or(id).to_owned();
    Some(Change { field, from: shown(&changed.from), to: shown(&changed.to) })
}

/// Without the addresses in Tracker's API, which are nobody's to open.
fn shown(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(shown).collect(),
        Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "self");
            Value::Object(members.map(|(name, value)| (name.clone(), shown(value))).collect())
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests;
