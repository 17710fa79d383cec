//! Cross-encoders: an encoder that reads query and passage as one sequence, and a head with one
//! output (Nogueira, Cho 2019, <https://arxiv.org/abs/1901.04085>).
//!
//! | architecture | head |
//! |---|---|
//! | `BertForSequenceClassification` | pooler of the first token (dense, tanh), classifier |
//! | `XLMRobertaForSequenceClassification` | first token, dense, tanh, output |
//! | `ModernBertForSequenceClassification` | first token or mean, dense, activation, norm, classifier |
//!
//! The score is what sentence-transformers returns: the output of the head, through the function
//! that the folder names, else a sigmoid. Models with several labels are refused, because the order
//! of their labels defines no relevance.

use std::path::{Path, PathBuf};

use pipeline::RerankerInfo;
use serde_json::Value;

use crate::architecture::{self, Config, ConfigError};
use crate::fingerprint::fingerprint;
use crate::folder::{LocatedModel, locate, max_tokens, require_weights};
use crate::folder_files::{
    FolderError, read_optional_json, read_required_json, require_file, unsupported,
};
use crate::linear::Activation;
use crate::modules::{Module, Modules, Pooling};
use crate::prompts::Prompts;
use crate::short_name::short_name;
use crate::{bert, modernbert, roberta};

/// Cross-encoders that are not in this table are refused.
static CROSS_ENCODERS: &[CrossEncoderArchitecture] =
    &[bert::CROSS_ENCODER, roberta::CROSS_ENCODER, modernbert::CROSS_ENCODER];

/// Entry of the table of cross-encoders.
pub(crate) struct CrossEncoderArchitecture {
    /// Value of `architectures` in `config.json`.
    pub(crate) name: &'static str,
    /// `true` if the model distinguishes the texts of a pair by token types.
    pub(crate) has_token_types: bool,
    /// Parses the encoder's configuration. The token is that after which token type 1 begins;
    /// `None` if all tokens have type 0.
    pub(crate) encoder: fn(&Value, Option<u32>) -> Result<Box<dyn Config>, ConfigError>,
    /// Parses the head's configuration; the last layer has one output.
    pub(crate) head: fn(&Value) -> Result<ClassifierHead, ConfigError>,
}

/// Pooling and the layers after it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassifierHead {
    pub(crate) pooling: Pooling,
    pub(crate) layers: Vec<ClassifierLayer>,
}

/// A layer of a classification head, by the name of its tensors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClassifierLayer {
    /// Dense layer; `outputs: None` is the hidden size.
    Dense {
        name: &'static str,
        outputs: Option<usize>,
        bias: bool,
        activation: Option<HeadActivation>,
    },
    Norm {
        name: &'static str,
        eps: f64,
        bias: bool,
    },
}

impl ClassifierLayer {
    /// A dense layer with a bias.
    pub(crate) fn dense(
        name: &'static str,
        outputs: Option<usize>,
        activation: Option<HeadActivation>,
    ) -> Self {
        Self::Dense { name, outputs, bias: true, activation }
    }
}

/// Function after a layer of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadActivation {
    Tanh,
    Sigmoid,
    Other(Activation),
}

/// A parsed folder of a cross-encoder.
pub(crate) struct CrossEncoderFolder {
    pub(crate) info: RerankerInfo,
    /// The folder that holds the files.
    pub(crate) path: PathBuf,
    pub(crate) head: ClassifierHead,
    /// `true` if a sigmoid follows the head.
    pub(crate) sigmoid: bool,
    json: Value,
    architecture: &'static CrossEncoderArchitecture,
}

