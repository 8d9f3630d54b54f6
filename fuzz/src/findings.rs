//! Findings name places that their files have.

use campanile::cli::check;
use campanile::finding::{Finding, in_lines};

/// `text`: of a file, `None` where it is none of those that were read.
pub fn hold<'t>(found: &[Finding], text: impl Fn(&str) -> Option<&'t [u8]>) {
    for finding in found {
        let Finding { line, column, .. } = *finding;
        let text = text(&finding.file).unwrap_or_else(|| panic!("a file that nobody wrote: {finding:?}"));
        // A column may be the end of its line, a line the end of its file.
        let lines = in_lines(&String::from_utf8_lossy(text));
        let longest = lines.split('\n').nth(line.wrapping_sub(1)).map(|line| line.chars().count() + 1);
        match (line, column) {
            (0, 0) => {}
            _ => assert!(longest.is_some_and(|longest| (1..=longest).contains(&column)), "no such place: {finding:?}"),
        }
        assert!(!finding.message.is_empty(), "{finding:?}");
    }
    check::text(found, false);
    check::json(found).unwrap();
}
