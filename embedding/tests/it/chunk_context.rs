//! The token ids of a chunk with context are those of the whole input, for real tokenizers.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, LargeStringArray, ListArray, RecordBatch, StringArray,
    StructArray, UInt8Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, UInt32Type, UInt64Type};
use pipeline::column::{CHUNKS, OUTLINE, PAGES, TEXT, TITLE, outline_fields};
use pipeline::test_util::{document_rows, no_resources};
use pipeline::{
    BoxError, Embedder, EmbedderOptions, ModelInfo, ModelProvider, NodeKind, Resources,
    RowsExt as _, TextKind, Tokenizer,
};
use proptest::prelude::*;
use serde_json::json;

use crate::split_points::{GPT2, MINILM, QWEN, UNIGRAM, text};

/// Has only a tokenizer.
struct TokenizerOnly(Arc<dyn Tokenizer>);

impl ModelProvider for TokenizerOnly {
    fn describe(&self, path: &Path) -> Result<ModelInfo, BoxError> {
        Ok(ModelInfo {
            path: path.to_owned(),
            short_name: "tokenizer".to_owned(),
            dim: 1,
            max_tokens: self.0.max_tokens(),
            fingerprint: String::new(),
        })
    }

    fn tokenizer(&self, _: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        Ok(Arc::clone(&self.0))
    }

    fn embedder(&self, _: &Path, _: &EmbedderOptions) -> Result<Arc<dyn Embedder>, BoxError> {
        Err("has no weights".into())
    }
}

/// A document with one heading at its start.
fn document(title: &str, heading: &str, text: &str) -> RecordBatch {
    let list = |items: ArrayRef| {
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), false));
        ListArray::new(field, OffsetBuffer::from_lengths([items.len()]), items, None)
    };
    let outline = StructArray::new(
        outline_fields(),
        vec![
            Arc::new(UInt64Array::from(vec![0])),
            Arc::new(UInt8Array::from(vec![1])),
            Arc::new(StringArray::from(vec![heading])),
        ],
        None,
    );
    let pages = list(Arc::new(UInt64Array::from(Vec::<u64>::new())));
    let rows = document_rows(&[("a.txt", "text/plain", b"")]);
    let rows = rows.with_column(&*TEXT, Arc::new(LargeStringArray::from(vec![text]))).unwrap();
    let rows = rows.with_column(&*TITLE, Arc::new(StringArray::from(vec![title]))).unwrap();
    let rows = rows.with_column(&*OUTLINE, Arc::new(list(Arc::new(outline)))).unwrap();
    rows.with_column(&*PAGES, Arc::new(pages)).unwrap()
}

/// Start, end and token ids of the chunks.
fn chunks(tokenizer: &Arc<dyn Tokenizer>, rows: RecordBatch) -> Vec<(usize, usize, Vec<u32>)> {
    let models = TokenizerOnly(Arc::clone(tokenizer));
    let def = stages::NODES.iter().find(|def| def.name == "chunk").unwrap();
    let size = tokenizer.max_tokens().min(100);
    let options = json!({ "size": size, "overlap": 8 });
    let NodeKind::Stage(mut config) = (def.parse)(options, Path::new("/")).unwrap() else {
        unreachable!("`chunk` is a stage")
    };
    config.bind_model(&models.describe(Path::new("model")).unwrap()).unwrap();
    let resources = Resources { models: Arc::new(models), ..no_resources() };
    let out = config.build(&resources).unwrap().process(rows).unwrap().rows;
    if out.num_rows() == 0 {
        return Vec::new();
    }
    let chunks = CHUNKS.of(&out).unwrap().value(0);
    let fields = chunks.as_struct();
    let number = |name| fields.column_by_name(name).unwrap().as_primitive::<UInt64Type>();
    let tokens = fields.column_by_name("tokens").unwrap().as_list::<i32>();
    let at = |name, row: usize| usize::try_from(number(name).value(row)).unwrap();
    let ids = |row| tokens.value(row).as_primitive::<UInt32Type>().values().to_vec();
    (0..tokens.len()).map(|row| (at("start", row), at("end", row), ids(row))).collect()
}

fn input(tokenizer: &Arc<dyn Tokenizer>, text: &str) -> Vec<u32> {
    tokenizer.encode_input(text, TextKind::Document).unwrap().ids
}

proptest! {
    /// Where the tokenizer splits at words, for every chunk.
    #[test]
    fn of_words(
        title in "[a-z]{1,4}",
        heading in "[a-z]{1,4}[?.)]?",
        text in prop::collection::vec(text(), 1..20).prop_map(|texts| texts.join(" ")),
    ) {
        prop_assume!(title != heading);
        let rows = document(&title, &heading, &text);
        for (start, end, ids) in chunks(&MINILM, rows) {
            let whole = format!("{title} › {heading}\n{}", &text[start..end]);
            prop_assert_eq!(ids, input(&MINILM, &whole), "{}", whole);
        }
    }

    /// Where words include the space before them, for the start of a text.
    #[test]
    fn of_words_with_spaces(
        title in "[a-z]{1,4}",
        heading in "[a-z]{1,4}[?.)]?",
        text in ("[a-z]{1,4}", text()).prop_map(|(word, text)| format!("{word} {text}")),
    ) {
        prop_assume!(title != heading);
        for tokenizer in [&*GPT2, &*QWEN, &*UNIGRAM] {
            let (start, end, ids) = chunks(tokenizer, document(&title, &heading, &text)).remove(0);
            let whole = format!("{title} › {heading}\n{}", &text[start..end]);
            prop_assert_eq!(ids, input(tokenizer, &whole), "{}", whole);
        }
    }
}
