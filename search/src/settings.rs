//! How a collection is searched: the settings of its pipeline file, and their overrides by a
//! request.

use serde::Serialize;

use crate::ranking::Fusion;
use crate::request::InvalidRequest;

/// How a collection is searched, from `search` in its pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchSettings {
    /// How a hybrid search combines its rankings.
    pub fusion: Fusion,
    /// Ranks chunks with the exact terms of a query first, in a hybrid search.
    pub exact_terms: bool,
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self { fusion: Fusion::default(), exact_terms: true }
    }
}

impl SearchSettings {
    /// These settings with the overrides of a request.
    pub(crate) fn with(&self, overrides: &SettingsOverrides) -> Self {
        Self {
            fusion: overrides.fusion.unwrap_or(self.fusion),
            exact_terms: overrides.exact_terms.unwrap_or(self.exact_terms),
        }
    }

    /// `true` if a pass reorders the candidates after the fusion. Such a search ends with its
    /// candidates, as a hybrid one does.
    #[expect(clippy::unused_self, reason = "there are no such passes yet")]
    pub(crate) fn has_passes(&self) -> bool {
        false
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
    /// Replaces [`SearchSettings::exact_terms`].
    pub exact_terms: Option<bool>,
}

impl SettingsOverrides {
    /// Checks the values.
    pub(crate) fn check(&self) -> Result<(), InvalidRequest> {
        self.fusion.map_or(Ok(()), Fusion::check)
    }

    /// The overrides as a cache key.
    pub(crate) fn cache_key(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}
