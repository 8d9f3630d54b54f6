use proptest::prelude::*;
use serde_json::json;

use super::taken::is_absent;
use super::*;

fn reader(queues: &[&str]) -> Reader {
    let queues = Queues::new(queues.iter().map(|queue| (*queue).to_owned()));
    Reader { web_url: "https://tracker.yandex.ru".into(), queues }
}

fn read(query: &str, body: &str) -> Result<Found, String> {
    reader(&[]).read(query, body.as_bytes())
}

/// The key, the reading and the members of a body that can be read.
fn told(body: &str) -> (String, Reading, Value) {
    let found = read("", body).unwrap_or_else(|why| panic!("{body}: {why}"));
    assert_eq!(found.degraded, matches!(found.reading, Reading::Repaired | Reading::KeyOnly), "{body}");
    (found.key, found.reading, found.members.into())
}

#[test]
fn the_key_is_found_where_bodies_carry_it() {
    for body in [
        r#"{"key":"TEST-1"}"#,
        r#"{"issue_key":"TEST-1"}"#,
        r#"{"issueKey":" TEST-1 "}"#,
        r#"{"issue":"TEST-1"}"#,
        r#"{"issue":{"key":"TEST-1"}}"#,
        r#"{"issue.key":"TEST-1"}"#,
        r#"{"key":"{{issue.key}}","issue":"TEST-1"}"#,
        "\u{feff}  {\"key\":\"TEST-1\"}\n",
        r#"{"issue_key":"TEST-1","comment":"x","key":"EVIL-9"}"#,
    ] {
        let found = read("", body).unwrap();
        assert_eq!((found.key.as_str(), found.reading, found.degraded), ("TEST-1", Reading::Strict, false), "{body}");
    }
}

#[test]
fn a_repeated_member_counts_once_and_is_told() {
    for body in [
        r#"{"key":"TEST-1","priority":"minor","priority":"blocker","key":"EVIL-9"}"#,
        r#"{"key":"TEST-1","priority":"minor","status":{"key":"open","key":"closed"}}"#,
        "key=TEST-1&priority=minor&priority=blocker&key=EVIL-9",
    ] {
        let found = read("", body).unwrap();
        assert_eq!((found.key.as_str(), found.degraded), ("TEST-1", true), "{body}");
        assert_eq!(found.members["priority"], "minor");
    }
}

#[test]
fn form_and_query_are_read_when_json_is_not() {
    let found = read("", "event=created&key=TEST-1&summary=a+%22b%22+%26+%D0%BA&tags=").unwrap();
    assert_eq!((found.reading, found.members["summary"].as_str()), (Reading::Form, Some("a \"b\" & к")));
    assert!(!found.members.contains_key("tags"));
    let found = read("event=created&key=TEST-1&key=EVIL-9", "").unwrap();
    assert_eq!((found.reading, found.key.as_str()), (Reading::Query, "TEST-1"));
    let found = read("key=TEST-1", "TEST-2, see https://x/?a=1&key=EVIL-9").unwrap();
    assert_eq!((found.reading, found.key.as_str()), (Reading::Query, "TEST-1"), "free text is no form");
}

#[test]
fn what_counts_as_absent_is_left_out_everywhere() {
    let body = r#"{"key":"TEST-1","a":"","b":null,"c":[],"d":" \t","e":"{{issue.x}}","f":{"g":null},"h":[null,""],"i":"a {{b}}","j":false,"k":0}"#;
    let members = read("", body).unwrap().members;
    let left: Vec<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(left, ["i", "j", "k", "key"]);
}

