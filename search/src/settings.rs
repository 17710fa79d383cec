//! How a collection is searched: the settings of its pipeline file, and their overrides by a
//! request.

use serde::Serialize;

use crate::ranking::Fusion;
use crate::request::InvalidRequest;
use crate::reranking::{NoReranker, RerankOverride, RerankSettings};

/// How a collection is searched, from `search` in its pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchSettings {
    /// How a hybrid search combines its rankings.
    pub fusion: Fusion,
    /// Ranks chunks with the exact terms of a query first, in a hybrid search.
    pub exact_terms: bool,
    /// Reranks the best hits; `None` does not.
    pub rerank: Option<RerankSettings>,
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self { fusion: Fusion::default(), exact_terms: true, rerank: None }
    }
}

impl SearchSettings {
    /// These settings with the overrides of a request.
    ///
    /// # Errors
    /// If the request asks for reranking, and no model is named.
    pub(crate) fn with(&self, overrides: &SettingsOverrides) -> Result<Self, NoReranker> {
        let rerank = match &overrides.rerank {
            Some(rerank) => rerank.apply(self.rerank.as_ref())?,
            None => self.rerank.clone(),
        };
        Ok(Self {
            fusion: overrides.fusion.unwrap_or(self.fusion),
            exact_terms: overrides.exact_terms.unwrap_or(self.exact_terms),
            rerank,
        })
    }

    /// `true` if a pass reorders the candidates after the fusion. Such a search ends with its
    /// candidates, as a hybrid one does.
    pub(crate) fn has_passes(&self) -> bool {
        self.rerank.is_some()
    }

    /// The settings as a cache key.
    pub(crate) fn cache_key(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}

/// Settings of a request that replace those of the searched collections.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SettingsOverrides {
    /// Replaces [`SearchSettings::fusion`].
    pub fusion: Option<Fusion>,
    /// Replaces [`SearchSettings::rerank`].
    pub rerank: Option<RerankOverride>,
    /// Replaces [`SearchSettings::exact_terms`].
    pub exact_terms: Option<bool>,
}

impl SettingsOverrides {
    /// Checks the values.
    pub(crate) fn check(&self) -> Result<(), InvalidRequest> {
        self.fusion.map_or(Ok(()), Fusion::check)?;
        self.rerank.as_ref().map_or(Ok(()), RerankOverride::check)
    }

    /// The overrides as a cache key.
    pub(crate) fn cache_key(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}
