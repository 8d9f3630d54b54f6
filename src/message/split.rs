//! Parts of a message that a messenger's limits allow, cut on the tree, never on a string.

use std::collections::VecDeque;
use std::mem;

use unicode_segmentation::GraphemeCursor;

use super::{Block, Message, Run};

/// Most parts that one message is sent in. What does not fit is left to the link at the end of the last one.
pub const MOST_PARTS: usize = 4;

/// What something takes of a messenger's limits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Size {
    /// Of the text limit, in the messenger's own units.
    pub units: usize,
    /// Of the limit on styled pieces (entities, elements).
    pub pieces: usize,
}

/// How a messenger counts. Sizes add up: a block takes its frame, its runs and their characters, a part its blocks.
pub trait Measure {
    fn char(&self, c: char) -> usize;
    /// What one run takes besides its characters.
    fn run(&self, run: &Run) -> Size;
    /// What a block takes besides its runs: line ends, a marker, the entity of a quote.
    fn frame(&self, block: &Block) -> Size;
}

/// The most that one part may hold. Each must have room for a frame and one character: over 64 units, over 8 pieces.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub part: Size,
}

impl Message {
    /// The message in at most [`MOST_PARTS`] parts within the limits. Borders of blocks are preferred, then line ends,
    /// spaces, and borders between what a reader sees as one character. Text is lost only where there would be more
    /// parts; then the last ends with [`Message::shortened`].
    pub fn split(self, measure: &impl Measure, limits: Limits) -> Vec<Vec<Block>> {
        let mut rest = Rest { blocks: self.blocks.into(), measure };
        let mut parts = Vec::new();
        while parts.len() + 1 < MOST_PARTS && !rest.blocks.is_empty() {
            parts.push(rest.take(limits.part));
        }
        if rest.fits(limits.part) {
            parts.extend((!rest.blocks.is_empty()).then(|| rest.blocks.into()));
        } else {
            let end = if self.shortened.is_empty() { vec![Run::plain("…")] } else { self.shortened };
            let end = Block::Paragraph(end);
            let taken = rest.size(&end);
            let room = Size {
                units: limits.part.units.saturating_sub(taken.units),
                pieces: limits.part.pieces.saturating_sub(taken.pieces),
            };
            let mut last = rest.take(room);
            last.push(end);
            parts.push(last);
        }
        parts
    }
}

/// What is not yet in a part.
struct Rest<'a, M> {
    blocks: VecDeque<Block>,
    measure: &'a M,
}

