//! A message's text as triggers have it, in a messenger's markup, as a template: Markdown with Handlebars. Variables
//! stand in it as signs of their own ([`super::body`]).

use std::fmt::Write;

/// How a text says what is bold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Markup {
    None,
    /// Slack's.
    Mrkdwn,
    /// Telegram's first, `parse_mode: markdown`.
    Markdown,
    MarkdownV2,
    Html,
}

/// What a text became.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub template: String,
    /// What could not be carried over.
    pub lost: Vec<String>,
}

/// `variable` gives what is written for one of the signs, or nothing where the sign is none.
pub(super) fn told(text: &str, markup: Markup, variable: &dyn Fn(char) -> Option<String>) -> Told {
    let mut writer = Writer { told: Told::default(), variable, line_begins: true };
    writer.marked(text, markup);
    let mut told = writer.told;
    told.lost.dedup();
    told
}

struct Writer<'a> {
    told: Told,
    variable: &'a dyn Fn(char) -> Option<String>,
    line_begins: bool,
}

impl Writer<'_> {
    fn marked(&mut self, text: &str, markup: Markup) {
        let (mut rest, mut before, mut open) = (text, None, Vec::new());
        while let Some(c) = rest.chars().next() {
            let length = self.special(rest, markup, before, &mut open).unwrap_or_else(|| {
                self.literal(c);
                c.len_utf8()
            });
            before = rest[..length].chars().next_back();
            rest = &rest[length..];
        }
    }

    /// Writes what is more than a sign at the front of `rest`, and says how long it is.
    fn special(&mut self, rest: &str, markup: Markup, before: Option<char>, open: &mut Vec<char>) -> Option<usize> {
        match markup {
            Markup::None => None,
            Markup::Html => self.tag(rest).or_else(|| self.entity(rest)),
            Markup::Mrkdwn => self
                .angle(rest)
                .or_else(|| self.entity(rest))
                .or_else(|| self.code(rest))
                .or_else(|| self.mark(rest, &[('*', "**"), ('_', "_"), ('~', "~~")], before, open)),
            Markup::Markdown | Markup::MarkdownV2 => self
                .escaped(rest)
                .or_else(|| self.link(rest))
                .or_else(|| self.code(rest))
                .or_else(|| self.mark(rest, marks(markup), before, open)),
        }
    }

    /// One sign of the text, which is no markup.
    fn literal(&mut self, c: char) {
        let out = &mut self.told.template;
        if let Some(variable) = (self.variable)(c) {
            out.push_str(&variable);
        } else if c == '\n' {
            out.push('\n');
            self.line_begins = true;
            return;
        } else if matches!(c, '{' | '}' | '\\') {
            // Beside a variable these would be Handlebars' own.
            let _ = write!(out, "&#{};", u32::from(c));
        } else {
            let at_line = self.line_begins && matches!(c, '-' | '+' | '=');
            let number = matches!(c, '.' | ')') && ends_with_number(out);
            if at_line || number || matches!(c, '`' | '*' | '_' | '[' | ']' | '<' | '>' | '~' | '#' | '&' | '!') {
                out.push('\\');
            }
            out.push(c);
        }
        self.line_begins = self.line_begins && c == ' ';
    }

    fn literals(&mut self, text: &str) {
        text.chars().for_each(|c| self.literal(c));
    }

    fn raw(&mut self, text: &str) {
        self.told.template.push_str(text);
        self.line_begins = false;
    }

    fn lost(&mut self, what: impl Into<String>) {
        self.told.lost.push(what.into());
    }

    /// `**` and its like, where a mark opens a stretch that is closed on its line, or closes one.
    fn mark(
        &mut self,
        rest: &str,
        marks: &[(char, &str)],
        before: Option<char>,
        open: &mut Vec<char>,
    ) -> Option<usize> {
        let mark = rest.chars().next()?;
        let (_, written) = marks.iter().find(|(known, _)| *known == mark)?;
        let after = rest[mark.len_utf8()..].chars().next();
        let is_border = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        let line = rest[mark.len_utf8()..].split('\n').next().unwrap_or_default();
        match open.iter().position(|known| *known == mark) {
            Some(at) if is_border(after) => drop(open.remove(at)),
            None if is_border(before) && after.is_some_and(|c| !c.is_whitespace()) && line.contains(mark) => {
                open.push(mark);
            }
            _ => return None,
        }
        self.raw(written);
        Some(mark.len_utf8())
    }

    fn code(&mut self, rest: &str) -> Option<usize> {
        let fence = if rest.starts_with("```") { "```" } else { "`" };
        let inner = rest.strip_prefix(fence)?;
        let end = inner.find(fence)?;
        let text = &inner[..end];
        if text.contains(['{', '}', '\\']) {
            return None;
        }
        // In code nothing is escaped; a block has lines of its own.
        let (front, back) = match fence {
            "```" => ("\n```\n", "\n```\n"),
            _ => ("`", "`"),
        };
        self.raw(front);
        for c in text.trim_matches('\n').chars() {
            match (self.variable)(c) {
                Some(variable) => self.raw(&variable),
                None => self.told.template.push(c),
            }
        }
        self.raw(back);
        Some(fence.len() * 2 + end)
    }

    /// Slack's `<https://…|text>`, `<@U…>`, `<!here>`.
    fn angle(&mut self, rest: &str) -> Option<usize> {
        let inner = rest.strip_prefix('<')?;
        let inner = &inner[..inner.find(['>', '\n']).filter(|end| inner[*end..].starts_with('>'))?];
        let (target, label) = inner.split_once('|').map_or((inner, None), |(target, label)| (target, Some(label)));
        if target.starts_with(['@', '#', '!']) {
            let shown = label.unwrap_or_else(|| target.trim_start_matches(['!', '#']));
            self.literals(shown);
            self.lost(format!("`{target}` is no mention here: write it in the template's .slack.json.hbs"));
        } else if is_address(target) || target.chars().any(|c| (self.variable)(c).is_some()) {
            self.linked(label.unwrap_or(target), target, Markup::None);
        } else {
            return None;
        }
        Some(inner.len() + 2)
    }

    /// `[text](https://…)`
    fn link(&mut self, rest: &str) -> Option<usize> {
        let inner = rest.strip_prefix('[')?;
        let (label, behind) = inner.split_once("](")?;
        let end = behind.find([')', '\n']).filter(|end| behind[*end..].starts_with(')'))?;
        if label.contains('\n') {
            return None;
        }
        self.linked(label, &behind[..end], Markup::None);
        Some(label.len() + end + 4)
    }

    fn linked(&mut self, label: &str, target: &str, markup: Markup) {
        self.raw("[");
        self.marked(label, markup);
        self.raw("](");
        for c in target.chars() {
            match (self.variable)(c) {
                Some(variable) => self.raw(&variable),
                None if matches!(c, '(' | ')' | '<' | '>' | '{' | '}' | ' ' | '\\') => {
                    let _ = write!(self.told.template, "%{:02X}", u32::from(c));
                }
                None => self.told.template.push(c),
            }
        }
        self.raw(")");
    }

    /// A backslash before a mark.
    fn escaped(&mut self, rest: &str) -> Option<usize> {
        let c = rest.strip_prefix('\\')?.chars().next().filter(char::is_ascii_punctuation)?;
        self.literal(c);
        Some(2)
    }

    fn entity(&mut self, rest: &str) -> Option<usize> {
        let entities = [("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&amp;", '&')];
        let (entity, c) = entities.into_iter().find(|(entity, _)| rest.starts_with(entity))?;
        self.literal(c);
        Some(entity.len())
    }

    /// A tag of Telegram's HTML. Source: <https://core.telegram.org/bots/api#html-style>.
    fn tag(&mut self, rest: &str) -> Option<usize> {
        let inner = rest.strip_prefix('<')?;
        let end = inner.find('>')?;
        let (name, attributes) = inner[..end].split_once(' ').unwrap_or((&inner[..end], ""));
        if name == "a"
            && let Some((label, _)) = inner[end + 1..].split_once("</a>")
        {
            let target = attributes.trim().strip_prefix("href=").map(|it| it.trim_matches(['"', '\'']));
            self.linked(label, target.unwrap_or_default(), Markup::Html);
            return Some(end + 2 + label.len() + "</a>".len());
        }
        match name.trim_start_matches('/') {
            "b" | "strong" => self.raw("**"),
            "i" | "em" => self.raw("_"),
            "s" | "strike" | "del" => self.raw("~~"),
            "code" => self.raw("`"),
            "pre" => self.raw("\n```\n"),
            "br" => self.literal('\n'),
            other => self.lost(format!("the tag `<{other}>`: its text stays")),
        }
        Some(end + 2)
    }
}

