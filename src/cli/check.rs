//! `campanile check`: everything that is wrong with a configuration, at once, without starting anything.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::config::{Config, is_path, is_variable, load};
use crate::finding::{Finding, Severity, in_lines};

/// All findings about the configuration at `path`, in its order; secrets that are not set are warnings.
/// `checks` gives what other parts find, `env` the environment.
pub fn check(
    path: &Path,
    checks: &dyn Fn(&Config) -> Vec<Finding>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let all = |config: &Config| {
        let mut findings = checks(config);
        findings.extend(config.check_secrets(env, Severity::Warning));
        findings.extend(config.without_routes());
        findings
    };
    load(path, &all).map_or_else(|findings| findings, |loaded| loaded.warnings)
}

/// 0, or 1 when a finding is an error.
pub fn exit_code(findings: &[Finding]) -> u8 {
    findings.iter().any(|finding| finding.severity == Severity::Error).into()
}

/// `[{file, line, column, severity, message, hint}]`, as `--json` prints it.
pub fn json(findings: &[Finding]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(findings)
}

/// For people: each finding with its line and a caret, then the sum. Lines that may hold a secret are not shown.
pub fn text(findings: &[Finding], styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut sources = HashMap::new();
    let mut text = String::new();
    for finding in findings {
        let source = sources.entry(&finding.file).or_insert_with(|| read(Path::new(&finding.file)));
        // Counted otherwise another line would be shown, perhaps one with a secret.
        let source = in_lines(&String::from_utf8_lossy(source));
        let veiled = findings.iter().any(|f| f.veiled && (&f.file, f.line) == (&finding.file, finding.line));
        let line = source.lines().nth(finding.line.wrapping_sub(1)).filter(|line| !veiled && may_show(line));
        text += &renderer.render(&[report(finding, line)]);
        text += "\n\n";
    }
    text + &sum(findings) + "\n"
}

/// What a file holds, where that can be looked at again: a pipe would wait for somebody to write.
fn read(path: &Path) -> Vec<u8> {
    if path.is_file() { std::fs::read(path).unwrap_or_default() } else { Vec::new() }
}

fn report<'f>(finding: &'f Finding, line: Option<&'f str>) -> annotate_snippets::Group<'f> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(finding.message.as_str());
    let group = match line {
        Some(line) => {
            let marked = AnnotationKind::Primary.span(word_at(line, finding.column));
            title.element(Snippet::source(line).line_start(finding.line).path(finding.file.as_str()).annotation(marked))
        }
        None if finding.line == 0 => title.element(Origin::path(finding.file.as_str())),
        None => {
            let origin = Origin::path(finding.file.as_str());
            title.element(origin.line(finding.line).char_column(finding.column))
        }
    };
    match &finding.hint {
        Some(hint) => group.element(Level::HELP.with_name("hint").message(hint.as_str())),
        None => group,
    }
}

/// The bytes of what stands at a column: up to the end of the word, at least one character.
fn word_at(line: &str, column: usize) -> Range<usize> {
    let start = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let rest = &line[start..];
    let (quote, inside) = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => (Some(quote), &rest[1..]),
        _ => (None, rest),
    };
    let ends = |c: char| match quote {
        Some(quote) => c == quote,
        None => c.is_whitespace() || matches!(c, ',' | ':' | ']' | '}' | ')' | '.' | '(' | '[' | '{' | '"' | '\''),
    };
    let word = inside.find(ends).unwrap_or(inside.len());
    let length = if quote.is_some() { (word + 2).min(rest.len()) } else { word };
    let least = rest.chars().next().map_or(0, char::len_utf8);
    start..start + length.max(least)
}

/// Whether a line is safe to print: no key that sounds like a secret has anything but `{…}` behind it, and no way to a
/// secret is written like the secret itself. Findings about secrets veil their lines by themselves; this is for
/// mistyped keys, for what is no YAML, and for other findings in the same line.
fn may_show(line: &str) -> bool {
    let all_named = |way: &str, is_named: fn(&str) -> bool| {
        line.split(way).skip(1).all(|behind| {
            let Some(value) = behind.trim_start_matches(['"', '\'', ' ']).strip_prefix(':') else { return true };
            let value = value.trim_start_matches(['"', '\'', ' ']);
            is_named(value.split(['"', '\'', ' ', ',', '}', ']']).next().unwrap_or_default())
        })
    };
    let lower = line.to_lowercase();
    let sounding = ["token", "secret", "passw", "webhook", "pwd", "tokn", "secrt"];
    all_named("env", is_variable)
        && all_named("file", is_path)
        && sounding.iter().all(|word| {
            lower.match_indices(word).all(|(at, _)| {
                let behind = lower[at..].split_once(':').map_or("", |(_, behind)| behind);
                let behind = behind.trim_start_matches([' ', '[']);
                behind.is_empty() || behind.starts_with('{') || behind.starts_with('#')
            })
        })
}

