//! Options of the sparse vectors, and their stored form.

use pipeline::{BoxError, PassageField};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Increased whenever the indices or weights of the same text change.
const VERSION: u32 = 2;

/// The version before vectors had fields other than the text. Its query vectors are the same, so
/// collections with it can be searched.
const TEXT_ONLY_VERSION: u32 = 1;

/// Options of the BM25 vectors.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bm25Options {
    /// The kind of sparse vectors; always `bm25`.
    pub(super) kind: SparseKind,
    /// Saturation of term frequency: the smaller, the sooner another occurrence of a term adds
    /// nothing.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub(super) k1: f64,
    /// Length normalisation: 0 ignores the length of a passage, 1 normalises by it fully.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) b: f64,
    /// The passage length, in terms, at which length normalisation has no effect.
    #[schemars(range(min = 1.0, max = 100_000.0))]
    pub(super) average_length: f64,
    /// The language of the stemmer: `auto` uses the language of each document, `none` disables
    /// stemming, and a code such as `en` applies to every document.
    #[schemars(regex(
        pattern = r"^(auto|none|ar|da|de|el|en|es|fi|fr|hu|it|nb|nl|no|pt|ro|ru|sv|ta|tr)$"
    ))]
    pub(super) language: String,
    /// Weights of the fields around the text, whose terms count in addition to those of the text.
    #[serde(default)]
    pub(super) fields: FieldsOptions,
}

/// The fields of a sparse vector besides the text, which has weight 1.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FieldsOptions {
    /// The headings above the chunk. Default: weight 3, average length 8.
    headings: FieldOptions,
    /// The title of the document. Default: weight 3, average length 6.
    title: FieldOptions,
    /// The folders below the source and the file name without its extension. Default: weight 3,
    /// average length 6.
    path: FieldOptions,
}

/// The options of a field. Those that are left out have the defaults of the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FieldOptions {
    /// The number of occurrences in the text that one occurrence in the field counts for; 0
    /// ignores the field.
    #[schemars(range(min = 0.0, max = 100.0))]
    weight: Option<f64>,
    /// Length normalisation of the field: 0 ignores its length, 1 normalises by it fully. Default:
    /// 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    b: Option<f64>,
    /// The length of the field, in terms, at which length normalisation has no effect.
    #[schemars(range(min = 1.0, max = 1000.0))]
    average_length: Option<f64>,
}

impl FieldOptions {
    const fn all(weight: f64, b: f64, average_length: f64) -> Self {
        Self { weight: Some(weight), b: Some(b), average_length: Some(average_length) }
    }

    fn or(self, default: Self) -> Self {
        Self {
            weight: self.weight.or(default.weight),
            b: self.b.or(default.b),
            average_length: self.average_length.or(default.average_length),
        }
    }
}

impl FieldsOptions {
    const DEFAULT: Self = Self {
        headings: FieldOptions::all(3.0, 0.5, 8.0),
        title: FieldOptions::all(3.0, 0.5, 6.0),
        path: FieldOptions::all(3.0, 0.5, 6.0),
    };

    /// No field besides the text.
    const NONE: Self = Self {
        headings: FieldOptions::all(0.0, 0.0, 1.0),
        title: FieldOptions::all(0.0, 0.0, 1.0),
        path: FieldOptions::all(0.0, 0.0, 1.0),
    };

    fn with_defaults(&self) -> Self {
        Self {
            headings: self.headings.or(Self::DEFAULT.headings),
            title: self.title.or(Self::DEFAULT.title),
            path: self.path.or(Self::DEFAULT.path),
        }
    }
}

/// The kind of sparse vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SparseKind {
    /// BM25.
    #[default]
    Bm25,
}

impl Default for Bm25Options {
    fn default() -> Self {
        Self {
            kind: SparseKind::Bm25,
            k1: 1.2,
            b: 0.75,
            average_length: 180.0,
            language: "auto".to_owned(),
            fields: FieldsOptions::default(),
        }
    }
}

/// Options with their version, as stored with a collection.
#[derive(Deserialize, Serialize)]
pub(super) struct SavedOptions {
    version: u32,
    #[serde(flatten)]
    options: Bm25Options,
}

impl SavedOptions {
    /// # Errors
    /// If a version with other indices stored them.
    pub(super) fn options(self) -> Result<Bm25Options, BoxError> {
        match self.version {
            VERSION => Ok(self.options),
            TEXT_ONLY_VERSION => Ok(Bm25Options { fields: FieldsOptions::NONE, ..self.options }),
            found => Err(format!(
                "sparse vectors have version {found}, but this semantik uses version {VERSION}; \
                 run `semantik reindex FILE` to rebuild them"
            )
            .into()),
        }
    }
}

impl Bm25Options {
    /// Everything that the vectors depend on, as stored with a collection.
    pub(crate) fn settings(&self) -> Value {
        let options = Self { fields: self.fields.with_defaults(), ..self.clone() };
        let saved = SavedOptions { version: VERSION, options };
        serde_json::to_value(saved).expect("has string keys and plain values only")
    }

    /// Weight, `b` and average length of a field.
    pub(super) fn field(&self, field: PassageField) -> (f64, f64, f64) {
        let fields = self.fields.with_defaults();
        let options = match field {
            PassageField::Text => FieldOptions::all(1.0, self.b, self.average_length),
            PassageField::Headings => fields.headings,
            PassageField::Title => fields.title,
            PassageField::Path => fields.path,
        };
        let FieldOptions { weight, b, average_length } = options;
        let filled = "every field has defaults for all options";
        (weight.expect(filled), b.expect(filled), average_length.expect(filled))
    }
}
