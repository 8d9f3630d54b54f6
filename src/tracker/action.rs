//! What a delivery does to an issue. Each action looks before it changes anything, so that one whose answer was lost,
//! or that is repeated, leaves no more than one that was done once. Source: T 4.5, 4.6, 4.7, 4.9.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::client::Api;
use super::error::Error;
use super::field::value;
use super::issue::{Comment, Issue};
use super::own::own;
use super::queue::Field;
use crate::delivery::{Action, Mark, Receipt, Words};
use crate::transport::reply;

/// So often a change that came too late is made again, from what is there now.
const AGAIN: usize = 3;

/// Longest comment, in bytes. Tracker names no limit; nobody reads on here.
pub const LONGEST_COMMENT: usize = 64 << 10;

/// Longest value of a field that a receipt shows, in bytes.
const LONGEST_SHOWN: usize = 80;

/// What is known of earlier attempts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Before {
    /// An attempt before this one may have worked.
    pub again: bool,
    /// The greatest id of a comment that we placed on this issue: the number of the mark [`comment_mark`].
    pub last_comment: Option<i64>,
}

/// What an action came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Done {
    pub receipt: Receipt,
    /// To be kept together with the receipt.
    pub marks: Vec<Mark>,
}

impl Done {
    fn new(key: &str, did: String, changed: bool, id: Option<String>) -> Self {
        Self { receipt: Receipt::Issue { key: key.to_owned(), did, changed, id }, marks: Vec::new() }
    }
}

/// The mark under which the greatest id of our comments on an issue is kept.
pub fn comment_mark(issue: &str) -> String {
    format!("comment:{issue}")
}

/// Does an action whose texts are rendered. Dropped half-way, it may have been done.
///
/// # Errors
/// Tracker's refusal, that there was no answer, or that it cannot be done as things stand.
pub async fn act(api: &Api, issue: &str, action: &Action, before: &Before) -> Result<Done, Error> {
    match action {
        Action::Transition { to, by, fields } => transition(api, issue, to, by.as_deref(), fields).await,
        Action::Set { fields, was } => set(api, issue, fields, was.as_deref()).await,
        Action::Comment(Words::Text(text)) => comment(api, issue, text, before).await,
        Action::Comment(Words::Template(name)) => {
            Err(Error::Impossible(format!("the template `{name}` of the comment was not rendered")))
        }
        Action::Link { key, application } => link(api, issue, key, application).await,
    }
}

