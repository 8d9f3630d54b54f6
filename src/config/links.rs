//! `links:` — Tracker's external-application protocol.

use super::reader::{Fields, Findings, Placed, word};
use super::secret::{Secret, secret};
use super::tracker::{TOKEN, Tracker};
use super::tree::{Kind, Node};
use crate::finding::Place;
use crate::link::template::{Shape, Variable};
use crate::message::Link;

#[derive(Clone, Debug)]
pub struct Links {
    /// Where Tracker asks what an object is.
    pub info: Shape,
    /// Where it tells of a new link.
    pub create: Shape,
    /// Where it tells that a link is gone.
    pub remove: Shape,
    pub auth: Auth,
    /// Our id in Tracker's registration.
    pub application: Option<String>,
    /// Of the objects, in Tracker's pages.
    pub icon_url: Option<String>,
    pub(super) auth_place: Place,
}

/// Whose calls are taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Auth {
    /// Everybody's.
    None,
    /// Those with the token of the registration.
    Token(Placed<Secret>),
    /// Those with a token that Tracker knows.
    User,
}

/// As it was read.
#[derive(Default)]
pub(super) struct LinksRead {
    /// `None`: there is no such section, or a finding has told what is wrong in it.
    pub links: Option<Links>,
    pub application: Option<String>,
}

pub(super) fn read(node: &Node, tracker: &Tracker, findings: &mut Findings) -> LinksRead {
    use Variable::{IssueKey, RemoteKey};
    let Some(mut fields) = Fields::of(node, "`links`", findings) else { return LinksRead::default() };
    let info = read_shape(&mut fields, "info", "/links/{{remoteKey}}", &[RemoteKey], findings);
    let create = read_shape(&mut fields, "create", "/links", &[], findings);
    let remove =
        read_shape(&mut fields, "remove", "/links/{{remoteKey}}/{{issueKey}}", &[RemoteKey, IssueKey], findings);
    let auth_place = fields.get("auth").map(|node| node.place).unwrap_or_default();
    let auth = fields.need("auth", findings, |node, findings| auth(node, tracker, findings));
    let application = fields.read("application", findings, word).map(str::to_owned);
    let icon_url = fields.read("icon_url", findings, icon);
    fields.close(findings);
    let links = match (info, create, remove, auth) {
        (Some(info), Some(create), Some(remove), Some(auth)) => {
            Some(Links { info, create, remove, auth, application: application.clone(), icon_url, auth_place })
        }
        _ => None,
    };
    LinksRead { links, application }
}

/// A template that has exactly these variables.
fn read_shape(
    fields: &mut Fields<'_>,
    key: &'static str,
    default: &str,
    wanted: &[Variable],
    findings: &mut Findings,
) -> Option<Shape> {
    let Some(node) = fields.get(key) else { return Shape::parse(default).ok() };
    let hint = format!("as in `{key}: {default}`");
    let shape = match Shape::parse(word(node, findings)?) {
        Ok(shape) => shape,
        Err(why) => {
            findings.hinted(node.place, format!("`{key}` {why}"), hint);
            return None;
        }
    };
    for variable in [Variable::RemoteKey, Variable::IssueKey] {
        let name = variable.as_str();
        match (shape.has(variable), wanted.contains(&variable)) {
            (false, true) => findings.hinted(node.place, format!("`{key}` needs `{name}`"), &*hint),
            (true, false) => findings.hinted(node.place, format!("`{key}` takes no `{name}`"), &*hint),
            _ => {}
        }
    }
    Some(shape)
}

/// What stands here instead may be the token itself: no finding prints it or its line.
fn auth(node: &Node, tracker: &Tracker, findings: &mut Findings) -> Option<Auth> {
    if let Kind::Map(_) = &node.kind {
        let mut fields = Fields::of(node, "`auth`", findings)?;
        let token = fields.need("token", findings, secret);
        fields.close(findings);
        return token.map(Auth::Token);
    }
    match findings.veiled(|findings| word(node, findings))? {
        "none" => Some(Auth::None),
        "user" => {
            if tracker.tokenless {
                let message = "`auth: user` asks Tracker whose token it is, and its API has no `tracker.token`";
                findings.hinted(node.place, message, TOKEN);
            }
            Some(Auth::User)
        }
        _ => findings.veiled(|findings| findings.must_be(node, "`none`, `user` or {token: {env: NAME}}")),
    }
}

fn icon(node: &Node, findings: &mut Findings) -> Option<String> {
    let url = word(node, findings)?;
    let is_web = Link::parse(url).is_some_and(|link| link.is_web());
    is_web.then(|| url.to_owned()).or_else(|| findings.must_be(node, "an http or https address"))
}
