//! What happened, and how far away a time is, in words.

use super::plural::form;
use crate::message::Language;

/// Kinds of events, in English and Russian (of an issue: «задача»). Those of issues are what Tracker's triggers can mean:
/// Tracker, `user/set-condition`.
const HAPPENED: &[(&str, &str, &str)] = &[
    ("issue.created", "created", "создана"),
    ("issue.updated", "changed", "изменена"),
    ("issue.status_changed", "new status", "новый статус"),
    ("issue.comment_added", "new comment", "новый комментарий"),
    ("issue.assigned", "assigned", "назначена"),
    ("issue.resolved", "resolved", "решена"),
    ("issue.closed", "closed", "закрыта"),
    ("issue.reopened", "reopened", "открыта снова"),
    ("issue.moved", "moved", "перенесена"),
    ("issue.linked", "new link", "новая связь"),
    ("issue.link_added", "new link", "новая связь"),
    ("issue.link_changed", "link changed", "связь изменена"),
    ("issue.link_removed", "link removed", "связь удалена"),
    ("issue.checklist", "checklist done", "чек-лист выполнен"),
    ("issue.checklist_done", "checklist done", "чек-лист выполнен"),
    ("issue.deadline", "deadline", "дедлайн"),
    ("issue.deadline_changed", "new deadline", "новый дедлайн"),
    ("issue.overdue", "overdue", "просрочена"),
    ("issue.sla", "SLA limit reached", "достигнут предел SLA"),
    ("issue.field_changed", "field changed", "изменено поле"),
    ("issue.priority_changed", "new priority", "новый приоритет"),
    ("issue.type_changed", "new type", "новый тип"),
    ("issue.tags_changed", "tags changed", "изменены теги"),
    ("review.opened", "opened", "открыт"),
    ("review.updated", "updated", "обновлён"),
    ("review.approved", "approved", "одобрен"),
    ("review.unapproved", "approval taken back", "одобрение отозвано"),
    ("review.changes_requested", "changes requested", "нужны правки"),
    ("review.commented", "new comment", "комментарий"),
    ("review.merged", "merged", "влит"),
    ("review.declined", "declined", "отклонён"),
    ("bench.ready", "bench is ready", "стенд готов"),
    ("bench.gone", "bench is gone", "стенд удалён"),
    ("link.created", "new link", "новая связь"),
    ("link.removed", "link removed", "связь удалена"),
];

/// Of a kind that no table knows its own word: `issue.deployed_to_prod` is "deployed to prod" in every language.
pub(super) fn happened(language: Language, kind: &str) -> String {
    match (HAPPENED.iter().find(|(known, ..)| *known == kind), language) {
        (Some((_, english, _)), Language::En) => (*english).to_owned(),
        (Some((_, _, russian)), Language::Ru) => (*russian).to_owned(),
        (None, _) => kind.split_once('.').map_or(kind, |(_, word)| word).replace('_', " "),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_in_words() {
        for (kind, english, russian) in [
            ("issue.status_changed", "new status", "новый статус"),
            ("issue.updated", "changed", "изменена"),
            ("review.merged", "merged", "влит"),
            ("issue.deployed_to_prod", "deployed to prod", "deployed to prod"),
            ("issue.выкачено_v1.2", "выкачено v1.2", "выкачено v1.2"),
            ("deployed", "deployed", "deployed"),
            ("", "", ""),
        ] {
            assert_eq!(happened(Language::En, kind), english);
            assert_eq!(happened(Language::Ru, kind), russian);
        }
    }
}
