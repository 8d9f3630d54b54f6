//! Slack's mrkdwn as a person sees it. Source: docs.slack.dev, "Formatting message text".

use super::super::record::Seen;

/// What Slack finds in a text beside `<…>` and the three character references, which it always reads.
#[derive(Clone, Copy, Default)]
pub(super) struct Reading {
    /// `*bold*` and its like.
    pub styles: bool,
    /// Bare addresses become links.
    pub addresses: bool,
    /// `@here`, `@channel`, `@everyone` notify as if they were written `<!here>`.
    pub everybody: bool,
    /// Every `@name` notifies.
    pub names: bool,
}

const STYLES: [(&str, &str); 3] = [("*", "bold"), ("_", "italic"), ("~", "strike")];

/// Adds the text to what is seen.
pub(super) fn read(text: &str, reading: Reading, seen: &mut Seen) {
    read_after('\n', text, reading, seen);
}

fn read_after(mut before: char, text: &str, reading: Reading, seen: &mut Seen) {
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let taken = (if reading.styles { styled(rest, before, reading, seen) } else { None })
            .or_else(|| control(rest, seen))
            .or_else(|| reference(rest, seen))
            .or_else(|| address(rest, before, reading, seen));
        let taken = taken.unwrap_or_else(|| {
            if next == '@' && !is_word(before) {
                mention(rest, reading, seen);
            }
            seen.text.push(next);
            next.len_utf8()
        });
        let (done, left) = rest.split_at(taken);
        before = done.chars().next_back().unwrap_or(before);
        rest = left;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Code, quotes and marks around words: how many bytes they took.
fn styled(rest: &str, before: char, reading: Reading, seen: &mut Seen) -> Option<usize> {
    let plain = Reading::default();
    for (fence, style) in [("```", "pre"), ("`", "code")] {
        if let Some((inner, taken)) = between(rest, fence).filter(|(inner, _)| style == "pre" || !inner.contains('\n'))
        {
            return Some(part(inner, style, plain, seen, taken));
        }
    }
    if before == '\n'
        && let Some(quoted) = rest.strip_prefix("&gt;").or_else(|| rest.strip_prefix('>'))
    {
        let line = quoted.split('\n').next().unwrap_or_default();
        let taken = rest.len() - quoted.len() + line.len();
        return Some(part(line.trim_start(), "quote", reading, seen, taken));
    }
    if is_word(before) {
        return None;
    }
    STYLES.iter().find_map(|(mark, style)| {
        let (inner, taken) = between(rest, mark)?;
        let after = rest.get(taken..)?.chars().next();
        let fits =
            !inner.starts_with(' ') && !inner.ends_with(' ') && !inner.contains('\n') && !after.is_some_and(is_word);
        fits.then(|| part(inner, style, reading, seen, taken))
    })
}

fn part(inner: &str, style: &str, reading: Reading, seen: &mut Seen, taken: usize) -> usize {
    let from = seen.text.len();
    read_after(' ', inner, reading, seen); // not at a line's start: quotes do not nest, however many marks stand there
    seen.span(style, from);
    taken
}

/// What stands between two marks, not empty, and the length with both.
fn between<'a>(rest: &'a str, mark: &str) -> Option<(&'a str, usize)> {
    let inner = rest.strip_prefix(mark)?;
    let end = inner.find(mark).filter(|end| *end > 0)?;
    Some((&inner[..end], end + 2 * mark.len()))
}

/// `<…>`: links, mentions, dates.
fn control(rest: &str, seen: &mut Seen) -> Option<usize> {
    let inner = rest.strip_prefix('<')?;
    let inner = &inner[..inner.find(['>', '\n']).filter(|end| inner[*end..].starts_with('>'))?];
    let (target, label) = inner.split_once('|').map_or((inner, None), |(target, label)| (target, Some(label)));
    let written = format!("<{inner}>");
    match target.chars().next()? {
        '@' => {
            seen.text.push_str(label.unwrap_or(target));
            seen.pings.push(written);
        }
        '#' => seen.text.push_str(label.unwrap_or(target)),
        '!' if target.starts_with("!date^") => seen.text.push_str(label.unwrap_or(target)),
        '!' => {
            seen.text.push_str(&label.map_or_else(|| target.replacen('!', "@", 1), str::to_owned));
            seen.pings.push(written);
        }
        _ if target.contains(':') => {
            let from = seen.text.len();
            decode(label.unwrap_or(target), seen);
            let mut url = Seen::default();
            decode(target, &mut url);
            let text = seen.text[from..].to_owned();
            seen.link(&text, &url.text);
        }
        _ => return None,
    }
    Some(inner.len() + 2)
}

