//! Bitbucket Data Center and Server (code-hosts.md, section 4).

use http::HeaderMap;
use serde_json::Value;

use super::review::{NO_EVENT, NO_INTEREST, Nothing, Verdict, What, header};
use super::told::Told;

/// # Errors
/// The call says nothing here, or lacks what a review must have.
pub fn read(headers: &HeaderMap, body: &Value) -> Result<Verdict, Nothing> {
    let told = Told(body);
    let named = told.text("eventKey");
    let what = match header(headers, "x-event-key").or(named.as_deref()).ok_or(NO_EVENT)? {
        "pr:opened" => What::Opened,
        "pr:modified" | "pr:from_ref_updated" | "pr:to_ref_updated" => What::Updated,
        "pr:reviewer:approved" => What::Approved,
        // The documentation's name, and that of live servers.
        "pr:reviewer:changes_requested" | "pr:reviewer:needs_work" => What::ChangesRequested,
        "pr:reviewer:unapproved" => What::Unapproved,
        "pr:comment:added" => What::Commented,
        "pr:declined" => What::Declined,
        "pr:merged" => What::Merged,
        "diagnostics:ping" => return Err(Nothing::Ping),
        _ => return Err(NO_INTEREST),
    };
    let number = told.id("pullRequest.id");
    Ok(Verdict {
        branch: told.text("pullRequest.fromRef.displayId"),
        target: told.text("pullRequest.toRef.displayId"),
        title: told.text("pullRequest.title"),
        description: told.text("pullRequest.description"),
        url: told.text("pullRequest.links.self.0.href").or_else(|| by_repository(told, number.as_deref()?)),
        author: told.person("pullRequest.author.user"),
        actor: told.person("actor"),
        reviewer: told.person("participant.user").or_else(|| told.person("actor")),
        at: told.time("date"),
        comment: told.text("comment.text"),
        comment_id: told.id("comment.id"),
        ..Verdict::new(what, number, repository(told))?
    })
}

fn repository(told: Told<'_>) -> Option<String> {
    let project = told.name("pullRequest.toRef.repository.project.key")?;
    Some(format!("{project}/{}", told.name("pullRequest.toRef.repository.slug")?))
}

/// Where a pull request without a link of its own is, by its repository's.
fn by_repository(told: Told<'_>, number: &str) -> Option<String> {
    let repository = told.text("pullRequest.toRef.repository.links.self.0.href")?;
    Some(format!("{}/pull-requests/{number}", repository.strip_suffix("/browse")?))
}
