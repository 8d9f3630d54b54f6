//! JSON with the known mistakes of trigger bodies, mended (tracker.md 2.4, 2.5 and 3.4):
//!
//! | in the body | read as |
//! |---|---|
//! | `"assignee": ,` `[,]` `"tags": }` | nothing: a variable was empty |
//! | `"parent": {{issue.parent.key.json}}` | nothing: a variable was not replaced |
//! | `"assignee": maria.petrova`, `[a@b.c, d@e.f]` | text: a variable without quotes |
//! | `"summary": ""a \"b\" c""`, `"tags": "["x","y"]"` | what the inner JSON says: a `.json` variable in quotes |
//! | `"summary": "a "b" c\d"`, with newlines | that text, backslashes and all: a raw variable in quotes |
//!
//! A raw variable holds what an issue's author wrote, and that may look like the body's own members. A string ends only
//! where another member or the body's end follows, but an author can write that too. So in a body with mistakes the
//! issue's key is taken from what stands before all authors' text; from behind it only where one is named, which then
//! must be the trigger's; and where a member stands twice, nothing behind is believed. What stays possible: where the
//! trigger names no `key` or no `event` at all, an author can, just as in valid JSON.

use serde_json::Value;

use super::key_only::{keys_by_name, times_named};
use super::taken::Taken;

/// Deepest nesting. Bodies of triggers have three levels.
const DEEPEST: usize = 32;
/// Longest name of a member, longest number, longest `{{…}}` that is looked for, in bytes.
const LONGEST_WORD: usize = 128;
/// Members that hold what people write, whether it needed mending in this call or not; and all `<member>_name`.
const OF_AUTHORS: &[&str] = &[
    "summary",
    "description",
    "comment",
    "text",
    "title",
    "fields",
    "tags",
    "components",
    "message",
    "name",
    "display",
];
/// Members that name the event.
const OF_EVENTS: &[&str] = &["event", "type"];
/// Members of the messenger tutorials' bodies (tracker.md 3.3), which have no `key` and no `event`: their issue stands
/// in the text. What is so named behind the text is an author's.
const OF_MESSENGERS: &[&str] = &["chat_id", "link_names"];

/// A body with mistakes.
pub struct Mended {
    /// All members, or those before all authors' text.
    pub members: Taken,
    /// `members` are all. They are not where a mistake is none of the known ones, nor where a member stands twice: then
    /// an author's text plays at being members.
    pub whole: bool,
    /// The key that stands before all authors' text; without one, the keys that are named behind. More than one: nobody can
    /// know which is the trigger's.
    pub keys: Vec<String>,
}

impl Mended {
    /// `None`: it does not begin as an object does. In time and memory linear to the text.
    pub fn of(text: &str) -> Option<Self> {
        if !text.starts_with('{') {
            return None;
        }
        let mut mender = Mender::new(text, false);
        let mut members = mender.run();
        let mut to_authors = Mender::new(text, true);
        let mut head = to_authors.run();
        if to_authors.end == End::Whole {
            return Some(Self { whole: true, keys: members.key().into_iter().collect(), members });
        }
        // Behind a hole an author's members are clean: not raw text, but the name that stands twice tells of them.
        let whole = mender.end == End::Whole && !mender.repeated;
        let of_messenger = OF_MESSENGERS.iter().any(|name| head.has(name));
        // Before all authors' text a trigger says nothing twice: some author's text stands under a name we do not know.
        let known = !to_authors.repeated;
        let keys = match head.key().filter(|_| known) {
            Some(key) => vec![key],
            None if of_messenger => Vec::new(),
            None if whole && !mender.raw => members.keys(),
            None => keys_by_name(text),
        };
        // Raw text can swallow the trigger's own member, and an author's is then the only one of its name.
        let named = OF_EVENTS.iter().map(|name| times_named(text, name)).sum::<usize>();
        if of_messenger || ((mender.raw || !whole) && named > 1) {
            for name in OF_EVENTS {
                if !(known && head.has(name)) {
                    members.remove(name);
                    head.remove(name);
                }
            }
        }
        Some(Self { whole, keys, members: if whole { members } else { head } })
    }

    pub fn key(&self) -> Option<String> {
        match self.keys.as_slice() {
            [key] => Some(key.clone()),
            _ => None,
        }
    }
}

/// How a run over the text ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It goes on, or went to the end.
    Whole,
    /// At the first author's text, as it was told to.
    Head,
    /// A mistake that is none of the known ones.
    Broken,
}

struct Mender<'a> {
    text: &'a str,
    at: usize,
    /// The opening brackets of the objects and lists that are open.
    open: Vec<u8>,
    /// To stop at the first author's text.
    only_head: bool,
    /// A raw variable has been met.
    raw: bool,
    /// A name stood twice, on any level.
    repeated: bool,
    end: End,
    /// Bytes looked at.
    #[cfg(test)]
    looked: std::cell::Cell<usize>,
}

