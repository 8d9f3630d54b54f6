//! Markdown with stand-ins → the typed tree.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::stand_in::{Shown, verbatim};
use crate::message::{Block, DEEPEST_LIST, Link, Marker, Message, Runs, Style};

/// What the Markdown says. It cannot fail: whatever is no markup is text.
pub(super) fn message(markdown: &str) -> Message {
    let mut tree = Tree::default();
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        tree.read(event);
    }
    tree.close();
    Message::new(tree.blocks)
}

#[derive(Default)]
struct Tree {
    blocks: Vec<Block>,
    runs: Runs,
    shown: Shown,
    bold: u32,
    italic: u32,
    strike: u32,
    links: Vec<Option<Link>>,
    /// The lists that are open, each with its next number.
    lists: Vec<Option<u64>>,
    /// The item whose text `runs` collects.
    item: Option<(u8, Marker)>,
    quotes: u32,
    code: Option<(Option<String>, String)>,
}

impl Tree {
    fn read(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Html(line) => {
                self.text(line.trim_end_matches('\n'));
                self.break_line();
            }
            Event::Code(text) => self.push_code(&text),
            Event::SoftBreak | Event::HardBreak => self.break_line(),
            Event::Rule => {
                self.break_block();
                self.text("———");
                self.break_block();
            }
            // Their options are off.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => self.text(&text),
            Event::TaskListMarker(_) => {}
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } => {
                self.break_block();
                self.bold += 1;
            }
            Tag::BlockQuote(_) => {
                self.break_block();
                self.quotes += 1;
            }
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language(&verbatim(&info)),
                    CodeBlockKind::Indented => None,
                };
                self.code = Some((language, String::new()));
            }
            Tag::List(first) => {
                self.break_block();
                self.lists.push(first);
            }
            Tag::Item => self.open_item(),
            Tag::Emphasis => self.italic += 1,
            Tag::Strong => self.bold += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push(Link::parse(&verbatim(&dest_url)));
            }
            Tag::Paragraph => {}
            _ => self.break_block(),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.bold = self.bold.saturating_sub(1);
                self.break_block();
            }
            TagEnd::BlockQuote(_) => {
                if self.quotes == 1 {
                    self.close();
                } else {
                    self.break_block();
                }
                self.quotes = self.quotes.saturating_sub(1);
            }
            TagEnd::CodeBlock => self.close_code(),
            TagEnd::List(_) => {
                self.lists.pop();
                self.break_block();
            }
            TagEnd::Item => {
                if self.quotes == 0 {
                    self.close();
                    self.item = None;
                }
                self.break_block();
            }
            TagEnd::Emphasis => self.italic = self.italic.saturating_sub(1),
            TagEnd::Strong => self.bold = self.bold.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => {
                self.links.pop();
            }
            _ => self.break_block(),
        }
    }

    fn open_item(&mut self) {
        let depth = self.lists.len().saturating_sub(1).min(usize::from(DEEPEST_LIST)) as u8;
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number = number.saturating_add(1);
                Marker::Number(*number - 1)
            }
            _ => Marker::Bullet,
        };
        self.break_block();
        if self.quotes > 0 {
            // A messenger's quote has no lists.
            let marker = match marker {
                Marker::Bullet => "• ".to_owned(),
                Marker::Number(number) => format!("{number}. "),
            };
            self.text(&format!("{}{marker}", "  ".repeat(depth.into())));
        } else {
            self.close();
            self.item = Some((depth, marker));
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, code)) = &mut self.code {
            code.push_str(text);
        } else {
            let text = self.shown.text(text);
            self.runs.push(&text, self.style(), self.links.iter().flatten().next());
        }
    }

    fn push_code(&mut self, code: &str) {
        let link = self.links.iter().flatten().next();
        // A messenger may prefer the link to the code and look for names again.
        let text = if link.is_some() { self.shown.text(code) } else { verbatim(code) };
        self.shown.interrupt();
        self.runs.push(&text, Style { code: true, ..self.style() }, link);
    }

    fn style(&self) -> Style {
        Style { bold: self.bold > 0, italic: self.italic > 0, strike: self.strike > 0, code: false }
    }

    fn break_line(&mut self) {
        if self.code.is_none() {
            self.shown.interrupt();
            self.runs.break_line();
        }
    }

    /// The border of a paragraph: a block of its own, or a new line in the item or quote around it.
    fn break_block(&mut self) {
        if self.quotes > 0 || self.item.is_some() { self.break_line() } else { self.close() }
    }

    /// Ends the block whose text is collected; nothing collected is no block.
    fn close(&mut self) {
        self.shown.interrupt();
        let runs = self.runs.take();
        if runs.is_empty() {
            return;
        }
        self.blocks.push(match self.item.take() {
            Some((depth, marker)) => Block::Item { depth, marker, runs },
            None if self.quotes > 0 => Block::Quote(runs),
            None => Block::Paragraph(runs),
        });
    }

    fn close_code(&mut self) {
        let Some((language, text)) = self.code.take() else { return };
        let text = verbatim(text.strip_suffix('\n').unwrap_or(&text));
        if self.quotes > 0 {
            self.break_line();
            self.runs.push(&text, Style { code: true, ..self.style() }, None);
            self.break_line();
        } else {
            // Inside an item it ends the item; what follows in it goes on as a paragraph.
            self.close();
            self.item = None;
            self.blocks.push(Block::Code { language, text });
        }
    }
}

