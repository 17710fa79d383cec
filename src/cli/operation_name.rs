//! Names of operations on the command line: `latest`, an id, or the first digits of an id.

use std::str::FromStr;

use uuid::Uuid;

/// Fewest hexadecimal digits of a prefix, as in git.
const SHORTEST: usize = 4;

/// The name of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OperationName {
    /// The newest operation of the collection.
    Latest,
    /// The operation whose id has this prefix.
    Prefix(IdPrefix),
}

/// A prefix of an id, or a whole id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdPrefix {
    /// As typed, in lower case.
    pub(crate) typed: String,
    /// The smallest id with this prefix.
    pub(crate) first: Uuid,
    /// The largest id with this prefix.
    pub(crate) last: Uuid,
}

impl FromStr for OperationName {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        if typed == "latest" {
            return Ok(Self::Latest);
        }
        let prefix = IdPrefix::parse(typed).ok_or_else(|| {
            format!("expected `latest`, an id, or the first digits of one, at least {SHORTEST}")
        })?;
        Ok(Self::Prefix(prefix))
    }
}

impl IdPrefix {
    fn parse(typed: &str) -> Option<Self> {
        let typed = typed.to_ascii_lowercase();
        let digits: String = typed.chars().filter(|char| *char != '-').collect();
        if !(SHORTEST..=32).contains(&digits.len()) {
            return None;
        }
        let filled = |digit: &str| {
            let rest = digit.repeat(32 - digits.len());
            u128::from_str_radix(&format!("{digits}{rest}"), 16).ok().map(Uuid::from_u128)
        };
        // `from_str_radix` also accepts a sign.
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (first, last) = (filled("0")?, filled("f")?);
        is_hexadecimal.then_some(Self { typed, first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_its_beginning_are_ranges() {
        let id = "3f0c1a5e-0000-4000-8000-00000000abcd";
        let range = |typed: &str| match typed.parse() {
            Ok(OperationName::Prefix(prefix)) => (prefix.first, prefix.last),
            other => panic!("{typed}: {other:?}"),
        };
        let uuid: Uuid = id.parse().unwrap();
        assert_eq!(range(id), (uuid, uuid));
        assert_eq!(range(&id.to_uppercase().replace('-', "")), (uuid, uuid));
        let (first, last) = range("3F0C1a5e-0");
        assert_eq!(first.to_string(), "3f0c1a5e-0000-0000-0000-000000000000");
        assert_eq!(last.to_string(), "3f0c1a5e-0fff-ffff-ffff-ffffffffffff");
        assert_eq!("latest".parse(), Ok(OperationName::Latest));
        for bad in ["", "3f0", "3f-0", "+3f0c", "last", "3f0g", "ü3f0", &format!("{id}0")] {
            assert!(bad.parse::<OperationName>().is_err(), "{bad}");
        }
    }
}