fn sum(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let words = |count, word| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", words(count(Severity::Error), "error"), words(count(Severity::Warning), "warning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(yaml: &str, env: &[&str]) -> (String, Vec<Finding>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, yaml).unwrap();
        let findings = check(&path, &|_| Vec::new(), &|name| env.contains(&name).then(|| "x".to_owned()));
        let text = text(&findings, false).replace(&format!("{}/", folder.path().display()), "");
        (text, findings)
    }

    const HEAD: &str = "server: {listen: \"[::]:8080\"}\nstore: sqlite://db\nsources: {tracker: {kind: tracker, secret: {env: HOOK}}}\n";

    #[test]
    fn findings_are_shown_with_their_line_and_a_way_out() {
        let (text, findings) = shown(
            &format!(
                "{HEAD}channels:\n  ops-room: {{slack_webhook: {{env: HOOK}}}}\nroutes:\n  - name: critical bugs\n    when: 'issue.asignee.login == \"x\"'\n    channels: [ops-rom]\n"
            ),
            &["HOOK"],
        );
        assert_eq!(exit_code(&findings), 1);
        insta::assert_snapshot!(text, @r#"
        error: route `critical bugs`: `issue.asignee` is not known
         --> config.yaml:8:18
          |
        8 |     when: 'issue.asignee.login == "x"'
          |                  ^^^^^^^
          |
          = hint: did you mean `assignee`?

        error: route `critical bugs` leads to a channel that does not exist: `ops-rom`
         --> config.yaml:9:16
          |
        9 |     channels: [ops-rom]
          |                ^^^^^^^
          |
          = hint: did you mean `ops-room`? The channels: `ops-room`

        2 errors, 0 warnings
        "#);
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        let (text, findings) = shown(HEAD, &[]);
        assert_eq!(exit_code(&findings), 0);
        insta::assert_snapshot!(text, @r#"
        warning: there are no `routes`: calls are taken and lead nowhere
        --> config.yaml
         = hint: as in `routes: [{channels: [NAME]}]`

        warning: `sources.tracker.secret` has no value: the environment variable `HOOK` is not set or empty
         --> config.yaml:3:44
          |
        3 | sources: {tracker: {kind: tracker, secret: {env: HOOK}}}
          |                                            ^

        0 errors, 2 warnings
        "#);
    }

    #[test]
    fn no_output_shows_a_secret() {
        for line in [
            "slack: {token: hunter2}",
            "slack: {token: hunter2, tokn: 1}",
            "slack: {tokn: hunter2}",
            "slack: {token: [hunter2]}",
            "slack: {token: {env: hunter2-x}}",
            "slack: {token: hunter2: x}",
            "slack:\n  token:\n    - hunter2",
            "slack:\n  token: !hunter2 x",
            "slack: {token: {evn: hunter2}}",
            "slack: {token: {hunter2}}",
            "slack: {token: [[hunter2]]}",
            "slack: {token: {env: {x: hunter2}}}",
            "slack: {token: {file: hunter2}, tokn: 1}",
            "slack: {token: {env: hunter2}, tokn: 1}",
            "slack:\n  token:\n    \"file\": 'hunter2', x",
            "slack:\n  token:\n    file: \"hunter2",
            "x: {file: hunter2}",
            "telegram: {api_url: \"https://user:hunter2@example.com\"}",
            "channels: {a: {slack_webhook: https://hooks.slack.com/hunter2}}",
            "links: {auth: hunter2, x: 1}",
            "links: {auth: {token: hunter2}, x: 1}",
            "links:\n  auth:\n    - hunter2",
            "a: 1\rb: 2\ntelegram: {api_url: \"https://user:hunter2@example.com\"}",
        ] {
            let (text, findings) = shown(&format!("{HEAD}{line}\n"), &["HOOK"]);
            assert_eq!(exit_code(&findings), 1, "{line}");
            assert!(!text.contains("hunter2"), "{line}: {text}");
            assert!(!json(&findings).unwrap().contains("hunter2"), "{line}");
        }
        let (text, _) = shown("store: postgres://user:hunter2@db/x\n", &[]);
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_configuration_that_is_not_there_is_a_finding() {
        let findings = check(Path::new("/nonexistent/config.yaml"), &|_| Vec::new(), &|_| None);
        insta::assert_snapshot!(text(&findings, false), @r#"
        error: the configuration does not exist
        --> /nonexistent/config.yaml
         = hint: name it with `--config PATH`; the repository's own config.yaml is a commented beginning

        1 error, 0 warnings
        "#);
    }

    #[test]
    fn json_has_the_members_of_the_surface() {
        let findings = [Finding::error("config.yaml", 1, 2, "wrong").hint("right"), Finding::warning("a", 0, 0, "hm")];
        let json: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
        let expected = serde_json::json!([
            {"file": "config.yaml", "line": 1, "column": 2, "severity": "error", "message": "wrong", "hint": "right"},
            {"file": "a", "line": 0, "column": 0, "severity": "warning", "message": "hm"},
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn the_caret_marks_a_word() {
        for (line, column, word) in [
            ("channels: [ops-rom, b]", 12, "ops-rom"),
            ("a: \"x y\" # z", 4, "\"x y\""),
            ("ключ: слово", 7, "слово"),
            ("a: (", 4, "("),
            ("a", 9, ""),
        ] {
            assert_eq!(&line[word_at(line, column)], word, "{line}");
        }
    }
}
