//! From an event's document to the values that conditions read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelString};
use cel::common::value::Val;
use serde_json::Value;

use crate::event::{Document, LISTS, ROOTS};

/// How many elements of a list a condition sees.
pub(super) const LONGEST_LIST: usize = 1_000;

/// What a set of conditions reads of a document: only this is converted, once for an event.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<&'static str, Members>);

#[derive(Debug)]
enum Members {
    All,
    Some(BTreeSet<String>),
}

impl Wanted {
    /// `member`: the first step below the root, where the condition names one.
    pub fn add(&mut self, root: &str, member: Option<&str>) {
        let Some(root) = ROOTS.iter().find(|known| **known == root) else { return };
        let members = self.0.entry(root).or_insert_with(|| Members::Some(BTreeSet::new()));
        match (member, &mut *members) {
            (Some(member), Members::Some(some)) => drop(some.insert(member.to_owned())),
            (Some(_), Members::All) => {}
            (None, _) => *members = Members::All,
        }
    }

    /// The roots, with the first member where only some are read.
    pub fn paths(&self) -> Vec<String> {
        let below = self.0.iter().flat_map(|(root, members)| match members {
            Members::All => vec![(*root).to_owned()],
            Members::Some(some) => some.iter().map(|member| format!("{root}.{member}")).collect(),
        });
        below.collect()
    }

    /// The roots and their values. A root of which nothing is known is empty.
    pub fn of(&self, document: &Document<'_>) -> impl Iterator<Item = (&'static str, Box<dyn Val>)> {
        let document = document.members(|root| self.0.contains_key(root));
        self.0.iter().map(move |(root, members)| {
            let value: Box<dyn Val> = match (document.get(*root), members) {
                (Some(Value::Object(all)), Members::Some(some)) => {
                    let known = some.iter().filter_map(|member| Some((member, all.get(member)?)));
                    Box::new(map(known))
                }
                (Some(value), _) => convert(value).unwrap_or_else(|| empty(root)),
                (None, _) => empty(root),
            };
            (*root, value)
        })
    }
}

fn empty(root: &str) -> Box<dyn Val> {
    if LISTS.contains(&root) { Box::new(CelList::default()) } else { Box::new(CelMap::default()) }
}

/// `None` for null: absent members are left out. Whole numbers become `int`, those beyond it `double`.
fn convert(value: &Value) -> Option<Box<dyn Val>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Box::new(CelInt::from(whole)),
            None => Box::new(CelDouble::from(number.as_f64()?)),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(all) => {
            Box::new(CelList::from(all.iter().take(LONGEST_LIST).filter_map(convert).collect::<Vec<_>>()))
        }
        Value::Object(members) => Box::new(map(members.iter())),
    })
}

fn map<'v>(members: impl Iterator<Item = (&'v String, &'v Value)>) -> CelMap {
    let members = members.filter_map(|(name, value)| Some((CelMapKey::from(name.as_str()), convert(value)?)));
    CelMap::from(members.collect::<HashMap<_, _>>())
}
