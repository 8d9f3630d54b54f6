//! README keeps its word, in both languages: its files, functions, pictures and links exist, its references are whole, its
//! configuration works.

mod languages;
mod references;

use std::path::Path;

use regex::Regex;

use crate::harness::child;

const PAGES: [(&str, &str); 2] =
    [("README.md", include_str!("../README.md")), ("README.ru.md", include_str!("../README.ru.md"))];
/// Some hosts show no picture that is larger, and every clone carries it.
const LARGEST_PICTURE: u64 = 150_000;

/// What stands under a title, by its words in either language.
fn section<'a>(page: &'a str, titles: [&str; 2]) -> &'a str {
    let begin = titles.iter().find_map(|title| page.split_once(&format!("\n## {title}\n"))).unwrap().1;
    begin.split("\n## ").next().unwrap()
}

/// A page without its code blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// The texts in backticks, but for the code blocks.
fn words(text: &str) -> Vec<String> {
    prose(text).split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_there(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

#[test]
fn its_least_configuration_is_accepted() {
    for (_, page) in PAGES {
        let yaml = page.split("```yaml bells.yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bells.yaml");
        std::fs::write(&path, yaml).unwrap();
        let output = child::run(&["check", "--config", path.to_str().unwrap()], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_files_it_names_exist() {
    for (name, page) in PAGES {
        let folders = ["src/", "tests/", "deploy/", "web/"];
        let named: Vec<_> =
            words(page).into_iter().filter(|word| folders.iter().any(|of| word.starts_with(of))).collect();
        let gone: Vec<_> = named.iter().filter(|path| !is_there(path)).collect();
        assert!(gone.is_empty(), "{name}: {gone:?}");
        assert!(named.len() > 40, "{name}: {}", named.len());
    }
}

/// A function stands in the file that was named last before it.
#[test]
fn the_functions_of_its_walkthroughs_stand_in_the_files_beside_them() {
    for (name, page) in PAGES {
        let (mut file, mut text, mut count) = (String::new(), String::new(), 0);
        for word in words(section(page, ["How it works", "Как это устроено"])) {
            if word.starts_with("src/") {
                text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&word)).unwrap();
                file = word;
            } else if let Some(function) = word.strip_suffix("()") {
                let is_there = Regex::new(&format!(r"\bfn {function}[(<]")).unwrap().is_match(&text);
                assert!(is_there, "{name}: `{file}` has no `{function}`");
                count += 1;
            }
        }
        assert!(count > 20, "{name}: {count}");
    }
}

/// As GitHub makes them of titles.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn its_links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)]+)\)").unwrap();
    for (name, page) in PAGES {
        let text = prose(page);
        let titles: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        let anchors: Vec<_> = titles.iter().map(|title| anchor(title.trim_start_matches('#').trim())).collect();
        let mut count = 0;
        for target in link.captures_iter(&text).map(|found| found.get(1).unwrap().as_str()) {
            let leads = match target.strip_prefix('#') {
                Some(of) => anchors.iter().any(|anchor| anchor == of),
                None => target.contains("://") || target.contains("{{") || target.contains('…') || is_there(target),
            };
            assert!(leads, "{name}: {target}");
            count += 1;
        }
        assert!(count > 30, "{name}: {count}");
    }
}

/// A page in the Debian package links to what lies beside it there.
#[test]
fn the_package_has_what_its_links_name() {
    let link = Regex::new(r"\]\(([^)#]+)\)").unwrap();
    let (package, folder) = (include_str!("../Cargo.toml"), "usr/share/doc/campanile/");
    let mut count = 0;
    for (name, page) in PAGES {
        let text = prose(page);
        let targets = link.captures_iter(&text).map(|found| found.get(1).unwrap().as_str());
        for target in targets.filter(|target| is_there(target)).chain([name]) {
            let beside = &target[..target.rfind('/').map_or(0, |end| end + 1)];
            let asset = format!("[\"{target}\", \"{folder}{beside}\", \"644\"]");
            assert!(package.contains(&asset), "{name}: Cargo.toml has no {asset}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn its_pictures_are_small_and_all_are_shown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/readme");
    let mut count = 0;
    for picture in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = format!("web/readme/{}", picture.file_name().to_str().unwrap());
        assert!(picture.metadata().unwrap().len() < LARGEST_PICTURE, "{path}");
        assert!(PAGES.iter().any(|(_, page)| page.contains(&format!("]({path})"))), "{path} is shown nowhere");
        count += 1;
    }
    assert_eq!(count, 4);
}
