//! The compiled routes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::types::CelBool;
use cel::common::value::Val;
use cel::{Context, Env, ExecutionError, Program};

use super::check::{Mistake, mistakes};
use super::token::{LONGEST, tokens, too_deep};
use super::value::Wanted;
use super::{Asked, AskedAction, Condition, Explained, Failed, Failure, Route, Routed};
use crate::delivery::{Action, Style};
use crate::event::{ChannelName, Document};
use crate::finding::Finding;

/// Stack for `cel`'s parser, in bytes. Measured: [`DEEPEST`](super::token::DEEPEST) brackets take 8 to 16 MiB without
/// optimisation, far more than a thread of the runtime has. Evaluation needs none of it.
const ROOM_TO_PARSE: usize = 64 << 20;

/// All routes, ready for events. Cheap to share, has no state.
pub struct Router {
    rules: Vec<Rule>,
    wanted: Wanted,
    env: Arc<Env>,
}

struct Rule {
    name: Arc<str>,
    when: When,
    channels: Vec<ChannelName>,
    actions: Vec<Action>,
    template: Option<Arc<str>>,
    style: Style,
    continues: bool,
    give_up_after_hours: Option<u32>,
}

enum When {
    Always,
    If(Program),
    Disabled,
}

/// What one rule says to one event.
enum Verdict {
    Always,
    True,
    False,
    Disabled,
    Failed(Failure),
}

impl Verdict {
    fn matches(&self) -> bool {
        matches!(self, Self::Always | Self::True)
    }
}

impl Router {
    /// Compiles every condition, those of disabled routes too. A router that came with an error among its findings
    /// must not be used: the routes concerned never match. `file` is the name that findings give.
    pub fn compile(routes: &[Route], file: &str) -> (Self, Vec<Finding>) {
        std::thread::scope(|scope| {
            let roomy = std::thread::Builder::new().name("conditions".to_owned()).stack_size(ROOM_TO_PARSE);
            let compiled = roomy.spawn_scoped(scope, || Self::compile_here(routes, file)).map(|thread| thread.join());
            compiled.ok().and_then(Result::ok).unwrap_or_else(|| {
                let nothing = Self { rules: Vec::new(), wanted: Wanted::default(), env: Arc::default() };
                (
                    nothing,
                    vec![Finding::error(file, 0, 0, "the conditions could not be compiled: no thread to do it in")],
                )
            })
        })
    }

    fn compile_here(routes: &[Route], file: &str) -> (Self, Vec<Finding>) {
        let mut wanted = Wanted::default();
        let mut unused = Wanted::default(); // what only disabled routes read is not converted
        let mut findings = Vec::new();
        let mut rules = Vec::with_capacity(routes.len());
        for route in routes {
            let wanted = if route.disabled { &mut unused } else { &mut wanted };
            let when = match &route.when {
                None => When::Always,
                Some(condition) => compile(condition, wanted).map(When::If).unwrap_or_else(|mistakes| {
                    findings.extend(mistakes.into_iter().map(|mistake| finding(mistake, condition, route, file)));
                    When::Disabled
                }),
            };
            rules.push(Rule {
                name: route.name.as_str().into(),
                when: if route.disabled { When::Disabled } else { when },
                channels: route.channels.clone(),
                actions: route.actions.clone(),
                template: route.template.as_deref().map(Into::into),
                style: route.style,
                continues: route.continues,
                give_up_after_hours: route.give_up_after_hours,
            });
        }
        (Self { rules, wanted, env: Arc::new(Env::stdlib()) }, findings)
    }

    /// The deliveries that the event of this document asks for, in the order of the routes.
    pub fn route(&self, document: &Document<'_>) -> Routed {
        let context = self.context(document);
        let mut routed = Routed::default();
        for rule in &self.rules {
            let verdict = rule.judge(&context);
            if let Verdict::Failed(why) = verdict {
                routed.failed.push(Failed { route: rule.name.clone(), why });
            } else if verdict.matches() {
                rule.ask(&mut routed);
                if !rule.continues {
                    break;
                }
            }
        }
        routed
    }

    /// What each route makes of the event of this document, and why.
    pub fn explain(&self, document: &Document<'_>) -> Vec<Explained> {
        let context = self.context(document);
        let mut ended_by: Option<&str> = None;
        let mut explained = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let verdict = rule.judge(&context);
            let why = match (&verdict, ended_by) {
                (Verdict::Disabled, _) => "the route is disabled".to_owned(),
                (_, Some(route)) => format!("not asked: `{route}` matched and does not continue"),
                (Verdict::Always, _) => "the route has no condition".to_owned(),
                (Verdict::True, _) => "the condition is true".to_owned(),
                (Verdict::False, _) => "the condition is false".to_owned(),
                (Verdict::Failed(failure), _) => failure.to_string(),
            };
            let matched = verdict.matches() && ended_by.is_none();
            if matched && !rule.continues {
                ended_by = Some(&rule.name);
            }
            explained.push(Explained { route: rule.name.to_string(), matched, why });
        }
        explained
    }

    /// What the conditions name of an event: roots, with the first member where only some are read.
    pub fn reads(&self) -> Vec<String> {
        self.wanted.paths()
    }

    fn context(&self, document: &Document<'_>) -> Context<'static> {
        let mut context = Context::with_env(self.env.clone());
        for (root, value) in self.wanted.of(document) {
            context.add_variable_as_val(root, value);
        }
        context
    }
}

