//! Issues: values, versions, comments, and the changelog that every deed is written in.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::record::{Posted, Record, Seen};
use super::asked::wrong;
use super::dictionary::{Dictionary, status_type};
use super::field::{FieldKind, is_empty};
use super::link::RemoteLink;
use super::seeds::Conflict;
use super::{Asked, Language, Refused, Reply, Tracker, done, time};

pub(super) struct Issue {
    pub id: String,
    pub key: String,
    pub version: u64,
    pub aliases: Vec<String>,
    /// By field id, as [`super::field`] keeps them.
    pub values: BTreeMap<String, Value>,
    pub comments: Vec<Comment>,
    pub changes: Vec<Change>,
    pub links: Vec<RemoteLink>,
    /// Too many edits: 423.
    pub locked: bool,
    /// No right: 403.
    pub forbidden: bool,
    /// The next PATCH with a version loses against somebody else's.
    pub stale: bool,
    /// A transition that is no more once it was listed; those that are no more.
    pub goes_after_list: Option<String>,
    pub gone: HashSet<String>,
}

pub(super) struct Comment {
    pub id: u64,
    long_id: String,
    pub text: String,
    pub by: String,
    at: Timestamp,
    summonees: Vec<String>,
}

/// One entry of the changelog.
pub(super) struct Change {
    pub id: String,
    pub at: Timestamp,
    pub by: String,
    pub kind: &'static str,
    pub fields: Vec<Changed>,
    /// The id of the comment that came with it.
    pub comment: Option<u64>,
    /// Number and name of the triggers that it fired.
    pub executed: Vec<(u64, String)>,
}

pub(super) struct Changed {
    pub field: String,
    pub from: Value,
    pub to: Value,
}

/// What somebody does to an issue at once.
pub(super) struct Deed<'a> {
    /// As the changelog names it.
    pub kind: &'static str,
    /// An id.
    pub by: &'a str,
    pub values: Vec<(String, Value)>,
    pub comment: Option<NewComment>,
}

pub(super) struct NewComment {
    text: String,
    summonees: Vec<String>,
}

impl NewComment {
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), summonees: Vec::new() }
    }
}

impl Issue {
    pub fn new(id: String, key: String, aliases: Vec<String>) -> Self {
        Self {
            id,
            key,
            version: 0,
            aliases,
            values: BTreeMap::new(),
            comments: Vec::new(),
            changes: Vec::new(),
            links: Vec::new(),
            locked: false,
            forbidden: false,
            stale: false,
            goes_after_list: None,
            gone: HashSet::new(),
        }
    }

    pub fn value(&self, field: &str) -> Value {
        self.values.get(field).cloned().unwrap_or_default()
    }

    pub fn word(&self, field: &str) -> &str {
        self.values.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn status(&self) -> &str {
        self.word("status")
    }

    pub fn queue(&self) -> &str {
        self.word("queue")
    }

    /// Sets a value, and says what it was where it is another now.
    fn set(&mut self, field: &str, to: Value) -> Option<Value> {
        let from =
            if is_empty(&to) { self.values.remove(field) } else { self.values.insert(field.to_owned(), to.clone()) };
        let from = from.unwrap_or_default();
        (from != to && !(is_empty(&from) && is_empty(&to))).then_some(from)
    }
}

impl Tracker {
    /// By key, id or former key.
    pub(super) fn find(&self, name: &str) -> Result<usize, Refused> {
        let known =
            |issue: &super::Issue| issue.key == name || issue.id == name || issue.aliases.iter().any(|a| a == name);
        let at = self.issues.iter().position(known).ok_or_else(Refused::no_issue)?;
        if self.issues[at].forbidden { Err(Refused::no_right()) } else { Ok(at) }
    }

    pub(super) fn find_unlocked(&self, name: &str) -> Result<usize, Refused> {
        let at = self.find(name)?;
        match self.issues[at].locked {
            true => Err(Refused::new(423, "Достигнут предел числа изменений задачи.")),
            false => Ok(at),
        }
    }

    /// Does a deed: raises the version, fires what waits for it, writes the changelog. Also where no value changes.
    pub(super) fn apply(&mut self, at: usize, deed: Deed<'_>, now: Timestamp) {
        let (id, number, long_id) = (self.next_hex(), self.last + 600, self.next_hex());
        let issue = &mut self.issues[at];
        let (mut fields, at_text) = (Vec::new(), Value::from(time(now)));
        for (field, to) in deed.values {
            let Some(from) = issue.set(&field, to.clone()) else { continue };
            if field == "status" {
                issue.set("previousStatus", from.clone());
                issue.set("statusStartTime", at_text.clone());
            }
            fields.push(Changed { field, from, to });
        }
        let comment = deed.comment.map(|new| {
            let (text, summonees) = (new.text, new.summonees);
            issue.comments.push(Comment { id: number, long_id, text, by: deed.by.to_owned(), at: now, summonees });
            issue.set("lastCommentUpdatedAt", at_text.clone());
            number
        });
        issue.version += 1;
        issue.set("updatedBy", deed.by.into());
        issue.set("updatedAt", at_text);
        let (by, kind) = (deed.by.to_owned(), deed.kind);
        let mut change = Change { id, at: now, by, kind, fields, comment, executed: Vec::new() };
        self.fire(at, &mut change);
        self.issues[at].changes.push(change);
    }

