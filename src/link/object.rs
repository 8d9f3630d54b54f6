//! What an issue can be linked to, by the key that Tracker keeps of it.

use std::fmt;
use std::str::FromStr;

use crate::event::{ChannelName, Host};
use crate::key::is_storable;

/// Longest key of an object, in bytes: a source takes names of 1000 bytes, and a review's key has its host and id besides.
const LONGEST: usize = 1_064;
/// Of a text that is no key so much is told.
const TOLD: usize = 60;

/// `channel:<name>`, `review:<host>:<repository>:<id>` or `bench:<branch>`: Tracker's `remoteKey`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ObjectKey {
    Channel(ChannelName),
    /// The repository with its owner, the id as people see it.
    Review {
        host: Host,
        repository: String,
        id: String,
    },
    /// The branch's name.
    Bench(String),
}

/// Why a text is no object's key. It is for whoever sent the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoObject {
    #[error("`{0}` begins with none of `channel:`, `review:` and `bench:`")]
    Kind(String),
    #[error("{0}")]
    Channel(String),
    #[error("`{0}` is not written `review:<host>:<repository>:<id>`")]
    Review(String),
    #[error("`bench:` names no branch")]
    Bench,
    /// With the beginning of the text, escaped.
    #[error("`{0}` has a control character in it")]
    Control(String),
    #[error("`{0}…` is longer than {LONGEST} bytes")]
    Long(String),
}

impl ObjectKey {
    /// `link.kind` of its events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Channel(_) => "channel",
            Self::Review { .. } => "review",
            Self::Bench(_) => "bench",
        }
    }
}

impl FromStr for ObjectKey {
    type Err = NoObject;

    /// A repository may have any number of `:` in it; a host and an id have none.
    fn from_str(text: &str) -> Result<Self, NoObject> {
        if !is_storable(text, LONGEST) {
            let begin = text.chars().take(TOLD).flat_map(char::escape_debug).collect();
            return Err(if text.len() > LONGEST { NoObject::Long(begin) } else { NoObject::Control(begin) });
        }
        match text.split_once(':') {
            Some(("channel", name)) => {
                ChannelName::try_from(name.to_owned()).map(Self::Channel).map_err(NoObject::Channel)
            }
            Some(("review", of)) => review(of).ok_or_else(|| NoObject::Review(text.to_owned())),
            Some(("bench", "")) => Err(NoObject::Bench),
            Some(("bench", branch)) => Ok(Self::Bench(branch.to_owned())),
            _ => Err(NoObject::Kind(text.to_owned())),
        }
    }
}

fn review(text: &str) -> Option<ObjectKey> {
    let (host, rest) = text.split_once(':')?;
    let (repository, id) = rest.rsplit_once(':')?;
    let host = Host::ALL.into_iter().find(|known| known.as_str() == host)?;
    let named = !repository.is_empty() && !id.is_empty();
    named.then(|| ObjectKey::Review { host, repository: repository.to_owned(), id: id.to_owned() })
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(name) => write!(f, "channel:{name}"),
            Self::Review { host, repository, id } => write!(f, "review:{}:{repository}:{id}", host.as_str()),
            Self::Bench(branch) => write!(f, "bench:{branch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Review;

    #[test]
    fn an_object_is_known_by_its_key() {
        for (text, kind) in [
            ("channel:oncall-slack", "channel"),
            ("review:github:team/bells:7", "review"),
            ("review:gitlab:группа/подгруппа/repo:12", "review"),
            ("review:bitbucket-server:~ivanov/a:b:1", "review"),
            ("bench:feature/TEST-1", "bench"),
            ("bench:a:b%2Fc", "bench"),
        ] {
            let key: ObjectKey = text.parse().unwrap();
            assert_eq!((key.kind(), key.to_string().as_str()), (kind, text));
        }
        let review = Review { id: "7".into(), repository: "a:b/c".into(), host: "gitea".into(), ..Review::default() };
        let parsed = review.key().parse();
        assert_eq!(parsed, Ok(ObjectKey::Review { host: Host::Gitea, repository: "a:b/c".into(), id: "7".into() }));
    }

    #[test]
    fn what_names_nothing_says_why() {
        for (text, why) in [
            ("", "begins with none of"),
            ("1234", "`1234` begins with none of"),
            ("Channel:a", "begins with none of"),
            ("channel:", "`` is no channel name"),
            ("channel:A b", "`A b` is no channel name"),
            ("review:github:7", "is not written `review:<host>:<repository>:<id>`"),
            ("review:github::7", "is not written"),
            ("review:github:a:", "is not written"),
            ("review:svn:a:7", "is not written"),
            ("bench:", "names no branch"),
            ("bench:a\0b", "`bench:a\\0b` has a control character"),
            ("bench:a\u{85}", "has a control character"),
            ("review:github:a\n/b:7", "has a control character"),
            ("review:github:a/b:7\t", "has a control character"),
            (&format!("bench:{}", "я".repeat(530)), "яяя…` is longer than 1064 bytes"),
        ] {
            let told = text.parse::<ObjectKey>().unwrap_err().to_string();
            assert!(told.contains(why) && told.len() < 200, "{text}: {told}");
        }
    }

    proptest! {
        #[test]
        fn a_key_that_is_read_is_written_the_same(text in "(channel|review|bench):[a-z/:%я-]{0,12}(:(gitea|github):a:[0-9])?") {
            if let Ok(key) = text.parse::<ObjectKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
