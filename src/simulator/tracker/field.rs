//! Fields: what a value must be, how it is kept, and how an issue shows it.
//!
//! Kept are keys of words, ids of people, texts, numbers and lists of them; null and `[]` are an empty field.

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::dictionary::Dictionary;
use super::{Language, Refused, Tracker};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldKind {
    Text,
    Number,
    /// `2026-05-20`.
    Date,
    Time,
    User,
    Users,
    Texts,
    Word(Dictionary),
    Queue,
    /// Kept and shown as it is; nobody can set it.
    Given,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    /// A local one: `<24 hex>--<key>`.
    pub id: String,
    pub key: String,
    ru: String,
    en: String,
    pub kind: FieldKind,
    settable: bool,
    /// The queue of a local field.
    pub queue: Option<String>,
}

/// The global fields: id, names, kind, whether anybody may set them.
const GLOBAL: &[(&str, &str, &str, FieldKind, bool)] = &[
    ("summary", "Задача", "Summary", FieldKind::Text, true),
    ("description", "Описание", "Description", FieldKind::Text, true),
    ("type", "Тип", "Type", FieldKind::Word(Dictionary::Types), true),
    ("priority", "Приоритет", "Priority", FieldKind::Word(Dictionary::Priorities), true),
    ("resolution", "Резолюция", "Resolution", FieldKind::Word(Dictionary::Resolutions), true),
    ("status", "Статус", "Status", FieldKind::Word(Dictionary::Statuses), false),
    ("previousStatus", "Предыдущий статус", "Previous status", FieldKind::Word(Dictionary::Statuses), false),
    ("statusStartTime", "Время последнего изменения статуса", "Status start time", FieldKind::Time, false),
    ("assignee", "Исполнитель", "Assignee", FieldKind::User, true),
    ("qaEngineer", "QA-инженер", "QA engineer", FieldKind::User, true),
    ("followers", "Наблюдатели", "Followers", FieldKind::Users, true),
    ("access", "Доступ", "Access", FieldKind::Users, true),
    ("tags", "Теги", "Tags", FieldKind::Texts, true),
    ("deadline", "Дедлайн", "Deadline", FieldKind::Date, true),
    ("start", "Начало", "Start", FieldKind::Date, true),
    ("end", "Завершение", "End", FieldKind::Date, true),
    ("storyPoints", "Story Points", "Story points", FieldKind::Number, true),
    ("queue", "Очередь", "Queue", FieldKind::Queue, false),
    ("previousQueue", "Предыдущая очередь", "Previous queue", FieldKind::Queue, false),
    ("createdBy", "Автор", "Author", FieldKind::User, false),
    ("createdAt", "Создано", "Created", FieldKind::Time, false),
    ("updatedBy", "Кто изменил", "Modified by", FieldKind::User, false),
    ("updatedAt", "Обновлено", "Updated", FieldKind::Time, false),
    ("lastCommentUpdatedAt", "Последний комментарий", "Last comment", FieldKind::Time, false),
    ("key", "Ключ", "Key", FieldKind::Given, false),
    ("parent", "Родительская задача", "Parent issue", FieldKind::Given, false),
    ("project", "Проект", "Project", FieldKind::Given, false),
    ("sprint", "Спринт", "Sprint", FieldKind::Given, false),
    ("components", "Компоненты", "Components", FieldKind::Given, false),
    ("originalEstimation", "Первоначальная оценка", "Original estimate", FieldKind::Given, false),
    ("estimation", "Оценка", "Estimate", FieldKind::Given, false),
    ("spent", "Затрачено времени", "Time spent", FieldKind::Given, false),
    ("checklistItems", "Чеклист", "Checklist", FieldKind::Given, false),
    ("checklistDone", "Выполнено в чеклисте", "Checklist done", FieldKind::Given, false),
    ("checklistTotal", "Всего в чеклисте", "Checklist total", FieldKind::Given, false),
];