impl<M: Measure> Rest<'_, M> {
    fn take(&mut self, limit: Size) -> Vec<Block> {
        let (mut part, mut room) = (Vec::new(), limit);
        while let Some(block) = self.blocks.pop_front() {
            let size = self.size(&block);
            if size.within(room) {
                room = room.less(size);
                part.push(block);
            } else if size.within(limit) || (!part.is_empty() && room.units < limit.units / 2) {
                // It may stand whole, or be cut more seldom, at the start of the next part.
                self.blocks.push_front(block);
                break;
            } else {
                let (head, tail) = self.cut(block, room, part.is_empty());
                part.extend(head);
                self.blocks.push_front(tail);
                break;
            }
        }
        part
    }

    fn fits(&self, limit: Size) -> bool {
        let mut room = limit;
        self.blocks.iter().all(|block| {
            let size = self.size(block);
            let fits = size.within(room);
            room = room.less(size);
            fits
        })
    }

    fn size(&self, block: &Block) -> Size {
        let frame = self.measure.frame(block);
        match block {
            Block::Code { text, .. } => frame.plus(self.text(text)),
            Block::Paragraph(runs) | Block::Item { runs, .. } | Block::Quote(runs) => frame.plus(self.runs(runs)),
        }
    }

    fn runs(&self, runs: &[Run]) -> Size {
        runs.iter().fold(Size::default(), |size, run| size.plus(self.run(run)))
    }

    fn run(&self, run: &Run) -> Size {
        self.measure.run(run).plus(self.text(&run.text))
    }

    fn text(&self, text: &str) -> Size {
        Size { units: text.chars().map(|c| self.measure.char(c)).sum(), pieces: 0 }
    }

    /// Cuts a block that does not fit. `must`: the head takes at least one character, however small the room.
    fn cut(&self, block: Block, room: Size, must: bool) -> (Option<Block>, Block) {
        let room = room.less(self.measure.frame(&block));
        match block {
            Block::Code { language, text } => {
                let mut head = text;
                let tail = head.split_off(self.cut_text(&head, room.units, must));
                let code = |text| Block::Code { language: language.clone(), text };
                ((!head.is_empty()).then(|| code(head)), code(tail))
            }
            Block::Quote(runs) => {
                let (head, tail) = self.cut_runs(runs, room, must);
                ((!head.is_empty()).then_some(Block::Quote(head)), Block::Quote(tail))
            }
            Block::Paragraph(runs) => {
                let (head, tail) = self.cut_runs(runs, room, must);
                ((!head.is_empty()).then_some(Block::Paragraph(head)), Block::Paragraph(tail))
            }
            // The rest of an item has no marker of its own, or it would read as the next item.
            Block::Item { depth, marker, runs } => {
                let (head, tail) = self.cut_runs(runs, room, must);
                if head.is_empty() {
                    (None, Block::Item { depth, marker, runs: tail })
                } else {
                    (Some(Block::Item { depth, marker, runs: head }), Block::Paragraph(tail))
                }
            }
        }
    }

    fn cut_runs(&self, mut runs: Vec<Run>, room: Size, must: bool) -> (Vec<Run>, Vec<Run>) {
        let mut left = room;
        let over = runs.iter().position(|run| {
            let size = self.run(run);
            let fits = size.within(left);
            left = if fits { left.less(size) } else { left };
            !fits
        });
        let Some(over) = over else { return (runs, Vec::new()) };
        let run = self.measure.run(&runs[over]);
        let must = must && over == 0;
        let at = if must || run.within(left) { self.cut_text(&runs[over].text, left.less(run).units, must) } else { 0 };

        // A line end in the runs before is a better place than the middle of a word.
        let in_word = at == 0 || !runs[over].text[..at].ends_with(char::is_whitespace);
        let (over, at) = match (in_word, runs[..over].iter().rposition(|run| run.text.contains('\n'))) {
            (true, Some(earlier)) if 2 * self.runs(&runs[..earlier]).units > room.units => {
                (earlier, runs[earlier].text.rfind('\n').map_or(0, |at| at + 1))
            }
            _ => (over, at),
        };
        let mut tail = runs.split_off(over);
        // Cut inside a run, both halves keep its style.
        if at > 0
            && let Some(first) = tail.first_mut()
        {
            let rest = first.text.split_off(at);
            runs.push(Run { text: mem::replace(&mut first.text, rest), style: first.style, link: first.link.clone() });
            tail.retain(|run| !run.text.is_empty());
        }
        (runs, tail)
    }

    /// The byte at which the text is best cut so that what stands before it takes at most `room` units.
    fn cut_text(&self, text: &str, room: usize, must: bool) -> usize {
        let mut used = 0;
        let most = text.char_indices().find(|(_, c)| {
            used += self.measure.char(*c);
            used > room
        });
        let most = match most {
            None => return text.len(),
            Some((0, c)) => return if must { c.len_utf8() } else { 0 },
            Some((at, _)) => at,
        };
        let head = &text[..most];
        let after = |at: Option<usize>, c: char| at.map(|at| at + c.len_utf8()).filter(|at| *at > most / 2);
        after(head.rfind('\n'), '\n').or_else(|| after(head.rfind(' '), ' ')).unwrap_or_else(|| whole(text, most))
    }
}

/// The last border between graphemes at or before `at`; `at` itself where the nearest is far away.
fn whole(text: &str, at: usize) -> usize {
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    let border = match cursor.is_boundary(text, 0) {
        Ok(true) => return at,
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten(),
        Err(_) => None,
    };
    border.filter(|border| *border > at / 2).unwrap_or(at)
}

impl Size {
    fn within(self, limit: Self) -> bool {
        self.units <= limit.units && self.pieces <= limit.pieces
    }

    fn plus(self, other: Self) -> Self {
        Self { units: self.units + other.units, pieces: self.pieces + other.pieces }
    }

