//! The schema and the readers know the same keys and take the same values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use regex::Regex;
use serde_json::{Value, json};

use super::tests::EVERY_KEY;
use super::{SCHEMA, parse};
use crate::yaml::asked::ASKED;
use crate::yaml::reader::Findings;
use crate::yaml::tree::{self, Kind, Node};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// The file as JSON, as an editor's YAML reads it.
fn json_of(yaml: &str) -> Value {
    fn of(node: &Node) -> Value {
        match &node.kind {
            Kind::Empty | Kind::Refused => Value::Null,
            Kind::Scalar(scalar) if scalar.plain => {
                serde_json::from_str(&scalar.text).unwrap_or_else(|_| json!(scalar.text))
            }
            Kind::Scalar(scalar) => json!(scalar.text),
            Kind::List(elements) => elements.iter().map(|node| of(node)).collect(),
            Kind::Map(entries) => entries.iter().map(|entry| (entry.key.to_string(), of(&entry.value))).collect(),
        }
    }
    of(&tree::parse(yaml, "config.yaml", &mut Findings::new("config.yaml")).unwrap())
}

/// Where the value does not fit, by the keywords that the schema uses; another keyword is a mistake of this test.
fn misfits(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let root = self::schema();
    let fits = |schema: &Value| misfits(schema, value, at).is_empty();
    let mut wrong = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        let list = || rule.as_array().unwrap().iter();
        let of_rule = |map: &Value| -> Vec<(String, Value)> {
            rule.as_object().unwrap().clone().into_iter().filter(|(key, _)| map.get(key).is_some()).collect()
        };
        let length = value.as_array().map(Vec::len).or(value.as_object().map(serde_json::Map::len));
        let length = length.or(value.as_str().map(|text| text.chars().count()));
        let is = |ordering: fn(f64, f64) -> bool| value.as_f64().is_none_or(|n| ordering(n, rule.as_f64().unwrap()));
        let is_type = |name: &Value| match name.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            other => panic!("no type {other}"),
        };
        let right = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "format" => true,
            "$ref" => fits(root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap()),
            "type" => rule.as_array().map_or_else(|| is_type(rule), |types| types.iter().any(is_type)),
            "enum" => list().any(|one| one == value),
            "const" => rule == value,
            "pattern" => value.as_str().is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
            "minimum" => is(|n, bound| n >= bound),
            "maximum" => is(|n, bound| n <= bound),
            "minItems" | "minLength" | "minProperties" => length.is_none_or(|n| n as u64 >= rule.as_u64().unwrap()),
            "maxItems" | "maxProperties" => length.is_none_or(|n| n as u64 <= rule.as_u64().unwrap()),
            "required" => list().all(|key| !value.is_object() || value.get(key.as_str().unwrap()).is_some()),
            "dependentRequired" => of_rule(value)
                .iter()
                .all(|(_, keys)| keys.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())),
            "dependentSchemas" => of_rule(value).iter().all(|(_, schema)| fits(schema)),
            "not" => !fits(rule),
            "anyOf" => list().any(fits),
            "allOf" => list().all(fits),
            "oneOf" => list().filter(|schema| fits(schema)).count() == 1,
            "propertyNames" => value.as_object().unwrap().keys().all(|key| misfits(rule, &json!(key), at).is_empty()),
            "items" => {
                let elements = value.as_array().into_iter().flatten().enumerate();
                wrong.extend(elements.flat_map(|(n, element)| misfits(rule, element, &format!("{at}/{n}"))));
                true
            }
            "properties" => {
                for (key, schema) in of_rule(value) {
                    wrong.extend(misfits(&schema, &value[&key], &format!("{at}/{key}")));
                }
                true
            }
            "additionalProperties" => {
                for (key, member) in value.as_object().into_iter().flatten() {
                    match rule {
                        _ if schema["properties"].get(key).is_some() => {}
                        Value::Bool(false) => wrong.push(format!("{at}/{key}: unknown")),
                        rule => wrong.extend(misfits(rule, member, &format!("{at}/{key}"))),
                    }
                }
                true
            }
            other => panic!("this test does not know `{other}`"),
        };
        if !right {
            wrong.push(format!("{at}: {keyword} {rule}"));
        }
    }
    wrong
}

