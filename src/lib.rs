//! Campanile takes a trigger from Yandex Tracker, keeps what it means in an outbox, and places messages in Slack and
//! Telegram: in order, at the pace the messenger allows, until there is a receipt. This page is the map.
//!
//! # Words
//!
//! One concept has one name, in code, configuration, columns, metrics and logs.
//!
//! - **source, trigger**: a configured intake with its secret; one call to it, before it is trusted.
//! - **event** ([`event`]): what happened, read from a trigger and given an id.
//! - **route** ([`route`]): a condition, and the channels to which it leads an event.
//! - **channel**: a named place in `config.yaml`: a Slack conversation, a Telegram chat or topic.
//! - **template, message** ([`template`], [`message`]): the Handlebars text; its result for one messenger, as a tree.
//! - **delivery** ([`delivery`]): the duty to place one event's message in one channel.
//! - **outbox** ([`outbox`]): the durable tables of events, deliveries and attempts.
//! - **lane** ([`lane`]): the line of deliveries to one conversation: in order, one at a time, at its pace.
//! - **lease**: a claim on a lane; only its holder sends from there.
//! - **attempt, receipt**: one try to send a delivery; the messenger's own name of what was posted.
//! - **dead letter, replay**: a delivery that was given up, with its cause; a person's order to make it due again.
//! - **account**: one token or one incoming webhook: what is paused, held and broken together.
//!
//! # The way of a trigger
//!
//! [`http`] accepts the connection, with a deadline from its first moment (`server.rs`), and finds the source of
//! `/hooks/<source>` (`hooks.rs`). [`source`] compares the secret before the body is read (`auth.rs`) or a code host's
//! signature before it is parsed (`signature.rs`), makes an [`event::Event`] of the body (`tracker.rs` by `read.rs`,
//! `bench.rs`, and `review.rs` by a file for each host), and a fingerprint by which a call that comes twice is known
//! (`dedupe.rs`). [`route`] walks the routes and names channels and templates. [`outbox::Outbox::accept`] writes the
//! event and its deliveries in one transaction, together with whatever else waits (`sqlite/writer.rs`). When it is on
//! disk, and not before, the caller hears `202`. A call of Tracker's that was missed is found in Tracker's own log
//! (`app/recovery.rs`, by `tracker/log.rs`) and goes the same way, late (`source/late.rs`).
//!
//! # The way of a delivery
//!
//! Each account has a [`lane::Runner`]. It claims lanes that have something due (`lane/mod.rs`), takes a lane's oldest
//! deliveries, and serves one after the other (`deliver.rs`). For a message (`message.rs`) [`template`] renders the
//! event to a [`message::Message`], and [`messenger`] gives it Slack's or Telegram's form; an action on an issue
//! (`action.rs`) is done by [`tracker`]; both go through the one tower stack of [`layers`].
//! [`delivery::SendError::advice`] decides on the variant of a failure what follows: try again, wait, hold, give up.
//! [`outbox::Outbox::settle`] writes the receipt or the cause; only when that is on disk the lane's next delivery is
//! sent.
//!
//! # Around it
//!
//! [`cli`] has a file for each command (`doctor` one for each service that it asks), [`app`] puts the parts together,
//! [`config`] reads `config.yaml` with every finding and its place ([`yaml`]), [`admin`] shows the outbox, [`tracker`]
//! asks and changes Tracker's issues and triggers, [`link`] answers Tracker of what issues are linked to
//! (`http/links.rs`, rows by `outbox/links.rs`, kept by `app/moved.rs` when an issue is moved), [`host`] asks a code
//! host for a review's comments, [`transport`] makes the calls that leave, [`key`] finds issue keys in texts,
//! [`clock`], [`lifecycle`], [`telemetry`] and [`tls`] serve all, and [`simulator`] is Slack, Telegram and Tracker over
//! HTTP, for tests and, with a page, for `demo`. Imports point one way; `tests/architecture.rs` holds it.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test is the outside that the bans name"))]

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod event;
pub mod finding;
pub mod host;
pub mod http;
pub mod key;
pub mod lane;
pub mod layers;
pub mod lifecycle;
pub mod link;
pub mod message;
pub mod messenger;
pub mod outbox;
pub mod route;
pub mod simulator;
pub mod source;
pub mod telemetry;
pub mod template;
pub mod tls;
pub mod tracker;
pub mod transport;
pub mod yaml;