impl Field {
    pub fn global() -> Vec<Self> {
        let field = |(id, ru, en, kind, settable): &(&str, &str, &str, FieldKind, bool)| Self {
            id: (*id).to_owned(),
            key: (*id).to_owned(),
            ru: (*ru).to_owned(),
            en: (*en).to_owned(),
            kind: *kind,
            settable: *settable,
            queue: None,
        };
        GLOBAL.iter().map(field).collect()
    }

    pub fn local(queue: &str, hex: &str, key: &str, name: &str, kind: FieldKind) -> Self {
        let (key, name) = (key.to_owned(), name.to_owned());
        let queue = Some(queue.to_owned());
        Self { id: format!("{hex}--{key}"), key, ru: name.clone(), en: name, kind, settable: true, queue }
    }

    pub fn name(&self, language: Language) -> &str {
        match language {
            Language::Ru => &self.ru,
            Language::En => &self.en,
        }
    }

    fn is_list(&self) -> bool {
        matches!(self.kind, FieldKind::Users | FieldKind::Texts)
    }

    /// As `/fields` and `/localFields` show it.
    pub fn whole(&self, tracker: &Tracker, language: Language) -> Value {
        let one = |kind| json!({"type": kind, "required": self.id == "summary"});
        let many = |items| json!({"type": "array", "items": items, "required": false});
        let schema = match self.kind {
            FieldKind::Text => one("string"),
            FieldKind::Number => one("float"),
            FieldKind::Date => one("date"),
            FieldKind::Time => one("datetime"),
            FieldKind::User => one("user"),
            FieldKind::Users => many("user"),
            FieldKind::Texts => many("string"),
            FieldKind::Word(Dictionary::Statuses) => one("status"),
            FieldKind::Word(Dictionary::Types) => one("issuetype"),
            FieldKind::Word(Dictionary::Priorities) => one("priority"),
            FieldKind::Word(Dictionary::Resolutions) => one("resolution"),
            FieldKind::Queue => one("queue"),
            FieldKind::Given => one("any"),
        };
        let (base, id) = (&tracker.base, &self.id);
        let (address, kind) = match &self.queue {
            None => (format!("{base}/v3/fields/{id}"), "standard"),
            Some(queue) => (format!("{base}/v3/queues/{queue}/localFields/{id}"), "local"),
        };
        let mut whole = json!({"self": address, "id": id, "name": self.name(language), "key": self.key, "version": 1,
            "schema": schema, "readonly": !self.settable, "options": false, "suggest": false, "type": kind});
        if let Some(queue) = &self.queue {
            whole["queue"] = tracker.queue_reference(queue);
        }
        whole
    }
}

