//! GitHub and its Enterprise Server (code-hosts.md, section 5).

use http::HeaderMap;
use serde_json::Value;

use super::review::{NO_EVENT, NO_INTEREST, Nothing, Verdict, What, header};
use super::told::Told;

/// # Errors
/// The call says nothing here, or lacks what a review must have.
pub fn read(headers: &HeaderMap, body: &Value) -> Result<Verdict, Nothing> {
    let told = Told(body);
    let event = header(headers, "x-github-event").ok_or(NO_EVENT)?;
    let action = told.text("action");
    let what = match (event, action.as_deref().unwrap_or_default()) {
        ("ping", _) => return Err(Nothing::Ping),
        ("pull_request_review", "submitted") => submitted(told).ok_or(NO_INTEREST)?,
        ("pull_request_review", "dismissed") => What::Unapproved,
        ("pull_request", action) => of_pull_request(told, action).ok_or(NO_INTEREST)?,
        ("issue_comment", "created") if told.at("issue.pull_request").is_some() => What::Commented,
        ("pull_request_review_comment", "created") => What::Commented,
        _ => return Err(NO_INTEREST),
    };
    // A comment in the conversation comes with the pull request as an issue, without its branch.
    let of = if event == "issue_comment" { "issue" } else { "pull_request" };
    let own = |name: &str| told.text(&format!("{of}.{name}"));
    let time = |path: &str| told.time(path);
    let updated = time(&format!("{of}.updated_at"));
    let said = time("review.submitted_at").or_else(|| time("comment.created_at"));
    let association = told.text("review.author_association").or_else(|| told.text("comment.author_association"));
    Ok(Verdict {
        branch: told.text("pull_request.head.ref"),
        target: told.text("pull_request.base.ref"),
        title: own("title"),
        description: own("body"),
        url: own("html_url"),
        author: told.person(&format!("{of}.user")),
        actor: told.person("sender"),
        reviewer: told.person("review.user").or_else(|| told.person("sender")),
        // A review's own time is that of its words, also when it is dismissed later.
        at: if action.as_deref() == Some("dismissed") { said.max(updated) } else { said.or(updated) },
        comment: told.text("comment.body").or_else(|| told.text("review.body")),
        comment_id: told.id("comment.id").or_else(|| told.id("review.id")),
        is_members: association.is_some_and(|who| ["OWNER", "MEMBER", "COLLABORATOR"].contains(&who.as_str())),
        ..Verdict::new(what, told.id(&format!("{of}.number")), told.name("repository.full_name"))?
    })
}

/// States are in lower case here and in upper case in the API.
fn submitted(told: Told<'_>) -> Option<What> {
    match told.text("review.state")?.to_ascii_lowercase().as_str() {
        "approved" => Some(What::Approved),
        "changes_requested" => Some(What::ChangesRequested),
        "commented" => Some(What::Commented),
        _ => None,
    }
}

/// Gitea speaks of its pull requests in the same words.
pub fn of_pull_request(told: Told<'_>, action: &str) -> Option<What> {
    match action {
        "opened" | "reopened" => Some(What::Opened),
        "edited" | "synchronize" | "synchronized" | "ready_for_review" | "converted_to_draft" => Some(What::Updated),
        "closed" => {
            let merged_at = || told.at("pull_request.merged_at").map(|_| true);
            let merged = told.truth("pull_request.merged").or_else(merged_at)?; // else nobody knows which it was
            Some(if merged { What::Merged } else { What::Declined })
        }
        _ => None,
    }
}
