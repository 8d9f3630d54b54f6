//! Bitbucket Cloud (code-hosts.md, section 3). The header alone says what happened: the bodies of an approval and of
//! its removal are of one form.

use http::HeaderMap;
use serde_json::Value;

use super::review::{NO_EVENT, NO_INTEREST, Nothing, Verdict, What, header};
use super::told::Told;

/// # Errors
/// The call says nothing here, or lacks what a review must have.
pub fn read(headers: &HeaderMap, body: &Value) -> Result<Verdict, Nothing> {
    let told = Told(body);
    let what = match header(headers, "x-event-key").ok_or(NO_EVENT)? {
        "pullrequest:created" => What::Opened,
        "pullrequest:updated" => What::Updated,
        "pullrequest:approved" => What::Approved,
        "pullrequest:changes_request_created" => What::ChangesRequested,
        "pullrequest:unapproved" | "pullrequest:changes_request_removed" => What::Unapproved,
        "pullrequest:comment_created" => What::Commented,
        "pullrequest:rejected" => What::Declined,
        "pullrequest:fulfilled" => What::Merged,
        _ => return Err(NO_INTEREST),
    };
    if told.at("pullrequest.fromRef").is_some() {
        return Err(Nothing::Malformed("the body has not Bitbucket Cloud's form: a plugin of Data Center sends such"));
    }
    let by = if told.at("changes_request").is_some() { "changes_request" } else { "approval" };
    let of_verdict = |name: &str| format!("{by}.{name}");
    let at = told.time(&of_verdict("date")).or_else(|| told.time("comment.created_on"));
    Ok(Verdict {
        branch: told.text("pullrequest.source.branch.name"),
        target: told.text("pullrequest.destination.branch.name"),
        title: told.text("pullrequest.title"),
        description: told.text("pullrequest.description"),
        url: told.text("pullrequest.links.html.href"),
        author: told.person("pullrequest.author"),
        actor: told.person("actor"),
        reviewer: told.person(&of_verdict("user")).or_else(|| told.person("actor")),
        at: at.or_else(|| told.time("pullrequest.updated_on")),
        comment: told.text("comment.content.raw"),
        comment_id: told.id("comment.id"),
        is_members: is_reviewers(told),
        ..Verdict::new(what, told.id("pullrequest.id"), told.name("repository.full_name"))?
    })
}

/// Whether the one who acted is among the reviewers that were asked.
fn is_reviewers(told: Told<'_>) -> bool {
    let (Some(actor), Some(Value::Array(participants))) = (told.at("actor"), told.at("pullrequest.participants"))
    else {
        return false;
    };
    let is_actor = |user: Told<'_>| {
        ["uuid", "account_id"].iter().any(|id| user.text(id).is_some_and(|own| Told(actor).text(id) == Some(own)))
    };
    participants.iter().map(Told).any(|participant| {
        participant.text("role").as_deref() == Some("REVIEWER")
            && participant.at("user").map(Told).is_some_and(is_actor)
    })
}
