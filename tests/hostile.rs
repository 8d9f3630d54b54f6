//! Any string in any variable, all the way: through the real server into the strict simulators, which judge it as the
//! services would.

use campanile::simulator::{Posted, Record};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::harness::{SLACK, Setup, TELEGRAM, World};

/// A variable in every position that Markdown has, between marks that keep it from being trimmed.
const EVERYWHERE: &str = "\
# «{{body.text}}»
«{{body.text}}» **«{{body.text}}»** *«{{body.text}}»* ~~«{{body.text}}»~~ `«{{body.text}}»` [«{{body.text}}»](https://example.com/) [«target»]({{body.text}})

- «{{body.text}}»
  1. «{{body.text}}»

> «{{body.text}}»

```
«{{body.text}}»
```
<b>«{{body.text}}»</b>
";

#[test]
fn any_string_in_any_variable_is_taken_shown_and_pings_nobody() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let setup = Setup {
        routes: "  - {channels: [ops-slack, ops-telegram], template: everywhere}\n".into(),
        templates: vec![("everywhere.md.hbs", EVERYWHERE)],
        ..Setup::default()
    };
    let world = runtime.block_on(setup.start());
    let texts = prop_oneof![
        any::<String>(),
        "[-*_~`#>\\[\\]()!<&;|\\\\ \n\r\t@a-zа-я👨\u{200d}👩\u{301}\u{202e}\u{2066}]{0,60}",
        r"(<!channel>|<@U123>|<!subteam\^S1>|@here|@everyone|@channel_ops|#general|/start|\[x\]\(javascript:1\)|tg://user\?id=1|https://evil.example/){1,4}",
    ];
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    runner.run(&texts, |text| runtime.block_on(arrives(&world, &text))).unwrap();
}

async fn arrives(world: &World, text: &str) -> Result<(), TestCaseError> {
    let before = world.slack.counts().calls;
    let body = json!({"key": "TEST-1", "event": "created", "text": text, "at": before});
    let answer = world.trigger(&body).await;
    if answer.status == 200 {
        return Ok(()); // shrinking came to a text that was there before
    }
    prop_assert_eq!(answer.status, 202, "{}", answer.text);
    // One call to each, and no second one in plain form: nothing in it was refused.
    let calls = |record: &Record| record.counts().calls > before;
    world.until(calls, calls).await;
    world.until_all("delivered").await;
    for counts in [world.slack.counts(), world.telegram.counts()] {
        prop_assert_eq!(counts.calls, counts.posted, "a message was refused");
    }
    for posted in [world.slack.posted(SLACK).pop(), world.telegram.posted(TELEGRAM).pop()] {
        let posted: Posted = posted.expect("it stands");
        prop_assert_eq!(&posted.seen.pings, &Vec::<String>::new());
        let expected = kept(text);
        if !expected.is_empty() {
            let shown = kept(&posted.seen.text);
            prop_assert!(shown.matches(&format!("«{expected}»")).count() >= 11, "{:?} in {}", expected, shown);
        }
    }
    Ok(())
}

/// A text as a message keeps it: without control characters, marks of direction, and white space, of which a messenger
/// may trim some. The guard after an @ is left out on both sides.
fn kept(text: &str) -> String {
    let removed = |c: char| {
        c.is_whitespace() || c < ' ' || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2060}')
    };
    text.replace(removed, "")
}
