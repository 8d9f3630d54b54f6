//! What `links` makes of this configuration.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::StartError;
use super::parts::{Ground, Resolver, account_of};
use crate::config::{self, Config};
use crate::key::Queues;
use crate::link::{AskWhose, Auth, Channel, EveryKey, Rules, Users};
use crate::route::Planner;
use crate::tracker::client::Client;
use crate::tracker::guest::Guests;
use crate::tracker::moved::every_key;

/// Of removals at the same time. Each takes a turn of what Tracker is asked a second, also when it is waited for no longer.
const MOST_QUESTIONS: usize = 2;

/// `None`: the protocol is not spoken.
///
/// # Errors
/// A secret without a value, an address that no call can be made with.
pub fn rules(
    config: &Config,
    secrets: &Resolver<'_>,
    ground: &Ground<'_>,
    planner: &Arc<Planner>,
    tracker: Option<&Client>,
) -> Result<Option<Rules>, StartError> {
    let Some(links) = &config.links else { return Ok(None) };
    let auth = match &links.auth {
        config::Auth::None => Auth::Anybody,
        config::Auth::Token(token) => Auth::token(&secrets.resolve("links.auth.token", token)?),
        config::Auth::User => Auth::User(Users::new(ask_whose(config, ground)?, ground.clock.clone())),
    };
    let channels = config.channels.iter().map(|channel| {
        let object = Channel { messenger: channel.conversation.messenger(), account: account_of(channel) };
        (channel.name.clone(), object)
    });
    Ok(Some(Rules {
        info: links.info.clone(),
        create: links.create.clone(),
        remove: links.remove.clone(),
        auth,
        every_key: tracker.map(|tracker| ask_every_key(tracker.clone())),
        icon_url: links.icon_url.clone(),
        channels: channels.collect(),
        planner: planner.clone(),
        queues: Queues::new(config.tracker.queues.iter().cloned()),
        web_url: config.tracker.web_url.as_str().to_owned(),
        time_zone: config.time_zone.clone(),
    }))
}

fn ask_every_key(tracker: Client) -> EveryKey {
    let questions = Arc::new(Semaphore::new(MOST_QUESTIONS));
    Arc::new(move |issue| {
        let (api, questions) = (tracker.free(), questions.clone());
        Box::pin(async move {
            let _one = questions.try_acquire().map_err(|_| "too many ask at once".to_owned())?;
            every_key(&api, &issue).await.map_err(|error| error.to_string())
        })
    })
}

fn ask_whose(config: &Config, ground: &Ground<'_>) -> Result<AskWhose, StartError> {
    let wrong = |name: &str, why: String| StartError::Setting { name: name.into(), why };
    let organization = config.tracker.organization.clone();
    let organization = organization.ok_or_else(|| wrong("links.auth", "`user` wants `tracker.org_id`".into()))?;
    let guests = Guests::new(ground.transport.clone(), config.tracker.url.as_str(), organization);
    let guests = guests.map_err(|error| wrong("tracker.url", error.to_string()))?;
    Ok(Arc::new(move |token| {
        let guests = guests.clone();
        Box::pin(async move { guests.owner(token).await.map_err(|error| error.to_string()) })
    }))
}
