use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::delivery::{Advice, Platform};
use crate::event::Person;
use crate::layers::breaker::Breaker;
use crate::transport::fixture::{self, Act, Fixture, answer};

const TOKEN: &str = "token-canary";

fn client(host: Host, api_url: &str, user: Option<&str>) -> Result<Client, AddressError> {
    let clock = Clock::machine();
    let watched =
        Watched { to: Platform::CodeHost, breaker: Breaker::new(clock.clone()), observer: Arc::new(()), clock };
    let transport = Transport::new(Clock::machine()).unwrap();
    Client::new(transport, host, api_url, user, &TOKEN.into(), &Limits::default(), watched)
}

fn review(repository: &str) -> Review {
    let author = Person { login: Some("ann".into()), ..Person::default() };
    Review { id: "7".into(), repository: repository.into(), author: Some(author), ..Review::default() }
}

async fn keys_of(host: Host, server: &Fixture, repository: &str) -> Result<Vec<String>, SendError> {
    let queues = Queues::new(["TEST".to_owned(), "OPS".to_owned()]);
    let client = client(host, &format!("{}/api/", server.base), None).unwrap();
    client.keys(&review(repository), &queues, Arc::new(|| true)).await
}

/// The first lines of the requests that arrived.
fn asked(server: &Fixture) -> Vec<String> {
    let lines = server.requests().into_iter();
    lines.map(|request| request.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned()).collect()
}

fn said(host: Host, text: &str, by: &str) -> Value {
    match host {
        Host::BitbucketCloud => json!({"content": {"raw": text}, "user": {"nickname": by}, "deleted": false}),
        Host::BitbucketServer => json!({"action": "COMMENTED", "comment": {"text": text, "author": {"name": by}}}),
        Host::GitHub => json!({"body": text, "user": {"login": by}}),
        Host::GitLab => json!({"body": text, "author": {"username": by}, "system": false}),
        Host::Gitea => json!({"body": text, "user": {"username": by}}),
    }
}

/// A page as a host answers it, with a further one behind it or none.
fn page(host: Host, comments: Vec<Value>, more: Option<u32>) -> Act {
    let (headers, body) = match (host, more) {
        (Host::BitbucketCloud, Some(page)) => {
            (String::new(), json!({"values": comments, "next": format!("https://evil.test/steal?page={page}&x=1")}))
        }
        (Host::BitbucketCloud, None) => (String::new(), json!({"values": comments})),
        (Host::BitbucketServer, more) => {
            (String::new(), json!({"values": comments, "isLastPage": more.is_none(), "nextPageStart": more}))
        }
        (Host::GitLab, Some(page)) => (format!("X-Next-Page: {page}"), json!(comments)),
        (Host::GitLab, None) => ("X-Next-Page: ".into(), json!(comments)),
        (Host::GitHub, Some(page)) => {
            (format!("Link: <https://evil.test/?page={page}>; rel=\"next\", <x>; rel=\"last\""), json!(comments))
        }
        (Host::GitHub | Host::Gitea, _) => (String::new(), json!(comments)),
    };
    answer("200 OK", &headers, &body.to_string())
}

#[tokio::test]
async fn the_recorded_answers_of_each_host_are_read() {
    macro_rules! recorded {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/code-hosts/", $name))
        };
    }
    for (host, body, comment) in [
        (Host::BitbucketCloud, recorded!("bitbucket-cloud/api-pr-comments.json"), "Lovely comment"),
        (Host::BitbucketServer, recorded!("bitbucket-server/api-pr-activities.json"), "this is a comment"),
        (Host::GitHub, recorded!("github/api-issue-comments.json"), "Me too"),
        (Host::GitLab, recorded!("gitlab/api-mr-notes.json"), "Comment for MR"),
        (Host::Gitea, recorded!("gitea/api-issue-comments.json"), "what?"),
    ] {
        let empty = || fixture::json("[]");
        let server = Fixture::start([fixture::json(body), empty(), empty(), empty()]).await;
        assert_eq!(keys_of(host, &server, "team/bells").await.unwrap(), Vec::<String>::new(), "{host:?}");
        let server = Fixture::start([fixture::json(&body.replace(comment, "for TEST-7, not UTF-8"))]).await;
        assert_eq!(keys_of(host, &server, "team/bells").await.unwrap(), ["TEST-7"], "{host:?}");
    }
}

