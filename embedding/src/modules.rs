//! The modules after the transformer, as listed in sentence-transformers' `modules.json`: pooling,
//! dense layers and normalisation.
//!
//! Supports both generations of its files: `pooling_mode_mean_tokens: true` and
//! `pooling_mode: "mean"`. Without `modules.json`, the defaults of sentence-transformers apply:
//! mean pooling, no normalisation. Other modules are errors that name the module.

use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use crate::folder_files::{FolderError, read_optional_json, read_required_json, unsupported};

/// An entry of `modules.json`.
#[derive(Deserialize)]
pub(crate) struct Module {
    /// Folder of the module within the model's folder; empty for the model's folder itself.
    pub(crate) path: String,
    r#type: String,
}

impl Module {
    /// The modules that a folder lists; empty without `modules.json`.
    pub(crate) fn read_all(folder: &Path) -> Result<Vec<Self>, FolderError> {
        let mut modules =
            read_optional_json::<Vec<Self>>(folder, "modules.json")?.unwrap_or_default();
        for module in &mut modules {
            module.path = module.path.trim_end_matches('/').to_owned();
            let mut parts = Path::new(&module.path).components();
            // An untrusted model must not make the engine read files outside its folder.
            if !parts.all(|part| matches!(part, Component::Normal(_))) {
                let what = format!("a module in `{}`, outside its folder", module.path);
                return Err(unsupported(folder, what));
            }
        }
        Ok(modules)
    }

    /// Name of the module. Older and newer type paths, such as
    /// `sentence_transformers.models.Pooling`, end in the same name.
    pub(crate) fn name(&self) -> &str {
        self.r#type.rsplit('.').next().unwrap_or_default()
    }

    /// `true` for the model itself.
    pub(crate) fn is_transformer(&self) -> bool {
        self.name() == "Transformer"
    }
}

/// The modules after the transformer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modules {
    pub(crate) pooling: Pooling,
    /// The module folder with the pooling configuration; `None` for the default.
    pub(crate) pooling_folder: Option<String>,
    /// Steps after pooling, in order.
    pub(crate) steps: Vec<ModuleStep>,
}

impl Default for Modules {
    fn default() -> Self {
        Self { pooling: Pooling::Mean, pooling_folder: None, steps: Vec::new() }
    }
}

/// Reduction of token vectors to one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Mean of all tokens.
    Mean,
    /// First token.
    Cls,
    /// Last token.
    Last,
}

/// A step after pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModuleStep {
    Dense(DenseSpec),
    /// Scales the vector to length 1.
    Normalize,
}

/// Configuration of a dense layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DenseSpec {
    /// Folder of the module within the model's folder.
    pub(crate) folder: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) bias: bool,
    /// `true` if the activation is tanh, `false` for identity.
    pub(crate) tanh: bool,
}

impl Modules {
    pub(crate) fn read(path: &Path) -> Result<Self, FolderError> {
        let (mut pooled, mut pooling_folder) = (None, None);
        let mut steps = Vec::new();
        for module in Module::read_all(path)? {
            match module.name() {
                "Transformer" => {}
                "Pooling" if pooled.is_none() && steps.is_empty() => {
                    pooled = Some(pooling(path, &module.path)?);
                    pooling_folder = Some(module.path);
                }
                "Dense" if pooled.is_some() => {
                    steps.push(ModuleStep::Dense(dense(path, module.path)?));
                }
                "Normalize" => steps.push(ModuleStep::Normalize),
                other => {
                    return Err(unsupported(
                        path,
                        format!("a module `{other}` after the transformer"),
                    ));
                }
            }
        }
        Ok(Self { pooling: pooled.unwrap_or(Pooling::Mean), pooling_folder, steps })
    }

    /// Dimension of the final vectors, given that of token vectors.
    pub(crate) fn dim(&self, width: usize) -> usize {
        self.dense().last().map_or(width, |dense| dense.outputs)
    }

    /// The dense steps, in order.
    pub(crate) fn dense(&self) -> impl Iterator<Item = &DenseSpec> {
        self.steps.iter().filter_map(|step| match step {
            ModuleStep::Dense(dense) => Some(dense),
            ModuleStep::Normalize => None,
        })
    }
}

fn pooling(path: &Path, module: &str) -> Result<Pooling, FolderError> {
    const PREFIX: &str = "pooling_mode_";
    let config: serde_json::Map<String, Value> =
        read_required_json(&path.join(module), "config.json")?;
    if config.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(unsupported(path, "pooling without prompt tokens".to_owned()));
    }
    let flagged = config
        .iter()
        .filter(|(_, on)| **on == Value::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix(PREFIX));
    let named = config.get("pooling_mode").and_then(Value::as_str);
    let modes: Vec<&str> = named.into_iter().chain(flagged).collect();
    match modes[..] {
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        ["lasttoken"] => Ok(Pooling::Last),
        _ => Err(unsupported(path, format!("pooling by `{}`", modes.join("` and `")))),
    }
}

fn dense(path: &Path, folder: String) -> Result<DenseSpec, FolderError> {
    #[derive(Deserialize)]
    struct File {
        in_features: usize,
        out_features: usize,
        bias: bool,
        activation_function: String,
    }
    let file: File = read_required_json(&path.join(&folder), "config.json")?;
    let tanh = match file.activation_function.rsplit('.').next().unwrap_or_default() {
        "Tanh" => true,
        "Identity" => false,
        other => return Err(unsupported(path, format!("a dense layer with `{other}`"))),
    };
    Ok(DenseSpec {
        folder,
        inputs: file.in_features,
        outputs: file.out_features,
        bias: file.bias,
        tanh,
    })
}
