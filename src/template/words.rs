//! How far away a time is, in words.

use super::plural::form;
use crate::message::Language;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The largest units first: seconds, English forms, Russian forms (accusative).
const UNITS: [(i64, [&str; 2], [&str; 3]); 5] = [
    (365 * DAY, ["year", "years"], ["год", "года", "лет"]),
    (30 * DAY, ["month", "months"], ["месяц", "месяца", "месяцев"]),
    (DAY, ["day", "days"], ["день", "дня", "дней"]),
    (HOUR, ["hour", "hours"], ["час", "часа", "часов"]),
    (MINUTE, ["minute", "minutes"], ["минуту", "минуты", "минут"]),
];

/// `seconds` from now; negative is past. Whole units, rounded down.
pub(super) fn ago(language: Language, seconds: i64) -> String {
    let far = seconds.saturating_abs();
    let Some((unit, english, russian)) = UNITS.into_iter().find(|(unit, ..)| far >= *unit) else {
        return match language {
            Language::En => "just now".to_owned(),
            Language::Ru => "только что".to_owned(),
        };
    };
    let number = far / unit;
    let word = match language {
        Language::En => english[form(number as f64, english.len())],
        Language::Ru => russian[form(number as f64, russian.len())],
    };
    match (language, seconds < 0) {
        (Language::En, true) => format!("{number} {word} ago"),
        (Language::En, false) => format!("in {number} {word}"),
        (Language::Ru, true) => format!("{number} {word} назад"),
        (Language::Ru, false) => format!("через {number} {word}"),
    }
}

/// `days` from today; negative is past.
pub(super) fn days(language: Language, days: i64) -> String {
    let near = match (language, days) {
        (Language::En, 0) => "today",
        (Language::En, 1) => "tomorrow",
        (Language::En, -1) => "yesterday",
        (Language::Ru, 0) => "сегодня",
        (Language::Ru, 1) => "завтра",
        (Language::Ru, -1) => "вчера",
        _ => return ago(language, days.saturating_mul(DAY)),
    };
    near.to_owned()
}
