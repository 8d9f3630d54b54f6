//! A mistake in something an admin wrote (configuration, condition, template), with its place and the way to mend it.

use serde::Serialize;

#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// A place in a file. Both count from 1, columns in characters; 0 where a whole file is meant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The file as a whole.
    pub const FILE: Place = Place { line: 0, column: 0 };
}

/// One finding of `campanile check`. `line` and `column` count from 1, columns in characters; 0 where a whole file is meant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub severity: Severity,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line may hold a secret: it is named, never printed.
    #[serde(skip)]
    pub veiled: bool,
}

impl Finding {
    pub fn error(file: impl Into<String>, line: usize, column: usize, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { file, line, column, severity: Severity::Error, message, hint: None, veiled: false }
    }

    pub fn warning(file: impl Into<String>, line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, line, column, message) }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn veiled(self) -> Self {
        Self { veiled: true, ..self }
    }

    pub fn place(&self) -> Place {
        Place { line: self.line, column: self.column }
    }
}

/// A file's text with `\n` for whatever ends its lines, as YAML has them (`\r\n`, or `\r` alone): by these a [`Place`] counts.
pub fn in_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The hint for a name that is not among `known`: the likely one if there is one, and what there is.
/// `what` says what the names are: "channels", "keys here".
pub fn suggest<'a>(name: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let all = match known.as_slice() {
        [] => return format!("there are no {what}"),
        [only] => format!("the {what}: `{only}`"),
        [.., _] if known.len() > 24 => format!("the {what} are {} and more", quoted(&known[..24])),
        [first @ .., last] => format!("the {what} are {} and `{last}`", quoted(first)),
    };
    match nearest(name, known.iter().copied()) {
        Some(near) if known.len() > 8 => format!("did you mean `{near}`?"),
        Some(near) => format!("did you mean `{near}`? {}", capitalized(&all)),
        None => all,
    }
}

/// The name that `name` was probably meant to be: at most a third of its letters away.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).clamp(1, 3);
    let near = known.into_iter().map(|one| (distance(name, one, most), one)).min_by_key(|(far, _)| *far)?;
    (near.0 <= most && near.1 != name).then_some(near.1)
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Letters to insert, drop, change or swap with their neighbour, upper and lower case alike (optimal string alignment).
/// Only told exactly up to `most`.
fn distance(one: &str, other: &str, most: usize) -> usize {
    let letters = |text: &str| text.chars().take(80).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (one, other) = (letters(one), letters(other));
    if one.len().abs_diff(other.len()) > most {
        return most + 1;
    }
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1usize);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name() {
        let known = ["channels", "continue", "template", "when"];
        for (name, near) in [
            ("chanels", Some("channels")),
            ("chnanels", Some("channels")),
            ("Channels", Some("channels")),
            ("wehn", Some("when")),
            ("where", None),
            ("w", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), near, "{name}");
        }
    }

    #[test]
    fn a_suggestion_names_what_there_is() {
        assert_eq!(
            suggest("ops-rom", "channels", ["ops-room", "release-notes"]),
            "did you mean `ops-room`? The channels are `ops-room` and `release-notes`"
        );
        assert_eq!(suggest("x", "channels", ["ops"]), "the channels: `ops`");
        assert_eq!(suggest("x", "channels", []), "there are no channels");
    }
}
