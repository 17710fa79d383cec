//! A number of bytes in a pipeline file: `67108864`, `"64MiB"`, `"1.5 GB"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes.
///
/// Units of 1000 (`kB`, `MB`, …) and of 1024 (`KiB`, `MiB`, …) are read in any case; a number
/// without unit counts bytes. The largest unit without a fraction formats it.
///
/// ```
/// use pipeline::ByteSize;
///
/// assert_eq!("1.5 GB".parse::<ByteSize>(), Ok(ByteSize(1_500_000_000)));
/// assert_eq!("64mib".parse::<ByteSize>(), Ok(ByteSize::mib(64)));
/// assert!("64 parsecs".parse::<ByteSize>().is_err());
/// assert_eq!(ByteSize(64 << 20).to_string(), "64 MiB");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `count` MiB of 2^20 bytes each.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = exact.unwrap_or(&("B", 1));
        write!(f, "{} {unit}", self.0 / bytes)
    }
}

impl FromStr for ByteSize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let digits =
            text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim());
        let (_, bytes) = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit) || (unit.is_empty() && *name == "B"))
            .ok_or(())?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(*bytes).map(Self).ok_or(());
        }
        let number: f64 = number.parse().map_err(|_| ())?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a fraction of a unit fits the precision of a float and has no sign"
        )]
        Ok(Self((number * *bytes as f64) as u64))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// With its unit, as in a pipeline file.
impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, such as 1000000 or \"64MiB\"")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize(bytes))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(|()| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes, such as 1000000 or \"64MiB\".",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^ *[0-9]+([.][0-9]+)? *([kKmMgGtT]([iI]?)[bB]|[bB])? *$" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn is_read_as_people_write_it() {
        let read = |value| serde_json::from_value::<ByteSize>(value).map(|size| size.0).ok();
        assert_eq!(read(json!(12)), Some(12));
        assert_eq!(read(json!("64MiB")), Some(64 << 20));
        assert_eq!(read(json!("64 mb")), Some(64_000_000));
        assert_eq!(read(json!("1.5GB")), Some(1_500_000_000));
        assert_eq!(read(json!("7")), Some(7));
        for wrong in
            [json!("MB"), json!("1 parsec"), json!(-1), json!("1..2 MB"), json!("99999999TiB")]
        {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn is_shown_in_its_largest_exact_unit() {
        assert_eq!(ByteSize::mib(64).to_string(), "64 MiB");
        assert_eq!(ByteSize(5_000_000).to_string(), "5 MB");
        assert_eq!(ByteSize(0).to_string(), "0 B");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for size in [ByteSize(0), ByteSize(1_234_567), ByteSize::mib(64), ByteSize(5_000_000)] {
            let written = serde_json::to_value(size).unwrap();
            assert_eq!(serde_json::from_value::<ByteSize>(written).unwrap(), size);
        }
    }
}
