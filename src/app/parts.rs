//! Everything that one configuration makes, built whole before any of it counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::recovery::Recover;
use super::{StartError, composer, reader};
use crate::clock::Clock;
use crate::config::{
    self, Channel, Config, Conversation, Loaded, Placed, Secret, SlackPace, SourceKind, TelegramPace, TokenType,
};
use crate::delivery::{Messenger, Platform};
use crate::event::SourceName;
use crate::host;
use crate::lane::{self, Comments, Plan, Quota, Rates};
use crate::layers::breaker::Breaker;
use crate::layers::rate::Rate;
use crate::layers::stack::{Limits, Watched};
use crate::link;
use crate::messenger::sender::{self, Sender, Target};
use crate::messenger::{slack, telegram};
use crate::outbox::{IssueLane, Place};
use crate::route::Planner;
use crate::source::{Kind, Reviews, Rules, Secrets, Source};
use crate::telemetry::Metrics;
use crate::template::Templates;
use crate::tracker::client as tracker;
use crate::tracker::known::Known;
use crate::tracker::token::Token;
use crate::transport::Transport;

/// Calls to one code host at the same time.
const WIDTH_OF_HOST: usize = 8;

/// What outlives a configuration, and what it is built with.
pub struct Ground<'a> {
    pub transport: &'a Transport,
    pub metrics: &'a Arc<Metrics>,
    pub clock: &'a Clock,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The breaker of an account that runs already.
    pub breaker_of: &'a dyn Fn(&str) -> Option<Breaker>,
    /// How many processes share Tracker's rate.
    pub sharers: Sharers,
}

/// The way to Tracker for a command, where no server runs: by the same settings, through the same stack, at the same
/// rate. `None`: the configuration has no `tracker.token`.
///
/// # Errors
/// A token without a value, an address or an organisation that no call can be made with.
pub fn tracker_client(
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
    clock: &Clock,
    random: &mut fastrand::Rng,
) -> Result<Option<tracker::Client>, StartError> {
    let transport = Transport::new(clock.clone()).map_err(StartError::Transport)?;
    let ground = Ground {
        transport: &transport,
        metrics: &Arc::default(),
        clock,
        env,
        breaker_of: &|_| None,
        sharers: Arc::new(|| 1),
    };
    let accounts = Accounts { config, secrets: &Resolver { config, env }, ground: &ground };
    Ok(accounts.of_issues(random.u64(..))?.0)
}

pub type Sharers = Arc<dyn Fn() -> usize + Send + Sync>;

pub struct Parts {
    /// Of config.yaml and the templates, for people.
    pub hash: String,
    pub places: Vec<Place>,
    pub rules: Rules,
    /// `None`: no `links`.
    pub links: Option<link::Rules>,
    pub plan: Plan,
    pub accounts: HashMap<Arc<str>, Account>,
    pub admin_token: Option<SecretString>,
    /// How long what is settled can be looked up.
    pub keep: Duration,
    pub recover: Recover,
}

impl Parts {
    /// # Errors
    /// A secret without a value, an address or a token that no call can be made with.
    pub fn build(
        loaded: Loaded,
        templates: Templates,
        ground: &Ground<'_>,
        random: &mut fastrand::Rng,
    ) -> Result<Self, StartError> {
        let Loaded { config, digest, router, warnings: _ } = loaded;
        let hash = Sha256::new().chain_update(digest).chain_update(templates.digest).finalize();
        let secrets = &Resolver { config: &config, env: ground.env };
        let mut channels = HashMap::new();
        for channel in &config.channels {
            channels.insert(channel.name.clone(), lane_channel(channel, secrets)?);
        }
        let accounts = Accounts { config: &config, secrets, ground };
        let (tracker, of_issues) = accounts.of_issues(random.u64(..))?;
        let comments = accounts.comments(random)?;
        let accounts = accounts.all(random)?;
        let senders = accounts.iter().map(|(name, (_, sender))| (name.clone(), sender.clone())).collect();
        let known = config.channels.iter().map(|channel| (channel.name.clone(), channel.give_up_after_hours)).collect();
        let (follows_links, loop_guard) = (config.links.is_some(), config.tracker.loop_guard);
        let planner = Arc::new(Planner { router, channels: known, follows_links, loop_guard });
        let admin_token = config.server.admin_token.as_ref();
        Ok(Self {
            hash: hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect(),
            places: config.channels.iter().map(place).collect(),
            links: super::links::rules(&config, secrets, ground, &planner, tracker.as_ref())?,
            rules: Rules { sources: sources(&config, secrets)?, planner: planner.clone() },
            plan: Plan {
                composer: composer(&config, templates),
                channels,
                senders,
                comments,
                tracker,
                planner,
                enrich_within: Duration::from_secs(u64::from(config.tracker.enrich_within_seconds)),
                web_url: config.tracker.web_url.as_str().to_owned(),
            },
            accounts: accounts.into_iter().map(|(name, (account, _))| (name, account)).chain(of_issues).collect(),
            admin_token: admin_token.map(|token| secrets.resolve("server.admin_token", token)).transpose()?,
            keep: Duration::from_secs(u64::from(config.retention_days) * 24 * 60 * 60),
            recover: recover(&config.tracker),
        })
    }
}

