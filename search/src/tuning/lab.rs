//! A collection in memory that answers a fixed list of questions under any settings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use pipeline::{Bm25fParameters, FieldEncoder, RankedChunk, lock};
use rayon::prelude::*;
use uuid::Uuid;

use crate::evaluation::{DEPTH, Scores, scores};
use crate::ranking::{Candidate, Legs, fuse, rescore_by_documents};
use crate::settings::SearchSettings;
use crate::tuning::corpus::Corpus;
use crate::tuning::dense_lab::{DenseLab, MaskedVectors};
use crate::tuning::question::Question;
use crate::tuning::sparse_lab::{Ranking, SparseLab};
use crate::tuning::view::ChunksById;

/// Candidates of each ranking, as in [`crate::evaluation::evaluate`].
pub(crate) const CANDIDATES: usize = 500;

/// Sparse rankings of all questions that are kept, one entry per set of parameters.
const MAX_RANKINGS: usize = 64;

/// Settings that the lab varies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LabSettings {
    /// Parameters of the sparse vectors; `None` in a collection without them.
    pub(crate) parameters: Option<Bm25fParameters>,
    /// Settings of the search.
    pub(crate) search: SearchSettings,
}

/// Sparse rankings of all questions with some parameters.
type Rankings = Arc<Vec<Ranking>>;

/// The chunks, their rankings for each question, and what is masked.
pub(crate) struct Lab {
    pub(crate) corpus: Corpus,
    pub(crate) questions: Vec<Question>,
    dense: DenseLab,
    sparse: Option<SparseLab>,
    /// Dense rankings, which no setting changes.
    dense_rankings: Vec<Ranking>,
    sparse_rankings: Mutex<Vec<(Bm25fParameters, Rankings)>>,
    documents: HashMap<Uuid, usize>,
    chunks: ChunksById,
}

/// What the lab knows of the questions besides their text.
pub(crate) struct AskedVectors {
    /// Dense vector of each question, of length 1.
    pub(crate) dense: Vec<Vec<f32>>,
    /// Term indices of each question.
    pub(crate) terms: Vec<Vec<u32>>,
    /// Term indices that rules about exact terms ask for.
    pub(crate) more_terms: Vec<Vec<u32>>,
    /// Dense vectors of masked chunks.
    pub(crate) masked: Vec<MaskedVectors>,
}

impl Lab {
    pub(crate) fn new(
        corpus: Corpus,
        questions: Vec<Question>,
        asked: &AskedVectors,
        encoder: Option<&dyn FieldEncoder>,
    ) -> Self {
        let sparse = encoder.map(|encoder| SparseLab::new(&corpus, &questions, asked, encoder));
        let dense = DenseLab::new(&corpus, &asked.dense, &asked.masked);
        let dense_rankings =
            (0..questions.len()).into_par_iter().map(|at| dense.rank(at, CANDIDATES)).collect();
        let documents =
            corpus.chunks.iter().map(|chunk| (chunk.payload.document, chunk.document)).collect();
        let chunks = (0..).zip(&corpus.chunks).map(|(at, chunk)| (chunk.id, at)).collect();
        Self {
            corpus,
            questions,
            dense,
            sparse,
            dense_rankings,
            sparse_rankings: Mutex::default(),
            documents,
            chunks,
        }
    }

    /// Indices of chunks by the ids of their points.
    pub(crate) fn chunks_by_id(&self) -> &ChunksById {
        &self.chunks
    }

    /// Index of a document of the corpus.
    pub(crate) fn document(&self, id: Uuid) -> Option<usize> {
        self.documents.get(&id).copied()
    }

    /// Dense ranking of the chunks for a question, with at most `depth` of them.
    pub(crate) fn dense_ranking(&self, question: usize, depth: usize) -> Vec<RankedChunk> {
        if depth <= CANDIDATES {
            let kept = &self.dense_rankings[question];
            return self.ranked(question, &kept[..depth.min(kept.len())]);
        }
        self.ranked(question, &self.dense.rank(question, depth))
    }

    /// The index with the frequencies of terms.
    pub(crate) fn sparse(&self) -> Option<&SparseLab> {
        self.sparse.as_ref()
    }

