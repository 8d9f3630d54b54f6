//! The references are whole and tell of nothing that is not: commands, keys, templates, metrics, a trigger's body, the store.

use std::collections::{BTreeMap, BTreeSet};

use campanile::cli::Cli;
use clap::CommandFactory;
use regex::Regex;
use serde_json::{Value, json};

use super::{PAGES, section, words};
use crate::harness::{Setup, issue};

const COMMANDS: [&str; 2] = ["Commands", "Команды"];
const CONFIGURATION: [&str; 2] = ["Configuration", "Настройка"];
const ROUTES: [&str; 2] = ["Routes", "Маршруты"];
const TEMPLATES: [&str; 2] = ["Templates", "Шаблоны"];
const METRICS: [&str; 2] = ["Metrics", "Метрики"];

/// Every command with every flag that is its own, and none that does not exist.
#[test]
fn the_commands_it_names_are_the_commands_there_are() {
    let cli = Cli::command();
    let built: BTreeSet<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
    for (name, page) in PAGES {
        let table = section(page, COMMANDS);
        let told: BTreeSet<_> =
            table.lines().filter_map(|line| line.strip_prefix("| `")?.split([' ', '`']).next()).collect();
        assert_eq!(told, built, "{name}");
        let all = cli.get_subcommands().flat_map(|command| std::iter::once(command).chain(command.get_subcommands()));
        let flags = all.flat_map(|command| command.get_opts().filter_map(|flag| flag.get_long()));
        let untold: Vec<_> = flags.filter(|flag| !table.contains(&format!("--{flag}"))).collect();
        assert!(untold.is_empty(), "{name}: {untold:?}");
    }
}

/// The rows of a text's first table: the words of the first cell, and the whole row.
fn first_table(text: &str) -> impl Iterator<Item = (Vec<String>, &str)> {
    let table = text.split("\n\n").find(|part| part.trim_start().starts_with("| ")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| (words(row.trim_start_matches("| ").split(" | ").next().unwrap()), row))
}

/// Where a configuration can say something, with what is to be read of it there: the default, an object's members.
fn keys(schema: &Value, path: &str, found: &mut BTreeMap<String, Vec<String>>) {
    let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(members) = schema["properties"].as_object() {
        members.iter().for_each(|(name, member)| keys(member, &inner(name), found));
    } else if schema["additionalProperties"].is_object() {
        keys(&schema["additionalProperties"], &inner("<name>"), found);
    } else if schema["items"]["properties"].is_object() {
        keys(&schema["items"], path, found);
    } else {
        let mut told: Vec<_> =
            schema.get("default").map(|default| format!("| `{}` |", text(default))).into_iter().collect();
        let forms = schema["oneOf"].as_array().into_iter().flatten();
        for (name, member) in forms.filter_map(|form| form["properties"].as_object()).flatten() {
            told.extend(member.get("default").map(|default| format!("{name}: {default}")));
        }
        found.insert(path.to_owned(), told);
    }
}

#[test]
fn it_tells_of_every_key_and_its_default_and_of_no_other() {
    let schema: Value = serde_json::from_str(include_str!("../../src/config/schema.json")).unwrap();
    let mut all = BTreeMap::new();
    keys(&schema, "", &mut all);
    assert!(all.len() > 40, "{}", all.len());
    for (name, page) in PAGES {
        let of_routes = first_table(section(page, ROUTES));
        let of_routes = of_routes.map(|(keys, row)| (keys.iter().map(|key| format!("routes.{key}")).collect(), row));
        let told: BTreeMap<_, _> = first_table(section(page, CONFIGURATION))
            .chain(of_routes)
            .flat_map(|(keys, row): (Vec<String>, _)| keys.into_iter().map(move |key| (key, row)))
            .filter(|(key, _)| key != "routes") // has a section of its own
            .collect();
        assert_eq!(told.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>(), "{name}");
        for (key, wanted) in &all {
            let missing: Vec<_> = wanted.iter().filter(|text| !told[key].contains(*text)).collect();
            assert!(missing.is_empty(), "{name}: {key} without {missing:?}");
        }
    }
}