fn recover(tracker: &config::Tracker) -> Recover {
    let minutes = u64::from(tracker.recover_every_minutes);
    let every = (minutes > 0).then(|| Duration::from_secs(minutes * 60));
    Recover { queues: tracker.queues.clone(), every }
}

/// Secrets of the configuration, with the names under which its author knows them.
pub(super) struct Resolver<'a> {
    config: &'a Config,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Resolver<'_> {
    pub(super) fn resolve(&self, name: &str, secret: &Placed<Secret>) -> Result<SecretString, StartError> {
        let resolved = secret.value.resolve(&self.config.folder, self.env);
        resolved.map_err(|error| StartError::Secret { name: name.to_owned(), error })
    }
}

fn sources(config: &Config, secrets: &Resolver<'_>) -> Result<HashMap<String, Source>, StartError> {
    let mut sources = HashMap::new();
    for source in &config.sources {
        let name = format!("sources.{}.secret", source.name);
        let own: Vec<SecretString> =
            source.secrets.iter().map(|secret| secrets.resolve(&name, secret)).collect::<Result<_, _>>()?;
        let made = Source {
            name: source.name.clone(),
            secrets: Secrets::new(&own),
            url_secret: source.url_secret,
            kind: kind(source),
            dedupe: source.dedupe_seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
            enrich: source.enrich,
            reader: reader(config),
        };
        sources.insert(source.name.to_string(), made);
    }
    Ok(sources)
}

/// Who calls a source, and what counts of the calls.
pub fn kind(source: &config::Source) -> Kind {
    match source.kind {
        SourceKind::Tracker => Kind::Tracker,
        SourceKind::Bench => Kind::Bench,
        SourceKind::Host(host) => {
            let config::Reviews { keys, members_only, all_approvals, fetch_comments } = &source.reviews;
            let (members_only, all_approvals) = (*members_only, *all_approvals);
            let fetch_comments = fetch_comments.is_some();
            Kind::Host(host, Reviews { keys: *keys, members_only, all_approvals, fetch_comments })
        }
    }
}

pub(super) fn account_of(channel: &Channel) -> Arc<str> {
    match &channel.conversation {
        Conversation::Slack { .. } => Messenger::Slack.as_str().into(),
        Conversation::SlackWebhook { .. } => format!("slack-webhook:{}", channel.name).into(),
        Conversation::Telegram { .. } => Messenger::Telegram.as_str().into(),
    }
}

fn place(channel: &Channel) -> Place {
    Place {
        channel: channel.name.clone(),
        messenger: channel.conversation.messenger(),
        account: account_of(channel),
        lane: match &channel.conversation {
            Conversation::Telegram { topic: Some(topic), .. } => format!("{}:{topic}", conversation(channel)),
            _ => conversation(channel),
        },
        conversation: conversation(channel),
    }
}

/// What shares a pace.
fn conversation(channel: &Channel) -> String {
    match &channel.conversation {
        Conversation::Slack { id } => format!("slack:{id}"),
        Conversation::SlackWebhook { .. } => format!("slack-webhook:{}", channel.name),
        Conversation::Telegram { chat, .. } => format!("telegram:{chat}"),
    }
}

