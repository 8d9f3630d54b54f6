//! How rows and texts look in a terminal. Whatever an issue's author wrote is shown, never obeyed.

use std::io::Write;

use serde::Serialize;

use super::{End, Stop};

/// Columns under their headings, as wide as their widest cell.
pub fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> = vec![headings.iter().map(|heading| (*heading).to_owned()).collect()];
    lines.extend(rows.map(|row| row.iter().map(|cell| visible(cell)).collect()));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// One line in which nothing moves a cursor, colours a terminal or turns the direction of reading.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if is_seen(c) { c } else { ' ' }).collect()
}

/// A text of several lines, set off from what is ours.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {}", visible(line)).trim_end().to_owned() + "\n").collect()
}

/// Controls, and the marks by which text runs from right to left.
fn is_seen(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The result of a command with `--json`.
pub fn json_line(out: &mut dyn Write, value: &impl Serialize) -> Result<End, Stop> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(End::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_must() {
        let rows = [vec!["1".into(), "ключ".into()], vec!["23456".into(), String::new()]];
        assert_eq!(table(&["ID", "WHAT"], rows.into_iter()), "ID     WHAT\n1      ключ\n23456\n");
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\tc\u{202e}d\u{9b}e"), "a [2Jb c d e");
        assert_eq!(indented("a\r\n\nb\u{7}"), "    a\n\n    b\n");
    }
}
