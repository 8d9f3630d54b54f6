//! JSON as the standard wants it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::taken::Taken;

/// Reads a JSON object.
///
/// # Errors
/// It is no JSON, deeper than 128 levels, or not an object.
pub fn object(text: &str) -> serde_json::Result<Taken> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let taken = reader.deserialize_any(Object)?;
    reader.end()?;
    Ok(taken)
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Taken;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Taken, A::Error> {
        let mut taken = Taken::default();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Any(&mut taken.repeated))?;
            taken.add(name, value);
        }
        Ok(taken)
    }
}

/// Any JSON value. Not serde_json's own reading: that lets the last member of a name count.
struct Any<'a>(&'a mut bool);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Any(self.0))? {
            list.push(item);
        }
        Ok(list.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        let taken = Object.visit_map(entries)?;
        *self.0 |= taken.repeated;
        Ok(taken.into_all().into())
    }
}