async fn transition(
    api: &Api,
    key: &str,
    to: &str,
    by: Option<&str>,
    fields: &BTreeMap<String, String>,
) -> Result<Done, Error> {
    let mut tries = 0;
    loop {
        let issue = api.issue(key).await?;
        let from = issue.status.as_ref().and_then(|status| status.key.as_deref()).unwrap_or("its status");
        if from == to {
            return Ok(Done::new(&issue.key, to.to_owned(), false, None));
        }
        let way = way(api, &issue, from, to, by).await?;
        let screen = screen(api, issue.queue(), fields).await?;
        match api.execute(&issue.key, &way, &screen).await {
            Ok(()) => return Ok(Done::new(&issue.key, format!("{from} → {to}"), true, None)),
            // It went meanwhile, or somebody else was quicker.
            Err(Error::NotFound(_) | Error::Conflict(_)) if tries < AGAIN => tries += 1,
            Err(Error::BadRequest(said) | Error::Unprocessable(said)) => {
                let wants = format!("{} cannot go from {from} to {to} by `{way}`: {said}", issue.key);
                return Err(Error::Impossible(format!("{wants} (give what its screen wants under `fields:`)")));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The id of the transition to take.
async fn way(api: &Api, issue: &Issue, from: &str, to: &str, by: Option<&str>) -> Result<String, Error> {
    let open = api.transitions(&issue.key).await?;
    let mut ways = open.iter().filter(|way| way.leads_to() == Some(to)).filter_map(|way| way.id.as_deref()).peekable();
    let first = ways.peek().map(|way| (*way).to_owned());
    match (ways.find(|way| by.is_none_or(|by| by == *way)), first) {
        (Some(way), _) => Ok(way.to_owned()),
        (None, Some(other)) => Err(Error::Impossible(format!(
            "{} cannot go from {from} to {to} by `{}`: there it goes by `{other}`",
            issue.key,
            by.unwrap_or_default(),
        ))),
        (None, None) => {
            let lead: Vec<_> = open.iter().filter_map(|way| way.leads_to()).collect();
            let lead = if lead.is_empty() { "nothing".to_owned() } else { lead.join(", ") };
            Err(Error::Impossible(format!("{} cannot go from {from} to {to}: from there lead {lead}", issue.key)))
        }
    }
}

/// The fields of a transition's screen, by their ids. What is no field goes under its own name: a screen takes
/// `comment` too.
async fn screen(api: &Api, queue: &str, fields: &BTreeMap<String, String>) -> Result<Map<String, Value>, Error> {
    let mut screen = Map::new();
    for (key, text) in fields {
        match api.field(queue, key).await? {
            Some(field) => screen.insert(field.id.clone(), value(&field, text)),
            None => screen.insert(key.clone(), text.as_str().into()),
        };
    }
    Ok(screen)
}

async fn set(api: &Api, key: &str, texts: &BTreeMap<String, String>, was: Option<&str>) -> Result<Done, Error> {
    let (mut tries, mut is_fresh) = (0, false);
    loop {
        let issue = api.issue(key).await?;
        let fields = resolved(api, &issue, texts).await?;
        let differing = differing(api, &issue, &fields, was).await?;
        let did = fields.iter().map(|(field, text)| shown(field, text)).collect::<Vec<_>>().join(", ");
        if differing.is_empty() {
            return Ok(Done::new(&issue.key, did, false, None));
        }
        match api.patch(&issue.key, issue.version, &differing).await {
            Ok(()) => return Ok(Done::new(&issue.key, did, true, None)),
            Err(Error::Conflict(_)) if tries < AGAIN => tries += 1,
            // The queue may have other fields by now than those that are remembered.
            Err(Error::BadRequest(said) | Error::Unprocessable(said))
                if !is_fresh && said.fields.keys().any(|id| differing.contains_key(id)) =>
            {
                api.forget_fields(issue.queue());
                is_fresh = true;
            }
            Err(error) => return Err(error),
        }
    }
}

type Resolved<'a> = Vec<(Field, &'a str)>;

async fn resolved<'a>(api: &Api, issue: &Issue, texts: &'a BTreeMap<String, String>) -> Result<Resolved<'a>, Error> {
    let mut fields = Vec::with_capacity(texts.len());
    for (key, text) in texts {
        let Some(field) = api.field(issue.queue(), key).await? else {
            let what = format!("{}: there is no field `{key}` in the queue {}", issue.key, issue.queue());
            return Err(Error::Impossible(what));
        };
        fields.push((field, text.as_str()));
    }
    Ok(fields)
}

/// What must be written, by id. Each change raises the version, fires triggers and counts towards the limit of changes.
/// What is to be cleared is left where it is not what it `was`.
async fn differing(
    api: &Api,
    issue: &Issue,
    fields: &Resolved<'_>,
    was: Option<&str>,
) -> Result<Map<String, Value>, Error> {
    let mut differing = Map::new();
    for (field, text) in fields {
        let now = issue.members.get(&field.id);
        let is_others = match was.filter(|_| text.is_empty()) {
            Some(was) => !api.says(now, field, was).await?,
            None => false,
        };
        if !is_others && !api.says(now, field, text).await? {
            differing.insert(field.id.clone(), value(field, text));
        }
    }
    Ok(differing)
}

fn shown(field: &Field, text: &str) -> String {
    let key = field.key.as_deref().unwrap_or(&field.id);
    match text {
        "" => format!("{key} cleared"),
        text if text.len() > LONGEST_SHOWN => format!("{key} = {}…", reply::head(text, LONGEST_SHOWN)),
        text => format!("{key} = {text}"),
    }
}

async fn comment(api: &Api, issue: &str, text: &str, before: &Before) -> Result<Done, Error> {
    let text = reply::head(text, LONGEST_COMMENT).trim_end();
    if text.is_empty() {
        return Ok(Done::new(issue, "a comment that says nothing".to_owned(), false, None));
    }
    let placed = match before.again {
        true => placed(api, issue, text, before.last_comment).await?,
        false => None,
    };
    let (comment, changed) = match placed {
        Some(comment) => (comment, false),
        None => (api.add_comment(issue, text).await?, true),
    };
    let number = comment.id.as_ref().and_then(|id| id.parse().ok());
    let marks = number.map(|number| Mark { name: comment_mark(issue), number }).into_iter().collect();
    Ok(Done { marks, ..Done::new(issue, "comment".to_owned(), changed, comment.id) })
}

/// The comment that an earlier attempt placed: the first of ours that says the same and came after the last that we
/// know.
async fn placed(api: &Api, issue: &str, text: &str, last: Option<i64>) -> Result<Option<Comment>, Error> {
    let own = own(api).await?;
    let after = last.map(|last| last.to_string());
    let comments = match api.comments(issue, after.as_deref()).await {
        // The last one may have been deleted, and then nothing comes after it.
        Err(Error::BadRequest(_) | Error::NotFound(_)) if last.is_some() => api.comments(issue, None).await?,
        comments => comments?,
    };
    let is_later = |comment: &Comment| {
        let id: Option<i64> = comment.id.as_ref().and_then(|id| id.parse().ok());
        last.is_none() || id > last
    };
    let is_it = |comment: &Comment| {
        comment.text.as_deref().is_some_and(|said| lines(said).eq(lines(text)))
            && comment.created_by.as_ref().is_some_and(|by| own.is(by))
    };
    Ok(comments.into_iter().find(|comment| is_later(comment) && is_it(comment)))
}

/// Tracker may keep other line ends than it was given.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim().lines().map(str::trim_end)
}

async fn link(api: &Api, issue: &str, key: &str, application: &str) -> Result<Done, Error> {
    let there = api.remote_links(issue).await?;
    let did = format!("link to {key}");
    if let Some(link) = there.into_iter().find(|link| link.leads_to(application, key)) {
        return Ok(Done::new(issue, did, false, link.id));
    }
    let link = api.add_remote_link(issue, application, key).await?;
    Ok(Done::new(issue, did, true, link.id))
}
