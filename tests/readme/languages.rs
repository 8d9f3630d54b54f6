//! Two languages, one text: what can be compared without understanding them is the same in both.

use regex::Regex;

use super::{PAGES, section, words};

const FIGURES: [&str; 2] = ["Figures", "Цифры"];

/// The code blocks without their comments, which are in the page's language.
fn code(page: &str) -> Vec<String> {
    let comment = Regex::new(r"(?m)[ \t]+# .*$").unwrap();
    page.split("```").skip(1).step_by(2).map(|block| comment.replace_all(block, "").into_owned()).collect()
}

/// The cells of all tables, row by row.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn the_code_is_the_same() {
    let [english, russian] = PAGES.map(|(_, page)| code(page));
    assert!(english.len() > 25, "{}", english.len());
    for (english, russian) in english.iter().zip(&russian) {
        assert_eq!(english, russian);
    }
    assert_eq!(english.len(), russian.len());
}

#[test]
fn the_tables_are_the_same() {
    let [english, russian] = PAGES.map(|(_, page)| rows(page));
    assert!(english.len() > 100, "{}", english.len());
    for (english, russian) in english.iter().zip(&russian) {
        assert_eq!(words(english[0]), words(russian[0]), "{english:?} {russian:?}");
        assert_eq!(english.len(), russian.len(), "{english:?} {russian:?}");
    }
    assert_eq!(english.len(), russian.len());
}

/// As digits alone: 25,473 and 25 473 are one number.
#[test]
fn the_figures_are_the_same() {
    let digits = |cell: &&str| cell.chars().filter(char::is_ascii_digit).collect::<String>();
    let [english, russian] = PAGES.map(|(_, page)| {
        let of_row = |row: Vec<&str>| row.iter().map(digits).collect::<Vec<_>>();
        rows(section(page, FIGURES)).into_iter().map(of_row).collect::<Vec<_>>()
    });
    assert!(english.len() > 10, "{}", english.len());
    assert_eq!(english, russian);
}

#[test]
fn each_leads_to_the_other() {
    for ((_, page), (other, _)) in PAGES.iter().zip(PAGES.iter().rev()) {
        let top = page.split("\n## ").next().unwrap();
        assert!(top.contains(&format!("]({other})")), "{other}");
    }
}
