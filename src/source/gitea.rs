//! Gitea and Forgejo (code-hosts.md, section 7).

use http::HeaderMap;
use serde_json::Value;

use super::github::of_pull_request;
use super::review::{NO_EVENT, NO_INTEREST, Nothing, Verdict, What, header};
use super::told::Told;

/// # Errors
/// The call says nothing here, or lacks what a review must have.
pub fn read(headers: &HeaderMap, body: &Value) -> Result<Verdict, Nothing> {
    let told = Told(body);
    let event = header(headers, "x-gitea-event").or_else(|| header(headers, "x-forgejo-event")).ok_or(NO_EVENT)?;
    let action = told.text("action").unwrap_or_default();
    let is_pull = || told.truth("is_pull") == Some(true) || told.at("issue.pull_request").is_some();
    let what = match event {
        "pull_request_approved" | "pull_request_review_approved" => What::Approved,
        "pull_request_rejected" | "pull_request_review_rejected" => What::ChangesRequested,
        "pull_request_comment" | "pull_request_review_comment" => match action.as_str() {
            "reviewed" | "created" => What::Commented,
            _ => return Err(NO_INTEREST),
        },
        "pull_request" => of_pull_request(told, &action).ok_or(NO_INTEREST)?,
        "issue_comment" if action == "created" && is_pull() => What::Commented,
        _ => return Err(NO_INTEREST),
    };
    let of = if told.at("pull_request").is_some() { "pull_request" } else { "issue" };
    let own = |name: &str| told.text(&format!("{of}.{name}"));
    let number = told.id("number").or_else(|| told.id(&format!("{of}.number")));
    Ok(Verdict {
        branch: told.text("pull_request.head.ref"),
        target: told.text("pull_request.base.ref"),
        title: own("title"),
        description: own("body"),
        url: own("html_url").or_else(|| told.text("comment.pull_request_url")),
        author: told.person(&format!("{of}.user")),
        actor: told.person("sender"),
        reviewer: told.person("sender"),
        at: told.time("comment.created_at").or_else(|| told.time(&format!("{of}.updated_at"))),
        comment: told.text("comment.body").or_else(|| told.text("review.content")),
        comment_id: told.id("comment.id"),
        ..Verdict::new(what, number, told.name("repository.full_name"))?
    })
}