fn marks(markup: Markup) -> &'static [(char, &'static str)] {
    match markup {
        Markup::MarkdownV2 => &[('*', "**"), ('_', "_"), ('~', "~~")],
        _ => &[('*', "**"), ('_', "_")],
    }
}

fn is_address(text: &str) -> bool {
    ["https://", "http://", "mailto:", "tel:"].iter().any(|scheme| text.starts_with(scheme))
}

/// A line `1.` or `1)` begins a list, also behind spaces.
fn ends_with_number(text: &str) -> bool {
    let line = text.rsplit('\n').next().unwrap_or_default().trim_start_matches(' ');
    !line.is_empty() && line.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str, markup: Markup) -> String {
        let text = text.replace("KEY", "\u{e000}").replace("URL", "\u{e001}").replace("SUM", "\u{e002}");
        let variable = |c| match c {
            '\u{e000}' => Some("{{issue.key}}".to_owned()),
            '\u{e001}' => Some("{{issue.url}}".to_owned()),
            '\u{e002}' => Some("{{issue.summary}}".to_owned()),
            _ => None,
        };
        told(&text, markup, &variable).template
    }

    #[test]
    fn markup_becomes_markdown() {
        use Markup as M;
        for (text, markup, expected) in [
            (
                "*New* <URL|KEY>: SUM & a_b_c",
                M::Mrkdwn,
                "**New** [{{issue.key}}]({{issue.url}}): {{issue.summary}} \\& a\\_b\\_c",
            ),
            ("_so_ ~no~ `x*y` 2 * 3 &lt;b&gt;", M::Mrkdwn, "_so_ ~~no~~ `x*y` 2 \\* 3 \\<b\\>"),
            ("hi <!here> <@U1|ann>", M::Mrkdwn, "hi here ann"),
            ("<https://x.y/a b>", M::Mrkdwn, "[https://x.y/a b](https://x.y/a%20b)"),
            ("*New* [KEY: SUM](URL)", M::Markdown, "**New** [{{issue.key}}: {{issue.summary}}]({{issue.url}})"),
            ("a\\_b *c* \\[x\\]\\.", M::MarkdownV2, "a\\_b **c** \\[x\\]."),
            (
                "<b>New</b> <a href=\"URL\">KEY</a> &amp; <u>so</u>",
                M::Html,
                "**New** [{{issue.key}}]({{issue.url}}) \\& so",
            ),
            ("{KEY} \\KEY `{`", M::Markdown, "&#123;{{issue.key}}&#125; &#92;{{issue.key}} \\`&#123;\\`"),
            ("- *no* marks\n1. KEY #1\n2) so", M::None, "\\- \\*no\\* marks\n1\\. {{issue.key}} \\#1\n2\\) so"),
            ("  - so\n ===\n 1. so", M::None, "  \\- so\n \\===\n 1\\. so"),
            ("a ```x``` b ```\ny`z\n```", M::Mrkdwn, "a \n```\nx\n```\n b \n```\ny`z\n```\n"),
            ("[a\nb](https://x.y)", M::Markdown, "\\[a\nb\\](https://x.y)"),
        ] {
            assert_eq!(template(text, markup), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        let none = |_| None;
        assert!(told("<!channel>", Markup::Mrkdwn, &none).lost[0].contains("!channel"));
        assert!(told("<u>a</u>", Markup::Html, &none).lost[0].contains("<u>"));
    }
}