fn lane_channel(channel: &Channel, secrets: &Resolver<'_>) -> Result<lane::Channel, StartError> {
    let (target, is_group) = match &channel.conversation {
        Conversation::Slack { id } => (Target::Slack { channel: id.clone() }, false),
        Conversation::SlackWebhook { url } => {
            let name = format!("channels.{}.slack_webhook", channel.name);
            let url = slack::client::WebhookUrl::parse(&secrets.resolve(&name, url)?)
                .map_err(|error| StartError::Setting { name, why: error.to_string() })?;
            (Target::SlackWebhook { url }, false)
        }
        Conversation::Telegram { chat, topic } => (Target::Telegram { chat: *chat, topic: *topic }, *chat < 0),
    };
    Ok(lane::Channel { target, conversation: conversation(channel), is_group, on_unclear: channel.on_unclear })
}

/// A token, or an incoming webhook, with what is shared by those who use it.
pub struct Account {
    pub platform: Platform,
    pub breaker: Breaker,
    pub rates: Rates,
}

/// The accounts of lanes of issues.
type OfIssues = Vec<(Arc<str>, Account)>;

struct Accounts<'a> {
    config: &'a Config,
    secrets: &'a Resolver<'a>,
    ground: &'a Ground<'a>,
}

impl Accounts<'_> {
    fn all(&self, random: &mut fastrand::Rng) -> Result<HashMap<Arc<str>, (Account, Sender)>, StartError> {
        let mut accounts = HashMap::new();
        for channel in &self.config.channels {
            if let Entry::Vacant(new) = accounts.entry(account_of(channel)) {
                let account = self.account(new.key(), channel, random.u64(..))?;
                new.insert(account);
            }
        }
        Ok(accounts)
    }

    /// Those of the lanes that no configuration names, and what their actions and questions go through: nothing without a
    /// token.
    fn of_issues(&self, seed: u64) -> Result<(Option<tracker::Client>, OfIssues), StartError> {
        let Ground { transport, metrics, clock, breaker_of, .. } = self.ground;
        let account = |name: &str| {
            let breaker = breaker_of(name).unwrap_or_else(|| Breaker::new((*clock).clone()));
            (name.into(), Account { platform: Platform::Tracker, breaker, rates: Rates::default() })
        };
        let accounts = vec![account(IssueLane::TRACKER), account(IssueLane::ROUTING)];
        let settings = &self.config.tracker;
        let (Some(token), Some(organization)) = (&settings.token, &settings.organization) else {
            return Ok((None, accounts));
        };
        let wrong = |name: &str, why: String| StartError::Setting { name: name.into(), why };
        let token = self.token(token, settings.token_type).map_err(|why| wrong("tracker.token", why))?;
        let sharers = self.ground.sharers.clone();
        let rate = settings.pace.map(|pace| Rate::new(pace.per_second, (*clock).clone(), move || sharers()));
        let limits = Limits { width: tracker::WIDTH, attempt: tracker::ATTEMPT, seed, rate };
        let (_, of_tracker) = &accounts[0];
        let watched = Watched {
            to: Platform::Tracker,
            breaker: of_tracker.breaker.clone(),
            observer: (*metrics).clone(),
            clock: (*clock).clone(),
        };
        let url = settings.url.as_str().to_owned();
        let settings = tracker::Settings {
            url,
            organization: organization.clone(),
            token: Arc::new(token),
            language: self.config.language,
        };
        let known = Known::new((*clock).clone());
        let client = tracker::Client::new((*transport).clone(), settings, known, &limits, watched)
            .map_err(|error| wrong("tracker.url", error.to_string()))?;
        Ok((Some(client), accounts))
    }

    /// Those who are asked for the comments of reviews.
    fn comments(&self, random: &mut fastrand::Rng) -> Result<HashMap<SourceName, Comments>, StartError> {
        let Ground { transport, metrics, clock, .. } = self.ground;
        let mut comments = HashMap::new();
        for source in &self.config.sources {
            let (SourceKind::Host(host), Some(fetch)) = (source.kind, &source.reviews.fetch_comments) else { continue };
            let name = format!("sources.{}.fetch_comments", source.name);
            let token = self.secrets.resolve(&format!("{name}.token"), &fetch.token)?;
            let limits = Limits { width: WIDTH_OF_HOST, seed: random.u64(..), ..Limits::default() };
            let watched = Watched {
                to: Platform::CodeHost,
                breaker: Breaker::new((*clock).clone()),
                observer: (*metrics).clone(),
                clock: (*clock).clone(),
            };
            let user = fetch.user.as_deref();
            let transport = (*transport).clone();
            let host = host::Client::new(transport, host, fetch.api_url.as_str(), user, &token, &limits, watched)
                .map_err(|error| StartError::Setting { name, why: error.to_string() })?;
            let queues = reader(self.config).queues;
            let asked = Comments { host, keys: source.reviews.keys, queues, enrich: source.enrich };
            comments.insert(source.name.clone(), asked);
        }
        Ok(comments)
    }

    /// A token in a file is read again whenever it may have changed; one in a variable stays.
    fn token(&self, token: &Placed<Secret>, kind: TokenType) -> Result<Token, String> {
        let (secret, folder) = (token.value.clone(), self.config.folder.clone());
        let first = secret.resolve(&folder, self.ground.env).map_err(|error| error.to_string())?;
        let read = move || match &secret {
            Secret::Env(_) => Ok(first.clone()),
            Secret::File(_) => secret.resolve(&folder, &|_| None).map_err(|error| error.to_string()),
        };
        Token::new(kind, self.ground.clock.clone(), read)
    }

    fn account(&self, name: &str, channel: &Channel, seed: u64) -> Result<(Account, Sender), StartError> {
        let Ground { transport, metrics, clock, breaker_of, .. } = self.ground;
        let messenger = channel.conversation.messenger();
        let breaker = breaker_of(name).unwrap_or_else(|| Breaker::new((*clock).clone()));
        let limits = Limits { seed, ..Limits::default() };
        let platform = Platform::Messenger(messenger);
        let (observer, clock) = ((*metrics).clone(), (*clock).clone());
        let watched = Watched { to: platform, breaker: breaker.clone(), observer, clock };
        let (sender, rates) = match &channel.conversation {
            Conversation::Slack { .. } | Conversation::SlackWebhook { .. } => {
                let slack = self.config.slack.as_ref();
                let token = slack.and_then(|slack| slack.token.as_ref());
                let token = token.map(|token| self.secrets.resolve("slack.token", token)).transpose()?;
                let api_url = slack.map_or("https://slack.com/api", |slack| slack.api_url.as_str());
                let client = slack::client::Client::new((*transport).clone(), api_url, token.as_ref())
                    .map_err(|error| StartError::Setting { name: "slack.api_url".into(), why: error.to_string() })?;
                let pace = slack.map_or(Some(SlackPace::default()), |slack| slack.pace);
                let rates = pace.map_or(Rates::default(), |pace| Rates {
                    per_conversation: Some((pace.per_channel_per_second, pace.burst)),
                    ..Rates::default()
                });
                (sender::sender(client, &limits, watched), rates)
            }
            Conversation::Telegram { .. } => {
                let telegram = self.config.telegram.as_ref();
                let token = telegram.and_then(|telegram| telegram.token.as_ref());
                let token = match token {
                    Some(token) => self.secrets.resolve("telegram.token", token)?,
                    None => SecretString::default(),
                };
                let api_url = telegram.map_or("https://api.telegram.org", |telegram| telegram.api_url.as_str());
                let client = telegram::client::Client::new((*transport).clone(), api_url, &token)
                    .map_err(|error| StartError::Setting { name: "telegram.api_url".into(), why: error.to_string() })?;
                let pace = telegram.map_or(Some(TelegramPace::default()), |telegram| telegram.pace);
                let rates = pace.map_or(Rates::default(), |pace| Rates {
                    per_conversation: Some((pace.per_chat_per_second, pace.burst)),
                    per_group: Some(Quota::new(pace.per_group_per_minute, Duration::from_secs(60))),
                    per_account: Some(Quota::new(pace.per_bot_per_second, Duration::from_secs(1))),
                });
                (sender::sender(client, &limits, watched), rates)
            }
        };
        Ok((Account { platform, breaker, rates }, sender))
    }
}
