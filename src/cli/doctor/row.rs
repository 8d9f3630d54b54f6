//! What was found out, a row each.

use std::error::Error;
use std::time::Duration;

use serde::Serialize;

use crate::cli::{table, visible};
use crate::delivery::SendError;
use crate::finding::{Finding, Severity};
use crate::tracker::error::Error as TrackerError;

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    check: &'static str,
    /// A channel, a queue, a trigger: by the name that the admin knows.
    subject: String,
    state: State,
    message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Row {
    fn new(state: State, check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check, subject: subject.into(), state, message: message.into(), hint: None }
    }

    pub fn ok(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(State::Ok, check, subject, message)
    }

    pub fn warn(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(State::Warn, check, subject, message)
    }

    pub fn fail(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(State::Fail, check, subject, message)
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn of_finding(finding: &Finding) -> Self {
        let state = match finding.severity {
            Severity::Error => State::Fail,
            Severity::Warning => State::Warn,
        };
        let subject = match finding.line {
            0 => finding.file.clone(),
            line => format!("{}:{line}:{}", finding.file, finding.column),
        };
        Self { hint: finding.hint.clone(), ..Self::new(state, "configuration", subject, finding.message.clone()) }
    }

    /// A question that was not answered as it should.
    pub fn of_trouble(check: &'static str, subject: impl Into<String>, trouble: Trouble) -> Self {
        Self { hint: trouble.hint, ..Self::new(trouble.state, check, subject, trouble.message) }
    }

    pub fn failed(&self) -> bool {
        self.state == State::Fail
    }

    /// With nothing in it that must not be seen, whoever said it.
    pub fn without(self, secrets: &[String]) -> Self {
        let veil = |text: String| secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), "[secret]"));
        Self { subject: veil(self.subject), message: veil(self.message), hint: self.hint.map(veil), ..self }
    }
}

/// Why a question has no good answer.
pub struct Trouble {
    pub state: State,
    pub message: String,
    pub hint: Option<String>,
}

impl Trouble {
    pub fn late(within: Duration) -> Self {
        Self {
            state: State::Fail,
            message: format!("no answer within {} s", within.as_secs()),
            hint: Some("is the address right, and may this machine call it?".into()),
        }
    }
}

impl From<SendError> for Trouble {
    fn from(error: SendError) -> Self {
        let fail = |message: String, hint: Option<String>| Self { state: State::Fail, message, hint };
        match error {
            SendError::Held { code, hint, .. } => fail(code, hint),
            SendError::Paced { code, .. } => Self {
                state: State::Warn,
                message: format!("it wants a pause: {code}"),
                hint: Some("ask again in a minute".into()),
            },
            SendError::Moved { chat } => fail(format!("it has become {chat}"), None),
            SendError::Content { code } | SendError::Refused { code } | SendError::ParentGone { code } => {
                fail(code, None)
            }
            SendError::Unclear { what, .. } => fail(format!("its answer cannot be understood: {what}"), None),
            error @ (SendError::Unreached(_) | SendError::BreakerOpen { .. } | SendError::LeaseLost) => {
                fail(causes(&error), Some("is the address right, and may this machine call it?".into()))
            }
        }
    }
}

impl From<TrackerError> for Trouble {
    fn from(error: TrackerError) -> Self {
        match error {
            TrackerError::Call(error) => error.into(),
            error => Self { state: State::Fail, message: error.to_string(), hint: None },
        }
    }
}

/// An error with what caused it.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text += ": ";
            text += &said;
        }
        next = cause.source();
    }
    text
}

/// For people: a table, under each row how to mend it, and the sum.
pub fn text(rows: &[Row]) -> String {
    let cells = |row: &Row| vec![row.state.as_str().into(), row.check.into(), row.subject.clone(), row.message.clone()];
    let table = table(&["STATE", "CHECK", "SUBJECT", "WHAT"], rows.iter().map(cells));
    let (mut lines, mut told) = (table.lines(), String::new());
    told += lines.next().unwrap_or_default();
    told.push('\n');
    for (line, row) in lines.zip(rows) {
        told += line;
        told.push('\n');
        if let Some(hint) = &row.hint {
            told += &format!("      hint: {}\n", visible(hint));
        }
    }
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    told + &format!("\n{} ok, {} warn, {} failed\n", count(State::Ok), count(State::Warn), count(State::Fail))
}
