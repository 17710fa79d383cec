//! The globs of `include` and `exclude`, parsed with the pipeline file.

use std::borrow::Cow;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use pipeline::BoxError;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// A glob over the path below a scanned folder. `*` and `?` do not match `/`; `**` does.
#[derive(Clone)]
pub(crate) struct Glob(globset::Glob);

impl Glob {
    /// The glob as written in the pipeline file, without a leading `./`.
    pub(crate) fn text(&self) -> &str {
        self.0.glob()
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pattern = text.strip_prefix("./").unwrap_or(&text);
        pipeline::check_pattern(pattern).map_err(serde::de::Error::custom)?;
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        glob.map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Glob {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Glob".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// Combines globs into one matcher.
pub(crate) fn compile(globs: &[Glob]) -> Result<GlobSet, BoxError> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(glob.0.clone());
    }
    Ok(builder.build()?)
}
