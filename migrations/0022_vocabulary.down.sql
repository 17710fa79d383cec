DROP TABLE generation_words;
