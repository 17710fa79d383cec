//! What stands behind the transformer, as sentence-transformers' `modules.json` lists it: pooling, and dense layers and
//! normalisation of what it gives.
//!
//! Both generations of its files are read: `pooling_mode_mean_tokens: true` and `pooling_mode: "mean"`. A folder
//! without `modules.json` is taken as sentence-transformers takes it: mean pooling, no normalisation. Other
//! modules are refused by name.

use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use crate::folder::{FolderError, needed, optional, unsupported};

/// An entry of `modules.json`.
#[derive(Deserialize)]
pub(crate) struct Module {
    /// Its folder within the model's; empty for the model itself.
    pub(crate) path: String,
    r#type: String,
}

impl Module {
    /// Those that a folder lists.
    pub(crate) fn all(folder: &Path) -> Result<Vec<Self>, FolderError> {
        let mut modules = optional::<Vec<Self>>(folder, "modules.json")?.unwrap_or_default();
        for module in &mut modules {
            module.path = module.path.trim_end_matches('/').to_owned();
            let mut parts = Path::new(&module.path).components();
            // A stranger's model is not to have other files read.
            if !parts.all(|part| matches!(part, Component::Normal(_))) {
                let what = format!("a module in `{}`, outside of its folder", module.path);
                return Err(unsupported(folder, what));
            }
        }
        Ok(modules)
    }
}

/// The modules behind the transformer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modules {
    pub(crate) pooling: Pooling,
    /// The folder within the model's that says so, if one does.
    pub(crate) pooling_folder: Option<String>,
    /// What is done with the pooled vectors, in order.
    pub(crate) steps: Vec<Step>,
}

/// How the vectors of a sequence's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
    /// The last one.
    Last,
}

/// What is done with a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Dense(Dense),
    /// It is scaled to length one.
    Normalize,
}

/// A dense layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dense {
    /// Its folder within the model's.
    pub(crate) folder: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) bias: bool,
    /// Whether the hyperbolic tangent is taken of what it gives.
    pub(crate) tanh: bool,
}

impl Modules {
    pub(crate) fn read(path: &Path) -> Result<Self, FolderError> {
        let (mut pooled, mut pooling_folder) = (None, None);
        let mut steps = Vec::new();
        for module in Module::all(path)? {
            // `sentence_transformers.models.Pooling` and newer, longer paths end in the same word.
            match module.r#type.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Pooling" if pooled.is_none() && steps.is_empty() => {
                    pooled = Some(pooling(path, &module.path)?);
                    pooling_folder = Some(module.path);
                }
                "Dense" if pooled.is_some() => steps.push(Step::Dense(dense(path, module.path)?)),
                "Normalize" => steps.push(Step::Normalize),
                other => {
                    return Err(unsupported(path, format!("a module `{other}` behind the model")));
                }
            }
        }
        Ok(Self { pooling: pooled.unwrap_or(Pooling::Mean), pooling_folder, steps })
    }

    /// Length of the vectors, where those of tokens have this one.
    pub(crate) fn dim(&self, width: usize) -> usize {
        self.dense().last().map_or(width, |dense| dense.outputs)
    }

    /// The dense layers.
    pub(crate) fn dense(&self) -> impl Iterator<Item = &Dense> {
        self.steps.iter().filter_map(|step| match step {
            Step::Dense(dense) => Some(dense),
            Step::Normalize => None,
        })
    }
}

fn pooling(path: &Path, module: &str) -> Result<Pooling, FolderError> {
    const PREFIX: &str = "pooling_mode_";
    let config: serde_json::Map<String, Value> = needed(&path.join(module), "config.json")?;
    if config.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(unsupported(path, "pooling without the prompt's tokens".to_owned()));
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

fn dense(path: &Path, folder: String) -> Result<Dense, FolderError> {
    #[derive(Deserialize)]
    struct File {
        in_features: usize,
        out_features: usize,
        bias: bool,
        activation_function: String,
    }
    let file: File = needed(&path.join(&folder), "config.json")?;
    let tanh = match file.activation_function.rsplit('.').next().unwrap_or_default() {
        "Tanh" => true,
        "Identity" => false,
        other => return Err(unsupported(path, format!("a dense layer with `{other}`"))),
    };
    Ok(Dense {
        folder,
        inputs: file.in_features,
        outputs: file.out_features,
        bias: file.bias,
        tanh,
    })
}