#[tokio::test]
async fn each_host_is_asked_in_its_own_way_until_a_page_has_a_key() {
    for (host, asks) in [
        (
            Host::BitbucketCloud,
            [
                "GET /api/repositories/team/bells/pullrequests/7/comments?pagelen=100",
                "GET /api/repositories/team/bells/pullrequests/7/comments?pagelen=100&page=2",
            ],
        ),
        (
            Host::BitbucketServer,
            [
                "GET /api/projects/team/repos/bells/pull-requests/7/activities?limit=100",
                "GET /api/projects/team/repos/bells/pull-requests/7/activities?limit=100&start=2",
            ],
        ),
        (
            Host::GitHub,
            [
                "GET /api/repos/team/bells/issues/7/comments?per_page=100",
                "GET /api/repos/team/bells/issues/7/comments?per_page=100&page=2",
            ],
        ),
        (
            Host::GitLab,
            [
                "GET /api/projects/team%2Fbells/merge_requests/7/notes?per_page=100",
                "GET /api/projects/team%2Fbells/merge_requests/7/notes?per_page=100&page=2",
            ],
        ),
        (
            Host::Gitea,
            [
                "GET /api/repos/team/bells/issues/7/comments?limit=100",
                "GET /api/repos/team/bells/issues/7/comments?limit=100&page=2",
            ],
        ),
    ] {
        let pages = [
            page(host, vec![said(host, "no key", "bob")], Some(2)),
            page(
                host,
                vec![said(host, "TEST-1, TEST-2", "bob"), said(host, "OPS-3", "ann"), said(host, "OPS-4", "ann")],
                Some(3),
            ),
            page(host, vec![said(host, "TEST-9", "ann")], None),
        ];
        let server = Fixture::start(pages).await;
        assert_eq!(keys_of(host, &server, "team/bells").await.unwrap(), ["OPS-3"], "{host:?}: the author's first");
        assert_eq!(asked(&server), asks, "{host:?}");
        let secret = match host {
            Host::GitLab => "private-token: token-canary",
            Host::Gitea => "authorization: token token-canary",
            _ => "authorization: Bearer token-canary",
        };
        let form =
            if host == Host::GitHub { "accept: application/vnd.github+json" } else { "accept: application/json" };
        for request in server.requests() {
            for line in [secret, form, "user-agent: campanile/"] {
                assert!(request.contains(line), "{line} in {request}");
            }
        }
    }
}

#[tokio::test]
async fn the_other_lists_of_a_host_follow_the_first() {
    for (host, lists) in [
        (Host::GitHub, &["issues/7/comments", "pulls/7/reviews", "pulls/7/comments"][..]),
        (Host::Gitea, &["issues/7/comments", "pulls/7/reviews"]),
    ] {
        let empty = lists[1..].iter().map(|_| page(host, Vec::new(), None));
        let server = Fixture::start(empty.chain([page(host, vec![said(host, "TEST-7", "bob")], None)])).await;
        assert_eq!(keys_of(host, &server, "team/bells").await.unwrap(), ["TEST-7"]);
        let asked = asked(&server);
        assert_eq!(asked.len(), lists.len());
        assert!(asked.iter().zip(lists).all(|(asked, list)| asked.contains(list)), "{asked:?}");
    }
}

#[tokio::test]
async fn ten_pages_are_looked_through_and_no_more() {
    for host in Host::ALL {
        let pages = (0..30).map(|n| page(host, vec![said(host, &format!("comment {n}"), "bob")], Some(n + 2)));
        let server = Fixture::start(pages).await;
        assert_eq!(keys_of(host, &server, "team/bells").await.unwrap(), Vec::<String>::new());
        assert_eq!(asked(&server).len(), 10, "{host:?}");
        // A host that pages nothing gives the same again and again.
        let same = (0..30).map(|_| page(host, vec![said(host, "the same", "bob")], Some(2)));
        let server = Fixture::start(same).await;
        assert_eq!(keys_of(host, &server, "team/bells").await.unwrap(), Vec::<String>::new());
        let lists = [2, 2, 6, 2, 4][Host::ALL.iter().position(|one| *one == host).unwrap()];
        assert_eq!(asked(&server).len(), lists, "{host:?}");
    }
}

#[tokio::test]
async fn what_nobody_wrote_is_no_comment() {
    let deleted = json!({"values": [{"content": {"raw": "TEST-1"}, "deleted": true}, null, 7, {"content": "TEST-2"}]});
    let system = json!([{"body": "TEST-1", "system": true}, {"body": null}, {"body": ["TEST-2"]}]);
    let opened = json!({"isLastPage": true, "values": [
        {"action": "OPENED", "comment": {"text": "TEST-1"}},
        {"action": "COMMENTED", "comment": {"text": "x", "comments": [{"text": "TEST-8", "comments": [{"text": "OPS-1"}]}]}},
    ]});
    for (host, body, expected) in [
        (Host::BitbucketCloud, deleted, vec![]),
        (Host::GitLab, system, vec![]),
        (Host::BitbucketServer, opened, vec!["TEST-8"]),
        (Host::BitbucketCloud, json!([]), vec![]),
        (Host::GitLab, json!({"message": "TEST-1"}), vec![]),
    ] {
        let server = Fixture::start([fixture::json(&body.to_string())]).await;
        assert_eq!(keys_of(host, &server, "team/bells").await.unwrap(), expected, "{host:?} {body}");
    }
}

