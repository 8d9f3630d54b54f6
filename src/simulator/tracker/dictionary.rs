//! The organisation's dictionaries. Names are Tracker's in Russian and English, as far as the fixtures show them.

use serde_json::{Value, json};

use super::Language;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dictionary {
    Statuses,
    Types,
    Priorities,
    Resolutions,
}

pub(super) struct Word {
    id: u32,
    pub key: &'static str,
    ru: &'static str,
    en: &'static str,
    /// Of a status: its type.
    pub kind: &'static str,
}

const fn word(id: u32, key: &'static str, ru: &'static str, en: &'static str, kind: &'static str) -> Word {
    Word { id, key, ru, en, kind }
}

const STATUSES: &[Word] = &[
    word(1, "open", "Открыт", "Open", "new"),
    word(2, "needInfo", "Требуется информация", "Need info", "paused"),
    word(3, "inProgress", "В работе", "In progress", "inProgress"),
    word(6, "resolved", "Решен", "Resolved", "done"),
    word(7, "testing", "Тестируется", "Testing", "inProgress"),
    word(8, "closed", "Закрыт", "Closed", "done"),
    word(21, "readyForTest", "Можно тестировать", "Ready for testing", "inProgress"),
    word(22, "needsImprovement", "Требует доработки", "Needs improvement", "inProgress"),
];
const TYPES: &[Word] = &[
    word(1, "bug", "Ошибка", "Bug", ""),
    word(2, "task", "Задача", "Task", ""),
    word(3, "release", "Релиз", "Release", ""),
];
const PRIORITIES: &[Word] = &[
    word(1, "trivial", "Незначительный", "Trivial", ""),
    word(2, "minor", "Низкий", "Minor", ""),
    word(3, "normal", "Средний", "Normal", ""),
    word(4, "critical", "Критичный", "Critical", ""),
    word(5, "blocker", "Блокер", "Blocker", ""),
];
const RESOLUTIONS: &[Word] = &[
    word(1, "fixed", "Решён", "Fixed", ""),
    word(2, "wontFix", "Не будет исправлено", "Won't fix", ""),
    word(3, "duplicate", "Дубликат", "Duplicate", ""),
];
const STATUS_TYPES: &[Word] = &[
    word(1, "new", "Начальный", "New", ""),
    word(2, "inProgress", "В процессе", "In progress", ""),
    word(3, "paused", "На паузе", "Paused", ""),
    word(4, "done", "Завершён", "Done", ""),
    word(5, "cancelled", "Отменён", "Cancelled", ""),
];

impl Word {
    pub fn name(&self, language: Language) -> &'static str {
        match language {
            Language::Ru => self.ru,
            Language::En => self.en,
        }
    }

    /// `{self, id, key, display}`, as an issue shows it: the id is a string.
    pub fn reference(&self, of: Dictionary, base: &str, language: Language) -> Value {
        let id = self.id.to_string();
        let address = format!("{base}/v3/{}/{id}", of.path());
        json!({"self": address, "id": id, "key": self.key, "display": self.name(language)})
    }
}

impl Dictionary {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Statuses => "statuses",
            Self::Types => "issuetypes",
            Self::Priorities => "priorities",
            Self::Resolutions => "resolutions",
        }
    }

    fn words(self) -> &'static [Word] {
        match self {
            Self::Statuses => STATUSES,
            Self::Types => TYPES,
            Self::Priorities => PRIORITIES,
            Self::Resolutions => RESOLUTIONS,
        }
    }

    /// By key, id or name.
    pub(super) fn find(self, given: &str) -> Option<&'static Word> {
        let known = |word: &&Word| [word.key, word.ru, word.en].contains(&given) || word.id.to_string() == given;
        self.words().iter().find(known)
    }

    /// The whole dictionary, as its endpoint gives it: ids are numbers. Not localized: names in all languages.
    pub(super) fn list(self, base: &str, language: Language, localized: bool) -> Value {
        let entry = |(order, word): (usize, &Word)| {
            let name = match localized {
                true => json!(word.name(language)),
                false => json!({"ru": word.ru, "en": word.en}),
            };
            let address = format!("{base}/v3/{}/{}", self.path(), word.id);
            let mut entry = json!({"self": address, "id": word.id, "version": 1, "key": word.key, "name": name,
                "description": "", "order": order + 1});
            if self == Self::Statuses {
                entry["type"] = word.kind.into();
            }
            entry
        };
        self.words().iter().enumerate().map(entry).collect()
    }
}

/// `{id, key, display}` of a status' type.
pub(super) fn status_type(status: &Word, language: Language) -> Value {
    let kind = STATUS_TYPES.iter().find(|kind| kind.key == status.kind);
    json!({"id": status.kind, "key": status.kind, "display": kind.map(|kind| kind.name(language))})
}
