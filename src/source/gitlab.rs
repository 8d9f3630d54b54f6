//! GitLab (code-hosts.md, section 6). The body alone says what happened: an instance's hooks name all of it
//! `System Hook` in the header.

use http::HeaderMap;
use serde_json::Value;

use super::review::{NO_INTEREST, Nothing, Verdict, What};
use super::told::Told;
use crate::event::Person;

/// # Errors
/// The call says nothing here, or lacks what a review must have.
pub fn read(_headers: &HeaderMap, body: &Value) -> Result<Verdict, Nothing> {
    let told = Told(body);
    let kind = told.text("object_kind").ok_or(Nothing::Malformed("the body has no `object_kind`"))?;
    let action = told.text("object_attributes.action");
    let asks = (kind == "merge_request").then(|| asks_for_changes(told)).flatten();
    let what = match (kind.as_str(), action.as_deref()) {
        ("merge_request", Some("open" | "reopen")) => What::Opened,
        ("merge_request", Some("approved" | "approval")) => What::Approved,
        ("merge_request", Some("unapproved" | "unapproval")) => What::Unapproved,
        ("merge_request", Some("close")) => What::Declined,
        ("merge_request", Some("merge")) => What::Merged,
        ("merge_request", Some("update")) if asks.is_some() => What::ChangesRequested,
        ("merge_request", Some("update")) => What::Updated,
        ("note", None | Some("create")) if is_said_of_a_merge_request(told) => What::Commented,
        _ => return Err(NO_INTEREST),
    };
    let of = if kind == "note" { "merge_request" } else { "object_attributes" };
    let own = |name: &str| told.text(&format!("{of}.{name}"));
    // Approvals that a push took back are nobody's verdict.
    let by_itself = told.truth("object_attributes.system") == Some(true);
    let asks = asks.filter(|_| what == What::ChangesRequested).and_then(Told::as_person);
    Ok(Verdict {
        branch: own("source_branch"),
        target: own("target_branch"),
        title: own("title"),
        description: own("description"),
        url: told.text("object_attributes.url").or_else(|| own("url")),
        author: told.id(&format!("{of}.author_id")).and_then(|id| known(told, &id)),
        actor: told.person("user"),
        reviewer: asks.or_else(|| told.person("user")).filter(|_| !by_itself),
        at: told.time("object_attributes.updated_at").or_else(|| told.time("object_attributes.created_at")),
        comment: told.text("object_attributes.note"),
        comment_id: told.id("object_attributes.id").filter(|_| kind == "note"),
        more_are_needed: action.as_deref() == Some("approval"),
        ..Verdict::new(what, told.id(&format!("{of}.iid")), told.name("project.path_with_namespace"))?
    })
}

fn is_said_of_a_merge_request(told: Told<'_>) -> bool {
    told.text("object_attributes.noteable_type").as_deref() == Some("MergeRequest")
        && told.truth("object_attributes.system") != Some(true)
}

/// The reviewer whose state became `requested_changes` with this very event. `changes.reviewers` has two forms:
/// `[before, now]` and `{previous, current}`.
fn asks_for_changes(told: Told<'_>) -> Option<Told<'_>> {
    let list = |paths: [&str; 2]| paths.iter().find_map(|path| told.at(path)?.as_array());
    let asks = |reviewer: &Value| Told(reviewer).text("state").as_deref() == Some("requested_changes");
    let before = list(["changes.reviewers.0", "changes.reviewers.previous"]);
    let asked_before = |reviewer: &Value| {
        let id = Told(reviewer).id("id");
        before.is_some_and(|before| before.iter().any(|one| asks(one) && Told(one).id("id") == id))
    };
    let mut now = list(["changes.reviewers.1", "changes.reviewers.current"])?.iter();
    let reviewer = now.find(|reviewer| asks(reviewer) && !asked_before(reviewer))?;
    Some(Told(reviewer))
}

/// Authors are told by number alone; those who have a part in the call are told whole too.
fn known(told: Told<'_>, id: &str) -> Option<Person> {
    let parts = ["user".to_owned(), "object_attributes.assignee".to_owned(), "merge_request.assignee".to_owned()];
    let lists = ["assignees", "reviewers"].into_iter();
    let of_lists = lists.flat_map(|list| (0..20).map(move |n| format!("{list}.{n}")));
    parts.into_iter().chain(of_lists).find_map(|path| {
        let is_it = told.id(&format!("{path}.id")).as_deref() == Some(id);
        is_it.then(|| told.person(&path)).flatten()
    })
}
