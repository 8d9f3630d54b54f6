//! Links on SQLite. Which channels an issue is linked to stands in memory: it is asked with every event.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use rusqlite::Connection;

use super::group::{Change, Effect, Group, Refusal};
use super::writer::Answer;
use super::{Sqlite, statements};
use crate::event::ChannelName;
use crate::outbox::links::{ChannelNow, LinkFilter, LinkRow, Linking, Links, Object, channel_of};
use crate::outbox::{Accepted, OutboxError};

/// Issues, and the channels they are linked to.
#[derive(Default)]
pub struct Followers(RwLock<HashMap<String, Vec<ChannelName>>>);

/// What a committed change makes of [`Followers`].
pub struct Turned {
    issues: Vec<String>,
    channel: Option<ChannelName>,
    /// Otherwise it ends.
    begins: bool,
}

impl Followers {
    pub fn read(db: &Connection) -> rusqlite::Result<Self> {
        let followers = Self::default();
        for (issue, object) in statements::links_to_channels(db)? {
            followers.turn(Turned { issues: vec![issue], channel: channel_of(&object), begins: true });
        }
        Ok(followers)
    }

    pub fn turn(&self, Turned { issues, channel, begins }: Turned) {
        let Some(channel) = channel else { return };
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for issue in issues {
            let channels = all.entry(issue.clone()).or_default();
            channels.retain(|known| *known != channel);
            if begins {
                channels.push(channel.clone());
            } else if channels.is_empty() {
                all.remove(&issue);
            }
        }
    }

    fn of(&self, issue: &str) -> Vec<ChannelName> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(issue).cloned().unwrap_or_default()
    }
}

impl Group<'_> {
    /// What may be refused is asked first: a change that is refused has written nothing.
    pub fn link(&mut self, linking: &Linking, begins: bool) -> Result<Effect, Refusal> {
        let mut linked = Vec::new();
        for key in linking.keys() {
            self.statements += 1;
            if statements::is_linked(self.db, &linking.object, key)? {
                linked.push(key.to_owned());
            }
        }
        if linked.is_empty() != begins {
            return Ok(Effect::None);
        }
        let accepted = self.accept(&linking.arrival)?;
        if begins {
            self.statements += 1;
            statements::insert_link(self.db, linking)?;
            linked.push(linking.issue().to_owned());
        } else {
            for key in &linked {
                self.statements += 1;
                statements::delete_link(self.db, &linking.object, key)?;
            }
        }
        let turned = Turned { issues: linked, channel: channel_of(&linking.object), begins };
        Ok(match accepted {
            Effect::Accepted(accepted, places) => Effect::Linked { accepted, places, turned },
            other => other,
        })
    }

    pub fn link_moved(&mut self, present: &str, before: &[String]) -> Result<Effect, Refusal> {
        let mut turned = Vec::new();
        for key in before {
            self.statements += 1;
            for object in statements::link_moved(self.db, present, key)? {
                turned.push(Turned { issues: vec![present.to_owned()], channel: channel_of(&object), begins: true });
            }
        }
        Ok(Effect::Followed(turned))
    }
}

impl Sqlite {
    async fn linking(&self, linking: Linking, begins: bool) -> Result<Option<Accepted>, OutboxError> {
        match self.change(Change::Link { linking: Box::new(linking), begins }).await? {
            Answer::Accepted(accepted) => Ok(Some(accepted)),
            Answer::Count(_) | Answer::Expired(_) | Answer::Done => Ok(None),
        }
    }
}

#[async_trait]
impl Links for Sqlite {
    async fn link(&self, linking: Linking) -> Result<Option<Accepted>, OutboxError> {
        self.linking(linking, true).await
    }

    async fn unlink(&self, linking: Linking) -> Result<Option<Accepted>, OutboxError> {
        self.linking(linking, false).await
    }

    async fn link_moved(&self, present: &str, before: &[String]) -> Result<bool, OutboxError> {
        let change = Change::LinkMoved { present: present.to_owned(), before: before.to_vec() };
        Ok(matches!(self.change(change).await?, Answer::Count(1..)))
    }

    async fn linked_channels(&self, issue: &str) -> Result<Vec<ChannelName>, OutboxError> {
        Ok(self.shared.followers.of(issue))
    }

    async fn links(&self, filter: LinkFilter) -> Result<Vec<LinkRow>, OutboxError> {
        self.listings_reader.read(move |db| statements::links(db, &filter)).await
    }

    async fn object(&self, key: &str) -> Result<Option<Object>, OutboxError> {
        let key = key.to_owned();
        self.listings_reader.read(move |db| statements::object(db, &key)).await
    }

    async fn channel_now(&self, channel: &ChannelName) -> Result<ChannelNow, OutboxError> {
        let channel = channel.clone();
        self.listings_reader.read(move |db| statements::channel_now(db, channel.as_str())).await
    }
}