/// The first word of a fence's info string, where it can be a language's name.
fn language(info: &str) -> Option<String> {
    let word = info.split_whitespace().next()?;
    let named =
        word.len() <= 32 && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '-' | '_' | '.'));
    named.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Run;
    use crate::template::stand_in::{NOTHING, escape, shown};

    /// One line for each block: what it is, then its runs with their styles as signs.
    fn told(markdown: &str) -> String {
        let runs = |runs: &[Run]| {
            runs.iter().fold(String::new(), |mut told, run| {
                let Style { bold, italic, strike, code } = run.style;
                let marks = [(bold, "*"), (italic, "_"), (strike, "~"), (code, "`")];
                let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
                let link = run.link.as_ref().map(|link| format!("({})", link.as_str())).unwrap_or_default();
                told.push_str(&format!("{marks}[{}]{link}", run.text.replace('\n', "⏎")));
                told
            })
        };
        let lines = message(markdown).blocks.into_iter().map(|block| match block {
            Block::Paragraph(text) => format!("P {}", runs(&text)),
            Block::Item { depth, marker: Marker::Bullet, runs: text } => format!("{depth}• {}", runs(&text)),
            Block::Item { depth, marker: Marker::Number(n), runs: text } => format!("{depth}{n}. {}", runs(&text)),
            Block::Code { language, text } => format!("C {} {text:?}", language.unwrap_or_default()),
            Block::Quote(text) => format!("Q {}", runs(&text)),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn markdown_becomes_the_tree() {
        for (markdown, tree) in [
            ("# Head *x*\n\ntext", "P *[Head ]*_[x]\nP [text]"),
            ("a\nb  \nc", "P [a⏎b⏎c]"),
            ("~~a~~ `b` **c**", "P ~[a][ ]`[b][ ]*[c]"),
            ("a\n\n---\n\nb", "P [a]\nP [———]\nP [b]"),
            ("[k](https://x.y/) [j](javascript:1)", "P [k](https://x.y/)[ j]"),
            ("![alt](https://x.y/)", "P [alt](https://x.y/)"),
            ("<div>x\n y</div>\n\na <!channel> b", "P [<div>x⏎ y</div>]\nP [a <!channel> b]"),
            ("- a\n  - b\n    c\n- d", "0• [a]\n1• [b⏎c]\n0• [d]"),
            ("3. a\n4. b", "03. [a]\n04. [b]"),
            ("- a\n\n  b\n- c", "0• [a⏎b]\n0• [c]"),
            ("- a\n  ```\n  x\n  ```\n  b", "0• [a]\nC  \"x\"\nP [b]"),
            ("- [ ] a\n- [x] b", "0• [[ ] a]\n0• [[x] b]"),
            ("> a\n> > b\n> - c\n> - d\n\ne", "Q [a⏎b⏎• c⏎• d]\nP [e]"),
            ("> - a\n>\n> - b", "Q [• a⏎• b]"),
            ("> ```\n> x\n> ```\n> y", "Q `[x][⏎y]"),
            ("```rust x\nfn\n\n y\n```", "C rust \"fn\\n\\n y\""),
            ("    code", "C  \"code\""),
        ] {
            assert_eq!(told(markdown), tree, "{markdown}");
        }
    }

    #[test]
    fn what_is_absent_leaves_nothing() {
        for frame in
            ["**{}**", "# {}", "- {}", "> {}", "`{}`", "```\n{}\n```", "[{}](https://x.y)", "1. **{}**", "> - {}"]
        {
            let tree = told(&frame.replace("{}", NOTHING));
            assert!(tree.is_empty() || tree == "Q [•]", "{frame}: {tree}");
        }
        assert_eq!(told(&"a\n**{}**\n{}\nb\n{}".replace("{}", NOTHING)), "P [a⏎b]");
        assert_eq!(told(&"[k]({})".replace("{}", NOTHING)), "P [k]");
    }

    #[test]
    fn a_variable_is_text_wherever_it_stands() {
        let nasty = "*a* _b_ `c` [d](https://e.f) <g> &amp; \\ # h\n\n- i\n> ```\n@j";
        for frame in
            ["{}", "**{}**", "# {}", "- {}", "1. {}", "> {}", "`{}`", "```\n{}\n```", "[{}](https://x.y)", "a_{}_b"]
        {
            let message = message(&frame.replace("{}", &escape(nasty)));
            assert_eq!(message.blocks.len(), 1, "{frame}");
            let text: String = message.blocks[0].texts().collect();
            let kept = if frame.contains('`') { nasty.to_owned() } else { shown(nasty) };
            assert!(text.contains(&kept), "{frame}: {text}");
        }
    }

    proptest! {
        #[test]
        fn any_markdown_is_read(markdown in "([-*_~`#>\\[\\]()!<&;\\\\ \n\t0-9.@a-z]|\\PC){0,60}") {
            message(&markdown);
        }
    }
}