    fn less(self, other: Self) -> Self {
        Self { units: self.units.saturating_sub(other.units), pieces: self.pieces.saturating_sub(other.pieces) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Marker, Style};
    use super::*;

    /// Every character is one unit, every run one piece, every block takes two units.
    struct Plain;

    impl Measure for Plain {
        fn char(&self, _: char) -> usize {
            1
        }
        fn run(&self, _: &Run) -> Size {
            Size { units: 0, pieces: 1 }
        }
        fn frame(&self, _: &Block) -> Size {
            Size { units: 2, pieces: 0 }
        }
    }

    fn split(blocks: Vec<Block>, units: usize) -> Vec<Vec<Block>> {
        Message { blocks, shortened: vec![Run::plain("… more")], ..Message::default() }
            .split(&Plain, Limits { part: Size { units, pieces: 9 } })
    }

    fn paragraph(text: &str) -> Block {
        Block::Paragraph(vec![Run::plain(text)])
    }

    fn told(parts: &[Vec<Block>]) -> Vec<String> {
        let text =
            |part: &Vec<Block>| part.iter().map(|block| block.texts().collect()).collect::<Vec<String>>().join("|");
        parts.iter().map(text).collect()
    }

    #[test]
    fn borders_are_taken_where_a_reader_expects_them() {
        let long = "x".repeat(30);
        for (blocks, parts) in [
            (vec![paragraph("one"), paragraph("two")], vec!["one|two"]),
            (vec![paragraph("eleven here"), paragraph("twelve there")], vec!["eleven here", "twelve there"]),
            (vec![paragraph("a line of text\nand more text")], vec!["a line of text\n", "and more text"]),
            (vec![paragraph("a line of text and more")], vec!["a line of text ", "and more"]),
            (vec![paragraph(&long)], vec![&long[..18], &long[..12]]),
            (vec![paragraph(&format!("{}👨‍👩‍👧‍👦", "x".repeat(15)))], vec!["xxxxxxxxxxxxxxx", "👨‍👩‍👧‍👦"]),
            (
                vec![paragraph(&format!("a{}", "\u{301}".repeat(20)))],
                vec![
                    "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
                    "\u{301}\u{301}\u{301}",
                ],
            ),
        ] {
            assert_eq!(told(&split(blocks, 20)), parts);
        }
    }

    #[test]
    fn the_rest_of_an_item_has_no_second_marker() {
        let item = |text: &str| Block::Item { depth: 0, marker: Marker::Number(3), runs: vec![Run::plain(text)] };
        let parts = split(vec![item("one two three four five")], 20);
        assert_eq!(parts, vec![vec![item("one two three ")], vec![paragraph("four five")]]);
    }

    #[test]
    fn a_message_of_too_many_parts_ends_with_the_way_to_the_whole() {
        let word = |i: usize| paragraph(&format!("paragraph no {i}"));
        assert_eq!(told(&split((0..4).map(word).collect(), 20)).len(), 4, "four parts are sent whole");
        let parts = told(&split((0..5).map(word).collect(), 20));
        assert_eq!(parts, ["paragraph no 0", "paragraph no 1", "paragraph no 2", "paragraph |… more"]);
        assert_eq!(told(&split(vec![paragraph(&"x".repeat(10_000))], 20)).len(), MOST_PARTS);
    }

    #[test]
    fn pieces_are_limited_too() {
        let run = |i: usize| Run { style: Style { bold: i.is_multiple_of(2), ..Style::default() }, ..Run::plain("x") };
        let parts = split(vec![Block::Paragraph((0..20).map(run).collect())], 100);
        assert_eq!(told(&parts), ["xxxxxxxxx", "xxxxxxxxx", "xx"]);
    }

    fn blocks() -> impl Strategy<Value = Vec<Block>> {
        let run = ("[a-z é\u{301}👨\u{200d}\\n]{1,30}", any::<bool>())
            .prop_map(|(text, bold)| Run { style: Style { bold, ..Style::default() }, ..Run::plain(text) });
        let runs = proptest::collection::vec(run, 1..5);
        let block = (runs, 0..4).prop_map(|(runs, kind)| match kind {
            0 => Block::Paragraph(runs),
            1 => Block::Item { depth: 1, marker: Marker::Bullet, runs },
            2 => Block::Quote(runs),
            _ => Block::Code { language: None, text: runs.into_iter().map(|run| run.text).collect() },
        });
        proptest::collection::vec(block, 0..5)
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing_and_keeps_the_limits(blocks in blocks(), units in 24_usize..300) {
            let text = |blocks: &[Block]| blocks.iter().flat_map(Block::texts).collect::<String>();
            let parts = split(blocks.clone(), units);
            let rest = Rest { blocks: Default::default(), measure: &Plain };
            prop_assert!(parts.len() <= MOST_PARTS);
            for part in &parts {
                let size = part.iter().fold(Size::default(), |size, block| size.plus(rest.size(block)));
                prop_assert!(size.within(Size { units, pieces: 9 }), "{size:?}");
                prop_assert!(part.iter().flat_map(Block::texts).all(|text| !text.is_empty()));
            }
            let sent: String = parts.iter().map(|part| text(part)).collect();
            let whole = text(&blocks);
            prop_assert!(sent == whole || sent.strip_suffix("… more").is_some_and(|head| whole.starts_with(head)));
        }
    }
}
