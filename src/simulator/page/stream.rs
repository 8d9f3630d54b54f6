//! What the page hears: server-sent events `message` (new or edited), `gone`, `board` (Tracker's issues), `figures`, and
//! `ready` once everything that stood at the beginning was told.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::server::Service;
use super::Page;
use super::bridge::Figures;
use super::chat::Chat;

/// An endless body: each frame is what is new since the last.
pub struct Stream {
    next: Pin<Box<dyn Future<Output = (Watch, Bytes)> + Send>>,
}

impl Stream {
    pub fn of(page: Arc<Page>) -> Self {
        let mut figures = page.figures.subscribe();
        figures.mark_changed();
        let (slack, telegram) = (Told::default(), Told::default());
        let watch = Watch { page, figures, slack, telegram, board: Value::Null, ready: false };
        Self { next: Box::pin(watch.next()) }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (watch, news) = ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(watch.next());
        Poll::Ready(Some(Ok(Frame::data(news))))
    }
}

/// One listener, and what it knows already.
struct Watch {
    page: Arc<Page>,
    figures: watch::Receiver<Figures>,
    slack: Told,
    telegram: Told,
    board: Value,
    ready: bool,
}

/// The edition of each message that was told.
type Told = HashMap<String, u32>;

impl Watch {
    async fn next(mut self) -> (Self, Bytes) {
        let page = self.page.clone();
        loop {
            let mut slack = pin!(page.slack.messenger.simulator.changed());
            let mut telegram = pin!(page.telegram.messenger.simulator.changed());
            let mut tracker = pin!(page.tracker.simulator.changed());
            slack.as_mut().enable(); // before looking, or a change in between is missed
            telegram.as_mut().enable();
            tracker.as_mut().enable();
            let news = self.news();
            if !news.is_empty() {
                return (self, news.into());
            }
            tokio::select! {
                () = slack => {}
                () = telegram => {}
                () = tracker => {}
                // The page holds the sender, so this cannot fail.
                _ = self.figures.changed() => self.figures.mark_changed(),
            }
        }
    }

    fn news(&mut self) -> String {
        let mut news = String::new();
        tell("slack", &self.page.slack, &mut self.slack, &mut news);
        tell("telegram", &self.page.telegram, &mut self.telegram, &mut news);
        let board = self.page.board();
        if board != self.board {
            event("board", &board, &mut news);
            self.board = board;
        }
        if self.figures.has_changed().unwrap_or_default() {
            let figures = json!(*self.figures.borrow_and_update());
            event("figures", &figures, &mut news);
        }
        if !self.ready {
            self.ready = true;
            event("ready", &json!({}), &mut news);
        }
        news
    }
}

fn tell<S: Service>(name: &str, chat: &Chat<S>, told: &mut Told, news: &mut String) {
    let standing = chat.standing();
    let ids: HashSet<_> = standing.iter().map(|message| message.id.as_str()).collect();
    told.retain(|id, _| {
        let stays = ids.contains(id.as_str());
        if !stays {
            event("gone", &json!({"chat": name, "id": id}), news);
        }
        stays
    });
    for message in &standing {
        if told.insert(message.id.clone(), message.edits) != Some(message.edits) {
            let mut json = message.json.clone();
            json["chat"] = name.into();
            event("message", &json, news);
        }
    }
}

/// JSON holds no line end, so an event's data is one line.
fn event(name: &str, data: &Value, news: &mut String) {
    news.push_str(&format!("event: {name}\ndata: {data}\n\n"));
}
