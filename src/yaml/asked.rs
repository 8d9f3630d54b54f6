//! What readers asked for, for the test that holds the schema against them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

thread_local! {
    /// The keys that the readers of this thread asked for, by the first word of what they read.
    pub static ASKED: RefCell<BTreeMap<String, BTreeSet<String>>> = RefCell::default();
}

/// Notes what a reader asked for: "`server`", "source `x`", "route `x`".
pub fn note(what: &str, keys: &[&str]) {
    let section = what.split(' ').next().unwrap().trim_matches('`').to_owned();
    ASKED.with_borrow_mut(|asked| asked.entry(section).or_default().extend(keys.iter().map(|key| (*key).to_owned())));
}
