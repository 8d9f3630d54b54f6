//! `sources:` — intakes and their secrets.

use super::reader::{COMES_LATER, Fields, Findings, Placed, truth, whole, word};
use super::secret::{Secret, secret};
use super::tree::{Entry, Kind, Node};
use crate::event::SourceName;
use crate::finding::suggest;

#[derive(Clone, Debug)]
pub struct Source {
    pub name: SourceName,
    pub kind: SourceKind,
    /// One, or two during rotation: any of them opens the source.
    pub secrets: Vec<Placed<Secret>>,
    /// How long a call that came before is a duplicate, where the call has no id of its own. `None`: 10 minutes for a
    /// body with a time, 4 otherwise.
    pub dedupe_seconds: Option<u32>,
    /// `/hooks/<source>/<secret>` is accepted too.
    pub url_secret: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceKind {
    Tracker,
}

/// The kinds of the design that are not built yet.
const LATER: &[&str] = &["bitbucket-cloud", "bitbucket-server", "github", "gitlab", "gitea", "bench"];

pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<Vec<Source>> {
    if matches!(&node.kind, Kind::Map(entries) if entries.is_empty()) {
        findings.hinted(node.place, "no source is configured", "as in `tracker: {kind: tracker, secret: {env: NAME}}`");
        return None;
    }
    super::named(source)(node, findings)
}

fn source(entry: &Entry, findings: &mut Findings) -> Option<Source> {
    let name = SourceName::try_from(entry.key.to_string());
    let name = name.map_err(|message| findings.error(entry.place, message).line).ok();
    let mut fields = Fields::of(&entry.value, format!("source `{}`", entry.key), findings)?;
    let kind = fields.need("kind", findings, kind);
    let secrets = fields.need("secret", findings, secrets);
    let dedupe_seconds = fields.read("dedupe_seconds", findings, whole(0..=604_800));
    let url_node = fields.get("url_secret");
    let url_secret = url_node.and_then(|node| truth(node, findings)).unwrap_or(false);
    let enrich = fields.get("enrich");
    if enrich.and_then(|node| truth(node, findings)) == Some(true) {
        let place = enrich.map_or(entry.place, |node| node.place);
        findings.error(place, format!("`enrich: true` {COMES_LATER}"));
    }
    fields.close(findings);
    if let (Some(node), true) = (url_node, url_secret) {
        let message =
            format!("source `{}` takes its secret in the URL, where proxies and Tracker's log show it", entry.key);
        findings.warning(node.place, message, "send it in a header where the caller can");
    }
    Some(Source { name: name?, kind: kind?, secrets: secrets?, dedupe_seconds, url_secret })
}

fn kind(node: &Node, findings: &mut Findings) -> Option<SourceKind> {
    match word(node, findings)? {
        "tracker" => return Some(SourceKind::Tracker),
        later if LATER.contains(&later) => {
            findings.error(node.place, format!("a source of kind `{later}` {COMES_LATER}"));
        }
        other => {
            let hint = suggest(other, "kinds", ["tracker"]);
            findings.hinted(node.place, format!("there is no kind of source `{other}`"), hint);
        }
    }
    None
}

fn secrets(node: &Node, findings: &mut Findings) -> Option<Vec<Placed<Secret>>> {
    let Kind::List(elements) = &node.kind else { return secret(node, findings).map(|one| vec![one]) };
    if !(1..=2).contains(&elements.len()) {
        findings.error(node.place, "`secret` must be one secret, or a list of two during rotation");
    }
    Some(elements.iter().filter_map(|node| secret(node, findings)).collect())
}
