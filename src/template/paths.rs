//! What a template may name: the paths of [`crate::event::PATHS`] and the channel's, as a tree.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::event;
use crate::finding::nearest;

/// What only templates know of the channel they write to.
const CHANNEL: [&str; 2] = ["channel.name", "channel.messenger"];

static DOCUMENT: LazyLock<Node> = LazyLock::new(|| {
    let mut root = Node::default();
    for path in event::PATHS.iter().chain(&CHANNEL) {
        let (path, open) = path.strip_suffix(".**").map_or((*path, false), |path| (path, true));
        let node = root.reach(path);
        node.open |= open;
    }
    event::LISTS.iter().for_each(|path| root.reach(path).list = true);
    root
});

#[derive(Default)]
struct Node {
    path: String,
    members: BTreeMap<&'static str, Node>,
    /// Anything may stand below.
    open: bool,
    list: bool,
}

impl Node {
    fn reach(&mut self, path: &'static str) -> &mut Self {
        path.split('.').fold(self, |node, name| {
            let path = if node.path.is_empty() { name.to_owned() } else { format!("{}.{name}", node.path) };
            node.members.entry(name).or_insert_with(|| Self { path, ..Self::default() })
        })
    }
}

/// Something that a path leads to, as far as it is known before an event comes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A member of the call's body or a computed value: may be anything.
    Any,
    Known(Known),
}

#[derive(Clone, Copy)]
pub(super) struct Known {
    node: &'static Node,
    /// One element of the list that the node is.
    element: bool,
}

/// What it would be to print a place.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Print {
    Text,
    List,
    /// With the member that people mean most.
    Object(&'static str),
}

impl Place {
    pub fn document() -> Self {
        Self::Known(Known { node: &DOCUMENT, element: false })
    }

    pub fn is_document(self) -> bool {
        matches!(self, Self::Known(Known { node, .. }) if node.path.is_empty())
    }

    /// The place of one member. `Err`: there is none, with a hint.
    pub fn member(self, name: &str) -> Result<Self, Option<String>> {
        let Self::Known(Known { node, element }) = self else { return Ok(Self::Any) };
        if node.open {
            return Ok(Self::Any);
        }
        if node.list && !element {
            let index = name.parse::<usize>().is_ok();
            let hint = || format!("`{0}` is a list: write `{{{{#each {0}}}}}`, or `{0}.0` for its first", node.path);
            return if index { Ok(Self::Known(Known { node, element: true })) } else { Err(Some(hint())) };
        }
        match node.members.get(name) {
            Some(node) => Ok(Self::Known(Known { node, element: false })),
            None => Err(self.hint(name)),
        }
    }

    /// What each round of a loop over this place sees.
    pub fn element(self) -> Self {
        match self {
            Self::Known(Known { node, element: false }) if node.list => Self::Known(Known { node, element: true }),
            _ => Self::Any,
        }
    }

    pub fn print(self) -> Print {
        match self {
            Self::Known(Known { node, element: false }) if node.list => Print::List,
            Self::Known(Known { node, .. }) if node.open || !node.members.is_empty() => {
                let meant = ["display", "key", "name", "title", "text", "url"];
                Print::Object(meant.into_iter().find(|name| node.members.contains_key(name)).unwrap_or("…"))
            }
            _ => Print::Text,
        }
    }

    fn hint(self, name: &str) -> Option<String> {
        let Self::Known(Known { node, .. }) = self else { return None };
        if let Some(member) = nearest(name, node.members.keys().copied()) {
            let dot = if node.path.is_empty() { "" } else { "." };
            return Some(format!("did you mean `{}{dot}{member}`?", node.path));
        }
        if node.members.is_empty() {
            return Some(format!("`{}` is a text and has no members", node.path));
        }
        if node.path.is_empty() {
            let same = event::PATHS.iter().find(|path| path.rsplit('.').next() == Some(name));
            if let Some(path) = same {
                return Some(format!("did you mean `{path}`?"));
            }
        }
        let names: Vec<_> = node.members.keys().map(|name| format!("`{name}`")).collect();
        Some(format!("it has {}; what the call itself brought is under `body`", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Result<Place, Option<String>> {
        path.split('.').try_fold(Place::document(), Place::member)
    }

    #[test]
    fn every_path_of_the_design_leads_somewhere() {
        for path in event::PATHS {
            let path = &path.replace(".**", ".any");
            let list =
                event::LISTS.iter().find(|list| path.strip_prefix(*list).is_some_and(|rest| rest.starts_with('.')));
            let path = list.map_or(path.clone(), |list| path.replacen(list, &format!("{list}.0"), 1));
            let print = if event::LISTS.contains(&path.as_str()) { Print::List } else { Print::Text };
            assert!(place(&path).is_ok_and(|place| place.print() == print), "{path}");
        }
        assert!(place("body.any.thing").is_ok() && place("issue.fields.x").is_ok() && place("channel.name").is_ok());
    }

    #[test]
    fn what_is_nowhere_gets_a_hint() {
        for (path, hint) in [
            ("issue.sumary", "did you mean `issue.summary`?"),
            ("issu.key", "did you mean `issue`?"),
            ("summary", "did you mean `issue.summary`?"),
            ("issue.summary.text", "`issue.summary` is a text and has no members"),
            (
                "issue.followers.login",
                "`issue.followers` is a list: write `{{#each issue.followers}}`, or `issue.followers.0` for its first",
            ),
        ] {
            assert_eq!(place(path).err().flatten().as_deref(), Some(hint));
        }
    }

    #[test]
    fn only_texts_are_printed() {
        let print = |path: &str| place(path).map(Place::print).ok();
        assert_eq!(print("issue.status"), Some(Print::Object("display")));
        assert_eq!(print("issue"), Some(Print::Object("key")));
        assert_eq!(print("issue.fields"), Some(Print::Object("…")));
        assert_eq!(print("issue.tags"), Some(Print::List));
        assert_eq!(print("issue.tags.0"), Some(Print::Text));
        assert_eq!(print("issue.followers.0"), Some(Print::Object("display")));
    }
}
