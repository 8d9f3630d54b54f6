//! Where each host keeps the comments of a pull request, how it pages them, and what is a comment there. Addresses are
//! built from the configured one alone: never from a link in a call or an answer.

use http::header::LINK;
use serde_json::Value;
use url::Url;

use super::Page;
use crate::delivery::SendError;
use crate::event::{Host, Review};
use crate::key::{Place as Text, Queues};

/// Comments on a page. Hosts may give fewer.
const ON_A_PAGE: &str = "100";

/// A page of a list of comments.
#[derive(Clone, Debug)]
pub struct Place {
    /// Parts of the path, not encoded.
    path: Vec<String>,
    /// The parameter that limits a page, and that which asks for one, with its value; none on the first.
    limit: &'static str,
    from: Option<(&'static str, String)>,
    /// The first comment of the page before: a host that pages nothing gives it again and again.
    before: Option<Value>,
}

impl Place {
    pub fn under(&self, api_url: &Url) -> Option<Url> {
        let mut url = api_url.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(&self.path);
        url.query_pairs_mut().append_pair(self.limit, ON_A_PAGE).extend_pairs(&self.from);
        Some(url)
    }
}

/// The answer's form that is asked for.
pub fn accepts(host: Host) -> &'static str {
    match host {
        Host::GitHub => "application/vnd.github+json",
        Host::BitbucketCloud | Host::BitbucketServer | Host::GitLab | Host::Gitea => "application/json",
    }
}

/// The first page of each list of a pull request's comments.
///
/// # Errors
/// Its repository or number cannot stand in an address.
pub fn places(host: Host, review: &Review) -> Result<Vec<Place>, SendError> {
    let (repository, id) = (&review.repository, &review.id);
    let refused = || SendError::Refused { code: "the pull request's repository has no owner and name".into() };
    let (owner, name) = repository.split_once('/').ok_or_else(refused)?;
    let (limit, paths): (_, Vec<Vec<&str>>) = match host {
        Host::BitbucketCloud => ("pagelen", vec![vec!["repositories", owner, name, "pullrequests", id, "comments"]]),
        Host::BitbucketServer => {
            ("limit", vec![vec!["projects", owner, "repos", name, "pull-requests", id, "activities"]])
        }
        Host::GitHub => {
            let of = |of, list| vec!["repos", owner, name, of, id, list];
            ("per_page", vec![of("issues", "comments"), of("pulls", "reviews"), of("pulls", "comments")])
        }
        // The whole path of a project counts as one part.
        Host::GitLab => ("per_page", vec![vec!["projects", repository, "merge_requests", id, "notes"]]),
        Host::Gitea => {
            let of = |of, list| vec!["repos", owner, name, of, id, list];
            ("limit", vec![of("issues", "comments"), of("pulls", "reviews")])
        }
    };
    let leads_elsewhere = |part: &&str| matches!(*part, "" | "." | "..");
    if paths.iter().flatten().any(leads_elsewhere) {
        return Err(refused());
    }
    let place = |path: Vec<&str>| Place {
        path: path.into_iter().map(str::to_owned).collect(),
        limit,
        from: None,
        before: None,
    };
    Ok(paths.into_iter().map(place).collect())
}

/// The page behind one, if there is one.
pub fn after(host: Host, place: Place, page: &Page) -> Option<Place> {
    let header = |name: &str| page.headers.get(name)?.to_str().ok();
    let number = || match &place.from {
        Some((_, number)) => number.parse::<u64>().ok(),
        None => Some(1),
    };
    let following = || Some(("page", (number()? + 1).to_string()));
    let is_linked = || header(LINK.as_str()).is_some_and(|links| links.contains("rel=\"next\""));
    let from = match host {
        Host::BitbucketCloud => {
            let next = Url::parse(page.body.get("next")?.as_str()?).ok()?;
            let (_, number) = next.query_pairs().find(|(name, _)| name == "page")?;
            ("page", number.into_owned())
        }
        Host::BitbucketServer => {
            let is_last = page.body.get("isLastPage").and_then(Value::as_bool) != Some(false);
            ("start", page.body.get("nextPageStart").filter(|_| !is_last)?.as_u64()?.to_string())
        }
        Host::GitHub => is_linked().then(following).flatten()?,
        Host::GitLab => match header("x-next-page").and_then(|page| page.parse::<u64>().ok()) {
            Some(page) => ("page", page.to_string()),
            None => is_linked().then(following).flatten()?,
        },
        // Says nothing of further pages: an empty one is behind the last.
        Host::Gitea => page.body.as_array().is_some_and(|list| !list.is_empty()).then(following).flatten()?,
    };
    let first = list(host, &page.body).first().cloned();
    let goes_on = first.is_some() && first != place.before;
    goes_on.then_some(Place { from: Some(from), before: first, ..place })
}

/// The keys of the first comment that has any, the author's first.
pub fn keys(host: Host, body: &Value, author: Option<&str>, queues: &Queues) -> Vec<String> {
    let mut comments = Vec::new();
    for entry in list(host, body) {
        match host {
            Host::BitbucketServer if entry["action"] == "COMMENTED" => with_replies(&entry["comment"], &mut comments),
            Host::BitbucketServer => {}
            Host::BitbucketCloud if entry["deleted"] == true => {}
            Host::BitbucketCloud => comments.push((&entry["content"]["raw"], &entry["user"])),
            Host::GitLab if entry["system"] == true => {}
            Host::GitLab => comments.push((&entry["body"], &entry["author"])),
            Host::GitHub | Host::Gitea => comments.push((&entry["body"], &entry["user"])),
        }
    }
    let names = ["login", "username", "nickname", "name"];
    let is_authors = |by: &Value| author.is_some_and(|author| names.iter().any(|name| by[*name] == author));
    let (authors, others): (Vec<_>, Vec<_>) = comments.into_iter().partition(|(_, by)| is_authors(by));
    let texts = authors.into_iter().chain(others).filter_map(|(text, _)| text.as_str());
    texts.map(|text| queues.keys(text, Text::Text)).find(|keys| !keys.is_empty()).unwrap_or_default()
}

fn list(host: Host, body: &Value) -> &[Value] {
    let list = match host {
        Host::BitbucketCloud | Host::BitbucketServer => &body["values"],
        Host::GitHub | Host::GitLab | Host::Gitea => body,
    };
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn with_replies<'a>(comment: &'a Value, comments: &mut Vec<(&'a Value, &'a Value)>) {
    comments.push((&comment["text"], &comment["author"]));
    for reply in comment["comments"].as_array().into_iter().flatten() {
        with_replies(reply, comments);
    }
}
