//! What a code host's call tells, looked up by path. Hosts add, drop and retype members without notice: what has not
//! the expected shape is as good as absent, and never a failure.

use jiff::Timestamp;
use serde_json::Value;

use super::time;
use crate::event::Person;
use crate::key::is_storable;

#[derive(Clone, Copy)]
pub struct Told<'a>(pub &'a Value);

impl<'a> Told<'a> {
    /// `a.b.0.c`: members of objects, elements of lists. Null is absent.
    pub fn at(self, path: &str) -> Option<&'a Value> {
        let step = |value: &'a Value, name: &str| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            value => value.get(name),
        };
        path.split('.').try_fold(self.0, step).filter(|value| !value.is_null())
    }

    /// A text that is not blank.
    pub fn text(self, path: &str) -> Option<String> {
        self.at(path)?.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    /// A name that is short enough for an index, without control characters.
    pub fn name(self, path: &str) -> Option<String> {
        self.text(path).filter(|name| is_name(name))
    }

    /// An id: a whole number, or the digits of one.
    pub fn id(self, path: &str) -> Option<String> {
        match self.at(path)? {
            Value::Number(number) => number.as_u64().map(|number| number.to_string()),
            Value::String(digits) if (1..=20).contains(&digits.len()) => {
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.clone())
            }
            _ => None,
        }
    }

    pub fn truth(self, path: &str) -> Option<bool> {
        self.at(path)?.as_bool()
    }

    pub fn time(self, path: &str) -> Option<Timestamp> {
        time::read(self.at(path)?)
    }

    pub fn person(self, path: &str) -> Option<Person> {
        Told(self.at(path)?).as_person()
    }

    /// The e-mail is left out: it is nobody's business here, and `[REDACTED]` as often as not.
    pub fn as_person(self) -> Option<Person> {
        let first = |names: &[&str]| names.iter().find_map(|name| self.text(name));
        let login = first(&["login", "username", "nickname", "name"]);
        // Where a host shows a person by the login alone, as GitHub does, people know the person by it.
        let display = first(&["display_name", "displayName", "full_name", "name"]).or_else(|| login.clone());
        display.is_some().then_some(Person { login, display, email: None })
    }
}

/// Whether a text can be the name of a branch or a repository, which becomes a part of a key in the store.
pub fn is_name(text: &str) -> bool {
    is_storable(text, 1_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_another_shape_is_absent() {
        let body = json!({"a": {"b": [null, {"c": "x"}], "n": 7, "s": "8", "f": 1.5, "blank": " ", "t": true}});
        let told = Told(&body);
        assert_eq!(told.text("a.b.1.c").as_deref(), Some("x"));
        assert_eq!((told.id("a.n").as_deref(), told.id("a.s").as_deref()), (Some("7"), Some("8")));
        for path in ["a.b.0", "a.b.0.c", "a.b.c", "a.b.7", "a.n.x", "b", "", "a.blank", "a.t", "a.f", "a.b"] {
            assert_eq!((told.text(path), told.id(path)), (None, None), "{path}");
        }
        assert_eq!((told.truth("a.t"), told.truth("a.n")), (Some(true), None));
    }

    #[test]
    fn persons_of_each_host() {
        for (person, login, display) in [
            (json!({"display_name": "Ann B", "nickname": "ann", "uuid": "{1}"}), "ann", "Ann B"),
            (json!({"name": "tux", "displayName": "Cain Piper", "emailAddress": "a@b.c"}), "tux", "Cain Piper"),
            (json!({"login": "octocat", "id": 1}), "octocat", "octocat"),
            (json!({"name": "Sid S", "username": "sytses", "email": "[REDACTED]"}), "sytses", "Sid S"),
            (json!({"login": "ann", "full_name": "", "email": "a@b.c", "username": "ann"}), "ann", "ann"),
        ] {
            let told = Told(&person).as_person().unwrap();
            assert_eq!((told.login.as_deref(), told.display.as_deref()), (Some(login), Some(display)));
            assert_eq!(told.email, None);
        }
    }
}
