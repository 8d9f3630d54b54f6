use proptest::prelude::*;

use super::*;

fn wanted(watched: Watched) -> Wanted {
    Wanted::of(watched, "https://bells.example.com/", "tracker", &"s3cret".into())
}

/// As Tracker answers: with ids of its own, and its headers masked.
fn standing(wanted: &Wanted) -> Trigger {
    let mut json = wanted.json();
    json["id"] = 16.into();
    json["version"] = 3.into();
    json["actions"][0]["id"] = "1".into();
    json["actions"][0]["headers"][SECRET_HEADER] = "***".into();
    serde_json::from_str(&json.to_string()).unwrap()
}

#[test]
fn the_form_of_each() {
    let all = Watched::ALL.map(|watched| {
        let wanted = wanted(watched);
        format!("{}\n{}\n{}\n", wanted.name(), wanted.json()["conditions"], wanted.body())
    });
    insta::assert_snapshot!(all.join("\n"));
    assert_eq!(wanted(Watched::Created).endpoint(), "https://bells.example.com/hooks/tracker");
    assert!(Watched::ALL.into_iter().all(|watched| Watched::parse(watched.as_str()) == Some(watched)));
    assert_eq!(Watched::parse("deleted"), None);
}

/// What stands raw in quotes (T 2.4): a key, a comment's number, a time.
const RAW: [&str; 3] = ["issue.key", "userComment.id", "currentDateTime.iso8601"];

/// Replaces variables as T 2 says: `.json` by a literal with its quotes, others as they are.
fn rendered(body: &str, value: &str) -> String {
    let mut parts = body.split("{{");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once("}}").unwrap();
        match variable.strip_suffix(".json") {
            Some(_) => out.push_str(&Value::from(value).to_string()),
            None => {
                assert!(RAW.contains(&variable), "`{variable}` stands raw");
                out.push_str("BELL-42");
            }
        }
        out.push_str(rest);
    }
    out
}

proptest! {
    #[test]
    fn a_body_is_json_whatever_an_author_wrote(summary: String) {
        for watched in Watched::ALL {
            let body: Value = serde_json::from_str(&rendered(wanted(watched).body(), &summary)).unwrap();
            prop_assert_eq!(&body["summary"], &Value::from(summary.as_str()));
            let literals = json!([body["v"], body["event"], body["key"]]);
            prop_assert_eq!(literals, json!([VERSION, watched.as_str(), "BELL-42"]));
            prop_assert_eq!(body.get("comment").is_some(), watched == Watched::CommentAdded);
        }
    }
}

#[test]
fn what_stands_as_wanted_is_left() {
    for watched in Watched::ALL {
        let (wanted, mut trigger) = (wanted(watched), standing(&wanted(watched)));
        assert!(wanted.is(&trigger));
        assert_eq!(wanted.differences(&trigger), [], "{watched:?}");
        trigger.conditions = match trigger.conditions {
            Value::Array(conditions) => json!({"type": "And", "conditions": conditions}),
            group => json!([group]),
        };
        assert_eq!(wanted.differences(&trigger), [], "the same conditions in another form");
        trigger.actions[0].as_object_mut().unwrap().remove("headers");
        assert_eq!(wanted.differences(&trigger), [], "Tracker may show no headers");
    }
}

#[test]
fn a_changed_one_is_told_member_by_member() {
    let wanted = wanted(Watched::Updated);
    let differing = |change: &dyn Fn(&mut Trigger)| {
        let mut trigger = standing(&wanted);
        change(&mut trigger);
        assert!(wanted.is(&trigger));
        wanted.differences(&trigger).iter().map(|it| it.member).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(differing(&|it| it.active = Some(false)), "active");
    assert_eq!(differing(&|it| it.conditions = json!([])), "conditions");
    assert_eq!(differing(&|it| it.conditions["type"] = "And".into()), "conditions");
    assert_eq!(differing(&|it| it.actions[0]["body"] = r#"{"v":0}"#.into()), "actions.body");
    assert_eq!(differing(&|it| it.actions[0]["method"] = "GET".into()), "actions.method");
    assert_eq!(differing(&|it| it.actions[0]["headers"] = json!({"x": "***"})), "actions.headers");
    assert_eq!(differing(&|it| it.actions[0]["authContext"] = json!({"type": "basic"})), "actions.authContext");
}

#[test]
fn others_triggers_are_not_ours() {
    let wanted = wanted(Watched::Created);
    let is = |change: &dyn Fn(&mut Trigger)| {
        let mut trigger = standing(&wanted);
        change(&mut trigger);
        wanted.is(&trigger)
    };
    assert!(is(&|_| {}));
    assert!(!is(&|it| it.name = Some("Campanile tracker: updated".into())));
    assert!(
        !is(&|it| it.actions[0]["endpoint"] = "https://other.example.com/hooks/tracker".into()),
        "another bridge's"
    );
    assert!(!is(&|it| it.actions[0]["type"] = "Transition".into()));
    assert!(!is(&|it| it.actions.as_array_mut().unwrap().push(json!({"type": "Move"}))), "somebody added to it");
    assert!(!is(&|it| it.actions = Value::Null));
}

#[test]
fn the_secret_is_in_nothing_that_is_shown() {
    let wanted = wanted(Watched::Created);
    let mut trigger = standing(&wanted);
    trigger.actions[0]["headers"] = json!({});
    let shown = format!("{:?} {} {}", wanted.differences(&trigger), wanted.body(), wanted.endpoint());
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!format!("{wanted:?}").contains("s3cret"));
}