    /// An issue as it is given to those who ask; empty fields are left out (section 4.4).
    pub(super) fn issue_shown(&self, at: usize, language: Language) -> Value {
        let issue = &self.issues[at];
        let mut shown = json!({"self": format!("{}/v3/issues/{}", self.base, issue.key), "id": issue.id,
            "key": issue.key, "version": issue.version, "votes": 0, "favorite": false,
            "commentWithoutExternalMessageCount": issue.comments.len(), "commentWithExternalMessageCount": 0});
        if !issue.aliases.is_empty() {
            shown["aliases"] = json!(issue.aliases);
        }
        for (id, kept) in &issue.values {
            let kind = self.field(id, issue.queue()).map_or(FieldKind::Given, |field| field.kind);
            shown[id] = self.shown(kind, kept, language);
        }
        if let Some(status) = Dictionary::Statuses.find(issue.status()) {
            shown["statusType"] = status_type(status, language);
        }
        shown
    }

    pub(super) fn get_issue(&self, asked: &Asked<'_>) -> Reply {
        let at = self.find(asked.part(0))?;
        let mut shown = self.issue_shown(at, asked.language);
        if let (Some(fields), Some(shown)) = (asked.query("fields"), shown.as_object_mut()) {
            let always = ["self", "id", "key", "version"];
            shown.retain(|id, _| always.contains(&id.as_str()) || fields.split(',').any(|field| field.trim() == id));
        }
        for more in asked.query("expand").unwrap_or_default().split(',').filter(|more| !more.is_empty()) {
            let expanded = match more.trim() {
                "transitions" => self.ways_shown(at, asked.language),
                "comments" => self.issues[at].comments.iter().map(|one| self.comment_shown(at, one, false)).collect(),
                "links" | "attachments" => json!([]),
                _ => return Err(wrong("expand")),
            };
            shown[more.trim()] = expanded;
        }
        Ok(done(200, &shown))
    }

    pub(super) fn patch(&mut self, asked: &Asked<'_>) -> Reply {
        let version = asked.number::<u64>("version")?;
        let at = self.find_unlocked(asked.part(0))?;
        let issue = &mut self.issues[at];
        if let Some(version) = version {
            if std::mem::take(&mut issue.stale) {
                issue.version += 1; // somebody else was faster
            }
            if issue.version != version {
                return Err(self.stale());
            }
        }
        if asked.body().is_empty() {
            return Err(Refused::new(400, "Изменения не указаны."));
        }
        let issue = &self.issues[at];
        let values = self.take(asked.body(), issue.queue(), &|id| issue.value(id))?;
        self.apply(at, Deed { kind: "IssueUpdated", by: &asked.by, values, comment: None }, asked.now);
        Ok(done(200, &self.issue_shown(at, asked.language)))
    }

    pub(super) fn stale(&self) -> Refused {
        match self.options.conflict {
            Conflict::Conflict409 => Refused::new(409, "Объект был изменён другим пользователем."),
            Conflict::Precondition412 => Refused::new(412, "Не удалось сохранить изменения, попробуйте ещё раз."),
        }
    }

    fn comment_shown(&self, at: usize, comment: &Comment, html: bool) -> Value {
        let (key, by) = (&self.issues[at].key, self.user_reference(&comment.by));
        let mut shown = json!({"self": format!("{}/v3/issues/{key}/comments/{}", self.base, comment.id),
            "id": comment.id, "longId": comment.long_id, "text": comment.text, "createdBy": by, "updatedBy": by,
            "createdAt": time(comment.at), "updatedAt": time(comment.at), "version": 1, "type": "standard",
            "transport": "internal"});
        if !comment.summonees.is_empty() {
            shown["summonees"] = comment.summonees.iter().map(|id| self.user_reference(id)).collect();
        }
        if html {
            shown["textHtml"] = format!("<p>{}</p>", comment.text.replace('&', "&amp;").replace('<', "&lt;")).into();
        }
        shown
    }

    pub(super) fn comments(&self, asked: &Asked<'_>) -> Reply {
        let at = self.find(asked.part(0))?;
        let html = matches!(asked.query("expand"), Some("all" | "html"));
        let path = format!("{}/v3/issues/{}/comments", self.base, self.issues[at].key);
        let shown = |comment: &Comment| self.comment_shown(at, comment, html);
        asked.page(&path, &self.issues[at].comments, |comment| comment.id.to_string(), shown)
    }

