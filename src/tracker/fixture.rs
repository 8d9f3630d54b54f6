//! Tracker for the tests of this part: a client over a server that answers with the next act of a list.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::client::{Api, Client, Organization, Settings};
use super::known::Known;
use super::token::{Token, TokenType};
use crate::clock::Clock;
use crate::delivery::{Outcome, Platform};
use crate::layers::breaker::Breaker;
use crate::layers::observe::Observer;
use crate::layers::stack::{Limits, Watched};
use crate::message::Language;
use crate::transport::Transport;
use crate::transport::fixture::{Act, Fixture};

pub const TOKEN: &str = "y0_TOKEN-CANARY";

pub struct World {
    pub server: Fixture,
    pub client: Client,
    pub api: Api,
    pub clock: Clock,
    /// What the token's file holds.
    pub file: Arc<Mutex<String>>,
    pub notes: Arc<Notes>,
}

/// How the attempts ended.
#[derive(Default)]
pub struct Notes(Mutex<Vec<&'static str>>);

impl Observer for Notes {
    fn attempt(&self, _: Platform, outcome: Outcome, _: Duration) {
        self.0.lock().unwrap().push(outcome.as_str());
    }
}

impl Notes {
    pub fn all(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }
}

impl World {
    pub async fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::of(Organization::Cloud("bpf7".into()), acts).await
    }

    pub async fn of(organization: Organization, acts: impl IntoIterator<Item = Act>) -> Self {
        let server = Fixture::start(acts).await;
        let clock = Clock::held("2026-05-12T09:15:30Z".parse::<Timestamp>().unwrap());
        let file = Arc::new(Mutex::new(TOKEN.to_owned()));
        let read = file.clone();
        let token = Token::new(TokenType::OAuth, clock.clone(), move || Ok(read.lock().unwrap().clone().into()));
        let settings = Settings {
            url: server.base.clone(),
            organization,
            token: Arc::new(token.unwrap()),
            language: Language::Ru,
        };
        let (breaker, notes) = (Breaker::new(clock.clone()), Arc::new(Notes::default()));
        let watched = Watched { to: Platform::Tracker, breaker, observer: notes.clone(), clock: clock.clone() };
        let transport = Transport::new(clock.clone()).unwrap();
        let client = Client::new(transport, settings, Known::new(clock.clone()), &Limits::default(), watched).unwrap();
        let api = client.free();
        Self { server, client, api, clock, file, notes }
    }

    /// Calls while the clock runs: the longest pause of a retry for each attempt that has ended.
    pub async fn runs<T>(&self, call: impl Future<Output = T>) -> T {
        let (mut call, mut passed) = (pin!(call), 0);
        loop {
            tokio::select! {
                biased;
                end = &mut call => return end,
                () = tokio::task::yield_now() => {}
            }
            if self.notes.0.lock().unwrap().len() > passed {
                passed += 1;
                self.clock.pass(Duration::from_millis(900));
            }
        }
    }

    /// The first lines of the requests, without the version of HTTP.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.server.requests();
        requests
            .iter()
            .map(|request| request.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned())
            .collect()
    }
}
