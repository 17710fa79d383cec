-- The words of the chunks of a generation, in lower case, for prefixes and spelling corrections in queries
-- (docs/adr/0045-vocabulary.md). A word stays after the last chunk that contains it; searches ask the vector store
-- whether a word still occurs. The collation gives the order of bytes, so that a prefix is a range of the key.
CREATE TABLE generation_words (
    generation_id uuid             NOT NULL,
    word          text COLLATE "C" NOT NULL,
    CONSTRAINT pk_generation_words PRIMARY KEY (generation_id, word),
    CONSTRAINT fk_generation_words_generation_id_generations
        FOREIGN KEY (generation_id) REFERENCES generations (id) ON DELETE CASCADE
);