#[test]
fn each_known_mistake_is_mended() {
    for (mistakes, expected) in [
        (r#""a": ,"b":,"c":[,],"d":[ , "x",],"e":{"f":},"g":"#, json!({"d": ["x"]})),
        (r#""a": {{issue.parent.key.json}}, "b": [{{issue.x}}], "c": "x","#, json!({"c": "x"})),
        (
            r#""a": maria.petrova, "b": [a@b.c, d@e.f], "c": 20 мая, 2026, "d": 1e999, "e": 7"#,
            json!({"a": "maria.petrova", "b": ["a@b.c", "d@e.f"], "c": "20 мая, 2026", "d": "1e999", "e": 7}),
        ),
        (
            r#""a": ""Выкатить \"Реквизиты\" \n"", "b": "["релиз","say \"x\""]", "c": "[1]x"y", "d": """", "e": "[]""#,
            json!({"a": "Выкатить \"Реквизиты\" \n", "b": ["релиз", "say \"x\""], "c": "[1]x\"y", "e": "[]"}),
        ),
        (
            "\"a\": \"Кнопка \"Сохранить\", \"Отменить\": всё\", \"b\": \"один\n\tдва\", \"c\": \"C:\\temp\\новая\\\"",
            json!({"a": "Кнопка \"Сохранить\", \"Отменить\": всё", "b": "один\n\tдва", "c": "C:\\temp\\новая\\"}),
        ),
        (
            r#""a": "A "B", "C": none", "b": {"c": "x"}y"}, "d": "y", "e": ["p "q", r", "s"]"#,
            json!({"a": "A \"B\", \"C\": none", "b": {"c": "x\"}y"}, "d": "y", "e": ["p \"q\", r", "s"]}),
        ),
        (r#""a": "say \"hi\"", "b": "\ud800", "c": ,"#, json!({"a": "say \"hi\"", "b": "\\ud800"})),
    ] {
        let (key, reading, mut members) = told(&format!("{{\"key\": \"TEST-1\",\n {mistakes}\n}}"));
        assert_eq!((key.as_str(), reading), ("TEST-1", Reading::Repaired), "{mistakes}");
        members.as_object_mut().unwrap().remove("key");
        assert_eq!(members, expected, "{mistakes}");
    }
}

#[test]
fn other_mistakes_leave_the_key_and_what_stands_before_them() {
    for mistake in [
        "",
        r#","x":"y"#,
        r#","x""#,
        r#","x":"y"} and more"#,
        r#","x":{{}"#,
        r#","x":{{issue.x"#,
        r#","x":[1}"#,
        r#","x":"y" "z":1}"#,
        r#","summary":"q"q","key":"EVIL-1","x":""}"#,
        &format!(r#","x":{}"#, "[".repeat(10_000)),
        &format!(r#","x":{}"#, r#"{"a":"#.repeat(10_000)),
    ] {
        let (key, reading, members) = told(&format!(r#"{{"key":"TEST-1","event":"created","v":1{mistake}"#));
        assert_eq!((key.as_str(), reading), ("TEST-1", Reading::KeyOnly), "{mistake:.60}");
        assert_eq!((&members["event"], members.get("x")), (&json!("created"), None), "{mistake:.60}");
    }
}

#[test]
fn a_key_and_a_kind_behind_raw_text_may_be_its_authors() {
    // Named once, they can only be the trigger's.
    let (key, reading, members) = told(r#"{"summary":"see OPS-7 "q"","event":"moved","key":"TEST-1"}"#);
    assert_eq!((key.as_str(), reading), ("TEST-1", Reading::Repaired));
    assert_eq!(members, json!({"key": "TEST-1", "event": "moved", "summary": "see OPS-7 \"q\""}));
    // A kind that is named twice is left out, with all that stands behind the text.
    let (key, reading, members) =
        told(r#"{"v":1,"summary":"","event":"evil","x":"a "q"","event":"moved","key":"TEST-1"}"#);
    assert_eq!((key.as_str(), reading, members), ("TEST-1", Reading::KeyOnly, json!({"v": 1})));
    // Another issue in its place is no key: with a hole alone the members stand where they seem to.
    let (key, reading, members) =
        told(r#"{"summary":"s","assignee":,"event":"moved","parent":{"key":"OPS-7"},"key":"TEST-1"}"#);
    assert_eq!((key.as_str(), reading, &members["event"]), ("TEST-1", Reading::Repaired, &json!("moved")));
    // Also where the author's members are clean, but for a hole.
    let (key, reading, members) =
        told(r#"{"v":1,"summary":"","key":,"event":"evil","x":"","event":"moved","key":"TEST-1"}"#);
    assert_eq!((key.as_str(), reading, members), ("TEST-1", Reading::KeyOnly, json!({"v": 1})));
    let (key, reading, members) = told(r#"{"key":"TEST-1","event":"moved","status":,"event":"evil"}"#);
    assert_eq!((key.as_str(), reading, &members["event"]), ("TEST-1", Reading::Repaired, &json!("moved")));
    // The trigger's own `event` is swallowed by a text that the author began and left open.
    for name in ["event", r"\u0065vent"] {
        let text = format!(r#""}},"{name}":"evil","type":"resolved","x":"a"b"#);
        let (key, _, members) =
            told(&format!(r#"{{"comment": {{"text": "{text}"}}, "event": "created", "key": "TEST-1", "v": 1}}"#));
        assert_eq!((key.as_str(), members.get("event"), members.get("type")), ("TEST-1", None, None), "{members}");
    }
    // What an author names is not the kind, where the trigger names one under the other name.
    for body in [
        r#"{"comment": {"text": ""},"type":"resolved","x":"a"b"}, "event": "created", "key": "TEST-1"}"#,
        r#"{"summary": "a "q","event":"resolved","x":"", "type": "issueUpdated", "key": "TEST-1"}"#,
        r#"{"fields":{"team":""},"event":"resolved","x":"a"b"},"event":"created","key":"TEST-1"}"#,
        r#"{"note":"","event":"resolved","x":"","event":"created","key":"TEST-1","summary":"a "q""}"#,
    ] {
        let (key, _, members) = told(body);
        assert_eq!((key.as_str(), members.get("event"), members.get("type")), ("TEST-1", None, None), "{body}");
    }
    // Of two keys behind the text nobody can know which.
    for body in [
        r#"{"summary":"","issue_key":"EVIL-1","x":,"y":"","event":"created","key":"TEST-1"}"#,
        r#"{"summary":"","issue":{"key":"EVIL-1"},"x":,"y":"","event":"created","key":"TEST-1"}"#,
        r#"{"assignee_name":"","key":"EVIL-1","x":"⏎q"q","event":"created","key":"TEST-1"}"#,
        r#"{"fields":{"team":""},"key":"EVIL-1","x":"a"b"},"event":"created","key":"TEST-1"}"#,
        r#"{"note":"","key":"EVIL-1","z":"","key":"TEST-1","event":"created","summary":"a "q""}"#,
        r#"{"summary":"a "q"","key":"EVIL-1","x":"","key":"TEST-1"}"#,
        r#"{"summary":"","key":"EVIL-1","x":"a "q"","key":"TEST-1"}"#,
        r#"{"note":"a "q"","key":"EVIL-1","x":"","key":"TEST-1"}"#,
        r#"{"note":{"by":"a⏎"q"","key":"EVIL-1","x":"","key":"TEST-1"}}"#,
    ] {
        let why = read("", body).unwrap_err();
        assert!(why.contains("EVIL-1 and TEST-1: put `key` before"), "{why}");
    }
    // A messenger's body has no `key` of its own.
    for body in [
        r#"{"link_names": true, "text": "<https://tracker.yandex.ru/TEST-1|TEST-1>: "q"","key":"EVIL-1","x":""}"#,
        r#"{"chat_id": "0/0/a-1", "text": "[TEST-1: "q"","event":"evil","x":"](https://tracker.yandex.ru/TEST-1)"}"#,
    ] {
        let (key, reading, members) = told(body);
        assert_eq!((key.as_str(), reading), ("TEST-1", Reading::KeyOnly), "{body}");
        assert_eq!(members.get("event"), None, "{body}");
    }
}

#[test]
fn a_key_alone_is_enough() {
    for (body, expected) in [
        ("пора тестировать задачу TEST-1, UTF-8 и ВTEST-7", json!({})),
        (
            r#"{"chat_id":"-1001","text":"line\nTEST-1: \"x\""}"#,
            json!({"chat_id": "-1001", "text": "line\nTEST-1: \"x\""}),
        ),
        (r#"{"z":"\u0422EST-7\tTEST-1"}"#, json!({"z": "ТEST-7\tTEST-1"})),
        (r#"{"a":"OPS-7","text":"TEST-1"}"#, json!({"a": "OPS-7", "text": "TEST-1"})),
        (r#""TEST-1""#, json!({})),
        (r#"["\\TEST-1"]"#, json!({})),
        ("{'key': 'TEST-1'}", json!({})),
        ("text=%D0%B7%D0%B0%D0%B4%D0%B0%D1%87%D0%B0%20TEST-1", json!({"text": "задача TEST-1"})),
    ] {
        assert_eq!(told(body), ("TEST-1".to_owned(), Reading::KeyOnly, expected), "{body}");
    }
    let found = read("id=TEST-1", "").unwrap();
    assert_eq!((found.key.as_str(), found.reading), ("TEST-1", Reading::KeyOnly));
    let read = |queues: &[&str]| reader(queues).read("", b"see OPS-7 and then TEST-1");
    assert_eq!(read(&["TEST"]).unwrap().key, "TEST-1");
    assert!(read(&["DEV"]).unwrap_err().contains("`tracker.queues`"));
    assert_eq!(reader(&["TEST"]).read("", br#"{"key":"OPS-7"}"#).unwrap().key, "OPS-7", "named, not guessed");
}

#[test]
fn what_was_no_utf_8_is_told() {
    let read = |body: &[u8]| reader(&[]).read("", body).unwrap();
    assert!(!read("{\"key\":\"TEST-1\",\"summary\":\"ы\"}".as_bytes()).degraded);
    let found = read(b"{\"key\":\"TEST-1\",\"summary\":\"\xfb\"}"); // windows-1251
    assert_eq!((found.degraded, found.reading, &found.members["summary"]), (true, Reading::Strict, &json!("\u{fffd}")));
}

#[test]
fn unreadable_calls_say_why() {
    for (body, expected) in [
        ("", "empty"),
        ("[1]", "no JSON object"),
        (r#"{"key":"TEST""#, "no JSON object"),
        (r#"{"no":"key"}"#, "no issue key"),
        ("just text about UTF-8", "nothing in it looks like an issue's key"),
    ] {
        let why = read("", body).unwrap_err();
        assert!(why.contains(expected), "{body:.40}: {why}");
    }
}

/// What an author may write: anything, what has a meaning in JSON, and what looks like members of the body.
fn authors_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"\\\\{}\\[\\],: \n\t{}kныеy1-]{0,40}",
        proptest::collection::vec(
            prop_oneof![
                Just("\",\"key\":\"EVIL-1\",\"x\":\""),
                Just("\", \"event\": \"evil\", \"issue\": {\"key\": \"EVIL-1\"}, \"x\": \""),
                Just("\",\"issue_key\":\"EVIL-1"),
                Just("\",\"type\":\"resolved\",\"x\":\""),
                Just("\"},\"event\":\"evil\",\"x\":{\"y\":\""),
                Just("\",\"x\":,\"y\":\""),
                Just("q\"q"),
                Just("\"}"),
                Just("\"},\"key\":\"EVIL-1\"}"),
                Just("\\"),
                Just("\n"),
                Just("],"),
                Just("\"\""),
                Just("EVIL-1"),
            ],
            0..5
        )
        .prop_map(|pieces| pieces.concat()),
    ]
}

/// A body with raw variables in quotes, as admins type them.
fn raw_body(form: usize, before: &str, texts: &[String], behind: &str) -> String {
    let names = ["summary", "description", "text", "assignee_name"];
    let (comma, open, close) = [(",", "{", "}"), (", ", "{ ", " }\n"), (",\n  ", "{\n  ", "\n}")][form % 3];
    let members = texts.iter().zip(names).map(|(text, name)| match form / 3 {
        0 => format!("\"{name}\":\"{text}\""),
        1 => format!("\"{name}\": {{\"inner\": \"{text}\"}}"),
        _ => format!("\"fields\": {{\"{name}\": \"{text}\"}}"),
    });
    let members = [before].map(str::to_owned).into_iter().chain(members).chain([behind.to_owned()]);
    let members: Vec<String> = members.filter(|member| !member.is_empty()).collect();
    format!("{open}{}{close}", members.join(comma))
}

const LITERALS: &str = r#""event": "created", "key": "TEST-1", "priority": "minor", "v": 1"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn literals_before_raw_text_keep_their_values(
        texts in proptest::collection::vec(authors_text(), 1..4), form in 0..9_usize, behind in 0..2_usize
    ) {
        let behind = ["", r#""status": "open""#][behind];
        let body = raw_body(form, LITERALS, &texts, behind);
        let found = read("", &body).unwrap();
        prop_assert_eq!(&found.key, "TEST-1");
        prop_assert!(matches!(found.reading, Reading::Strict | Reading::Repaired | Reading::KeyOnly));
        for (name, value) in [("event", json!("created")), ("priority", json!("minor")), ("v", json!(1))] {
            prop_assert_eq!(&found.members[name], &value, "{}", body);
        }
    }

    #[test]
    fn a_key_behind_raw_text_is_the_triggers_or_none(text in authors_text(), form in 0..9_usize) {
        let body = raw_body(form, "", &[text], LITERALS);
        match read("", &body) {
            // An author can write valid JSON; then the first of a name counts, whoever wrote it.
            Ok(Found { reading: Reading::Strict, .. }) => {}
            Ok(found) => {
                prop_assert_eq!(found.key, "TEST-1", "{}", body);
                let kind = found.members.get("event");
                prop_assert!(kind.is_none_or(|kind| kind == "created"), "{}: {:?}", body, kind);
                prop_assert!(kind.is_some() || !found.members.contains_key("type"), "{}", body);
            }
            Err(why) => prop_assert!(body.contains("EVIL-1") && why.contains("EVIL-1"), "{}: {}", body, why),
        }
    }

    #[test]
    fn text_that_looks_like_no_members_is_kept_as_it_was(
        texts in proptest::collection::vec("[^:]{0,30}|[\"\\\\{}\\[\\], \n\tyя]{0,30}", 1..4), form in 0..6_usize
    ) {
        let body = raw_body(form, LITERALS, &texts, r#""status": "open""#);
        let found = read("", &body).unwrap();
        prop_assert!(matches!(found.reading, Reading::Strict | Reading::Repaired), "{}", body);
        prop_assert_eq!(&found.members["status"], "open");
        for (text, name) in texts.iter().zip(["summary", "description", "text"]) {
            let read = found.members.get(name).map(|value| value.get("inner").unwrap_or(value));
            let as_json = serde_json::from_str::<Value>(&format!("\"{text}\"")).ok();
            let inside = serde_json::from_str::<Value>(text).ok();
            let right = [Some(json!(text)), as_json, inside];
            match read {
                Some(read) => prop_assert!(right.contains(&Some(read.clone())), "{}: {}", body, read),
                None => prop_assert!(
                    right.iter().flatten().any(|value| value.as_str().is_none_or(is_absent)), "{}: {}", body, text
                ),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400), query in ".{0,60}") {
        let _ = reader(&[]).read(&query, &body);
    }

    #[test]
    fn no_broken_json_makes_it_panic(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "\"", "\"key\":", "\"TEST-1\"", "{", "}", "[", "]", ",", ":", " ", "\n", "{{", "}}", "\\", "\\u00e9",
            "a", "1", "я", ".", "-", "&", "=", "%",
        ]), 0..40)
    ) {
        let _ = read("", &format!("{{{}", pieces.concat()));
        let _ = read("", &pieces.concat());
    }

    #[test]
    fn any_text_survives_as_it_was(text in ".{1,80}") {
        prop_assume!(!is_absent(&text));
        let body = json!({"key": "TEST-1", "summary": text}).to_string();
        let found = read("", &body).unwrap();
        prop_assert_eq!(found.members["summary"].as_str(), Some(text.as_str()));
    }
}
