//! The vocabulary of a generation in the table `generation_words` (docs/adr/0045-vocabulary.md).
//! Its rows have the id of the generation, so a swap and a rollback do not touch them, and they are
//! deleted with the generation.

use async_trait::async_trait;
use pipeline::{StoreError, Vocabulary, is_vocabulary_word};
use sqlx::PgPool;
use uuid::Uuid;

use crate::query_error::QueryError;
use crate::{Postgres, retry_call};

pub(crate) const ADD: &str = "
    INSERT INTO generation_words (generation_id, word) SELECT $1, unnest($2::text[])
    ON CONFLICT DO NOTHING";

pub(crate) const WORDS: &str = "
    SELECT word FROM generation_words
    WHERE generation_id = $1 AND word >= $2 AND word > $3 AND word < $4
    ORDER BY generation_id, word LIMIT $5";

/// Follows every character of a word.
const AFTER_ALL_WORDS: char = '\u{10ffff}';

/// Maximum words per statement.
const WORDS_PER_STATEMENT: usize = 5_000;

impl Postgres {
    /// The vocabulary of a generation. It is empty if the generation was last written by a version
    /// without vocabularies.
    pub fn vocabulary(&self, generation: Uuid) -> GenerationVocabulary {
        GenerationVocabulary { pool: self.pool.clone(), generation }
    }
}

/// The vocabulary of a generation.
#[derive(Clone, Debug)]
pub struct GenerationVocabulary {
    pool: PgPool,
    generation: Uuid,
}

impl GenerationVocabulary {
    async fn try_add(&self, words: &[&str]) -> Result<(), QueryError> {
        let mut transaction = self.pool.begin().await?;
        // The next synchronous commit, of the documents with these words, makes them durable too.
        sqlx::query("SET LOCAL synchronous_commit TO off").execute(&mut *transaction).await?;
        sqlx::query(ADD).bind(self.generation).bind(words).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}

#[async_trait]
impl Vocabulary for GenerationVocabulary {
    async fn add(&self, words: &[String]) -> Result<(), StoreError> {
        let mut words: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| is_vocabulary_word(word)).collect();
        // Concurrent inserts in the same order cannot deadlock.
        words.sort_unstable();
        words.dedup();
        for some in words.chunks(WORDS_PER_STATEMENT) {
            retry_call(&self.pool, "add words to the vocabulary", || self.try_add(some)).await?;
        }
        Ok(())
    }

    async fn words(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        // A parameter cannot contain NUL, and no word does.
        if prefix.contains('\0') || after.contains('\0') {
            return Ok(Vec::new());
        }
        retry_call(&self.pool, "read words of the vocabulary", || async {
            Ok(sqlx::query_scalar(WORDS)
                .bind(self.generation)
                .bind(prefix)
                .bind(after)
                .bind(format!("{prefix}{AFTER_ALL_WORDS}"))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await?)
        })
        .await
    }
}