#[tokio::test]
async fn every_refusal_has_its_advice_and_shows_no_token() {
    for (act, expected) in [
        (answer("401 Unauthorized", "", "bad token-canary"), "hold Account"),
        (answer("403 Forbidden", "", "{}"), "hold Account"),
        (answer("403 Forbidden", "Retry-After: 60", "{}"), "wait Some(60s) Account"),
        (answer("429 Too Many Requests", "Retry-After: 7", ""), "wait Some(7s) Account"),
        (answer("429 Too Many Requests", "", "token-canary"), "wait None Account"),
        (answer("404 Not Found", "", "{\"message\": \"token-canary\"}"), "give up"),
        (answer("302 Found", "Location: https://evil.test/", ""), "give up"),
        (answer("503 Service Unavailable", "", "<html>"), "again"),
        (answer("200 OK", "", "<html>token-canary"), "again"),
        (Act::CutBody, "again"),
        (Act::Close, "again"),
    ] {
        let server = Fixture::start(vec![act; 3]).await; // once, and the two quick retries
        let error = keys_of(Host::Gitea, &server, "team/bells").await.unwrap_err();
        let told = match error.advice() {
            Advice::Hold { scope, .. } => format!("hold {scope:?}"),
            Advice::Wait { at_least, scope } => format!("wait {at_least:?} {scope:?}"),
            Advice::GiveUp(_) => "give up".into(),
            advice => format!("{advice:?}").to_lowercase(),
        };
        assert_eq!(told, expected, "{error}");
        assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
        assert_eq!(server.requests().len(), if expected == "again" { 3 } else { 1 }, "{expected}");
    }
}

#[tokio::test]
async fn an_address_is_built_of_encoded_parts_and_leads_nowhere_else() {
    for (repository, asks) in [
        ("te am/b?e#l%2Fs", Some("GET /api/repos/te%20am/b%3Fe%23l%252Fs/issues/7/comments?limit=100")),
        ("~ann/bells", Some("GET /api/repos/~ann/bells/issues/7/comments?limit=100")),
        (
            "команда/колокола",
            Some(
                "GET /api/repos/%D0%BA%D0%BE%D0%BC%D0%B0%D0%BD%D0%B4%D0%B0/%D0%BA%D0%BE%D0%BB%D0%BE%D0%BA%D0%BE%D0%BB%D0%B0/issues/7/comments?limit=100",
            ),
        ),
        ("../admin", None),
        ("team/..", None),
        ("team/", None),
        ("team", None),
    ] {
        let server = Fixture::start(vec![fixture::json("[]"); 2]).await;
        let keys = keys_of(Host::Gitea, &server, repository).await;
        assert_eq!(keys.is_ok(), asks.is_some(), "{repository}: {keys:?}");
        assert_eq!(asked(&server).first().map(String::as_str), asks, "{repository}");
    }
}

#[tokio::test]
async fn without_the_lease_nobody_asks() {
    let server = Fixture::start([fixture::json("[]")]).await;
    let client = client(Host::GitLab, &server.base, None).unwrap();
    let end = client.keys(&review("team/bells"), &Queues::default(), Arc::new(|| false)).await;
    assert!(matches!(end, Err(SendError::LeaseLost)));
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn with_a_user_the_token_is_a_password() {
    let server = Fixture::start([fixture::json("{}")]).await;
    let client = client(Host::BitbucketCloud, &server.base, Some("ann@example.com")).unwrap();
    client.keys(&review("team/bells"), &Queues::default(), Arc::new(|| true)).await.unwrap();
    let basic = format!("authorization: Basic {}", STANDARD.encode(format!("ann@example.com:{TOKEN}")));
    assert!(server.requests()[0].contains(&basic), "{}", server.requests()[0]);
    // As it was sent it is as secret.
    let server = Fixture::start([answer("404 Not Found", "", &format!("no page for {basic}"))]).await;
    let client = self::client(Host::BitbucketCloud, &server.base, Some("ann@example.com")).unwrap();
    let error = client.keys(&review("team/bells"), &Queues::default(), Arc::new(|| true)).await.unwrap_err();
    let (told, sent) = (format!("{error:?} {error}"), basic.rsplit(' ').next().unwrap());
    assert!(told.contains("no page for authorization: Basic [secret]") && !told.contains(sent), "{told}");
}

#[test]
fn what_no_call_can_be_made_with_is_told_at_once() {
    for (address, wrong) in [
        ("api.github.test", AddressError::ApiUrl),
        ("https://api.github.test/?a=b", AddressError::ApiUrl),
        ("ftp://api.github.test", AddressError::ApiUrl),
    ] {
        assert_eq!(client(Host::GitHub, address, None).err(), Some(wrong), "{address}");
    }
}
