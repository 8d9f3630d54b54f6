//! The imports between the folders of `src/` point one way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// May know what stands to the right, and whatever that may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("cli", &["app", "messenger::slack::format", "messenger::telegram::format"]),
    ("app", &["config", "http", "admin", "lane", "source", "link", "messenger", "simulator"]),
    ("config", &["route", "template", "messenger", "outbox", "source", "lane", "link", "tracker"]),
    ("http", &["source", "admin", "link"]),
    ("source", &["route", "outbox"]),
    ("link", &["route", "outbox"]),
    ("admin", &["outbox", "template", "route", "messenger::slack::format", "messenger::telegram::format"]),
    ("lane", &["outbox", "template", "messenger", "route", "tracker", "host"]),
    ("messenger", &["layers", "transport"]),
    ("tracker", &["layers", "transport"]),
    ("host", &["layers", "transport"]),
    ("route", &[]),
    ("template", &[]),
    ("outbox", &[]),
    ("layers", &[]),
    ("transport", &[]),
];
/// Known by all; of each other they know nothing, but that time rules the lifecycle, that YAML is read to findings and
/// that a delivery is an event's.
const COMMON: &[&str] =
    &["event", "message", "delivery", "finding", "clock", "telemetry", "tls", "lifecycle", "yaml", "key"];

#[test]
fn imports_point_one_way() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files(Path::new("src")) {
        let path = file.strip_prefix("src").unwrap().with_extension("");
        let part = path.iter().next().unwrap().to_str().unwrap().to_owned();
        seen.insert(part.clone());
        let depth = path.iter().filter(|name| *name != "mod").count();
        for (line, text) in (1..).zip(std::fs::read_to_string(&file).unwrap().lines()) {
            let at = format!("{}:{line}", file.display());
            let climbs = text.matches("super::").count();
            if climbs > depth || text.contains("crate::{") || text.starts_with("use super::") && depth < 2 {
                wrong.push(format!("{at}: names another part by a way this test cannot read"));
            }
            let known = text.split("crate::").skip(1).map(|rest| rest.split([';', '(', ',', ' ', '{']).next().unwrap());
            let known = known.filter(|known| !allowed(&arrows, &part, known));
            wrong.extend(known.map(|known| format!("{at}: `{part}` must not know `{known}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let placed: BTreeSet<_> = ARROWS.iter().map(|(part, _)| *part).chain(COMMON.iter().copied()).collect();
    let unplaced: Vec<_> = seen.iter().filter(|part| !placed.contains(part.as_str())).collect();
    assert_eq!(unplaced, ["lib", "main", "simulator"], "a part without a place in the order");
}

fn allowed(arrows: &BTreeMap<&str, &[&str]>, part: &str, known: &str) -> bool {
    let root = known.split("::").next().unwrap();
    match part {
        _ if root == part => true,
        "main" => root == "cli",
        "simulator" | "lifecycle" => root == "clock",
        "yaml" => root == "finding",
        "delivery" => root == "event",
        _ if COMMON.contains(&part) => false,
        _ if COMMON.contains(&root) => true,
        _ => reaches(arrows, part, known),
    }
}

fn reaches(arrows: &BTreeMap<&str, &[&str]>, part: &str, known: &str) -> bool {
    let right = arrows.get(part).copied().unwrap_or_default();
    right.iter().any(|next| {
        *next == known.split("::").next().unwrap() || known.starts_with(next) || reaches(arrows, next, known)
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