impl CrossEncoderFolder {
    /// Parses the folder of a cross-encoder, given by path or by its name on the hub.
    ///
    /// # Errors
    /// If it is not a supported cross-encoder, or has not been fetched.
    pub(crate) fn read(model: &Path) -> Result<Self, FolderError> {
        let LocatedModel { path, pinned_path, name, .. } = locate(model)?;
        let (json, architecture) = read_config(&path)?;
        let faults = |error| architecture::folder_error(&path, error);
        let shape = (architecture.encoder)(&json, None).map_err(faults)?.shape();
        let head = (architecture.head)(&json).map_err(faults)?;
        require_file(&path, "tokenizer.json")?;
        require_weights(&path)?;
        for module in Module::read_all(&path)? {
            if !module.is_transformer() {
                let what = format!("a module `{}` in a cross-encoder", module.name());
                return Err(unsupported(&path, what));
            }
        }
        let sigmoid = has_sigmoid(&path, &json)?;
        let fingerprint = fingerprint(&path, &Prompts::default(), &Modules::default())
            .map_err(|source| FolderError::Unreadable { file: path.clone(), source })?;
        let info = RerankerInfo {
            path: pinned_path,
            short_name: short_name(&name),
            max_tokens: max_tokens(&path, shape)?,
            fingerprint,
        };
        Ok(Self { info, path, head, sigmoid, json, architecture })
    }

    /// See [`CrossEncoderArchitecture::has_token_types`].
    pub(crate) fn has_token_types(&self) -> bool {
        self.architecture.has_token_types
    }

    /// The encoder's configuration; see [`CrossEncoderArchitecture::encoder`].
    ///
    /// # Errors
    /// If an option is not supported for pairs.
    pub(crate) fn encoder(&self, separator: Option<u32>) -> Result<Box<dyn Config>, FolderError> {
        (self.architecture.encoder)(&self.json, separator)
            .map_err(|error| architecture::folder_error(&self.path, error))
    }
}

/// `config.json` of a cross-encoder, and its architecture.
///
/// # Errors
/// If it is another model, or has several labels.
pub(crate) fn read_config(
    path: &Path,
) -> Result<(Value, &'static CrossEncoderArchitecture), FolderError> {
    let json: Value = read_required_json(path, "config.json")?;
    let named = architecture::named(&json).unwrap_or("(none named)").to_owned();
    let Some(known) = find(&named) else {
        if architecture::is_known(&named) {
            return Err(FolderError::NoReranker { folder: path.to_owned(), named });
        }
        return Err(FolderError::RerankerArchitecture { named });
    };
    match labels(&json) {
        1 => Ok((json, known)),
        count => Err(FolderError::Labels { folder: path.to_owned(), count }),
    }
}

/// `true` if a configuration names a supported cross-encoder.
pub(crate) fn is_cross_encoder(named: &str) -> bool {
    find(named).is_some()
}

/// Names of all supported cross-encoders, for error messages.
pub(crate) fn supported_names() -> String {
    let names: Vec<_> = CROSS_ENCODERS.iter().map(|known| known.name).collect();
    names.join(", ")
}

fn find(named: &str) -> Option<&'static CrossEncoderArchitecture> {
    CROSS_ENCODERS.iter().find(|known| known.name == named)
}

/// Number of labels; two without an entry, as in transformers.
fn labels(config: &Value) -> usize {
    if let Some(labels) = config["id2label"].as_object() {
        return labels.len();
    }
    config["num_labels"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(2)
}

/// The function after the head, as sentence-transformers finds it.
fn has_sigmoid(path: &Path, config: &Value) -> Result<bool, FolderError> {
    const FILE: &str = "config_sentence_transformers.json";
    let settings: Value = read_optional_json(path, FILE)?.unwrap_or_default();
    if let Some(prompt) = settings["default_prompt_name"].as_str() {
        return Err(unsupported(path, format!("the prompt `{prompt}` in front of queries")));
    }
    let named = [
        &settings["activation_fn"],
        &config["sentence_transformers"]["activation_fn"],
        &config["sbert_ce_default_activation_function"],
    ];
    let Some(named) = named.into_iter().find_map(Value::as_str) else { return Ok(true) };
    match named.rsplit('.').next().unwrap_or_default() {
        "Sigmoid" => Ok(true),
        "Identity" => Ok(false),
        _ => Err(unsupported(path, format!("the activation `{named}` of its scores"))),
    }
}
