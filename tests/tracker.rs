//! What is asked of Tracker and done in it, against the simulated one, without lanes and stores.

mod actions;
mod enrich;
mod triggers;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use campanile::clock::Clock;
use campanile::delivery::{Platform, SendError};
use campanile::layers::breaker::Breaker;
use campanile::layers::stack::{Limits, Watched};
use campanile::message::Language;
use campanile::simulator::tracker::{FieldKind, TrackerIssue, TrackerOptions, TrackerQueue, TrackerSimulator};
use campanile::tracker::client::{Api, Client, Organization, Settings};
use campanile::tracker::error::Error;
use campanile::tracker::known::Known;
use campanile::tracker::token::{Token, TokenType};
use campanile::transport::Transport;

const BOT: &str = "campanile-bot";

struct World {
    tracker: TrackerSimulator,
    clock: Clock,
    client: Client,
    api: Api,
}

impl World {
    /// With the queues `TEST` and `OPS`, each with a field `benchLink` of its own, and the issue `TEST-1`, open.
    async fn start() -> Self {
        Self::with(|options| options).await
    }

    async fn with(more: impl FnOnce(TrackerOptions) -> TrackerOptions) -> Self {
        let clock = Clock::held("2026-05-12T09:15:00Z".parse().unwrap());
        let queue = |key: &str, name: &str| {
            let queue = TrackerQueue::new(key, name).local("benchLink", "Ссылка на стенд", FieldKind::Text);
            queue.local("benches", "Стенды", FieldKind::Texts)
        };
        let options = TrackerOptions::new(clock.clone())
            .token("t0ken-canary", BOT)
            .organization("77")
            .queue(queue("TEST", "Тестовая"))
            .queue(queue("OPS", "Дежурства"))
            .issue(TrackerIssue::new("TEST-1", "Кнопка не работает"));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tracker = TrackerSimulator::start(any, more(options)).await.unwrap();
        let client = client(&clock, &tracker, Known::new(clock.clone()));
        Self { api: client.free(), tracker, clock, client }
    }

    fn version(&self, key: &str) -> i64 {
        self.tracker.issue(key)["version"].as_i64().unwrap()
    }
}

fn client(clock: &Clock, tracker: &TrackerSimulator, known: Known) -> Client {
    let token = Token::new(TokenType::OAuth, clock.clone(), || Ok("t0ken-canary".into())).unwrap();
    let settings = Settings {
        url: tracker.api_url(),
        organization: Organization::Yandex360("77".into()),
        token: Arc::new(token),
        language: Language::Ru,
    };
    let breaker = Breaker::new(clock.clone());
    let watched = Watched { to: Platform::Tracker, breaker, observer: Arc::new(()), clock: clock.clone() };
    Client::new(Transport::new(clock.clone()).unwrap(), settings, known, &Limits::default(), watched).unwrap()
}

/// What a lane would be told.
fn told(error: Error) -> String {
    format!("{:?}", SendError::from(error).advice())
}
