//! A first look at a template's tags, before Handlebars parses it: its parser has no limits of its own (deep nesting
//! overflows the stack), and what it says about an unclosed block helps nobody.

use std::ops::Range;

use super::partials::is_name;

/// Deepest nesting of blocks, and of parentheses in one tag.
pub(super) const DEEPEST: usize = 32;

/// Where in the source, in bytes, and what is wrong there, with a hint.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Flaw {
    pub at: usize,
    pub message: String,
    pub hint: Option<String>,
    /// The partial in whose source it stands; `None`: the template's own.
    pub partial: Option<String>,
}

impl Flaw {
    pub fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None, partial: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Everything in the tags that is refused whatever it names.
pub(super) fn flaws(source: &str) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    let mut at = 0;
    while let Some(start) = next_tag(source, at) {
        let Some(tag) = Tag::read(source, start) else {
            flaws.push(match source[start..].starts_with("{{!--") {
                true => Flaw::new(start, "this comment is never closed").hint("close it with `--}}`, without `~`"),
                false => Flaw::new(start, "this `{{` is never closed")
                    .hint("write `\\{{` where the braces are meant as text"),
            });
            break;
        };
        at = tag.end;
        let inner = beginning(tag.inner);
        if inner.starts_with('!') {
            let is_comment = tag.inner.starts_with('!');
            flaws.extend((!is_comment).then(|| {
                Flaw::new(start, "a comment begins with `{{!`")
                    .hint("write `{{! … }}`, without `~` and spaces before `!`")
            }));
            continue;
        }
        if depth(inner) > DEEPEST {
            flaws.push(Flaw::new(start, format!("parentheses are nested more than {DEEPEST} deep")));
        }
        let rest = inner.get(1..).unwrap_or_default().trim_start();
        match inner.chars().next() {
            Some('{' | '&') => flaws
                .push(Flaw::new(start, "a variable cannot be written without escaping").hint(
                    "write `{{…}}`: in a message every variable is text, quotes and brackets arrive as they are",
                )),
            Some('>') => flaws.extend((!is_name(word(rest))).then(|| {
                Flaw::new(start, "a partial's name cannot be computed")
                    .hint("write `{{> name}}` for `partials/name.hbs`")
            })),
            Some('*') => flaws.push(Flaw::new(start, "there are no decorators")),
            Some('#') if rest.starts_with('>') => {
                let name = word(rest.trim_start_matches('>').trim_start());
                flaws.push(
                    Flaw::new(start, "a partial takes no block")
                        .hint(format!("write `{{{{> {name}}}}}`, with values as `name=value`")),
                );
                open.push((word(rest.trim_start_matches('>').trim_start()), start));
            }
            Some('#') if rest.starts_with('*') => {
                flaws.push(
                    Flaw::new(start, "a partial cannot be written inside a template")
                        .hint("write it to a file, `partials/name.hbs`"),
                );
                open.push((word(rest.trim_start_matches('*').trim_start()), start));
            }
            Some('#') => {
                open.push((word(rest), start));
                if open.len() == DEEPEST + 1 {
                    flaws.push(Flaw::new(start, format!("blocks are nested more than {DEEPEST} deep")));
                }
            }
            Some('/') => match open.pop() {
                None => flaws.push(Flaw::new(start, format!("`{{{{/{}}}}}` closes nothing", word(rest)))),
                Some((name, _)) if name == word(rest) => {}
                Some((name, _)) => flaws.push(
                    Flaw::new(start, format!("`{{{{/{}}}}}` stands where `{{{{#{name}}}}}` is open", word(rest)))
                        .hint(format!("close it with `{{{{/{name}}}}}`")),
                ),
            },
            Some('^') if open.is_empty() => flaws.push(Flaw::new(start, "`{{^}}` stands outside a block")),
            _ if word(inner) == "else" && open.is_empty() => {
                flaws.push(Flaw::new(start, "`{{else}}` stands outside a block"));
            }
            _ => {}
        }
    }
    flaws.extend(open.into_iter().map(|(name, start)| {
        Flaw::new(start, format!("`{{{{#{name}}}}}` is never closed")).hint(format!("close it with `{{{{/{name}}}}}`"))
    }));
    flaws
}

/// Where the tags of a source stand that [`flaws`] finds nothing wrong with.
pub(super) fn tags(source: &str) -> Vec<Range<usize>> {
    let (mut tags, mut at) = (Vec::new(), 0);
    while let Some(start) = next_tag(source, at) {
        let Some(tag) = Tag::read(source, start) else { break };
        at = tag.end;
        tags.push(start..at);
    }
    tags
}

