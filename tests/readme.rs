//! README keeps its word: its configuration works, its files exist, its metrics are the real ones.

use std::collections::BTreeSet;

use campanile::cli::Cli;
use clap::CommandFactory;

use crate::harness::{Setup, child, issue};

const README: &str = include_str!("../README.md");

#[test]
fn its_least_configuration_is_accepted() {
    let yaml = README.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bells.yaml");
    std::fs::write(&path, yaml).unwrap();
    let output = child::run(&["check", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_files_it_names_exist() {
    let named = README.split('`').filter(|word| word.starts_with("src/") || word.starts_with("tests/"));
    let mut count = 0;
    for path in named {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        assert!(std::fs::metadata(&file).is_ok(), "{path}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}

/// Every command with every flag that is its own, and none that does not exist.
#[test]
fn the_commands_it_names_are_the_commands_there_are() {
    let table = README.split("\n## Commands").nth(1).unwrap().split("\n## ").next().unwrap();
    let told: BTreeSet<_> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split([' ', '`']).next()).collect();
    let cli = Cli::command();
    let built: BTreeSet<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(told, built);
    let all = cli.get_subcommands().flat_map(|command| std::iter::once(command).chain(command.get_subcommands()));
    let flags = all.flat_map(|command| command.get_opts().filter_map(|flag| flag.get_long()));
    let untold: Vec<_> = flags.filter(|flag| !table.contains(&format!("--{flag}"))).collect();
    assert!(untold.is_empty(), "{untold:?}");
}

#[test]
fn it_tells_of_every_helper_and_path_and_its_templates_are_accepted() {
    let section = README.split("\n## Templates").nth(1).unwrap().split("\n## ").next().unwrap();
    let helpers: Vec<_> = campanile::template::helpers().collect();
    assert!(helpers.len() > 20);
    for name in helpers {
        let told = ["{{", "{{#", "("].iter().any(|open| section.contains(&format!("`{open}{name} ")));
        assert!(told, "README does not tell of `{name}`");
    }
    let routes = README.split("\n## Routes").nth(1).unwrap().split("\n## ").next().unwrap();
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
        assert!(told, "README does not tell of `{path}`");
    }
    let folder = tempfile::tempdir().unwrap();
    let examples = README.split("```handlebars ").skip(1).map(|rest| rest.split_once('\n').unwrap());
    let mut count = 0;
    for (name, text) in examples {
        std::fs::write(folder.path().join(name), text.split("\n```").next().unwrap()).unwrap();
        count += 1;
    }
    let (_, findings) = campanile::template::Templates::load(Some(folder.path()));
    assert_eq!((findings, count), (vec![], 4));
}

#[tokio::test]
async fn the_metrics_it_names_exist() {
    let world = Setup::default().start().await;
    world.accepted(&issue("TEST-1", "created")).await;
    world.until_all("delivered").await;
    let page = world.metrics().await;
    let table = README.split("\n## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let made = concat!(include_str!("../src/telemetry.rs"), include_str!("../src/admin/metrics.rs"));
    for name in table.split('`').filter_map(|word| word.strip_prefix("campanile_")) {
        let stem = name.split('{').next().unwrap().trim_end_matches("_total");
        let is_made = |stem| made.contains(&format!("\"{stem}\""));
        assert!(is_made(stem) || stem.strip_suffix("_seconds").is_some_and(is_made), "{name}");
    }
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let untold: Vec<_> = families.filter(|family| !table.contains(family)).collect();
    assert!(untold.is_empty(), "README does not tell of {untold:?}");
}
