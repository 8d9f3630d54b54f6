use super::{Link, Run, Style};

/// Collects the text of one block. Neighbouring text of one style and one link becomes one run; a line break that
/// nothing stands before or after is no break, so what is absent leaves no empty lines.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Vec<Run>,
    /// A break was asked for and waits for text to stand before.
    breaks: bool,
}

impl Runs {
    pub fn push(&mut self, text: &str, style: Style, link: Option<&Link>) {
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.breaks) && !self.runs.is_empty() {
            let inside = self.runs.last().is_some_and(|last| last.style == style && last.link.as_ref() == link);
            if inside { self.append("\n", style, link) } else { self.append("\n", Style::default(), None) }
        }
        self.append(text, style, link);
    }

    /// Starts a new line before the next text.
    pub fn break_line(&mut self) {
        self.breaks = true;
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs so far; it is empty afterwards.
    pub fn take(&mut self) -> Vec<Run> {
        self.breaks = false;
        std::mem::take(&mut self.runs)
    }

    fn append(&mut self, text: &str, style: Style, link: Option<&Link>) {
        match self.runs.last_mut() {
            Some(last) if last.style == style && last.link.as_ref() == link => last.text.push_str(text),
            _ => self.runs.push(Run { text: text.to_owned(), style, link: link.cloned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_stand_only_between_texts() {
        let bold = Style { bold: true, ..Style::default() };
        let mut runs = Runs::default();
        runs.break_line();
        runs.push("a", bold, None);
        runs.break_line();
        runs.push("", bold, None);
        runs.break_line();
        runs.push("b", bold, None);
        runs.break_line();
        runs.push("c", Style::default(), None);
        runs.break_line();
        assert_eq!(runs.take(), vec![Run { text: "a\nb".into(), style: bold, link: None }, Run::plain("\nc")]);
        assert!(runs.is_empty());
    }
}