struct Tag<'a> {
    inner: &'a str,
    end: usize,
}

impl<'a> Tag<'a> {
    /// The tag that starts at `start`; `None` where it has no end.
    fn read(source: &'a str, start: usize) -> Option<Self> {
        let from = start + 2;
        let rest = &source[from..];
        let close = if rest.starts_with("!--") { "--}}" } else { "}}" };
        let length = if beginning(rest).starts_with('!') { rest.find(close)? } else { end_outside_quotes(rest)? };
        Some(Self { inner: &rest[..length], end: from + length + close.len() })
    }
}

/// What stands in a tag before it says anything is left out.
fn beginning(tag: &str) -> &str {
    tag.trim_start_matches('~').trim_start()
}

fn end_outside_quotes(rest: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    let bytes = rest.as_bytes();
    (0..bytes.len()).find(|at| {
        let byte = bytes[*at];
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None => return bytes[*at..].starts_with(b"}}"),
        }
        false
    })
}

/// The next `{{` that is no text: one backslash before it makes it text, two are a backslash before a tag.
fn next_tag(source: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let start = at + source.get(at..)?.find("{{")?;
        let backslashes = source[from..start].len() - source[from..start].trim_end_matches('\\').len();
        if backslashes != 1 {
            return Some(start);
        }
        at = start + if source[start..].starts_with("{{{{") { 4 } else { 2 };
    }
}

fn word(text: &str) -> &str {
    text.split(|c: char| c.is_whitespace() || matches!(c, '}' | '~' | '(' | '|')).next().unwrap_or_default()
}

fn depth(tag: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for c in tag.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_looked_at_before_they_are_parsed() {
        for (source, found) in [
            ("a {{b}} {{#if c}}{{else}}{{/if}} {{! {{#x }} {{!-- }} {{/y}} --}}", ""),
            (r"\{{#if}} \\{{b}} \{{{{#x}}}}", ""),
            ("{{x \"}}\"}}", ""),
            (
                "{{#if a}}\n{{#each b}}{{/if}}",
                "21 `{{/if}}` stands where `{{#each}}` is open|0 `{{#if}}` is never closed",
            ),
            ("a {{b", "2 this `{{` is never closed"),
            ("{{!-- a --~}}", "0 this comment is never closed"),
            ("{{~! it's ~}} {{ ! b }}", "0 a comment begins with `{{!`|14 a comment begins with `{{!`"),
            ("{{/if}}", "0 `{{/if}}` closes nothing"),
            ("{{else}}", "0 `{{else}}` stands outside a block"),
            ("{{{a}}}", "0 a variable cannot be written without escaping"),
            ("{{~& a}}", "0 a variable cannot be written without escaping"),
            ("{{~{a}~}}", "0 a variable cannot be written without escaping"),
            ("{{> p}} {{>p-1 a b=c}} {{~> p ~}}", ""),
            (
                "{{> (lookup . 'x')}} {{> a/b}}",
                "0 a partial's name cannot be computed|21 a partial's name cannot be computed",
            ),
            ("{{> @partial-block}}", "0 a partial's name cannot be computed"),
            ("{{#> p}}x{{/p}}", "0 a partial takes no block"),
            ("{{#*inline \"p\"}}{{/inline}}", "0 a partial cannot be written inside a template"),
            ("{{* d}}", "0 there are no decorators"),
        ] {
            let told: Vec<_> = flaws(source).into_iter().map(|flaw| format!("{} {}", flaw.at, flaw.message)).collect();
            assert_eq!(told.join("|"), found, "{source}");
        }
    }

    #[test]
    fn nesting_has_a_limit_on_both_sides() {
        let blocks = |n: usize| "{{#if a}}".repeat(n) + &"{{/if}}".repeat(n);
        let parentheses = |n: usize| format!("{{{{#if {}a{}}}}}{{{{/if}}}}", "(not ".repeat(n), ")".repeat(n));
        assert!(flaws(&blocks(DEEPEST)).is_empty() && flaws(&parentheses(DEEPEST)).is_empty());
        assert_eq!(flaws(&blocks(DEEPEST + 1)).len(), 1);
        assert_eq!(flaws(&parentheses(DEEPEST + 1)).len(), 1);
    }
}
