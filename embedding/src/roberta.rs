//! XLM-RoBERTa (Conneau et al. 2019, <https://arxiv.org/abs/1911.02116>): multilingual E5, BGE-M3's dense vectors.
//!
//! BERT's layers; only positions are counted in another way: the first is the one behind the id of padding, and a
//! token of padding within a text, which somebody may have written there, has none.

use pipeline::BoxError;
use serde::Deserialize;

use crate::architecture::{Architecture, Config, Encoder, Places, Shape, parsed};
use crate::bert::{self, Bert, BertEncoder};
use crate::weights::Weights;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "xlm-roberta",
    names: &["XLMRobertaModel", "XLMRobertaForMaskedLM"],
    read: |config| {
        let Padding { pad_token_id: padding } = parsed(config)?;
        Ok(Box::new(Roberta { bert: bert::read(config)?, padding }))
    },
};

/// Where positions begin.
#[derive(Deserialize)]
struct Padding {
    #[serde(default = "usual_padding")]
    pad_token_id: u32,
}

fn usual_padding() -> u32 {
    1
}

struct Roberta {
    bert: Bert,
    padding: u32,
}

impl Config for Roberta {
    fn shape(&self) -> Shape {
        self.bert.shape().behind(self.padding)
    }

    fn load(&self, weights: &Weights) -> Result<Box<dyn Encoder>, BoxError> {
        let places = Places::Behind(self.padding);
        Ok(Box::new(BertEncoder::read(&self.bert, weights, "roberta.", places)?))
    }
}
