//! XLM-RoBERTa (Conneau et al. 2019, <https://arxiv.org/abs/1911.02116>): multilingual E5, dense
//! vectors of BGE-M3.
//!
//! BERT's layers with other position ids: the first is the padding id + 1, and padding tokens
//! within a text, which the text can contain literally, are not counted.

use pipeline::BoxError;
use serde::Deserialize;

use crate::architecture::{
    Architecture, Config, Encoder, ModelShape, PositionIds, deserialize_part,
};
use crate::bert::{self, BertConfig, BertEncoder};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "xlm-roberta",
    names: &["XLMRobertaModel", "XLMRobertaForMaskedLM"],
    read: |config| {
        let Padding { pad_token_id: padding } = deserialize_part(config)?;
        Ok(Box::new(RobertaConfig { bert: bert::read(config)?, padding }))
    },
};

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