impl<'a> Mender<'a> {
    fn new(text: &'a str, only_head: bool) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
            only_head,
            raw: false,
            repeated: false,
            end: End::Whole,
            #[cfg(test)]
            looked: std::cell::Cell::new(0),
        }
    }

    /// The members up to where it ended.
    fn run(&mut self) -> Taken {
        self.at += 1;
        let taken = self.object();
        if self.end == End::Whole && self.blank(self.at) < self.text.len() {
            self.end = End::Broken;
        }
        taken
    }

    fn byte(&self, at: usize) -> Option<u8> {
        #[cfg(test)]
        self.looked.set(self.looked.get() + 1);
        self.text.as_bytes().get(at).copied()
    }

    /// Where something that is not blank stands, from here.
    fn blank(&self, mut at: usize) -> usize {
        while self.byte(at).is_some_and(|byte| byte.is_ascii_whitespace()) {
            at += 1;
        }
        at
    }

    fn ended<T>(&mut self, end: End) -> Option<T> {
        self.end = end;
        None
    }

    fn broken<T>(&mut self) -> Option<T> {
        self.ended(End::Broken)
    }

    /// The members of an object whose bracket was read.
    fn object(&mut self) -> Taken {
        let mut taken = Taken::default();
        self.each(b'{', b'}', |mender| {
            let name = mender.name()?;
            if mender.only_head && (OF_AUTHORS.contains(&name.as_str()) || name.ends_with("_name")) {
                return mender.ended(End::Head);
            }
            taken.add(name, mender.value()?);
            Some(())
        });
        self.repeated |= taken.repeated;
        taken
    }

    /// The items of a list whose bracket was read, holes left out.
    fn list(&mut self) -> Vec<Value> {
        let mut items = Vec::new();
        self.each(b'[', b']', |mender| {
            items.push(mender.value()?);
            Some(())
        });
        items
    }

    /// What stands between brackets with commas between, until the closing one or the end.
    fn each(&mut self, opening: u8, closing: u8, mut one: impl FnMut(&mut Self) -> Option<()>) {
        if self.open.len() == DEEPEST {
            self.end = End::Broken;
            return;
        }
        self.open.push(opening);
        loop {
            self.at = self.blank(self.at);
            match self.byte(self.at) {
                Some(b',') => self.at += 1,
                Some(byte) if byte == closing => {
                    self.at += 1;
                    break;
                }
                _ => {
                    if one(self).is_none() || self.end != End::Whole {
                        break;
                    }
                    self.at = self.blank(self.at);
                    if !self.byte(self.at).is_some_and(|byte| byte == b',' || byte == closing) {
                        self.end = End::Broken;
                        break;
                    }
                }
            }
        }
        self.open.pop();
    }

    /// A member's name and its colon. No trigger writes a name with escapes; an author could hide one so.
    fn name(&mut self) -> Option<String> {
        let Some((end, colon)) = self.name_at(self.at) else { return self.broken() };
        let name = &self.text[self.at + 1..end - 1];
        self.at = colon + 1;
        let plain = !name.contains(|c: char| c == '\\' || c.is_control());
        if plain { Some(name.to_owned()) } else { self.broken() }
    }

    /// Where a name in quotes ends that begins here, and where its colon stands.
    fn name_at(&self, at: usize) -> Option<(usize, usize)> {
        if self.byte(at) != Some(b'"') {
            return None;
        }
        let length = (1..=LONGEST_WORD).find(|length| self.byte(at + length).is_none_or(|byte| byte == b'"'))?;
        let colon = self.blank(at + length + 1);
        (length > 1 && self.byte(colon) == Some(b':')).then_some((at + length + 1, colon))
    }

    /// `None`: it ends here, and there is no value.
    fn value(&mut self) -> Option<Value> {
        self.at = self.blank(self.at);
        match self.byte(self.at) {
            Some(b'"') => self.string(),
            Some(b'{') if self.byte(self.at + 1) == Some(b'{') => self.placeholder(),
            Some(b'{') => {
                self.at += 1;
                Some(Value::Object(self.object().into_all()))
            }
            Some(b'[') => {
                self.at += 1;
                Some(Value::Array(self.list()))
            }
            Some(b',' | b'}' | b']') => Some(Value::Null),
            Some(_) => self.bare(),
            None => self.broken(),
        }
    }

    /// `{{…}}`, which Tracker did not replace.
    fn placeholder(&mut self) -> Option<Value> {
        let inner = &self.text.as_bytes()[self.at + 2..];
        match inner.windows(2).take(LONGEST_WORD).position(|end| end == b"}}") {
            Some(length) => {
                self.at += length + 4;
                Some(Value::Null)
            }
            None => self.broken(),
        }
    }

    /// A string: up to the first quote at which it can end.
    fn string(&mut self) -> Option<Value> {
        let (begin, mut last) = (self.at, self.at + 1);
        let mut inner_quotes = false;
        loop {
            match self.byte(last) {
                Some(b'"') if self.ends(last + 1, inner_quotes) => break,
                Some(byte) => inner_quotes |= byte == b'"',
                None => return self.broken(),
            }
            last += 1;
        }
        self.at = last + 1;
        if let Ok(clean) = serde_json::from_str(&self.text[begin..=last]) {
            return Some(Value::String(clean));
        }
        self.raw = true;
        if self.only_head {
            return self.ended(End::Head);
        }
        let inner = &self.text[begin + 1..last];
        Some(json_in_quotes(inner).unwrap_or_else(|| inner.into()))
    }

    /// A value without quotes: a number, a word of JSON, or a variable's text.
    fn bare(&mut self) -> Option<Value> {
        let begin = self.at;
        loop {
            match self.byte(self.at) {
                Some(b',' | b'}' | b']') if self.ends(self.at, false) => break,
                Some(b'"' | b'{' | b'[') | None => return self.broken(),
                Some(_) => self.at += 1,
            }
        }
        let text = self.text[begin..self.at].trim_end();
        if let Ok(value) = serde_json::from_str(text) {
            return Some(value);
        }
        // A login, an address, a date, a key can hold no members. Anything longer may be an author's.
        if !text.chars().all(|c| c.is_alphanumeric() || "@._-+:/".contains(c)) {
            self.raw = true;
            if self.only_head {
                self.end = End::Head;
            }
        }
        Some(text.into())
    }

    /// Whether a value can end here: the object's next member, the list's next item, or the ends of all that is open
    /// follow. Behind inner quotes more is wanted of a member, as prose has quotes, commas and colons too.
    fn ends(&self, mut at: usize, inner_quotes: bool) -> bool {
        let mut open = self.open.as_slice();
        loop {
            at = self.blank(at);
            let Some((innermost, outer)) = open.split_last() else { return at == self.text.len() };
            match (innermost, self.byte(at)) {
                (b'{', Some(b'}')) | (b'[', Some(b']')) => open = outer,
                (_, Some(b',')) => {
                    let next = self.blank(at + 1);
                    match (innermost, self.byte(next)) {
                        (_, Some(b'}' | b']')) => {} // a last comma or an empty last item
                        (b'{', _) => return self.member_at(next, inner_quotes),
                        (_, byte) => return !inner_quotes || matches!(byte, Some(b'"' | b'[' | b'{')),
                    }
                }
                _ => return false,
            }
            at += 1;
        }
    }

    fn member_at(&self, at: usize, inner_quotes: bool) -> bool {
        let Some((end, colon)) = self.name_at(at) else { return false };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        !inner_quotes || (self.text.as_bytes()[at + 1..end - 1].iter().copied().all(word) && self.value_at(colon + 1))
    }

    /// Whether a value of JSON, or a hole, begins here.
    fn value_at(&self, at: usize) -> bool {
        let at = self.blank(at);
        match self.byte(at) {
            Some(b'"' | b'{' | b'[' | b',' | b'}') => true,
            _ => {
                let word = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
                let length = (0..LONGEST_WORD).take_while(|length| self.byte(at + length).is_some_and(word)).count();
                serde_json::from_str::<Value>(&self.text[at..at + length]).is_ok()
                    && matches!(self.byte(self.blank(at + length)), Some(b',' | b'}'))
            }
        }
    }
}

