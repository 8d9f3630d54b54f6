//! Points in time as people read them.

use handlebars::JsonValue;
use jiff::civil::{self, DateTime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::{Timestamp, Zoned};

use super::{Locale, words};
use crate::message::Language;

/// How a time is told when a template does not say: "20 May 2026, 12:15"; a date without time stays one.
pub(super) const USUAL: &str = "%-d %B %Y, %H:%M";
const USUAL_DATE: &str = "%-d %B %Y";

/// Numbers below it are no times but, say, years: as seconds it is the year 1973.
const LEAST_SECONDS: u64 = 100_000_000;

/// Numbers above it are milliseconds, as seconds they would be the year 5138.
const MOST_SECONDS: u64 = 100_000_000_000;

/// Names in the genitive, as in «20 мая 2026».
const MONTHS: [&str; 12] = [
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
];
const SHORT_MONTHS: [&str; 12] =
    ["янв.", "февр.", "мар.", "апр.", "мая", "июн.", "июл.", "авг.", "сент.", "окт.", "нояб.", "дек."];
const WEEKDAYS: [&str; 7] = ["понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"];
const SHORT_WEEKDAYS: [&str; 7] = ["пн", "вт", "ср", "чт", "пт", "сб", "вс"];

/// The time that the text names, in the locale's zone and language. What is no time stays as it is.
pub(super) fn told(text: &str, format: &str, locale: &Locale) -> String {
    let told = match Time::read(text.trim()) {
        Some(Time::Moment(moment)) => {
            let moment = moment.to_zoned(locale.time_zone.clone());
            write(format, &moment, moment.date(), locale.language)
        }
        Some(Time::Local(time)) => write(format, time, time.date(), locale.language),
        Some(Time::Date(date)) => write(format, date, date, locale.language)
            .filter(|_| format != USUAL)
            .or_else(|| write(USUAL_DATE, date, date, locale.language)),
        None => None,
    };
    told.unwrap_or_else(|| text.to_owned())
}

/// How far the time that the text names is from `now`: "5 minutes ago", "in 2 days"; of a date without time, the days.
/// `None`: it is no time.
pub(super) fn ago(text: &str, now: Timestamp, locale: &Locale) -> Option<String> {
    let moment = match Time::read(text.trim())? {
        Time::Moment(moment) => moment,
        Time::Local(time) => time.to_zoned(locale.time_zone.clone()).ok()?.timestamp(),
        Time::Date(date) => {
            let today = now.to_zoned(locale.time_zone.clone()).date();
            return Some(words::days(locale.language, i64::from(today.until(date).ok()?.get_days())));
        }
    };
    Some(words::ago(locale.language, moment.as_second() - now.as_second()))
}

/// A format that a template names has to be one.
pub(super) fn check(format: &JsonValue) -> Result<(), String> {
    let sample = Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
    let Some(format) = format.as_str() else { return Err("`date` takes a format in quotes".to_owned()) };
    write(format, &sample, sample.date(), Language::Ru)
        .map(drop)
        .ok_or_else(|| format!("`{format}` is no format of a date: write `%d.%m.%Y %H:%M`, `%-d %B`, `%A`"))
}

enum Time {
    Moment(Timestamp),
    /// Without a zone: shown as it is.
    Local(DateTime),
    Date(civil::Date),
}

impl Time {
    /// ISO 8601 (also with `+0000`, as Tracker's API writes it), seconds or milliseconds since 1970.
    fn read(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<i64>() {
            if number.unsigned_abs() < LEAST_SECONDS {
                return None;
            }
            let far = number.unsigned_abs() > MOST_SECONDS;
            let milliseconds = if far { number } else { number.checked_mul(1_000)? };
            return Timestamp::from_millisecond(milliseconds).ok().map(Self::Moment);
        }
        if text.len() < "2026-05-20".len() || !text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let tracker = || Zoned::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok().map(|moment| moment.timestamp());
        if let Some(moment) = text.parse().ok().or_else(tracker) {
            return Some(Self::Moment(moment));
        }
        if text.len() == "2026-05-20".len() {
            return text.parse().ok().map(Self::Date);
        }
        text.parse().ok().map(Self::Local)
    }
}

/// `None` where the format asks for what the time does not have, or is no format.
fn write(format: &str, time: impl Into<BrokenDownTime>, date: civil::Date, language: Language) -> Option<String> {
    let time = time.into();
    match language {
        Language::En => strtime::format(format, time).ok(),
        Language::Ru => strtime::format(in_russian(format, date), time).ok(),
    }
}

/// The format with the names of months and days written out, which jiff knows in English only.
fn in_russian(format: &str, date: civil::Date) -> String {
    let month = (date.month() as usize).saturating_sub(1);
    let day = date.weekday().to_monday_zero_offset() as usize;
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        let directive = if c == '%' { chars.next() } else { None };
        match directive {
            None => out.push(c),
            Some('B') => out.push_str(MONTHS.get(month).unwrap_or(&"")),
            Some('b' | 'h') => out.push_str(SHORT_MONTHS.get(month).unwrap_or(&"")),
            Some('A') => out.push_str(WEEKDAYS.get(day).unwrap_or(&"")),
            Some('a') => out.push_str(SHORT_WEEKDAYS.get(day).unwrap_or(&"")),
            Some(other) => out.extend(['%', other]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn in_moscow(text: &str, format: &str) -> [String; 2] {
        [Language::En, Language::Ru].map(|language| {
            let time_zone = TimeZone::get("Europe/Moscow").unwrap();
            told(text, format, &Locale { language, time_zone })
        })
    }

    #[test]
    fn a_time_is_told_in_the_zone_and_language_of_the_locale() {
        for (text, en, ru) in [
            ("2026-05-20T09:15:00Z", "20 May 2026, 12:15", "20 мая 2026, 12:15"),
            ("2026-05-20T09:15:00.123+0000", "20 May 2026, 12:15", "20 мая 2026, 12:15"),
            ("2026-05-20T14:15:00+05:00", "20 May 2026, 12:15", "20 мая 2026, 12:15"),
            ("1779268500", "20 May 2026, 12:15", "20 мая 2026, 12:15"),
            ("1779268500000", "20 May 2026, 12:15", "20 мая 2026, 12:15"),
            ("2026-05-20T12:15:00", "20 May 2026, 12:15", "20 мая 2026, 12:15"),
            ("2026-05-20", "20 May 2026", "20 мая 2026"),
            ("07 декабря 2021", "07 декабря 2021", "07 декабря 2021"),
            ("2026", "2026", "2026"),
            ("2026-99-20", "2026-99-20", "2026-99-20"),
            ("9223372036854775807", "9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808", "-9223372036854775808"),
            ("", "", ""),
        ] {
            assert_eq!(in_moscow(text, USUAL), [en, ru]);
        }
    }

    #[test]
    fn a_time_is_told_from_a_moment() {
        for (text, en, ru) in [
            ("2026-05-20T09:14:31Z", "just now", "только что"),
            ("2026-05-20T09:15:40Z", "just now", "только что"),
            ("2026-05-20T09:14:00.000+0000", "1 minute ago", "1 минуту назад"),
            ("2026-05-20T11:14:00+03:00", "1 hour ago", "1 час назад"),
            ("2026-05-20T11:20:00", "55 minutes ago", "55 минут назад"),
            ("2026-05-20T14:15:00Z", "in 5 hours", "через 5 часов"),
            ("1779182100", "1 day ago", "1 день назад"),
            ("2026-05-17T09:15:00Z", "3 days ago", "3 дня назад"),
            ("2026-08-20T09:15:00Z", "in 3 months", "через 3 месяца"),
            ("2021-05-20T09:15:00Z", "5 years ago", "5 лет назад"),
            ("2026-05-20", "today", "сегодня"),
            ("2026-05-19", "yesterday", "вчера"),
            ("2026-05-21", "tomorrow", "завтра"),
            ("2026-06-01", "in 12 days", "через 12 дней"),
        ] {
            let now = "2026-05-20T09:15:00Z".parse().unwrap();
            let told = [Language::En, Language::Ru].map(|language| {
                let time_zone = TimeZone::get("Europe/Moscow").unwrap();
                ago(text, now, &Locale { language, time_zone }).unwrap()
            });
            assert_eq!(told, [en, ru], "{text}");
        }
        let utc = Locale { language: Language::En, time_zone: TimeZone::UTC };
        assert_eq!(ago("soon", Timestamp::UNIX_EPOCH, &utc), None);
        assert_eq!(ago("2026-05-20", Timestamp::UNIX_EPOCH, &utc).as_deref(), Some("in 56 years"));
    }

    #[test]
    fn a_format_may_be_named() {
        assert_eq!(
            in_moscow("2026-05-20T21:15:00Z", "%d.%m %H:%M, %A"),
            ["21.05 00:15, Thursday", "21.05 00:15, четверг"]
        );
        assert_eq!(in_moscow("2026-02-20", "%-d %b"), ["20 Feb", "20 февр."]);
        assert_eq!(in_moscow("2026-02-20", "%H:%M"), ["20 February 2026", "20 февраля 2026"], "a date has no hours");
        assert!(check(&"%d.%m.%Y".into()).is_ok());
        assert!(check(&"%й".into()).is_err() && check(&"%".into()).is_err() && check(&5.into()).is_err());
    }
}
