//! What a condition names, held against what an event can have, before any event comes.

use std::collections::BTreeSet;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators,
};
use cel::{Context, Program};

use super::token::{Token, Word};
use super::value::Wanted;
use crate::event::{LISTS, PATHS, ROOTS};
use crate::finding::suggest;

/// Names that CEL itself gives: the types, for `type(x) == string`.
const TYPES: &[&str] = &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The macros, and how each is written.
const MACROS: &[(&str, &str)] = &[
    ("has", "has(issue.assignee)"),
    ("exists", "issue.followers.exists(person, person.login == \"anna\")"),
    ("exists_one", "issue.followers.exists_one(person, person.login == \"anna\")"),
    ("all", "issue.tags.all(tag, tag != \"wip\")"),
    ("map", "issue.followers.map(person, person.login)"),
    ("filter", "issue.tags.filter(tag, tag != \"wip\")"),
];

/// The member of an event that it does not have yet when the routes are asked.
const UNGIVEN: (&str, &str) = ("event", "id");

/// The places in an event that hold true or false; the others with a name hold texts.
const TRUTHS: &[&str] = &["event.degraded", "event.unenriched", "event.recovered"];

/// How a function is called.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// `size(x)` or `x.size()`
    Either,
    /// `x.contains(y)`
    On,
    /// `int(x)`
    Of,
}

/// The functions of `cel` with the features we build it with.
const FUNCTIONS: &[(&str, Form)] = &[
    ("size", Form::Either),
    ("contains", Form::On),
    ("startsWith", Form::On),
    ("endsWith", Form::On),
    ("matches", Form::On),
    ("string", Form::Of),
    ("int", Form::Of),
    ("uint", Form::Of),
    ("double", Form::Of),
    ("bytes", Form::Of),
    ("type", Form::Of),
    ("dyn", Form::Of),
];

/// One macro inside another walks at most a million pairs of two full lists; a third level would stop the intake.
const DEEPEST_ITERATION: usize = 2;

/// A mistake in a condition, at a byte of its text.
#[derive(Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) struct Mistake {
    pub at: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// Every unknown root, member and function that `program` names, in the order of the text, or that it never gives a
/// boolean; what it reads goes to `wanted`.
pub(super) fn mistakes(program: &Program, tokens: &[Token], wanted: &mut Wanted) -> Vec<Mistake> {
    let mut walk = Walk { tokens, wanted, scope: Vec::new(), found: BTreeSet::new() };
    let path = walk.expression(program.expression());
    if let (true, Some(kind)) = (walk.found.is_empty(), never_boolean(program.expression(), path.as_ref())) {
        let hint = "it asks something, as in `issue.priority.key == \"critical\"`".to_owned();
        walk.mistake(0, format!("the condition gives {kind}, never true or false"), Some(hint));
    }
    walk.found.into_iter().collect()
}

/// What the expression gives instead of a boolean, where that is sure before any event comes. `path`: the place in the
/// event that it stands for.
fn never_boolean(expression: &IdedExpr, path: Option<&Path>) -> Option<&'static str> {
    use operators::{ADD, DIVIDE, MODULO, MULTIPLY, NEGATE, SUBSTRACT};
    if matches!(&expression.expr, Expr::Select(select) if select.test) {
        return None; // `has(…)`
    }
    if let Some(path) = path {
        return match members(&path.name) {
            _ if is_list(path) => Some("a list"),
            below if below.contains("**") => None,
            below if !below.is_empty() => Some("a map"),
            _ => (!TRUTHS.contains(&path.name.as_str())).then_some("a text"),
        };
    }
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(_)) | Expr::Unspecified => None,
        Expr::Literal(_) => Some("a fixed value"),
        Expr::List(_) => Some("a list"),
        Expr::Map(_) | Expr::Struct(_) => Some("a map"),
        // `map` and `filter` gather a list.
        Expr::Comprehension(made) => matches!(made.accu_init.expr, Expr::List(_)).then_some("a list"),
        Expr::Call(call) => match call.func_name.as_str() {
            ADD | SUBSTRACT | MULTIPLY | DIVIDE | MODULO | NEGATE => Some("a sum"),
            "size" | "int" | "uint" | "double" => Some("a number"),
            "string" | "bytes" => Some("a text"),
            "type" => Some("a type"),
            _ => None,
        },
        Expr::Ident(_) | Expr::Select(_) => None,
    }
}