impl Rule {
    fn judge(&self, context: &Context) -> Verdict {
        let program = match &self.when {
            When::Always => return Verdict::Always,
            When::Disabled => return Verdict::Disabled,
            When::If(program) => program,
        };
        // Nothing is known to panic in there; if something does, one route fails and not the intake.
        let result =
            catch_unwind(AssertUnwindSafe(|| cel::Value::resolve_val(program.expression(), context).map(truth)));
        match result {
            Ok(Ok(Ok(true))) => Verdict::True,
            Ok(Ok(Ok(false))) => Verdict::False,
            Ok(Ok(Err(kind))) => Verdict::Failed(Failure::NotBoolean { kind }),
            Ok(Err(error)) => Verdict::Failed(failure(error)),
            Err(_) => Verdict::Failed(Failure::Evaluation { what: "it panicked" }),
        }
    }

    /// Asks for this rule's actions and channels, but for channels that a rule above has asked for.
    fn ask(&self, routed: &mut Routed) {
        let (route, give_up_after_hours) = (&self.name, self.give_up_after_hours);
        let asked = |action: &Action| AskedAction { action: action.clone(), route: route.clone(), give_up_after_hours };
        routed.actions.extend(self.actions.iter().map(asked));
        for channel in &self.channels {
            if !routed.planned.iter().any(|message| message.channel == *channel) {
                routed.planned.push(Asked {
                    channel: channel.clone(),
                    route: self.name.clone(),
                    template: self.template.clone(),
                    style: self.style,
                    give_up_after_hours: self.give_up_after_hours,
                });
            }
        }
    }
}

/// The boolean, or the name of the type that came instead.
fn truth(value: impl AsRef<dyn Val>) -> Result<bool, String> {
    let value = value.as_ref();
    value.downcast_ref::<CelBool>().map(|truth| *truth.inner()).ok_or_else(|| value.get_type().name().to_owned())
}

/// The texts of `cel` print values of the event; ours do not.
fn failure(error: ExecutionError) -> Failure {
    let what = match &error {
        ExecutionError::NoSuchKey(member) => return Failure::Absent { member: member.to_string() },
        ExecutionError::NoSuchOverload
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedKeyType(_) => "an operator or function met a value of a type it cannot take",
        ExecutionError::UndeclaredReference(_) => "a function met values of types it cannot take",
        ExecutionError::IndexOutOfBounds(_) => "an index is beyond the end of its list",
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a division by zero",
        ExecutionError::Overflow(..) => "a number became too large",
        ExecutionError::FunctionError { .. } => "a function refused its values",
        _ => "an operation that is not possible",
    };
    Failure::Evaluation { what }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rules.iter().map(|rule| &rule.name)).finish()
    }
}

fn compile(condition: &Condition, wanted: &mut Wanted) -> Result<Program, Vec<Mistake>> {
    let text = condition.text();
    let refuse = |at: usize, message: String, hint: Option<&str>| {
        Err(vec![Mistake { at, message, hint: hint.map(str::to_owned) }])
    };
    if text.len() > LONGEST {
        let message = format!("the condition has {} bytes, at most {LONGEST} are read", text.len());
        return refuse(0, message, Some("several routes may lead to one channel"));
    }
    let words = tokens(text);
    if words.is_empty() {
        return refuse(
            0,
            "the condition is empty".to_owned(),
            Some("leave `when` out for a route that always matches"),
        );
    }
    if let Some(at) = too_deep(&words) {
        return refuse(at, "the condition is nested too deeply from here".to_owned(), Some("split it into routes"));
    }
    let program = match catch_unwind(|| Program::compile(text)) {
        Ok(Ok(program)) => program,
        Ok(Err(errors)) => {
            let (at, message) =
                errors.errors.first().map_or((0, "it is no CEL"), |e| (offset(text, e.pos), e.msg.as_str()));
            let assigned = message.contains("token recognition error at: '= ");
            let hint = assigned.then_some("equality is written `==`");
            return refuse(at, format!("the condition cannot be read: {}", first_line(message)), hint);
        }
        Err(_) => return refuse(0, "the condition cannot be read".to_owned(), None),
    };
    let mistakes = mistakes(&program, &words, wanted);
    if mistakes.is_empty() { Ok(program) } else { Err(mistakes) }
}

/// The byte of `cel`'s place: its line counts from 1, its column is in characters from 1.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let (line, column) = (usize::try_from(line).unwrap_or(0), usize::try_from(column).unwrap_or(0));
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[before..];
    before + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message).trim_start_matches("Syntax error: ")
}

fn finding(mistake: Mistake, condition: &Condition, route: &Route, file: &str) -> Finding {
    let place = condition.place(mistake.at);
    let message = format!("route `{}`: {}", route.name, mistake.message);
    let finding = Finding::error(file, place.line, place.column, message);
    match mistake.hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}