impl Tracker {
    /// A field that issues of this queue have: by id, as every answer names it.
    pub(super) fn field(&self, id: &str, queue: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.id == id && field.queue.as_deref().is_none_or(|own| own == queue))
    }

    /// The values that a PATCH or a screen asks for, as they are kept. `now` has the values that stand.
    pub(super) fn take(
        &self,
        asked: &Map<String, Value>,
        queue: &str,
        now: &impl Fn(&str) -> Value,
    ) -> Result<Vec<(String, Value)>, Refused> {
        let mut taken = Vec::new();
        for (id, value) in asked {
            let known = self.field(id, queue);
            let field = known.ok_or_else(|| Refused::field(422, id, "Поле не существует"))?;
            if !field.settable {
                return Err(Refused::field(400, id, "Поле нельзя изменить"));
            }
            let kept = self.changed(field, value, now(id));
            let kept = kept.ok_or_else(|| Refused::field(422, id, "Неверный формат"))?;
            if id == "summary" && kept.is_null() {
                return Err(Refused::field(422, id, "Поле обязательно для заполнения"));
            }
            taken.push((id.clone(), kept));
        }
        Ok(taken)
    }

    /// One value with its operators; none where it is not what the field takes.
    fn changed(&self, field: &Field, asked: &Value, now: Value) -> Option<Value> {
        let operators = ["set", "add", "remove", "replace"];
        let Some(operations) = asked.as_object().filter(|asked| operators.iter().any(|name| asked.contains_key(*name)))
        else {
            return self.kept(field, asked);
        };
        if let (Some(value), 1) = (operations.get("set"), operations.len()) {
            return self.kept(field, value);
        }
        if !field.is_list() {
            return None;
        }
        let mut list = now.as_array().cloned().unwrap_or_default();
        for (operator, value) in operations {
            match operator.as_str() {
                "set" => list = self.many(field, value)?,
                "add" => {
                    let more = self.many(field, value)?;
                    list.retain(|kept| !more.contains(kept));
                    list.extend(more);
                }
                "remove" => {
                    let less = self.many(field, value)?;
                    list.retain(|kept| !less.contains(kept));
                }
                "replace" => {
                    for pair in value.as_array()? {
                        let target = self.single(field.kind, pair.get("target")?)?;
                        let replacement = self.single(field.kind, pair.get("replacement")?)?;
                        list.iter_mut().filter(|kept| **kept == target).for_each(|kept| *kept = replacement.clone());
                    }
                }
                _ => return None,
            }
        }
        Some(Value::Array(list))
    }

    pub(super) fn kept(&self, field: &Field, asked: &Value) -> Option<Value> {
        match asked {
            Value::Null => Some(Value::Null),
            Value::String(text) if text.is_empty() => Some(Value::Null),
            asked if field.is_list() => asked.is_array().then(|| self.many(field, asked))?.map(Value::Array),
            asked => self.single(field.kind, asked),
        }
    }

    /// A list, or one that stands for a list of one.
    fn many(&self, field: &Field, asked: &Value) -> Option<Vec<Value>> {
        match asked {
            Value::Array(list) => list.iter().map(|one| self.single(field.kind, one)).collect(),
            one => Some(vec![self.single(field.kind, one)?]),
        }
    }

    fn single(&self, kind: FieldKind, asked: &Value) -> Option<Value> {
        let named = || match asked {
            Value::String(name) => Some(name.clone()),
            Value::Number(id) => Some(id.to_string()),
            Value::Object(names) => names.get("key").or(names.get("id"))?.as_str().map(str::to_owned),
            _ => None,
        };
        match kind {
            FieldKind::Text | FieldKind::Texts => asked.as_str().map(Value::from),
            FieldKind::Number => asked.is_number().then(|| asked.clone()),
            FieldKind::Date => asked.as_str().filter(|date| date.parse::<Date>().is_ok()).map(Value::from),
            FieldKind::User | FieldKind::Users => self.user(&named()?).ok().map(|user| user.id().into()),
            FieldKind::Queue => self.known_queue(&named()?).map(|queue| queue.seed.key.as_str().into()),
            FieldKind::Word(dictionary) => dictionary.find(&named()?).map(|word| word.key.into()),
            FieldKind::Time | FieldKind::Given => None,
        }
    }

    /// A kept value as an issue or the changelog shows it.
    pub(super) fn shown(&self, kind: FieldKind, kept: &Value, language: Language) -> Value {
        match (kind, kept) {
            (FieldKind::Users, Value::Array(ids)) => {
                ids.iter().map(|id| self.shown(FieldKind::User, id, language)).collect()
            }
            (FieldKind::User, Value::String(id)) => self.user_reference(id),
            (FieldKind::Queue, Value::String(key)) => self.queue_reference(key),
            (FieldKind::Word(dictionary), Value::String(key)) => {
                dictionary.find(key).map_or(Value::Null, |word| word.reference(dictionary, &self.base, language))
            }
            _ => kept.clone(),
        }
    }
}

pub(super) fn is_empty(kept: &Value) -> bool {
    kept.is_null() || kept.as_array().is_some_and(Vec::is_empty)
}
