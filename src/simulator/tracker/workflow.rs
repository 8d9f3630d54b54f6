//! Transitions: what leads from a status to another, and what its screen wants (section 4.5).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::dictionary::Dictionary;
use super::issue::{Deed, NewComment};
use super::{Asked, Language, Refused, Reply, Tracker, done};

/// One way from some statuses to another. Its id is no status' key.
#[derive(Clone, Debug)]
pub struct TrackerTransition {
    id: String,
    names: [String; 2],
    from: Vec<String>,
    to: String,
    screen: Option<Screen>,
}

#[derive(Clone, Debug)]
struct Screen {
    id: String,
    fields: Vec<String>,
    required: Vec<String>,
}

impl TrackerTransition {
    /// `names`: in Russian and English. Statuses by key.
    pub fn new(id: &str, names: [&str; 2], from: &[&str], to: &str) -> Self {
        let from = from.iter().map(|from| (*from).to_owned()).collect();
        Self { id: id.to_owned(), names: names.map(str::to_owned), from, to: to.to_owned(), screen: None }
    }

    /// A screen on which these fields stand, all of them `required` or none; `comment` stands on every screen.
    pub fn screen(mut self, fields: &[&str], required: bool) -> Self {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let required = if required { fields.clone() } else { Vec::new() };
        let id = format!("65f1c0ffee{:0>14}", self.id.bytes().fold(0xd00_u64, |sum, byte| sum + u64::from(byte)));
        self.screen = Some(Screen { id, fields, required });
        self
    }
}

/// A workflow with everything that can be got wrong: ids that are no keys, two ways to one status, screens.
pub(super) fn usual() -> Vec<TrackerTransition> {
    const OPEN: &str = "open";
    const WORK: &str = "inProgress";
    const READY: &str = "readyForTest";
    const AGAIN: &str = "needsImprovement";
    const TEST: &str = "testing";
    let way = TrackerTransition::new;
    vec![
        way("start_progress", ["Начать работу", "Start progress"], &[OPEN, "needInfo"], WORK),
        way("to_test", ["Отдать в тестирование", "Ready for testing"], &[OPEN, WORK, AGAIN], READY),
        way("65f1c0ffee00000000000a02meta", ["Вернуть на доработку", "Send back"], &[OPEN, WORK, READY, TEST], AGAIN),
        way("start_testing", ["Начать тестирование", "Start testing"], &[READY], TEST),
        way("65f1c0ffee00000000000a01meta", ["Вернуть в работу", "Back to work"], &[READY, AGAIN, TEST], WORK),
        way("need_info", ["Запросить информацию", "Need info"], &[OPEN, WORK, READY], "needInfo").screen(&[], false),
        way("close", ["Закрыть", "Close"], &[OPEN, WORK, READY, TEST], "closed").screen(&["resolution"], true),
        way("closeAsDuplicate", ["Закрыть как дубль", "Close as duplicate"], &[READY], "closed")
            .screen(&["resolution"], false),
        way("reopen", ["Переоткрыть", "Reopen"], &["closed"], OPEN),
    ]
}

impl Tracker {
    /// The ways that are open to an issue now.
    fn ways(&self, at: usize) -> impl Iterator<Item = &TrackerTransition> {
        let issue = &self.issues[at];
        let workflow = self.known_queue(issue.queue()).map(|queue| queue.seed.workflow.as_slice()).unwrap_or_default();
        workflow
            .iter()
            .filter(|way| way.from.iter().any(|from| from == issue.status()) && !issue.gone.contains(&way.id))
    }

    pub(super) fn ways_shown(&self, at: usize, language: Language) -> Value {
        let address = format!("{}/v3/issues/{}/transitions", self.base, self.issues[at].key);
        let shown = |way: &TrackerTransition| {
            let to = Dictionary::Statuses.find(&way.to);
            let to = to.map(|status| status.reference(Dictionary::Statuses, &self.base, language));
            let display = &way.names[usize::from(language == Language::En)];
            let mut shown =
                json!({"id": way.id, "self": format!("{address}/{}", way.id), "display": display, "to": to});
            if let Some(Screen { id, .. }) = &way.screen {
                shown["screen"] = json!({"self": format!("{}/v3/screens/{id}", self.base), "id": id});
            }
            shown
        };
        self.ways(at).map(shown).collect()
    }

    pub(super) fn transitions(&mut self, asked: &Asked<'_>) -> Reply {
        let at = self.find(asked.part(0))?;
        let shown = self.ways_shown(at, asked.language);
        let issue = &mut self.issues[at];
        issue.gone.extend(issue.goes_after_list.take());
        Ok(done(200, &shown))
    }

    pub(super) fn execute(&mut self, asked: &Asked<'_>) -> Reply {
        let at = self.find_unlocked(asked.part(0))?;
        self.walk(at, asked.part(1), asked.body(), &asked.by, asked.now)?;
        Ok(done(200, &self.ways_shown(at, asked.language)))
    }

    /// Moves an issue by a transition. Takes no version: of two rivals the second finds its transition gone (section 4.5).
    pub(super) fn walk(
        &mut self,
        at: usize,
        way: &str,
        screen: &Map<String, Value>,
        by: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let way = self.ways(at).find(|open| open.id == way).cloned();
        let way = way.ok_or_else(|| Refused::new(404, "no transition"))?;
        let (mut fields, issue) = (screen.clone(), &self.issues[at]);
        let comment = fields.remove("comment");
        let comment = match (&comment, &way.screen) {
            (None, _) => None,
            (Some(Value::String(text)), Some(_)) => Some(NewComment::new(text)),
            _ => return Err(Refused::field(422, "comment", "Поле недоступно на экране перехода")),
        };
        let (on_screen, required) =
            way.screen.as_ref().map_or((&[][..], &[][..]), |screen| (&screen.fields[..], &screen.required[..]));
        if let Some(field) = fields.keys().find(|field| !on_screen.contains(field)) {
            return Err(Refused::field(422, field, "Поле недоступно на экране перехода"));
        }
        let missing = |field: &&String| fields.get(*field).is_none_or(Value::is_null) && issue.value(field).is_null();
        if let Some(field) = required.iter().find(missing) {
            return Err(Refused::field(422, field, "Поле обязательно для заполнения"));
        }
        let mut values = self.take(&fields, issue.queue(), &|id| issue.value(id))?;
        values.push(("status".to_owned(), way.to.into()));
        self.apply(at, Deed { kind: "IssueWorkflow", by, values, comment }, now);
        Ok(())
    }
}
