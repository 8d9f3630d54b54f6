//! `campanile import-triggers`: what triggers that call Slack or Telegram by themselves become in a configuration.

use std::fmt::Write as _;
use std::io::Write;

use clap::Args;
use serde_json::{Map, Value, json};

use super::connect::{api, let_in, refusal};
use super::{Configured, End, Stop, configured, json_line, visible};
use crate::clock::Clock;
use crate::config::{self, Config, SourceKind};
use crate::tracker::import::{Channel, Conversation, Hosts, Proposal, Route, import};

#[derive(Debug, Args)]
pub struct Import {
    /// The queue's key, as in the keys of its issues
    #[arg(value_name = "QUEUE")]
    queue: String,
    #[command(flatten)]
    configured: Configured,
    /// Print {queue, triggers, config, templates: {FILE: TEXT}, notes: [{trigger, note}]} instead of text
    #[arg(long)]
    json: bool,
}

/// Reads the triggers and prints a proposal; writes nothing. `env` gives an environment variable.
pub async fn import_triggers(
    asked: &Import,
    env: &dyn Fn(&str) -> Option<String>,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<End, Stop> {
    let config = configured(&asked.configured.config)?.config;
    let (api, queue) = (api(&config, env, clock)?, asked.queue.as_str());
    let_in(&api, queue).await?;
    let triggers = api.triggers(queue).await.map_err(|error| refusal(error, queue))?;
    let hosts = Hosts {
        slack_api: config.slack.as_ref().map_or("https://slack.com/api", |slack| slack.api_url.as_str()),
        telegram_api: config.telegram.as_ref().map_or("https://api.telegram.org", |it| it.api_url.as_str()),
        web_url: config.tracker.web_url.as_str(),
    };
    let known: Vec<Channel> = config.channels.iter().map(known).collect();
    let proposal = import(queue, &triggers, hosts, &known);
    if asked.json {
        return json_line(out, &shown(&proposal, &config, queue, triggers.len()));
    }
    if proposal.routes.is_empty() {
        writeln!(out, "nothing: none of {} triggers of {} sends messages itself", triggers.len(), visible(queue))?;
        for (trigger, note) in &proposal.notes {
            writeln!(out, "trigger {}: {}", visible(trigger), visible(note))?;
        }
        return Ok(End::Done);
    }
    write!(out, "{}", head(&proposal, &config, queue, triggers.len()))?;
    write!(out, "\n{}", fragment(&proposal, &config))?;
    for (name, text) in proposal.routes.iter().filter_map(|route| route.template.as_ref()) {
        write!(out, "\n# ==== {} ====\n{}", file(name), text)?;
    }
    Ok(End::Done)
}

/// Where a template is put, from the folder of templates.
fn file(name: &str) -> String {
    format!("{name}.md.hbs")
}

fn known(channel: &config::Channel) -> Channel {
    let conversation = match &channel.conversation {
        config::Conversation::Slack { id } => Conversation::Slack { id: id.clone() },
        config::Conversation::Telegram { chat, topic } => Conversation::Telegram { chat: *chat, topic: *topic },
        // Which one it is only its secret says; its name must not be taken all the same.
        config::Conversation::SlackWebhook { .. } => Conversation::SlackWebhook { env: String::new() },
    };
    Channel { name: channel.name.to_string(), conversation }
}

fn shown(proposal: &Proposal, config: &Config, queue: &str, triggers: usize) -> Value {
    let templates = proposal.routes.iter().filter_map(|route| route.template.as_ref());
    let templates: Map<String, Value> = templates.map(|(name, text)| (file(name), text.as_str().into())).collect();
    let of_routes = proposal.routes.iter().flat_map(|route| route.notes.iter().map(|note| (&route.trigger, note)));
    let notes = of_routes.chain(proposal.notes.iter().map(|(trigger, note)| (trigger, note)));
    let notes: Vec<Value> = notes.map(|(trigger, note)| json!({"trigger": trigger, "note": note})).collect();
    let config = if proposal.routes.is_empty() { String::new() } else { fragment(proposal, config) };
    json!({"queue": queue, "triggers": triggers, "config": config, "templates": templates, "notes": notes})
}

fn head(proposal: &Proposal, config: &Config, queue: &str, triggers: usize) -> String {
    let mut text = format!(
        "# {} message(s) of {triggers} trigger(s) of {}, as channels and routes: add them to config.yaml, and the\n\
         # templates below to the folder of templates. Then: campanile check, campanile connect {}, compare, and\n\
         # switch the old triggers off. Two routes that lead one event to the same channel send one message.\n",
        proposal.routes.len(),
        visible(queue),
        visible(queue),
    );
    if !config.sources.iter().any(|source| source.kind == SourceKind::Tracker && source.enrich) {
        text += "# Give the source of kind `tracker` `enrich: true`: what conditions and texts name is asked of Tracker then.\n";
    }
    for (trigger, note) in &proposal.notes {
        let _ = writeln!(text, "# trigger {}: {}", visible(trigger), visible(note));
    }
    text
}

/// The sections that the configuration lacks, or that are to be added to.
fn fragment(proposal: &Proposal, config: &Config) -> String {
    let mut yaml = String::new();
    let new = |wanted: &dyn Fn(&Conversation) -> bool| proposal.channels.iter().any(|it| wanted(&it.conversation));
    if config.slack.is_none() && new(&|it| matches!(it, Conversation::Slack { .. })) {
        yaml += "slack: {token: {env: SLACK_BOT_TOKEN}}\n";
    }
    if config.telegram.is_none() && new(&|it| matches!(it, Conversation::Telegram { .. })) {
        yaml += "telegram: {token: {env: TELEGRAM_BOT_TOKEN}}\n";
    }
    if !proposal.channels.is_empty() {
        yaml += "channels:\n";
    }
    for Channel { name, conversation } in &proposal.channels {
        let place = match conversation {
            Conversation::Slack { id } => format!("slack: {id}"),
            Conversation::SlackWebhook { env } => format!("slack_webhook: {{env: {env}}}"),
            Conversation::Telegram { chat, topic: Some(topic) } => format!("telegram: {chat}, topic: {topic}"),
            Conversation::Telegram { chat, topic: None } => format!("telegram: {chat}"),
        };
        let _ = writeln!(yaml, "  {name}: {{{place}}}");
    }
    yaml += "routes:\n";
    proposal.routes.iter().for_each(|route| yaml += &entry(route));
    yaml
}

fn entry(route: &Route) -> String {
    let mut yaml = format!("  # trigger {}\n", visible(&route.trigger));
    for note in &route.notes {
        let _ = writeln!(yaml, "  # - {}", visible(note));
    }
    // A text in JSON is one in YAML.
    let _ = writeln!(yaml, "  - name: {}", Value::from(visible(&route.name)));
    let _ = writeln!(yaml, "    when: '{}'", visible(&route.when).replace('\'', "''"));
    let _ = writeln!(yaml, "    channels: [{}]", route.channel);
    if let Some((name, _)) = &route.template {
        let _ = writeln!(yaml, "    template: {name}");
    }
    yaml += if route.disabled { "    disabled: true\n" } else { "" };
    yaml + "    continue: true\n"
}
