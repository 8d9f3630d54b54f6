//! Every input of the fuzzers' corpora, and every one that once broke something, through the same properties.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod properties;

use properties::{config, reader, review, splitting, template};

#[test]
fn configurations_that_fuzzers_kept() {
    hold("config", config::check);
}

#[test]
fn calls_that_fuzzers_kept() {
    hold("reader", reader::check);
}

#[test]
fn reviews_and_benches_that_fuzzers_kept() {
    hold("review", review::check);
}

#[test]
fn messages_that_fuzzers_kept() {
    hold("splitting", splitting::check);
}

#[test]
fn templates_that_fuzzers_kept() {
    hold("template", template::check);
}

fn hold(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 12, "{} has {} inputs", folder.display(), files.len());
    for file in files {
        let input = fs::read(&file).unwrap();
        let held = std::panic::catch_unwind(|| check(&input));
        assert!(held.is_ok(), "{} breaks it", file.display());
    }
}
