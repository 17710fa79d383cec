//! How a collection is searched: the settings of its pipeline file, and their overrides by a
//! request.

use serde::Serialize;

use crate::ranking::{DIVERSITY_CANDIDATES, Freshness, Fusion, Proximity};
use crate::request::InvalidRequest;
use crate::reranking::{NoReranker, RerankOverride, RerankSettings};

/// How a collection is searched, from `search` in its pipeline file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchSettings {
    /// How a hybrid search combines its rankings.
    pub fusion: Fusion,
    /// Ranks chunks with the exact terms of a query first, in a hybrid search.
    pub exact_terms: bool,
    /// Expands prefixes, and corrects words that the collection does not have.
    pub typos: bool,
    /// Reranks the best hits; `None` does not.
    pub rerank: Option<RerankSettings>,
    /// Weight of the best other passage of the document in the score of a passage, from 0 to 1.
    pub siblings: f32,
    /// Share by which the score of the first chunk of each document is raised, from 0 to 1.
    pub lead: f32,
    /// Decay of scores by the age of the document.
    pub freshness: Option<Freshness>,
    /// Bonus for terms of the query that are near each other.
    pub proximity: Option<Proximity>,
    /// Weight of the difference from earlier hits, from 0 to 1.
    pub diversity: f32,
    /// `false` if adjacent hits stay apart even if a request wants to merge them. It does not
    /// affect the ranking.
    #[serde(skip)]
    pub merge_adjacent: bool,
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self {
            fusion: Fusion::default(),
            exact_terms: true,
            typos: true,
            siblings: 0.0,
            lead: 0.0,
            freshness: None,
            proximity: None,
            diversity: 0.0,
            merge_adjacent: true,
            rerank: None,
        }
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
            typos: overrides.typos.unwrap_or(self.typos),
            rerank,
            siblings: overrides.siblings.unwrap_or(self.siblings),
            lead: overrides.lead.unwrap_or(self.lead),
            freshness: overrides.freshness.or(self.freshness).filter(|it| it.weight > 0.0),
            proximity: overrides.proximity.or(self.proximity).filter(|it| it.weight > 0.0),
            diversity: overrides.diversity.unwrap_or(self.diversity),
            merge_adjacent: self.merge_adjacent,
        })
    }

    /// `true` if a pass reorders the candidates after the fusion. Such a search ends with its
    /// candidates, as a hybrid one does.
    pub(crate) fn has_passes(&self) -> bool {
        self.rerank.is_some()
            || self.siblings > 0.0
            || self.lead > 0.0
            || self.freshness.is_some()
            || self.proximity.is_some()
            || self.diversity > 0.0
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
    /// Replaces [`SearchSettings::typos`].
    pub typos: Option<bool>,
    /// Replaces [`SearchSettings::siblings`].
    pub siblings: Option<f32>,
    /// Replaces [`SearchSettings::lead`].
    pub lead: Option<f32>,
    /// Replaces [`SearchSettings::freshness`]; weight 0 disables it.
    pub freshness: Option<Freshness>,
    /// Replaces [`SearchSettings::proximity`]; weight 0 disables it.
    pub proximity: Option<Proximity>,
    /// Replaces [`SearchSettings::diversity`].
    pub diversity: Option<f32>,
}

impl SettingsOverrides {
    /// Checks the values.
    pub(crate) fn check(&self) -> Result<(), InvalidRequest> {
        self.fusion.map_or(Ok(()), Fusion::check)?;
        self.rerank.as_ref().map_or(Ok(()), RerankOverride::check)?;
        self.freshness.map_or(Ok(()), |it| it.check())?;
        self.proximity.map_or(Ok(()), |it| it.check())?;
        let shares =
            [("siblings", self.siblings), ("lead", self.lead), ("diversity", self.diversity)];
        for (field, share) in shares {
            if let Some(share) = share.filter(|it| !(0.0..=1.0).contains(it)) {
                let message = format!("expected 0 to 1, found {share}");
                return Err(InvalidRequest { field, message });
            }
        }
        Ok(())
    }

    /// Maximum number of candidates of a collection that the passes of this request read.
    pub(crate) fn points_read(&self, candidates: usize) -> usize {
        let freshness = self.freshness.filter(|it| it.weight > 0.0).map(|_| candidates);
        let proximity = self.proximity.filter(|it| it.weight > 0.0).map(|it| it.candidates);
        let diversity = self.diversity.filter(|it| *it > 0.0).map(|_| DIVERSITY_CANDIDATES);
        let most = freshness.max(proximity).max(diversity).unwrap_or(0);
        most.min(candidates)
    }

    /// The overrides as a cache key.
    pub(crate) fn cache_key(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}
