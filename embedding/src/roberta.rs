//! XLM-RoBERTa (Conneau et al. 2019, <https://arxiv.org/abs/1911.02116>): multilingual E5, dense
//! vectors of BGE-M3.
//!
//! BERT's layers with other position ids: the first is the padding id + 1, and padding tokens
//! within a text, which the text can contain literally, are not counted.

use pipeline::BoxError;
use serde::Deserialize;
use serde_json::Value;

use crate::architecture::{
    Architecture, Config, ConfigError, Encoder, ModelShape, PositionIds, deserialize_part,
};
use crate::bert::{self, BertConfig, BertEncoder};
use crate::cross_encoder::{
    ClassifierHead, ClassifierLayer, CrossEncoderArchitecture, HeadActivation,
};
use crate::modules::Pooling;
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "xlm-roberta",
    names: &["XLMRobertaModel", "XLMRobertaForMaskedLM"],
    read: |config| Ok(Box::new(read(config)?)),
};

/// BGE's rerankers.
pub(crate) const CROSS_ENCODER: CrossEncoderArchitecture = CrossEncoderArchitecture {
    name: "XLMRobertaForSequenceClassification",
    has_token_types: false,
    encoder: |config, _| Ok(Box::new(read(config)?)),
    head: |_| {
        let dense = ClassifierLayer::dense;
        Ok(ClassifierHead {
            pooling: Pooling::Cls,
            layers: vec![
                dense("classifier.dense", None, Some(HeadActivation::Tanh)),
                dense("classifier.out_proj", Some(1), None),
            ],
        })
    },
};

fn read(config: &Value) -> Result<RobertaConfig, ConfigError> {
    let Padding { pad_token_id: padding } = deserialize_part(config)?;
    Ok(RobertaConfig { bert: bert::read(config)?, padding })
}

/// Determines the first position id.
#[derive(Deserialize)]
struct Padding {
    #[serde(default = "usual_padding")]
    pad_token_id: u32,
}

fn usual_padding() -> u32 {
    1
}

struct RobertaConfig {
    bert: BertConfig,
    padding: u32,
}

impl Config for RobertaConfig {
    fn shape(&self) -> ModelShape {
        self.bert.shape().with_positions_after(self.padding)
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let places = PositionIds::AfterPadding(self.padding);
        Ok(Box::new(BertEncoder::read(&self.bert, weights, "roberta.", places)?))
    }
}
