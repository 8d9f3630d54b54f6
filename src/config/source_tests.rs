//! Sources of all kinds, and what each of them takes.

use super::tests::{HEAD, accepted, findings};
use super::*;
use crate::event::Host;
use crate::key::Keys;

/// One source with `rest` behind its secret, in line 3; its kind stands at column 21.
fn source(kind: &str, rest: &str) -> String {
    let source = format!("sources: {{x: {{kind: {kind}, secret: {{env: S}}{rest}}}}}");
    HEAD.replace("sources: {tracker: {kind: tracker, secret: {env: S}}}", &source)
}

#[test]
fn every_kind_is_known() {
    let kinds = [
        ("tracker", SourceKind::Tracker),
        ("bench", SourceKind::Bench),
        ("bitbucket-cloud", SourceKind::Host(Host::BitbucketCloud)),
        ("bitbucket-server", SourceKind::Host(Host::BitbucketServer)),
        ("github", SourceKind::Host(Host::GitHub)),
        ("gitlab", SourceKind::Host(Host::GitLab)),
        ("gitea", SourceKind::Host(Host::Gitea)),
    ];
    for (word, kind) in kinds {
        let config = accepted(&source(word, ""));
        let source = &config.sources[0];
        assert_eq!((source.kind, source.kind.as_str(), source.enrich), (kind, word, false));
        let Reviews { keys, members_only, all_approvals, fetch_comments } = &source.reviews;
        assert!(*keys == Keys::All && !members_only && !all_approvals && fetch_comments.is_none());
    }
    let found = findings(&source("svn", ""));
    assert_eq!((found.len(), found[0].column), (1, 21));
    assert_eq!(found[0].message, "there is no kind of source `svn`");
    assert!(found[0].hint.as_deref().unwrap().contains("`bitbucket-server`"));
}

#[test]
fn what_a_source_says_of_reviews_is_read() {
    let config = accepted(tests::EVERY_KEY);
    let of = |index: usize| &config.sources[index].reviews;
    assert!(config.sources[1].enrich && of(1).members_only);
    assert_eq!(of(1).keys, Keys::Refuse);
    assert!(of(2).all_approvals);
    let comments = of(2).fetch_comments.as_ref().unwrap();
    assert_eq!((comments.api_url.as_str(), comments.user.as_deref()), ("https://g/api/v4", None));
    assert_eq!(of(3).fetch_comments.as_ref().unwrap().user.as_deref(), Some("me"));
}

#[test]
fn keys_of_another_kind_of_source_are_findings() {
    let comments = "fetch_comments: {api_url: 'https://a', token: {env: T}}";
    let user = "fetch_comments: {api_url: 'https://a', token: {env: T}, user: me}";
    for (kinds, rest, message, hint) in [
        (&["tracker", "bench"][..], "keys: all", "`keys` has no meaning for a source of kind", "`gitea`"),
        (&["tracker", "bench"], comments, "`fetch_comments` has no meaning", "`bitbucket-cloud`"),
        (&["tracker", "gitlab", "gitea", "bitbucket-server"], "members_only: true", "`members_only`", "`github`"),
        (&["bench", "github"], "all_approvals: true", "`all_approvals` has no meaning", "it is of `gitlab`"),
        (&["github", "bitbucket-server"], "url_secret: true", "`url_secret` has no meaning", "`tracker`, `bench`"),
        (&["github", "gitlab"], user, "`user` belongs to Bitbucket Cloud alone", ""),
    ] {
        for kind in kinds {
            let found = findings(&source(kind, &format!(", {rest}")));
            let [finding] = found.as_slice() else { panic!("{kind} {rest}: {found:?}") };
            assert!(finding.message.contains(message) && finding.line == 3, "{kind}: {finding:?}");
            assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{finding:?}");
        }
    }
    for (rest, messages) in [
        (", fetch_comments: {}", &["`fetch_comments` needs `api_url`", "needs `token`"][..]),
        (", fetch_comments: {api_url: ftp://x, token: {env: T}}", &["`api_url` must be a URL"]),
        (", fetch_comments: {api_url: 'https://x', token: hunter2}", &["the secret `token` must stand outside"]),
        (", keys: some", &["`keys` does not know `some`"]),
        (", enrich: true", &["source `x` has `enrich: true`, and Tracker's API has no `tracker.token`"]),
    ] {
        let found = findings(&source("github", rest));
        assert_eq!(found.len(), messages.len(), "{rest}: {found:?}");
        for (finding, message) in found.iter().zip(messages) {
            assert!(finding.message.contains(message) && !finding.message.contains("hunter2"), "{finding:?}");
        }
    }
    let token = "tracker: {token: {env: T}, org_id: \"1\"}\n";
    accepted(&(source("bench", ", enrich: true") + token));
}

#[test]
fn a_signing_token_of_gitlabs_is_whole() {
    let found = |kind: &str, secret: &str| {
        let config = accepted(&source(kind, ""));
        config.check_secrets(&|_| Some(secret.to_owned()), Severity::Warning)
    };
    for right in
        ["hunter2", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
    {
        assert_eq!(found("gitlab", right), []);
    }
    for wrong in ["whsec_", "whsec_hunter2", "whsec_aHVudGVyMg==", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw="] {
        let found = found("gitlab", wrong);
        let [finding] = found.as_slice() else { panic!("{wrong}: {found:?}") };
        assert_eq!(finding.message, "`sources.x.secret` begins with `whsec_` and is no signing token");
        assert_eq!((finding.line, finding.severity), (3, Severity::Error));
    }
    assert_eq!(found("github", "whsec_"), []);
}
