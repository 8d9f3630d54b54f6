//! What can go wrong on the way to a messenger and back, on command.

use std::time::Duration;

use super::call::Call;

/// One way to fail. "Accepted" faults let the service do what the call asks and spoil only what the caller learns of it;
/// a call that the service refuses anyway stays refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Not accepted: 429, in the service's own form or a proxy's, with or without the header `Retry-After` (seconds).
    RateLimited { retry_after: Option<u64>, form: LimitForm },
    /// Not accepted: Slack's code or a webhook's word; Telegram's whole description, which says the status by its prefix.
    Error(String),
    /// Not accepted: this status and this page, as a proxy would answer.
    Status { status: u16, body: String },
    /// Not accepted: HTTP 500 in the service's own JSON.
    Json500,
    /// Accepted: the answer's JSON ends in the middle.
    UnreadableAnswer,
    /// Not accepted: 200 with JSON that is no answer of this service.
    WrongJson,
    /// Not accepted: 200 and nothing.
    Empty,
    /// Not accepted: 200 and a page, as a captive portal answers.
    Html200,
    /// Accepted: 200, `ok`, and no id of the message.
    OkWithoutId,
    /// Accepted: the connection is closed without a reply.
    LoseAnswer,
    /// Not accepted: the connection is reset.
    ResetBefore,
    /// Accepted: the connection is reset.
    ResetAfter,
    /// Not accepted, no answer, until the hanging calls are released; then handled as any call.
    HangBefore,
    /// No answer until released; then this happens.
    HangThen(Box<Fault>),
    /// Accepted, no answer until released.
    HangAfter,
    /// Accepted: headers and half of the body, the rest when released.
    HangInBody,
    /// Handled as any call after this time on the simulator's clock.
    Slow(Duration),
    /// Not accepted: the group has become this supergroup. Slack, which knows no such thing, says `channel_not_found`.
    Moved { to: i64 },
}

/// The body of a 429.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitForm {
    Json,
    Text,
    Html,
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Error(_) => "error",
            Self::Status { .. } => "status",
            Self::Json500 => "json_500",
            Self::UnreadableAnswer => "unreadable_answer",
            Self::WrongJson => "wrong_json",
            Self::Empty => "empty",
            Self::Html200 => "html_200",
            Self::OkWithoutId => "ok_without_id",
            Self::LoseAnswer => "lose_answer",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::HangBefore => "hang_before",
            Self::HangThen(_) => "hang_then",
            Self::HangAfter => "hang_after",
            Self::HangInBody => "hang_in_body",
            Self::Slow(_) => "slow",
            Self::Moved { .. } => "moved",
        }
    }

    /// 429 in the service's own form.
    pub fn rate_limited(retry_after: u64) -> Self {
        Self::RateLimited { retry_after: Some(retry_after), form: LimitForm::Json }
    }

    pub fn error(word: impl Into<String>) -> Self {
        Self::Error(word.into())
    }

    /// The page of a proxy whose upstream is gone.
    pub fn bad_gateway() -> Self {
        Self::Status { status: 502, body: "<html><h1>502 Bad Gateway</h1></html>".to_owned() }
    }

    /// For the next call. The rule's methods say otherwise.
    pub fn once(self) -> Rule {
        self.times(1)
    }

    /// For the next `calls` calls.
    pub fn times(self, calls: u32) -> Rule {
        Rule { fault: self, often: Often::Next(calls), place: Vec::new() }
    }

    /// For every call until cleared.
    pub fn always(self) -> Rule {
        Rule { fault: self, often: Often::Always, place: Vec::new() }
    }

    /// For each call with this probability (0 to 1); the same seed gives the same row.
    pub fn chance(self, probability: f64, seed: u64) -> Rule {
        Rule { fault: self, often: Often::Chance(probability, fastrand::Rng::with_seed(seed)), place: Vec::new() }
    }
}

/// A fault with where and how often. Without a place it meets every call.
pub struct Rule {
    fault: Fault,
    often: Often,
    place: Vec<Place>,
}

type Place = Box<dyn Fn(&Call) -> bool + Send>;

enum Often {
    Next(u32),
    Always,
    Chance(f64, fastrand::Rng),
}

impl Rule {
    /// Only in this conversation.
    pub fn on(self, conversation: impl Into<String>) -> Self {
        let conversation = conversation.into();
        self.when(move |call| call.conversation.as_deref() == Some(&conversation))
    }

    /// Only for this method, whatever its case.
    pub fn method(self, method: impl Into<String>) -> Self {
        let method = method.into();
        self.when(move |call| call.method.eq_ignore_ascii_case(&method))
    }

    /// Only for such calls. Called under the simulator's lock: it must not ask the simulator.
    pub fn when(mut self, place: impl Fn(&Call) -> bool + Send + 'static) -> Self {
        self.place.push(Box::new(place));
        self
    }

    fn meets(&mut self, call: &Call) -> bool {
        self.place.iter().all(|place| place(call))
            && match &mut self.often {
                Often::Next(0) => false,
                Often::Next(left) => {
                    *left -= 1;
                    true
                }
                Often::Always => true,
                Often::Chance(probability, rng) => rng.f64() < *probability,
            }
    }
}

/// The rules in force. The first that meets a call decides.
#[derive(Default)]
pub(super) struct Faults(Vec<Rule>);

impl Faults {
    pub fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn pick(&mut self, call: &Call) -> Option<Fault> {
        let rule = self.0.iter_mut().position(|rule| rule.meets(call))?;
        let fault = self.0[rule].fault.clone();
        if matches!(self.0[rule].often, Often::Next(0)) {
            self.0.remove(rule);
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, conversation: &str) -> Call {
        Call { method: method.into(), conversation: Some(conversation.into()), ..Call::default() }
    }

    fn names(faults: &mut Faults, call: &Call, calls: usize) -> Vec<&'static str> {
        (0..calls).map(|_| faults.pick(call).map_or("-", |fault| fault.name())).collect()
    }

    #[test]
    fn rules_end_after_their_calls_and_the_next_takes_over() {
        let mut faults = Faults::default();
        faults.add(Fault::Json500.times(2));
        faults.add(Fault::Empty.once());
        assert_eq!(names(&mut faults, &call("sendMessage", "1"), 4), ["json_500", "json_500", "empty", "-"]);
        faults.add(Fault::LoseAnswer.always());
        assert_eq!(names(&mut faults, &call("sendMessage", "1"), 3), ["lose_answer"; 3]);
        faults.clear();
        assert_eq!(names(&mut faults, &call("sendMessage", "1"), 1), ["-"]);
    }

    #[test]
    fn a_rule_for_one_place_is_not_used_up_elsewhere() {
        let mut faults = Faults::default();
        faults.add(Fault::Empty.once().on("C1").method("chat.postmessage"));
        assert_eq!(faults.pick(&call("chat.postMessage", "C2")), None);
        assert_eq!(faults.pick(&call("chat.update", "C1")), None);
        assert_eq!(faults.pick(&call("chat.postMessage", "C1")), Some(Fault::Empty));
        assert_eq!(faults.pick(&call("chat.postMessage", "C1")), None);
    }

    #[test]
    fn chance_is_the_seeds() {
        let row = |seed| {
            let mut faults = Faults::default();
            faults.add(Fault::Empty.chance(0.3, seed));
            names(&mut faults, &call("sendMessage", "1"), 1000)
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        let met = row(7).iter().filter(|name| **name == "empty").count();
        assert!((250..350).contains(&met), "{met} of 1000");
    }
}
