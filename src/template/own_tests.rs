use super::*;
use crate::template::helpers;

/// What the check says of a messenger's own file.
fn own(source: &str, dialect: Dialect) -> Vec<String> {
    let shared = Shared::new(Partials::default());
    let (_, findings) = keep(Source::new("t".to_owned(), source), dialect, &shared);
    findings.iter().map(|finding| format!("{}:{} {}", finding.line, finding.column, finding.message)).collect()
}

#[test]
fn an_own_file_is_tried_with_events_that_have_all_and_nothing() {
    for (source, found) in [
        ("<b>{{issue.summary}}</b>{{#each issue.tags}} <i>{{this}}</i>{{/each}}", ""),
        ("a\n{{issue.key}} <br>", "2:1 Telegram knows no `<br>`"),
        ("a\n b <br>", "2:4 Telegram knows no `<br>`"),
        ("---\nsilent: true\n---\na\n b <br>", "5:4 Telegram knows no `<br>`"),
        ("{{#if issue.assignee}}\n<b>x{{/if}}", "2:1 `<b>` is never closed"),
        ("{{#if issue.assignee}}<b>{{/if}}x\n{{#if issue.assignee}}</b>{{/if}}", ""),
        ("{{#if comment}}x{{else}}\n<p>{{/if}}", "2:1 Telegram knows no `<p>`"),
        ("{{issue.sumary}} <br>", "1:3 no event has `issue.sumary`"),
        ("<{{issue.key}}>x</>", "1:1 Telegram knows no `<x>`"),
    ] {
        assert_eq!(own(source, Dialect::Html).join("|"), found, "{source}");
    }
    for (source, found) in [
        (
            "{\"blocks\": [{\"type\": \"divider\"}{{#each issue.tags}},\n{\"type\": \"x\", \"text\": {{json this}} }{{/each}}]}",
            "",
        ),
        ("{\"blocks\": [\n{{#if comment}}{\"type\": \"divider\"},{{/if}}\n]}", "3:1 this is no JSON: trailing comma"),
        ("{\"blocks\": [\n {\"type\": {{issue.key}} }]}", "2:11 this is no JSON: expected value"),
        (
            "---\nbuttons: [{text: a, url: 'https://a.b'}]\n---\n{\"blocks\": []}",
            "1:1 `buttons` stand among the blocks in this file",
        ),
        (
            "{\"blocks\": [{\"type\": \"x\", \"range\": \"{{issue.key}}\"}]}",
            "1:1 blocks[0].range: a variable stands only in texts and links",
        ),
        ("{\"blocks\": [{\"type\": \"image\", \"image_url\": \"{{issue.url}}\"}]}", ""),
    ] {
        assert_eq!(own(source, Dialect::Json).join("|"), found, "{source}");
    }
}

#[test]
fn a_template_that_never_says_anything_is_a_finding() {
    let nothing = "this template says nothing";
    for (source, place) in
        [("", "1:1"), ("\n \n", "1:1"), ("---\nsilent: true\n---\n", "4:1"), ("{{! later }}\n", "1:1")]
    {
        for dialect in [Dialect::Markdown, Dialect::Html, Dialect::Json] {
            assert_eq!(own(source, dialect), [format!("{place} {nothing}")], "{source:?} {dialect:?}");
        }
    }
    assert_eq!(own("{{issue.resolution.key}}", Dialect::Markdown), [""; 0], "it says something of other events");
}

#[test]
fn every_helpers_example_is_accepted() {
    for example in helpers::examples() {
        assert_eq!(load(example).1, Vec::<String>::new(), "{example}");
    }
}
