//! When something happened, by those who call.

use jiff::Timestamp;
use serde_json::Value;

/// ISO 8601 with `Z`, `+03:00`, `+0300` (Data Center) or ` UTC` (GitLab); seconds or milliseconds since 1970 by their
/// size. Otherwise absent.
pub fn read(value: &Value) -> Option<Timestamp> {
    let since_1970 = |number: i64| {
        if number.unsigned_abs() > 100_000_000_000 {
            Timestamp::from_millisecond(number).ok()
        } else {
            Timestamp::from_second(number).ok()
        }
    };
    match value {
        Value::Number(number) => since_1970(number.as_i64()?),
        Value::String(text) => {
            let text = text.trim();
            text.parse()
                .ok()
                .or_else(|| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok())
                .or_else(|| format!("{}Z", text.strip_suffix(" UTC")?).parse().ok())
                .or_else(|| since_1970(text.parse().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_in_every_form_and_otherwise_absent() {
        for (at, expected) in [
            (json!("2026-05-12T09:15:02.100Z"), Some("2026-05-12T09:15:02.1Z")),
            (json!("2026-05-12T12:15:02+03:00"), Some("2026-05-12T09:15:02Z")),
            (json!("2026-05-12T12:15:02.100+0300"), Some("2026-05-12T09:15:02.1Z")),
            (json!("2023-05-16T10:33:04.281505+00:00"), Some("2023-05-16T10:33:04.281505Z")),
            (json!("2017-12-18 00:39:44 UTC"), Some("2017-12-18T00:39:44Z")),
            (json!(1_778_577_302), Some("2026-05-12T09:15:02Z")),
            (json!(1_551_432_675_860_i64), Some("2019-03-01T09:31:15.86Z")),
            (json!("1778577302100"), Some("2026-05-12T09:15:02.1Z")),
            (json!("12 мая"), None),
            (json!(" UTC"), None),
            (json!([1]), None),
            (json!(i64::MAX), None),
        ] {
            assert_eq!(read(&at).map(|time| time.to_string()).as_deref(), expected, "{at}");
        }
    }
}