    /// A ranking with ids and similarities.
    pub(crate) fn ranked(&self, question: usize, ranking: &[(u32, f32)]) -> Vec<RankedChunk> {
        let ranked = ranking.iter().map(|(at, score)| {
            let chunk = &self.corpus.chunks[*at as usize];
            RankedChunk {
                id: chunk.id,
                document: chunk.payload.document,
                chunk_index: chunk.payload.chunk_index,
                score: *score,
                similarity: self.dense.similarity(question, *at),
            }
        });
        ranked.collect()
    }

    fn sparse_rankings(&self, parameters: &Bm25fParameters) -> Rankings {
        let known = |known: &[(Bm25fParameters, Rankings)]| {
            known.iter().find(|(it, _)| it == parameters).map(|(_, it)| Arc::clone(it))
        };
        if let Some(rankings) = known(&lock(&self.sparse_rankings)) {
            return rankings;
        }
        let rankings: Vec<Ranking> = match &self.sparse {
            Some(sparse) => {
                let rarities = sparse.rarities(parameters);
                let rank = |at| sparse.rank(at, parameters, &rarities, CANDIDATES);
                (0..self.questions.len()).into_par_iter().map(rank).collect()
            }
            None => vec![Ranking::new(); self.questions.len()],
        };
        let rankings = Arc::new(rankings);
        let mut all = lock(&self.sparse_rankings);
        if all.len() >= MAX_RANKINGS {
            all.remove(0);
        }
        all.push((*parameters, Arc::clone(&rankings)));
        rankings
    }

    /// The chunks that a hybrid search finds for a question, best first, and their scores.
    #[cfg(test)]
    pub(crate) fn hybrid(&self, question: usize, settings: &LabSettings) -> Vec<(Uuid, f32)> {
        let rankings = settings.parameters.map(|it| self.sparse_rankings(&it));
        let candidates = self.candidates(question, settings, rankings.as_deref());
        candidates.into_iter().map(|it| (it.id, it.score)).collect()
    }

    /// Candidates of a hybrid search, best first, after the passes that read no text.
    fn candidates(
        &self,
        question: usize,
        settings: &LabSettings,
        rankings: Option<&Vec<Ranking>>,
    ) -> Vec<Candidate> {
        let sparse = rankings.map_or(&[][..], |it| &it[question]);
        let legs = Legs {
            dense: self.dense_ranking(question, CANDIDATES),
            sparse: self.ranked(question, sparse),
            ..Legs::default()
        };
        let mut candidates = fuse(settings.search.fusion, &legs, legs.best_scores());
        if settings.search.has_passes() {
            candidates.truncate(CANDIDATES);
            rescore_by_documents(&mut candidates, &settings.search);
        }
        candidates
    }

    /// Scores of a hybrid search for some questions, in their order.
    pub(crate) fn evaluate(&self, settings: &LabSettings, questions: &[usize]) -> Vec<Scores> {
        let rankings = settings.parameters.map(|it| self.sparse_rankings(&it));
        let score = |&question: &usize| {
            let candidates = self.candidates(question, settings, rankings.as_deref());
            let documents = candidates.iter().filter_map(|it| self.document(it.document));
            self.score(question, documents)
        };
        questions.par_iter().map(score).collect()
    }

    /// The scores of a ranking of chunks, by the documents of which they are.
    pub(crate) fn score(&self, question: usize, chunks: impl Iterator<Item = usize>) -> Scores {
        let mut ranking = Vec::with_capacity(DEPTH);
        for document in chunks {
            if ranking.len() == DEPTH {
                break;
            }
            if !ranking.contains(&document) {
                ranking.push(document);
            }
        }
        let question = &self.questions[question];
        scores(&question.grades(&ranking), &question.ideal())
    }
}

#[cfg(test)]
mod tests {
    use pipeline::test_util::payload;
    use pipeline::{
        IndexQuery, Passage, Payload, Point, QueryVectors, SearchAccuracy, SparseVector,
        SplitMix64, VectorIndex as _, VectorStore as _, point_id,
    };
    use vectors::MemoryVectors;

    use super::*;
    use crate::ranking::Fusion;
    use crate::tuning::corpus::normalize;
    use crate::tuning::question::{Answer, QuestionKind};

    const DIM: usize = 8;

