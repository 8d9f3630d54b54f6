//! `campanile explain`: what each route makes of an event, and what would be sent and done.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::event::EventFile;
use super::preview::{Place, Preview};
use super::{End, Stop, configured, indented, json_line, table, templates, visible};
use crate::app::composer;
use crate::delivery::{Action, Words};
use crate::event::{Document, family};
use crate::lane::Composer;
use crate::route::{AskedAction, Explained};

pub fn explain(config: &Path, event: &EventFile, json: bool, out: &mut dyn Write) -> Result<End, Stop> {
    let loaded = configured(config)?;
    let told = event.read(&loaded.config)?;
    let document = told.document();
    let explained = loaded.router.explain(&document);
    let routed = loaded.router.route(&document);
    let composer = composer(&loaded.config, templates(&loaded.config).0);
    let issue = issue(&document);
    let actions: Vec<AskedAction> = if issue.is_some() { routed.actions } else { Vec::new() };
    let done = |asked: &AskedAction| composer.action(&asked.action, &document);
    if json {
        let rows: Result<Vec<Value>, _> = explained.iter().map(|route| row(route, &actions, &done)).collect();
        return json_line(out, &rows?);
    }
    writeln!(out, "{}\n", visible(&told.kind))?;
    let rows = explained.iter().map(|route| {
        let matched = if route.matched { "yes" } else { "no" };
        vec![matched.into(), route.route.clone(), route.why.clone()]
    });
    write!(out, "{}", table(&["MATCHED", "ROUTE", "WHY"], rows))?;
    if routed.planned.is_empty() && actions.is_empty() {
        writeln!(out, "\nNothing would be sent.")?;
    }
    for planned in routed.planned {
        let Some(channel) = loaded.config.channels.iter().find(|channel| channel.name == planned.channel) else {
            continue;
        };
        let template = planned.template.as_deref().unwrap_or_else(|| family(&told.kind));
        let preview = Preview::new(&Place::of(channel), template, &document, &composer)?;
        let (messenger, route) = (preview.messenger.as_str(), visible(&planned.route));
        writeln!(out, "\nTo {} ({messenger}), template `{template}`, by route `{route}`:", preview.channel)?;
        write!(out, "{}", indented(&preview.text()))?;
        if let Some(why) = &preview.failure {
            writeln!(out, "    (the fallback text, because {why})")?;
        }
    }
    for asked in &actions {
        let (issue, route) = (visible(issue.as_deref().unwrap_or_default()), visible(&asked.route));
        writeln!(out, "\nTo the issue {issue}, `{}`, by route `{route}`:", asked.action.word())?;
        write!(out, "{}", indented(&words(&asked.action, &composer, &document)))?;
    }
    Ok(End::Done)
}

/// The key of the event's issue: without one nothing is done to any.
fn issue(document: &Document<'_>) -> Option<String> {
    let members = document.members(|root| root == "issue");
    Some(members.get("issue")?.get("key")?.as_str()?.to_owned())
}

/// A route as `--json` has it; `actions` is there where it has any that would be done, each as `{word: …}`.
fn row(
    explained: &Explained,
    actions: &[AskedAction],
    done: &dyn Fn(&AskedAction) -> Result<Action, String>,
) -> serde_json::Result<Value> {
    let mut row = serde_json::to_value(explained)?;
    let own = actions.iter().filter(|asked| explained.matched && *asked.route == *explained.route);
    let own = own.map(|asked| match done(asked) {
        Ok(action) => serde_json::to_value(action),
        Err(why) => Ok(json!({"error": why})),
    });
    let own: Vec<Value> = own.collect::<Result<_, _>>()?;
    if !own.is_empty() {
        row["actions"] = own.into();
    }
    Ok(row)
}

/// What an action would do, for people.
fn words(action: &Action, composer: &Composer, document: &Document<'_>) -> String {
    let each = |fields: &std::collections::BTreeMap<String, String>| {
        let line = |(key, value): (&String, &String)| match value.is_empty() {
            true => format!("{key} is cleared\n"),
            false => format!("{key} = {value}\n"),
        };
        fields.iter().map(line).collect::<String>()
    };
    match composer.action(action, document) {
        Err(why) => format!("(a dead letter, because {why})"),
        Ok(Action::Set { fields, .. }) => each(&fields),
        Ok(Action::Transition { to, by, fields }) => {
            let by = by.map(|by| format!(" by `{by}`")).unwrap_or_default();
            format!("to the status {to}{by}\n{}", each(&fields))
        }
        Ok(Action::Comment(Words::Text(text) | Words::Template(text))) => text,
        Ok(Action::Link { key, application }) => format!("{key} of the application `{application}`"),
    }
}
