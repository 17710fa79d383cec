//! Prompts: the prefixes that tell a model whether a text is a document or a query.
//!
//! They are read from `config_sentence_transformers.json` (`prompts`, with the keys `query` and
//! `document` or `passage`). Models of three families need prefixes but were published without that
//! entry; these are recognised by the name of the folder or on the hub, else by `_name_or_path` in
//! `config.json`:
//!
//! | name contains | query | document |
//! |---|---|---|
//! | `e5-small`, `e5-base`, `e5-large` (not `instruct`) | `query: ` | `passage: ` |
//! | `nomic-embed-text` | `search_query: ` | `search_document: ` |
//! | `bge-…-en` | `Represent this sentence for searching relevant passages: ` | |
//! | `bge-…-zh` | `为这个句子生成表示以用于检索相关文章：` | |
//!
//! Sources: the model cards of intfloat/e5-*, nomic-ai/nomic-embed-text-* and BAAI/bge-*. For a
//! model in a folder with another name, the prefixes must be in its own `prompts`.

use std::collections::HashMap;
use std::path::Path;

use pipeline::TextKind;
use serde::Deserialize;

use crate::folder_files::{FolderError, read_optional_json};

/// Prefixes in front of texts, verbatim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prompts {
    pub(crate) query: String,
    pub(crate) document: String,
}

struct Family {
    name: fn(&str) -> bool,
    query: &'static str,
    document: &'static str,
}

static FAMILIES: &[Family] = &[
    Family {
        name: |name| {
            ["e5-small", "e5-base", "e5-large"].iter().any(|size| name.contains(size))
                && !name.contains("instruct")
        },
        query: "query: ",
        document: "passage: ",
    },
    Family {
        name: |name| name.contains("nomic-embed-text"),
        query: "search_query: ",
        document: "search_document: ",
    },
    Family {
        name: |name| name.contains("bge-") && name.contains("-en"),
        query: "Represent this sentence for searching relevant passages: ",
        document: "",
    },
    Family {
        name: |name| name.contains("bge-") && name.contains("-zh"),
        query: "为这个句子生成表示以用于检索相关文章：",
        document: "",
    },
];

impl Prompts {
    /// Reads the folder's prompts, else those of the first name that matches a family.
    pub(crate) fn read(folder: &Path, names: [&str; 3]) -> Result<Self, FolderError> {
        #[derive(Default, Deserialize)]
        struct File {
            #[serde(default)]
            prompts: HashMap<String, String>,
        }
        let File { mut prompts } =
            read_optional_json(folder, "config_sentence_transformers.json")?.unwrap_or_default();
        let query = prompts.remove("query").unwrap_or_default();
        let document =
            prompts.remove("document").or_else(|| prompts.remove("passage")).unwrap_or_default();
        // Newer versions of sentence-transformers save empty prompts into every folder.
        if !query.is_empty() || !document.is_empty() {
            return Ok(Self { query, document });
        }
        Ok(names
            .map(str::to_lowercase)
            .iter()
            .find_map(|name| FAMILIES.iter().find(|family| (family.name)(name)))
            .map(|family| Self {
                query: family.query.to_owned(),
                document: family.document.to_owned(),
            })
            .unwrap_or_default())
    }

    /// The prefix for this kind of text; empty without one.
    pub(crate) fn prefix(&self, kind: TextKind) -> &str {
        match kind {
            TextKind::Document => &self.document,
            TextKind::Query => &self.query,
        }
    }
}
