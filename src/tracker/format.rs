//! A message as Yandex Flavoured Markdown, which Tracker's comments are written in. Text is text: whatever an author
//! wrote becomes neither markup nor a mention.

use crate::message::{Block, Marker, Message, Run};

/// The comment that a template's message makes. Its buttons become links under it; what only messengers know is left
/// out.
pub fn markdown(message: &Message) -> String {
    let mut out = String::new();
    let mut last: Option<&Block> = None;
    for block in &message.blocks {
        out.push_str(match (last, block) {
            (None, _) => "",
            (Some(Block::Item { .. }), Block::Item { .. }) => "\n",
            _ => "\n\n",
        });
        // An item that is too deep for the one before would be code.
        let deepest = match last {
            Some(Block::Item { depth, .. }) => depth + 1,
            _ => 0,
        };
        write(block, deepest, &mut out);
        last = Some(block);
    }
    let buttons = message.buttons.iter().map(|button| linked(&text(button.text(), true), button.link().as_str()));
    let buttons: Vec<_> = buttons.collect();
    if !buttons.is_empty() {
        out.push_str(if out.is_empty() { "" } else { "\n\n" });
        out.push_str(&buttons.join(" · "));
    }
    out
}

fn write(block: &Block, deepest: u8, out: &mut String) {
    match block {
        Block::Paragraph(runs) => out.push_str(&lines(runs, "")),
        Block::Quote(all) => {
            out.push_str("> ");
            out.push_str(&lines(all, "> "));
        }
        Block::Item { depth, marker, runs } => {
            let indentation = "    ".repeat((*depth).min(deepest).into());
            let marker = match marker {
                Marker::Bullet => "-".to_owned(),
                Marker::Number(number) => format!("{}.", number % 1_000_000_000), // nine digits are a list's longest
            };
            out.push_str(&format!("{indentation}{marker} "));
            out.push_str(&lines(runs, &format!("{indentation}    ")));
        }
        Block::Code { language, text } => {
            let fence = fence(text, 3);
            let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_');
            let language: String = language.iter().flat_map(|language| language.chars()).take_while(plain).collect();
            out.push_str(&format!("{fence}{language}\n{}\n{fence}", text.replace('\r', "")));
        }
    }
}

/// Runs, each line but the first behind `front`. There are no empty lines: what stands after one could be a heading or
/// code.
fn lines(runs: &[Run], front: &str) -> String {
    let mut lines = vec![String::new()];
    for run in runs {
        for (n, text) in run.text.split(['\n', '\r']).enumerate() {
            if n > 0 {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                let text = if line.is_empty() { text.trim_start() } else { text };
                // Two neighbouring marks would be read as one.
                let styled = styled(text, run, line.is_empty());
                if line.ends_with(is_mark) && styled.starts_with(is_mark) {
                    line.push(NOTHING);
                }
                line.push_str(&styled);
            }
        }
    }
    let lines = lines.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty());
    // Two blanks: here a line ends.
    lines.collect::<Vec<_>>().join(&format!("  \n{front}"))
}

/// It is not seen, and it is neither a blank nor a sign, so that what stands beside it is.
const NOTHING: char = '\u{2060}';

fn is_mark(c: char) -> bool {
    matches!(c, '*' | '~' | '`')
}

/// One line of one run. `begins`: it stands at the beginning of a line.
fn styled(line: &str, run: &Run, begins: bool) -> String {
    let whole = line.trim();
    if whole.is_empty() {
        return line.chars().map(|_| ' ').collect();
    }
    let (front, end) = (&line[..line.len() - line.trim_start().len()], &line[line.trim_end().len()..]);
    let style = run.style;
    let marks = match (style.bold, style.italic) {
        (true, true) => "***",
        (true, false) => "**",
        (false, true) => "*",
        (false, false) => "",
    };
    let marks: Vec<_> =
        [marks, if style.strike { "~~" } else { "" }].into_iter().filter(|mark| !mark.is_empty()).collect();
    let mut out = match style.code && run.link.is_none() {
        true => code(whole),
        false => {
            let inner = text(whole, begins && marks.is_empty() && run.link.is_none());
            marks.iter().rev().fold(inner, |inner, mark| {
                let nothing =
                    |edge: Option<char>| if edge.is_some_and(char::is_alphanumeric) { "" } else { "\u{2060}" };
                let (left, right) = (nothing(inner.chars().next()), nothing(inner.chars().next_back()));
                format!("{mark}{left}{inner}{right}{mark}")
            })
        }
    };
    if let Some(link) = &run.link {
        out = linked(&out, link.as_str());
    }
    format!("{front}{out}{end}")
}

fn linked(text: &str, target: &str) -> String {
    let mut url = String::with_capacity(target.len());
    for c in target.chars() {
        match c {
            '(' | ')' | '<' | '>' | '[' | ']' | '{' | '}' | '\\' | '`' | '|' | '^' | '$' | '"' | '\'' | ' ' => {
                url.push_str(&format!("%{:02X}", c as u32));
            }
            '&' => url.push_str("\\&"), // else `&copy;` would be a sign
            c => url.push(c),
        }
    }
    format!("[{text}]({url})")
}

fn code(text: &str) -> String {
    let fence = fence(text, 1);
    let blank = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{blank}{}{blank}{fence}", text.replace(char::is_control, " "))
}

/// More backticks than stand together anywhere in the text, and so many at least.
fn fence(text: &str, least: usize) -> String {
    let most = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(least.max(most + 1))
}

/// With every sign that could be markup escaped, and a mention broken. `begins`: at the beginning of a line more signs
/// are.
fn text(text: &str, begins: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut numbers = begins;
    let mut chars = text.chars().enumerate().peekable();
    while let Some((n, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let is_sign = match c {
            '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '(' | ')' | '#' | '>' | '<' | '|' | '{' | '}' | '!' | '^'
            | '$' | '&' | '=' | '+' | '%' => true,
            '-' => begins && n == 0 || next == Some('-'),
            '.' => numbers && n > 0,
            // `:smile:`
            ':' => {
                begins && n == 0
                    || next.is_some_and(|next| next.is_alphanumeric() || matches!(next, ':' | '+' | '-' | '_'))
            }
            _ => false,
        };
        numbers &= c.is_ascii_digit();
        if is_sign {
            out.push('\\');
        }
        match c {
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        if c == '@' {
            out.push(NOTHING);
        }
    }
    out
}

#[cfg(test)]
mod tests;