#[test]
fn it_tells_of_every_helper_and_path_and_its_templates_are_accepted() {
    let helpers: Vec<_> = campanile::template::helpers().collect();
    assert!(helpers.len() > 20);
    for (page_name, page) in PAGES {
        let (templates, routes) = (section(page, TEMPLATES), section(page, ROUTES));
        for name in &helpers {
            let told = ["{{", "{{#", "("].iter().any(|open| templates.contains(&format!("`{open}{name} ")));
            assert!(told, "{page_name} does not tell of `{name}`");
        }
        for path in campanile::event::PATHS.iter().map(|path| path.trim_end_matches(".**")) {
            let mut rows = routes.lines().filter(|line| line.starts_with("| `"));
            let (parent, member) = path.rsplit_once('.').unwrap_or((path, ""));
            let (whole, last) = (format!("`{path}.…`"), parent.rsplit('.').next().unwrap());
            let told = rows.any(|row| {
                let names = [format!("`{parent}.`"), format!("`{last}.`"), format!("`{parent}`")];
                row.contains(&whole)
                    || names.iter().any(|name| row.contains(name))
                        && [format!("`{member}`"), format!("`{member}.…`")].iter().any(|member| row.contains(member))
            });
            assert!(told, "{page_name} does not tell of `{path}`");
        }
        let folder = tempfile::tempdir().unwrap();
        let examples = page.split("```handlebars ").skip(1).map(|rest| rest.split_once('\n').unwrap());
        let mut count = 0;
        for (name, text) in examples {
            std::fs::write(folder.path().join(name), text.split("\n```").next().unwrap()).unwrap();
            count += 1;
        }
        let (_, findings) = campanile::template::Templates::load(Some(folder.path()));
        assert_eq!((findings, count), (vec![], 5), "{page_name}");
    }
}

#[tokio::test]
async fn the_metrics_it_names_exist() {
    let world = Setup::default().start().await;
    world.accepted(&issue("TEST-1", "created")).await;
    world.until_all("delivered").await;
    let metrics = world.metrics().await;
    let families: Vec<_> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let made = concat!(include_str!("../../src/telemetry.rs"), include_str!("../../src/admin/metrics.rs"));
    let named = Regex::new(r"campanile_([a-z_]+)").unwrap();
    for (page_name, page) in PAGES {
        let untold: Vec<_> = families.iter().filter(|family| !section(page, METRICS).contains(**family)).collect();
        assert!(untold.is_empty(), "{page_name} does not tell of {untold:?}");
        // Everywhere on the page: an alert on a name that does not exist never fires.
        let pages_own = page.replace("target/debian/campanile_", "");
        for name in named.captures_iter(&pages_own).map(|found| found.get(1).unwrap().as_str()) {
            let stem = name.trim_end_matches("_total");
            let is_made = |stem| made.contains(&format!("\"{stem}\""));
            assert!(is_made(stem) || stem.strip_suffix("_seconds").is_some_and(is_made), "{page_name}: {name}");
        }
    }
}

/// The body that a trigger should have, as it is when Tracker has put values for its variables.
#[tokio::test]
async fn the_body_of_its_trigger_is_read_strictly() {
    let world = Setup::default().start().await;
    for (name, page) in PAGES {
        let body = page.split("```text\n{").nth(1).unwrap().split("```").next().unwrap();
        let mut body =
            format!("{{{body}").replace("{{issue.key}}", if name == "README.md" { "TEST-1" } else { "TEST-2" });
        for (variable, value) in [
            ("{{issue.summary.json}}", r#""It \"burns\"\n""#),
            ("{{issue.author.login.json}}", r#""anna""#),
            ("{{currentUser.login.json}}", r#""ivan""#),
            ("{{currentDateTime.iso8601}}", "2026-05-12T09:15:02.339Z"),
        ] {
            assert!(body.contains(variable), "{name}: {variable}");
            body = body.replace(variable, value);
        }
        let id = world.accepted(&serde_json::from_str(&body).unwrap()).await;
        let event = &world.api(&format!("/api/v1/events/{id}")).await["event"]["document"];
        assert_eq!(event["event"]["reading"], "strict", "{event}");
        assert_eq!(event["event"]["degraded"], false, "{event}");
        assert_eq!(event["event"]["kind"], "issue.status_changed");
        assert_eq!(event["event"]["at"], "2026-05-12T09:15:02.339Z");
        assert_eq!(event["issue"]["status"]["key"], "readyForTest");
        assert_eq!(event["issue"]["summary"], "It \"burns\"\n");
        assert_eq!(event["actor"]["login"], "ivan");
    }
}

#[tokio::test]
async fn what_it_asks_the_store_about_unreadable_calls_is_answered() {
    let world = Setup::default().start().await;
    assert_eq!(world.trigger(&json!({"summary": "It burns"})).await.status, 400);
    let store = rusqlite::Connection::open(world.folder.path().join("data/campanile.db")).unwrap();
    for (name, page) in PAGES {
        let question = page.split("sqlite3 -readonly data/campanile.db \\\n  \"").nth(1).unwrap();
        let head: String = store.query_row(question.split('"').next().unwrap(), [], |row| row.get(3)).unwrap();
        assert_eq!(head, r#"{"summary":"It burns"}"#, "{name}");
    }
}