    const WORDS: [&str; 10] = [
        "apple", "bridge", "candle", "dragon", "engine", "forest", "guitar", "harbor", "island",
        "jacket",
    ];

    fn words(chance: &mut SplitMix64, count: usize) -> String {
        let words: Vec<&str> = (0..count).map(|_| WORDS[chance.below(WORDS.len())]).collect();
        words.join(" ")
    }

    fn vector(chance: &mut SplitMix64) -> Vec<f32> {
        let number = |it: usize| f32::from(u16::try_from(it).unwrap()) / 500.0 - 1.0;
        let mut vector: Vec<f32> = (0..DIM).map(|_| number(chance.below(1000))).collect();
        normalize(&mut vector);
        vector
    }

    fn question(text: &str) -> Question {
        let answer = Answer { documents: vec![0], grade: 1 };
        let (kind, text) = (QuestionKind::Judged, text.to_owned());
        Question { kind, text, relevant: vec![answer], masked: Vec::new() }
    }

    /// The rankings that a store returns for a query with all of its chunks.
    async fn rank(store: &MemoryVectors, vectors: QueryVectors) -> Vec<RankedChunk> {
        let query = IndexQuery { vectors, ..IndexQuery::nearest(&[], 500, SearchAccuracy::Exact) };
        store.rank(&query).await.unwrap()
    }

    #[tokio::test]
    async fn the_lab_ranks_as_the_store_does() {
        let mut chance = SplitMix64::new(7);
        let encoder = stages::default_sparse_encoder();
        let store = MemoryVectors::with_sparse(DIM);
        let mut points = Vec::new();
        for at in 0..80 {
            let name = format!("{}-{at}.md", WORDS[at % 7]);
            let length = 4 + chance.below(30);
            let payload = Payload {
                title: Some(words(&mut chance, 2)),
                headings: Some(format!("{} > {}", words(&mut chance, 1), words(&mut chance, 2))),
                ..payload(&name, &words(&mut chance, length))
            };
            let sparse = Some(encoder.encode_document(&Passage::of_payload(&payload)));
            let id = point_id(payload.document, payload.chunk_index);
            points.push(Point { id, vector: vector(&mut chance), sparse, payload });
        }
        store.upsert(points).await.unwrap();

        let asked = ["apple bridge", "forest of dragons", "island", "a guitar in the harbor"];
        let dense: Vec<Vec<f32>> = asked.iter().map(|_| vector(&mut chance)).collect();
        let sparse: Vec<SparseVector> =
            asked.iter().map(|text| encoder.encode_query(text, &[])).collect();
        let corpus = Corpus::read(&store, 1_000, 1, |_| false).await.unwrap();
        let questions = asked.map(question).to_vec();
        let vectors = AskedVectors {
            dense: dense.clone(),
            terms: sparse.iter().map(|it| it.indices.clone()).collect(),
            more_terms: Vec::new(),
            masked: vec![MaskedVectors::new(); asked.len()],
        };
        let fields = encoder.as_field_encoder().unwrap();
        let lab = Lab::new(corpus, questions, &vectors, Some(fields));
        for fusion in
            [Fusion::Convex { dense: 0.7 }, Fusion::Rrf { k: 60, dense: 1.0, sparse: 1.0 }]
        {
            let search = SearchSettings { fusion, ..SearchSettings::default() };
            let settings = LabSettings { parameters: Some(fields.parameters()), search };
            for (at, (dense, sparse)) in dense.iter().zip(&sparse).enumerate() {
                let words =
                    QueryVectors::Sparse { sparse: sparse.clone(), dense: Some(dense.clone()) };
                let legs = Legs {
                    dense: rank(&store, QueryVectors::Dense(dense.clone())).await,
                    sparse: rank(&store, words).await,
                    ..Legs::default()
                };
                let expected = fuse(fusion, &legs, legs.best_scores());
                let found = lab.hybrid(at, &settings);
                assert_eq!(found.len(), expected.len());
                for ((id, score), expected) in found.iter().zip(&expected) {
                    assert_eq!(*id, expected.id, "{}", asked[at]);
                    assert!((score - expected.score).abs() < 1e-4, "{}", asked[at]);
                }
            }
        }
    }
}
