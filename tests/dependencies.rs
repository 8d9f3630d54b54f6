//! What `deny.toml` says of licences, bans and duplicates, held without cargo-deny (which knows advisories besides).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

struct Package {
    name: String,
    version: String,
    licence: String,
}

/// What is linked or built with on this machine, with every feature.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--all-features", "--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: BTreeSet<&str> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    let package = |line: &str| {
        let (package, licence) = line.split_once('|').unwrap();
        let [name, version] = *package.split(' ').take(2).collect::<Vec<_>>() else { panic!("{line}") };
        Package { name: name.into(), version: version.trim_start_matches('v').into(), licence: licence.into() }
    };
    lines.into_iter().map(package).collect()
}

/// The entries of one list of deny.toml, the first quoted word of each line.
fn list(name: &str) -> Vec<&'static str> {
    let text = include_str!("../deny.toml").split_once(&format!("\n{name} = [\n")).unwrap().1;
    text.split("\n]").next().unwrap().lines().filter_map(|line| line.split('"').nth(1)).collect()
}

#[test]
fn every_licence_is_allowed() {
    let allowed = list("allow");
    let allowed = |licence: &str| allowed.contains(&licence.trim_matches(['(', ')', ' ']));
    for Package { name, licence, .. } in packages() {
        let fits =
            licence.split(" AND ").all(|clause| clause.split(" OR ").flat_map(|one| one.split('/')).any(allowed));
        assert!(fits, "{name}: {licence}");
    }
}

#[test]
fn nothing_stands_twice_but_what_deny_toml_names() {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for Package { name, version, .. } in packages() {
        versions.entry(name).or_default().push(version);
    }
    let known = |name: &str, version: &str| {
        list("skip").iter().any(|skip| {
            let (crate_name, skipped) = skip.split_once('@').unwrap();
            crate_name == name && version.starts_with(&format!("{skipped}."))
        })
    };
    for (name, versions) in &versions {
        let counted: Vec<_> = versions.iter().filter(|version| !known(name, version)).collect();
        assert!(counted.len() <= 1, "{name}: {counted:?}");
    }
    for one in ["hyper", "reqwest", "rustls", "tokio", "tower", "http"] {
        assert_eq!(versions.get(one).map(Vec::len), Some(1), "{one}: {:?}", versions.get(one));
    }
}

#[test]
fn ring_is_the_only_cryptography() {
    let names: BTreeSet<_> = packages().into_iter().map(|package| package.name).collect();
    let banned: Vec<_> = list("deny").into_iter().filter(|banned| names.contains(*banned)).collect();
    assert!(banned.is_empty() && names.contains("ring"), "{banned:?}");
}