fn decode(text: &str, seen: &mut Seen) {
    read(text, Reading::default(), seen);
}

/// The only character references Slack knows.
fn reference(rest: &str, seen: &mut Seen) -> Option<usize> {
    let (name, c) =
        [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')].into_iter().find(|(name, _)| rest.starts_with(name))?;
    seen.text.push(c);
    Some(name.len())
}

fn address(rest: &str, before: char, reading: Reading, seen: &mut Seen) -> Option<usize> {
    if !reading.addresses || is_word(before) || !(rest.starts_with("http://") || rest.starts_with("https://")) {
        return None;
    }
    let written = super::super::bare_links(rest).next().filter(|written| rest.starts_with(written))?;
    let from = seen.text.len();
    decode(written, seen);
    let url = seen.text[from..].to_owned();
    seen.link(&url, &url);
    Some(written.len())
}

fn mention(rest: &str, reading: Reading, seen: &mut Seen) {
    let name = rest[1..].split(|c: char| !is_word(c) && !matches!(c, '.' | '-')).next().unwrap_or_default();
    let everybody = ["here", "channel", "everyone", "group"].contains(&name.trim_end_matches(['.', '-']));
    if (reading.everybody && everybody) || (reading.names && !name.is_empty()) {
        seen.pings.push(format!("@{name}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Reading = Reading { styles: true, addresses: true, everybody: true, names: false };

    fn seen(text: &str, reading: Reading) -> Seen {
        let mut seen = Seen::default();
        read(text, reading, &mut seen);
        seen
    }

    #[test]
    fn marks_are_seen_as_style_only_at_word_boundaries() {
        for (text, shown, styles) in [
            ("a *b c* d", "a b c d", vec![("bold", "b c")]),
            ("a*b*c 2 * 3 * 4", "a*b*c 2 * 3 * 4", vec![]),
            ("_x_ ~y~", "x y", vec![("italic", "x"), ("strike", "y")]),
            ("`*raw* &lt;`", "*raw* <", vec![("code", "*raw* <")]),
            ("```a\nb```", "a\nb", vec![("pre", "a\nb")]),
            ("&gt;&gt; &gt; said", "> > said", vec![("quote", "> > said")]),
            ("&gt; said\nnot", "said\nnot", vec![("quote", "said")]),
            ("*a _b_*", "a b", vec![("italic", "b"), ("bold", "a b")]),
            ("**", "**", vec![]),
        ] {
            let seen = seen(text, ALL);
            assert_eq!(seen.text, shown, "{text}");
            let spans: Vec<_> = seen.spans.iter().map(|span| (span.style.as_str(), span.text.as_str())).collect();
            assert_eq!(spans, styles, "{text}");
        }
        assert_eq!(seen("*b*", Reading::default()).text, "*b*");
        assert_eq!(seen(&">".repeat(40_000), ALL).text.len(), 39_999, "depth does not grow with the text");
    }

    #[test]
    fn only_three_references_are_known() {
        assert_eq!(seen("&lt;&gt;&amp;lt; &quot; &#39;", ALL).text, "<>&lt; &quot; &#39;");
    }

    #[test]
    fn pings() {
        for (text, reading, pings) in [
            (
                "<!channel> <@U1|ann> <!subteam^S1>",
                Reading::default(),
                vec!["<!channel>", "<@U1|ann>", "<!subteam^S1>"],
            ),
            ("&lt;!channel&gt;", ALL, vec![]),
            ("hi @here, x@here.org", ALL, vec!["@here"]),
            ("@hereby @ann", ALL, vec![]),
            ("@ann", Reading { names: true, ..Reading::default() }, vec!["@ann"]),
            ("@here", Reading { everybody: false, ..ALL }, vec![]),
            ("`<!here>`", ALL, vec!["<!here>"]),
        ] {
            assert_eq!(seen(text, reading).pings, pings, "{text}");
        }
    }

    #[test]
    fn links() {
        let seen = seen("<https://a.b/?x&amp;y|A &amp; B> https://c.d/e. <mailto:a@b|mail> a < b > c", ALL);
        assert_eq!(seen.text, "A & B https://c.d/e. mail a < b > c");
        let links: Vec<_> = seen.links.iter().map(|link| (link.text.as_str(), link.url.as_str())).collect();
        assert_eq!(links, [("A & B", "https://a.b/?x&y"), ("https://c.d/e", "https://c.d/e"), ("mail", "mailto:a@b")]);
    }
}
