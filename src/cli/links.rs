//! `campanile links`: what issues are linked to, and what Tracker is told to register us.

use std::io::Write;

use clap::Subcommand;
use serde_json::{Value, json};

use super::store::{Ask, Page};
use super::{Configured, End, Refusal, Stop, configured, json_line, rows};
use crate::config::{Auth, Config, Secret};
use crate::outbox::LinkFilter;

#[derive(Debug, Subcommand)]
pub enum Links {
    /// Which issue is linked to what, newest first
    List {
        /// Of this issue, as TEST-1
        #[arg(long, value_name = "KEY")]
        issue: Option<String>,
        /// To this object, as channel:oncall
        #[arg(long, value_name = "KEY")]
        object: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// What to write into Tracker's form for external applications; a token is named, never shown
    Registration {
        #[command(flatten)]
        configured: Configured,
        /// Print an object of the form's fields instead of text
        #[arg(long)]
        json: bool,
    },
}

pub async fn links(command: Links, out: &mut dyn Write) -> Result<End, Stop> {
    match command {
        Links::List { issue, object, page } => {
            let (before, limit) = page.bounds();
            let filter = LinkFilter { before, limit, issue, object };
            page.asking.show(&Ask::Links(filter), rows::links, out).await
        }
        Links::Registration { configured: at, json } => {
            let config = configured(&at.config)?.config;
            let form = registration(&config)?;
            if json {
                return json_line(out, &form);
            }
            for (field, value) in form.as_object().into_iter().flatten() {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                writeln!(out, "{field:<18}{value}")?;
            }
            Ok(End::Done)
        }
    }
}

/// The fields of the form (tracker.md, 5.1).
fn registration(config: &Config) -> Result<Value, Refusal> {
    let links = config.links.as_ref().ok_or_else(|| {
        Refusal::new("the configuration has no `links`").hint("as in `links: {auth: {token: {env: LINKS_TOKEN}}}`")
    })?;
    let public = config.server.public_url.as_ref().ok_or_else(|| {
        Refusal::new("`server.public_url` is not set, and Tracker has to reach us there")
            .hint("as in `server: {public_url: https://bells.example.com, …}`")
    })?;
    let at = |shape: &crate::link::template::Shape| format!("{}{shape}", public.as_str());
    let token = match &links.auth {
        Auth::None => "none: whoever reaches the addresses is let in".to_owned(),
        Auth::User => "none: each user's own token is sent".to_owned(),
        Auth::Token(token) => match &token.value {
            Secret::Env(name) => format!("the value of {name}"),
            Secret::File(path) => format!("what stands in {}", path.display()),
        },
    };
    let mut form = json!({
        "id": links.application.as_deref().unwrap_or("campanile"),
        "name": "Campanile",
        "frontUrl": at(&links.info),
        "entityInfoUrl": at(&links.info),
        "createLinkUrl": at(&links.create),
        "removeLinkUrl": at(&links.remove),
        "oauthToken": token,
        "responsible": "a person of yours whom Tracker's team can write to",
        "canLinkFromFront": true,
    });
    if let Some(icon) = &links.icon_url {
        form["defaultIconUrl"] = icon.as_str().into();
    }
    Ok(form)
}