/// A `.json` variable between quotes: a string, or a list of strings and numbers.
fn json_in_quotes(inner: &str) -> Option<Value> {
    let value = serde_json::from_str::<Value>(inner).ok()?;
    let simple = |value: &Value| value.is_string() || value.is_number();
    let fits = match &value {
        Value::Array(items) => items.iter().all(simple),
        value => value.is_string(),
    };
    fits.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies that make a reader look far ahead at every step, each with what its beginning opens.
    #[test]
    fn hostile_bodies_are_looked_at_a_few_times_and_no_more() {
        let deep = r#"{"a":"#.repeat(DEEPEST - 2);
        for (begin, piece) in [
            ("", r#"""#),
            ("", r#"", "#),
            ("", r#"","a"#),
            ("", r#"","a":"#),
            ("", r#""a":" "b", "#),
            ("", r#"" , "a" "#),
            ("", "\"a\":\"x\"y\"                                                               ,"),
            (r#""a":"#, "x,"),
            (r#""a":"#, "x ,  "),
            (r#""a":x"#, ", "),
            (r#""a":"#, "}"),
            (r#""a":["#, r#""[","#),
            (r#""a":["#, r#""["a",""#),
            (r#""a":["#, r#"""\","#),
            (r#""a":["#, "x}"),
            (r#""a":["#, "{{"),
            (r#""a":"x"#, r#""}"#),
            (r#""a":"x"#, r#"","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "#),
            (deep.as_str(), r#"{"a":"x"}}}}}}}}}}}}}}}}}}}}}}}}}}},"#),
            (deep.as_str(), r#""}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}x"#),
            (deep.as_str(), "x }"),
        ] {
            let body = format!("{{{begin}{}", piece.repeat(16 * 1024 / piece.len()));
            let mut mender = Mender::new(&body, false);
            mender.run();
            let looked = mender.looked.get() / body.len();
            assert!(looked <= 2 * DEEPEST, "{looked} times each byte of {begin:.20} {piece}");
        }
    }
}