fn keys(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

/// Every key that a reader knows is in the schema, and no other.
#[test]
fn the_schema_has_the_keys_of_the_readers() {
    ASKED.take();
    parse(EVERY_KEY, "config.yaml".into(), PathBuf::new(), &|_| Vec::new());
    // Both paces are read under one name; with rates of their own.
    let paces = EVERY_KEY.replace("pace: none", "pace: {burst: 1}");
    parse(&paces, "config.yaml".into(), PathBuf::new(), &|_| Vec::new());
    let (schema, asked) = (schema(), ASKED.take());
    let of = |pointer: &str| keys(schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")));
    let pace = |messenger: &str| of(&format!("/properties/{messenger}/properties/pace/oneOf/1"));
    let told = BTreeMap::from([
        ("config.yaml".to_owned(), of("")),
        ("server".to_owned(), of("/properties/server")),
        ("tracker".to_owned(), of("/properties/tracker")),
        ("slack".to_owned(), of("/properties/slack")),
        ("telegram".to_owned(), of("/properties/telegram")),
        ("pace".to_owned(), &(&pace("slack") | &pace("telegram")) | &pace("tracker")),
        ("links".to_owned(), of("/properties/links")),
        ("auth".to_owned(), of("/properties/links/properties/auth/oneOf/1")),
        ("source".to_owned(), of("/properties/sources/additionalProperties")),
        ("fetch_comments".to_owned(), of("/properties/sources/additionalProperties/properties/fetch_comments")),
        ("channel".to_owned(), of("/properties/channels/additionalProperties")),
        ("route".to_owned(), of("/properties/routes/items")),
        ("issue".to_owned(), of("/properties/routes/items/properties/issue")),
        ("transition".to_owned(), of("/properties/routes/items/properties/issue/properties/transition/oneOf/1")),
        ("comment".to_owned(), of("/properties/routes/items/properties/issue/properties/comment/oneOf/1")),
    ]);
    assert_eq!(told, asked);
}

#[test]
fn what_is_accepted_fits_the_schema() {
    let readme =
        include_str!("../../README.md").split("```yaml bells.yaml\n").nth(1).unwrap().split("```").next().unwrap();
    for yaml in [EVERY_KEY, readme, include_str!("../../config.yaml")] {
        let (loaded, findings) = parse(yaml, "config.yaml".into(), PathBuf::new(), &|_| Vec::new());
        assert!(loaded.is_some() && findings.is_empty(), "{findings:?}");
        assert_eq!(misfits(&schema(), &json_of(yaml), ""), [""; 0], "{yaml}");
    }
}

#[test]
fn what_is_refused_does_not_fit() {
    for (from, to) in [
        ("log: json", "log: yaml"),
        ("log: json", "lgo: json"),
        ("log: json", "tracker: {}\nlog: [json]"),
        ("store: sqlite:///var", "store: mysql:///var"),
        ("0.0.0.0:80", "everywhere"),
        ("retention_days: 1", "retention_days: 0"),
        ("retention_days: 1", "retention_days: 36501"),
        ("shutdown_seconds: 5", "shutdown_seconds: '5'"),
        ("{env: T}", "pasted"),
        ("{env: T}", "{env: T, file: x}"),
        (", cloud_org_id: x", ""),
        ("cloud_org_id: x", "cloud_org_id: x, org_id: y"),
        ("{burst: 7}", "{burst: 0}"),
        ("[A, OPS]", "[A, ops]"),
        ("[{env: S}, {env: OLD}]", "[]"),
        ("enrich: false", "enrich: sometimes"),
        ("per_second: 2", "per_second: 0"),
        ("loop_guard: actions", "loop_guard: on"),
        ("recover_every_minutes: 0", "recover_every_minutes: 1441"),
        ("enrich_within_seconds: 1", "enrich_within_seconds: 0"),
        ("kind: github", "kind: gitea"),
        ("kind: gitlab", "kind: gitea"),
        ("kind: bench", "kind: bench, keys: all"),
        ("kind: gitlab", "kind: gitlab, url_secret: true"),
        ("keys: refuse", "keys: many"),
        ("user: me", "usr: me"),
        ("{to: readyForTest", "{too: readyForTest"),
        ("to: readyForTest", "to: готово"),
        (", transition: {to: readyForTest, by: '7'}", ""),
        ("set: {benchLink", "set: {'bench link'"),
        ("comment: {template: review}", "comment: {text: review}"),
        ("link: true", "link: []"),
        (", auth: {token: {env: L}}", ""),
        ("auth: {token: {env: L}}", "auth: everybody"),
        ("info: '/o?k={{remoteKey}}'", "info: /o"),
        ("create: /new", "create: '/new/{{issueKey}}'"),
        ("remove: '/o?k={{remoteKey}}&i={{issueKey}}'", "remove: '/o?k={{remoteKey}}'"),
        ("c: {slack: C0123456789}", "c: {slack: general}"),
        ("c: {slack: C0123456789}", "c: {slack: C0123456789, topic: 1}"),
        ("c: {slack: C0123456789}", "c: {slack: C0123456789, telegram: 1}"),
        ("c: {slack: C0123456789}", "'C c': {slack: C0123456789}"),
        ("telegram: -1001234567890,", "telegram: 0,"),
        ("channels: [c, t]", "channels: []"),
        ("style: post", "style: card"),
    ] {
        assert!(EVERY_KEY.contains(from), "{from}");
        let yaml = EVERY_KEY.replacen(from, to, 1);
        let (_, findings) = parse(&yaml, "config.yaml".into(), PathBuf::new(), &|_| Vec::new());
        assert!(!findings.is_empty(), "the readers take {to}");
        assert!(!misfits(&schema(), &json_of(&yaml), "").is_empty(), "the schema takes {to}");
    }
}

/// Editors show descriptions and offer defaults.
#[test]
fn every_key_is_described_and_its_default_fits() {
    fn walk(schema: &Value, at: &str) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}/{key}");
            let words = property["description"].as_str().unwrap_or_else(|| panic!("{at}"));
            assert!(words.ends_with('.') || words.ends_with('…'), "{at}: {words}");
            let samples =
                property.get("default").into_iter().chain(property["examples"].as_array().into_iter().flatten());
            for sample in samples {
                assert_eq!(misfits(property, sample, &at), [""; 0]);
            }
        }
        match schema {
            Value::Object(members) => members.values().for_each(|schema| walk(schema, at)),
            Value::Array(elements) => elements.iter().for_each(|schema| walk(schema, at)),
            _ => {}
        }
    }
    walk(&schema(), "");
}
