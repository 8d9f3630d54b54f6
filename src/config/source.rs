//! `sources:` — intakes and their secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::cross::Known;
use super::reader::{Fields, Findings, Placed, choice, truth, whole, word};
use super::secret::{Secret, secret};
use super::tree::{Entry, Kind, Node};
use super::url::{BaseUrl, base_url};
use crate::event::{Host, SourceName};
use crate::finding::suggest;
use crate::key::Keys;

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
    /// Tracker is asked for the issue before its events are routed.
    pub enrich: bool,
    /// Of a code host alone.
    pub reviews: Reviews,
}

/// What calls a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceKind {
    Tracker,
    Bench,
    Host(Host),
}

/// What counts of a code host's calls.
#[derive(Clone, Debug, Default)]
pub struct Reviews {
    pub keys: Keys,
    /// What strangers say of a pull request is ignored.
    pub members_only: bool,
    /// Only the last of the approvals that GitLab wants counts.
    pub all_approvals: bool,
    /// Where a pull request's comments are read, when no key stands in the call.
    pub fetch_comments: Option<FetchComments>,
}

/// A code host's API.
#[derive(Clone, Debug)]
pub struct FetchComments {
    pub api_url: BaseUrl,
    pub token: Placed<Secret>,
    /// With it the token is a password (reference H, section 11).
    pub user: Option<String>,
}

impl SourceKind {
    const ALL: [Self; 7] = [
        Self::Tracker,
        Self::Bench,
        Self::Host(Host::BitbucketCloud),
        Self::Host(Host::BitbucketServer),
        Self::Host(Host::GitHub),
        Self::Host(Host::GitLab),
        Self::Host(Host::Gitea),
    ];

    /// As `kind` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tracker => "tracker",
            Self::Bench => "bench",
            Self::Host(host) => host.as_str(),
        }
    }
}

pub(super) fn read(node: &Node, known: &Known<'_>, findings: &mut Findings) -> Option<Vec<Source>> {
    if matches!(&node.kind, Kind::Map(entries) if entries.is_empty()) {
        findings.hinted(node.place, "no source is configured", "as in `tracker: {kind: tracker, secret: {env: NAME}}`");
        return None;
    }
    super::named(|entry, findings| source(entry, known, findings))(node, findings)
}

fn source(entry: &Entry, known: &Known<'_>, findings: &mut Findings) -> Option<Source> {
    let name = SourceName::try_from(entry.key.to_string());
    let name = name.map_err(|message| findings.error(entry.place, message).line).ok();
    let mut fields = Fields::of(&entry.value, format!("source `{}`", entry.key), findings)?;
    let kind = fields.need("kind", findings, kind);
    let secrets = fields.need("secret", findings, secrets);
    let dedupe_seconds = fields.read("dedupe_seconds", findings, whole(0..=604_800));
    let url_node = fields.get("url_secret");
    let url_secret = url_node.and_then(|node| truth(node, findings)).unwrap_or(false);
    let enrich_node = fields.get("enrich");
    let enrich = enrich_node.and_then(|node| truth(node, findings)).unwrap_or(false);
    if let (Some(node), true) = (enrich_node, enrich) {
        known.want_token(node.place, &format!("source `{}` has `enrich: true`", entry.key), findings);
    }
    let keys_node = fields.get("keys");
    let words = [("first", Keys::First), ("all", Keys::All), ("refuse", Keys::Refuse)];
    let keys = keys_node.and_then(|node| choice(&words)(node, findings)).unwrap_or_default();
    let members_node = fields.get("members_only");
    let members_only = members_node.and_then(|node| truth(node, findings)).unwrap_or(false);
    let approvals_node = fields.get("all_approvals");
    let all_approvals = approvals_node.and_then(|node| truth(node, findings)).unwrap_or(false);
    let comments_node = fields.get("fetch_comments");
    let fetch_comments = comments_node.and_then(|node| fetch_comments(node, kind, findings));
    fields.close(findings);

    let hosts = Host::ALL.map(SourceKind::Host);
    let strict = [SourceKind::Host(Host::GitHub), SourceKind::Host(Host::BitbucketCloud)];
    for (node, kinds) in [
        (url_node, &[SourceKind::Tracker, SourceKind::Bench][..]),
        (keys_node, &hosts),
        (members_node, &strict),
        (approvals_node, &[SourceKind::Host(Host::GitLab)]),
        (comments_node, &hosts),
    ] {
        if let (Some(node), Some(kind)) = (node, kind)
            && !kinds.contains(&kind)
        {
            let message = format!("`{}` has no meaning for a source of kind `{}`", node.name, kind.as_str());
            let of: Vec<_> = kinds.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
            findings.hinted(node.place, message, format!("it is of {}", of.join(", ")));
        }
    }
    if let (Some(node), true, Some(SourceKind::Tracker | SourceKind::Bench)) = (url_node, url_secret, kind) {
        let message =
            format!("source `{}` takes its secret in the URL, where proxies and Tracker's log show it", entry.key);
        findings.warning(node.place, message, "send it in a header where the caller can");
    }
    let reviews = Reviews { keys, members_only, all_approvals, fetch_comments };
    Some(Source { name: name?, kind: kind?, secrets: secrets?, dedupe_seconds, url_secret, enrich, reviews })
}

fn kind(node: &Node, findings: &mut Findings) -> Option<SourceKind> {
    let given = word(node, findings)?;
    let found = SourceKind::ALL.into_iter().find(|kind| kind.as_str() == given);
    if found.is_none() {
        let hint = suggest(given, "kinds", SourceKind::ALL.map(SourceKind::as_str));
        findings.hinted(node.place, format!("there is no kind of source `{given}`"), hint);
    }
    found
}

fn secrets(node: &Node, findings: &mut Findings) -> Option<Vec<Placed<Secret>>> {
    let Kind::List(elements) = &node.kind else { return secret(node, findings).map(|one| vec![one]) };
    if !(1..=2).contains(&elements.len()) {
        findings.error(node.place, "`secret` must be one secret, or a list of two during rotation");
    }
    Some(elements.iter().filter_map(|node| secret(node, findings)).collect())
}

fn fetch_comments(node: &Node, kind: Option<SourceKind>, findings: &mut Findings) -> Option<FetchComments> {
    let mut fields = Fields::of(node, "`fetch_comments`", findings)?;
    let api_url = fields.need("api_url", findings, base_url);
    let token = fields.need("token", findings, secret);
    let user_node = fields.get("user");
    let user = user_node.and_then(|node| word(node, findings)).map(str::to_owned);
    fields.close(findings);
    if let (Some(node), Some(kind)) = (user_node, kind)
        && kind != SourceKind::Host(Host::BitbucketCloud)
    {
        findings.error(node.place, "`user` belongs to Bitbucket Cloud alone: elsewhere the token is enough");
    }
    Some(FetchComments { api_url: api_url?, token: token?, user })
}

/// What a source's secret cannot be, and the way out.
pub(super) fn misfit(kind: SourceKind, secret: &SecretString) -> Option<(&'static str, &'static str)> {
    const HINT: &str = "paste the whole signing token as GitLab shows it";
    let signing = secret.expose_secret().strip_prefix("whsec_").filter(|_| kind == SourceKind::Host(Host::GitLab))?;
    // GitLab's have 32 bytes, those of other senders of this form 24 and more (reference H, sections 6 and 9).
    let fits = STANDARD.decode(signing).is_ok_and(|key| key.len() >= 24);
    (!fits).then_some(("begins with `whsec_` and is no signing token", HINT))
}