    pub(super) fn comment(&self, asked: &Asked<'_>) -> Reply {
        let at = self.find(asked.part(0))?;
        let known = |comment: &&Comment| comment.id.to_string() == asked.part(1) || comment.long_id == asked.part(1);
        let comment = self.issues[at].comments.iter().find(known);
        let comment = comment.ok_or_else(|| Refused::new(404, "Комментарий не существует."))?;
        Ok(done(200, &self.comment_shown(at, comment, asked.query("expand").is_some())))
    }

    pub(super) fn add_comment(&mut self, asked: &Asked<'_>, record: &mut Record) -> Reply {
        let at = self.find_unlocked(asked.part(0))?;
        let text = asked.text("text").filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| Refused::field(422, "text", "Поле обязательно для заполнения"))?;
        let known = ["text", "summonees", "markupType", "attachmentIds", "maillistSummonees"];
        if let Some(field) = asked.body().keys().find(|field| !known.contains(&field.as_str())) {
            return Err(Refused::field(422, field, "Поле не существует"));
        }
        let mut new = NewComment::new(text);
        let unknown = || Refused::field(422, "summonees", "Неверный формат");
        let nobody = json!([]);
        for login in asked.body().get("summonees").unwrap_or(&nobody).as_array().ok_or_else(unknown)? {
            new.summonees.push(self.user(login.as_str().unwrap_or_default()).map_err(|_| unknown())?.id());
        }
        let mut values = Vec::new();
        if asked.flag("isAddToFollowers", true)? {
            let mut followers = self.issues[at].value("followers").as_array().cloned().unwrap_or_default();
            if !followers.contains(&asked.by.as_str().into()) {
                followers.push(asked.by.clone().into());
            }
            values.push(("followers".to_owned(), followers.into()));
        }
        let deed = Deed { kind: "IssueCommentAdded", by: &asked.by, values, comment: Some(new) };
        self.apply(at, deed, asked.now);
        let issue = &self.issues[at];
        let Some(comment) = issue.comments.last() else { return Err(Refused::no_issue()) };
        record.post(Posted {
            id: comment.id.to_string(),
            conversation: issue.key.clone(),
            thread: None,
            at: asked.now,
            seen: Seen { text: comment.text.clone(), ..Seen::default() },
            edits: 0,
            body: asked.call.body.clone(),
        });
        Ok(done(201, &self.comment_shown(at, comment, false)))
    }

    pub(super) fn change_shown(&self, at: usize, change: &Change, language: Language) -> Value {
        let issue = &self.issues[at];
        let address = format!("{}/v3/issues/{}", self.base, issue.key);
        let field = |changed: &Changed| {
            let Changed { field, from, to } = changed;
            let known = self.field(field, issue.queue());
            let kind = known.map_or(FieldKind::Given, |field| field.kind);
            let name = known.map_or(field.as_str(), |field| field.name(language));
            json!({"field": {"self": format!("{}/v3/fields/{field}", self.base), "id": field, "display": name},
                "from": self.shown(kind, from, language), "to": self.shown(kind, to, language)})
        };
        let mut shown = json!({"id": change.id, "self": format!("{address}/changelog/{}", change.id),
            "issue": {"self": address, "id": issue.id, "key": issue.key, "display": issue.value("summary")},
            "updatedAt": time(change.at), "updatedBy": self.user_reference(&change.by), "type": change.kind,
            "transport": "front", "fields": change.fields.iter().map(field).collect::<Value>()});
        if let Some(comment) = issue.comments.iter().find(|comment| Some(comment.id) == change.comment) {
            let address = format!("{}/v3/issues/{}/comments/{}", self.base, issue.key, comment.id);
            shown["comments"] =
                json!({"added": [{"self": address, "id": comment.id.to_string(), "display": comment.text}]});
        }
        if !change.executed.is_empty() {
            let executed = |(id, name): &(u64, String)| {
                let address = format!("{}/v3/queues/{}/triggers/{id}", self.base, issue.queue());
                json!({"trigger": {"self": address, "id": id, "display": name}, "success": true, "message": ""})
            };
            shown["executedTriggers"] = change.executed.iter().map(executed).collect();
        }
        shown
    }

    pub(super) fn changes_shown(&self, at: usize) -> Vec<Value> {
        self.issues[at].changes.iter().map(|change| self.change_shown(at, change, Language::Ru)).collect()
    }

    /// Oldest first.
    pub(super) fn changelog(&self, asked: &Asked<'_>) -> Reply {
        let at = self.find(asked.part(0))?;
        let (field, kind) = (asked.query("field"), asked.query("type"));
        let wanted = |change: &&Change| {
            field.is_none_or(|field| change.fields.iter().any(|changed| changed.field == field))
                && kind.is_none_or(|kind| change.kind == kind)
        };
        let changes: Vec<&Change> = self.issues[at].changes.iter().filter(wanted).collect();
        let path = format!("{}/v3/issues/{}/changelog", self.base, self.issues[at].key);
        let shown = |change: &&Change| self.change_shown(at, change, asked.language);
        asked.page(&path, &changes, |change| change.id.clone(), shown)
    }
}