/// A place in the event that an expression stands for.
#[derive(Clone, Debug)]
struct Path {
    name: String,
    /// It is one element of the list `name`, not the list.
    element: bool,
    /// The byte of its last part in the condition.
    at: usize,
}

/// One step from a value into it.
enum Step<'e> {
    Member(&'e str),
    Index(&'e IdedExpr),
}

struct Walk<'a> {
    tokens: &'a [Token<'a>],
    wanted: &'a mut Wanted,
    /// Iteration variables, innermost last, and what they stand for where that is known.
    scope: Vec<(String, Option<Path>)>,
    found: BTreeSet<Mistake>,
}

impl Walk<'_> {
    /// What the expression stands for, where that is a known place in the event.
    fn expression(&mut self, expression: &IdedExpr) -> Option<Path> {
        match &expression.expr {
            Expr::Ident(_) | Expr::Select(_) => return self.chain(expression),
            Expr::Call(call) if is_index(call) => return self.chain(expression),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => self.all(&list.elements),
            Expr::Map(map) => self.entries(&map.entries),
            Expr::Struct(made) => {
                let at = self.find(|rest| is_name(rest, 0, last_part(&made.type_name)) && is_sign(rest, 1, '{'));
                self.mistake(at, format!("there is no type `{}`", made.type_name), None);
                self.entries(&made.entries);
            }
            Expr::Literal(_) | Expr::Unspecified => {}
        }
        None
    }

    fn all(&mut self, expressions: &[IdedExpr]) {
        for expression in expressions {
            self.expression(expression);
        }
    }

    fn entries(&mut self, entries: &[IdedEntryExpr]) {
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => drop(self.expression(&field.value)),
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key);
                    self.expression(&entry.value);
                }
            }
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) {
        let over = self.expression(&comprehension.iter_range);
        let element = over.filter(is_list).map(|path| Path { element: true, ..path });
        if self.scope.len() == DEEPEST_ITERATION {
            let at = self.find(|rest| is_sign(rest, 0, '(') && is_name(rest, 1, &comprehension.iter_var));
            self.mistake(at, "more than two iterations inside one another".to_owned(), None);
        }
        let outside = self.scope.len();
        self.scope.push((comprehension.iter_var.clone(), element));
        self.scope.extend(comprehension.iter_var2.clone().map(|name| (name, None)));
        for part in
            [&comprehension.accu_init, &comprehension.loop_cond, &comprehension.loop_step, &comprehension.result]
        {
            self.expression(part);
        }
        self.scope.truncate(outside);
    }

    fn call(&mut self, call: &CallExpr) {
        if let Some(target) = &call.target {
            self.expression(target);
        }
        let values: Vec<_> = call.args.iter().map(|value| self.expression(value)).collect();
        let name = call.func_name.as_str();
        self.comparison(name, call, &values);
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) || name == operators::IN {
            return; // an operator
        }
        let at = self.find(|rest| is_name(rest, 0, name) && is_sign(rest, 1, '('));
        if let Some((_, example)) = MACROS.iter().find(|(known, _)| *known == name) {
            return self.mistake(at, format!("`{name}` is written otherwise"), Some(format!("`{example}`")));
        }
        let Some((_, form)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let known = FUNCTIONS.iter().map(|(known, _)| *known).chain(MACROS.iter().map(|(known, _)| *known));
            return self.mistake(at, format!("there is no function `{name}`"), Some(suggest(name, "functions", known)));
        };
        let fits = match (form, call.target.is_some(), call.args.len()) {
            (Form::Either, on, values) => values + usize::from(on) == 1,
            (Form::On, on, values) => on && values == 1,
            (Form::Of, on, values) => !on && values == 1,
        };
        if !fits {
            let way = match form {
                Form::Either => format!("`{name}(issue.tags)`"),
                Form::On => format!("`issue.summary.{name}(\"text\")`"),
                Form::Of => format!("`{name}(body.number)`"),
            };
            self.mistake(at, format!("`{name}` is called otherwise"), Some(way));
        } else if name == "matches" && matches!(call.args[0].expr, Expr::Literal(LiteralValue::String(_))) {
            self.pattern(&call.args[0], at);
        }
    }

    /// A person, a queue or a status is never equal to a text: the comparison would be false for ever, without a word.
    fn comparison(&mut self, operator: &str, call: &CallExpr, values: &[Option<Path>]) {
        let sides: &[(usize, usize)] = match operator {
            operators::EQUALS | operators::NOT_EQUALS => &[(0, 1), (1, 0)],
            operators::IN => &[(0, 1)],
            _ => return,
        };
        for (one, other) in sides {
            let (Some(Some(path)), Some(other)) = (values.get(*one), call.args.get(*other)) else { continue };
            let members = members(&path.name);
            if is_text(other) && !is_list(path) && !members.is_empty() && !members.contains("**") {
                let member = ["key", "login"].into_iter().find(|member| members.contains(member)).unwrap_or("…");
                let Path { name, element, at } = path;
                let (what, hint) = match element {
                    true => (format!("an element of `{name}`"), format!("compare its `{member}`")),
                    false => (format!("`{name}`"), format!("compare `{name}.{member}`")),
                };
                self.mistake(*at, format!("{what} has members, it is never equal to a text"), Some(hint));
            }
        }
    }

    /// Has `cel` try a pattern that is known now, so that it does not fail at every event.
    fn pattern(&mut self, pattern: &IdedExpr, at: usize) {
        let nothing = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::String("".into())) };
        let call =
            CallExpr { func_name: "matches".to_owned(), target: Some(Box::new(nothing)), args: vec![pattern.clone()] };
        if let Err(error) = Context::default().resolve(&IdedExpr { id: 0, expr: Expr::Call(call) }) {
            let text = error.to_string();
            let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it is too large");
            self.mistake(at, format!("the pattern of `matches` is no regular expression: {reason}"), None);
        }
    }

    /// A name with members and indices behind it.
    fn chain(&mut self, expression: &IdedExpr) -> Option<Path> {
        let mut steps = Vec::new();
        let mut base = expression;
        loop {
            match &base.expr {
                Expr::Select(select) => {
                    steps.push(Step::Member(&select.field));
                    base = &select.operand;
                }
                Expr::Call(call) if is_index(call) => {
                    steps.push(match &call.args[1].expr {
                        Expr::Literal(LiteralValue::String(name)) => Step::Member(name.inner()),
                        _ => Step::Index(&call.args[1]),
                    });
                    base = &call.args[0];
                }
                _ => break,
            }
        }
        steps.reverse();
        for step in &steps {
            if let Step::Index(index) = step {
                self.expression(index);
            }
        }
        let Expr::Ident(name) = &base.expr else {
            return self.expression(base).filter(|_| steps.is_empty());
        };
        let mut path = self.root(name, &steps)?;
        for (index, step) in steps.iter().enumerate() {
            path = match self.step(path, step) {
                Ok(path) => path?,
                Err((message, hint)) => {
                    let at = self.locate(name, &steps[..=index]);
                    self.mistake(at, message, Some(hint));
                    return None;
                }
            };
        }
        Some(Path { at: self.locate(name, &steps), ..path })
    }

    fn root(&mut self, name: &str, steps: &[Step]) -> Option<Path> {
        if name.starts_with('@') {
            return None; // a macro's own variable
        }
        if let Some((_, path)) = self.scope.iter().rev().find(|(variable, _)| variable == name) {
            return path.clone();
        }
        if ROOTS.contains(&name) {
            let member = steps.first().and_then(|step| match step {
                Step::Member(member) => Some(*member),
                Step::Index(_) => None,
            });
            self.wanted.add(name, member);
            return Some(Path { name: name.to_owned(), element: false, at: 0 });
        }
        if !(TYPES.contains(&name) && steps.is_empty()) {
            let at = self.locate(name, &[]);
            let known: Vec<_> = self.scope.iter().map(|(variable, _)| variable.clone()).collect();
            let known = ROOTS.iter().copied().chain(known.iter().map(String::as_str));
            let hint = if name == "channel" {
                "a condition chooses the channels, so it cannot ask for one; templates can".to_owned()
            } else {
                suggest(name, "roots of an event", known)
            };
            self.mistake(at, format!("`{name}` is not known"), Some(hint));
        }
        None
    }

    /// `Ok(None)`: from here on anything may follow.
    fn step(&self, path: Path, step: &Step) -> Result<Option<Path>, (String, String)> {
        let Path { name, .. } = &path;
        match step {
            Step::Index(_) if is_list(&path) => Ok(Some(Path { element: true, ..path })),
            Step::Index(_) => Ok(None),
            Step::Member(member) if is_list(&path) => Err((
                format!("`{name}` is a list, it has no `{member}`"),
                format!("`{name}.exists(one, one.{member} == …)` asks whether an element has it"),
            )),
            Step::Member(member) => {
                let members = members(name);
                if (name.as_str(), *member) == UNGIVEN {
                    let hint =
                        "the event gets its id when it is stored, after the routes were asked; templates have it";
                    Err((format!("`{name}.{member}` is not known to conditions"), hint.to_owned()))
                } else if members.contains("**") {
                    Ok(None)
                } else if members.contains(member) {
                    Ok(Some(Path { name: format!("{name}.{member}"), element: false, at: 0 }))
                } else if members.is_empty() {
                    Err((format!("`{name}` has no members, so no `{member}`"), format!("compare `{name}` itself")))
                } else {
                    let hint = suggest(member, &format!("members of `{name}`"), members);
                    Err((format!("`{name}.{member}` is not known"), hint))
                }
            }
        }
    }

    /// The byte of the last of `steps` behind `name`, where the text has them in a row.
    fn locate(&self, name: &str, steps: &[Step]) -> usize {
        let root = |index: usize| {
            let follows_dot = index > 0 && is_sign(&self.tokens[index - 1..], 0, '.');
            is_name(&self.tokens[index..], 0, name) && !follows_dot && !self.declares(index)
        };
        (0..self.tokens.len())
            .filter(|index| root(*index))
            .find_map(|index| steps.iter().try_fold((index, index + 1), |(_, next), step| self.after(next, step)))
            .map_or(0, |(found, _)| self.tokens[found].at)
    }

    /// Whether a macro names its variable here, as in `exists(one, …)`.
    fn declares(&self, index: usize) -> bool {
        let Some([name, open, _, comma]) = index.checked_sub(2).and_then(|start| self.tokens.get(start..start + 4))
        else {
            return false;
        };
        let of_macro = MACROS.iter().any(|(known, _)| name.word == Word::Name(known));
        of_macro && open.word == Word::Sign('(') && comma.word == Word::Sign(',')
    }

    /// The token that names `step` and the one behind it, when the step is written at token `at`.
    fn after(&self, at: usize, step: &Step) -> Option<(usize, usize)> {
        let word = |index: usize| self.tokens.get(index).map(|token| token.word);
        match (step, word(at)?, word(at + 1)?) {
            (Step::Member(member), Word::Sign('.'), Word::Name(name)) if name == *member => Some((at + 1, at + 2)),
            (Step::Member(member), Word::Sign('['), Word::Text(text)) if text == *member => Some((at + 1, at + 3)),
            (Step::Index(_), Word::Sign('['), _) => {
                let mut open = 0;
                let close = self.tokens[at..].iter().position(|token| {
                    match token.word {
                        Word::Sign('[') => open += 1,
                        Word::Sign(']') => open -= 1,
                        _ => {}
                    }
                    open == 0
                })?;
                Some((at + 1, at + close + 1))
            }
            _ => None,
        }
    }

    fn find(&self, fits: impl Fn(&[Token]) -> bool) -> usize {
        (0..self.tokens.len()).find(|index| fits(&self.tokens[*index..])).map_or(0, |index| self.tokens[index].at)
    }

    fn mistake(&mut self, at: usize, message: String, hint: Option<String>) {
        self.found.insert(Mistake { at, message, hint });
    }
}

/// A text, or a list of them.
fn is_text(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(_)) => true,
        Expr::List(list) => !list.elements.is_empty() && list.elements.iter().all(is_text),
        _ => false,
    }
}

fn is_index(call: &CallExpr) -> bool {
    call.func_name == operators::INDEX && call.args.len() == 2
}

fn is_list(path: &Path) -> bool {
    !path.element && LISTS.contains(&path.name.as_str())
}

fn is_name(tokens: &[Token], index: usize, name: &str) -> bool {
    tokens.get(index).is_some_and(|token| token.word == Word::Name(name))
}

fn is_sign(tokens: &[Token], index: usize, sign: char) -> bool {
    tokens.get(index).is_some_and(|token| token.word == Word::Sign(sign))
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The names one step below `path`; `**` where anything may stand.
fn members(path: &str) -> BTreeSet<&'static str> {
    let below = PATHS.iter().filter_map(|known| known.strip_prefix(path)?.strip_prefix('.'));
    below.map(|rest| rest.split('.').next().unwrap_or(rest)).collect()
}
