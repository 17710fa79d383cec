//! All words of a vocabulary in memory, and the search for words within an edit distance.
//!
//! The words are sorted, so neighbours share prefixes: the rows of the distance matrix of a shared
//! prefix are computed once, and all words with a prefix that is already too far are skipped. This
//! visits the same prefixes as the intersection of a trie with a Levenshtein automaton.

/// The words of a vocabulary, sorted by bytes.
#[derive(Debug, Default)]
pub(crate) struct WordList {
    /// All words, one after the other.
    text: String,
    /// End of each word in `text`.
    ends: Vec<u32>,
}

/// A word of the list that resembles another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SimilarWord {
    pub(crate) word: String,
    /// Number of insertions, deletions, substitutions and transpositions of neighbouring
    /// characters between the words; no part is edited twice (optimal string alignment).
    pub(crate) distance: usize,
}

impl WordList {
    /// Adds a word that follows all others in the order of bytes. Other words, and those beyond 4
    /// GiB, are ignored.
    pub(crate) fn push(&mut self, word: &str) {
        let follows = self.len().checked_sub(1).is_none_or(|last| self.get(last) < word);
        if let Ok(end) = u32::try_from(self.text.len() + word.len())
            && follows
        {
            self.text.push_str(word);
            self.ends.push(end);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Size in memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * size_of::<u32>()
    }

    fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[index] as usize]
    }

    /// The first index from `from` on whose word does not start with `prefix`.
    fn skip_prefix(&self, from: usize, prefix: &str) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).starts_with(prefix) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The words within this distance of `typed`, in the order of bytes; `typed` itself has the
    /// distance 0.
    pub(crate) fn within(&self, typed: &str, max_distance: usize) -> Vec<SimilarWord> {
        let typed: Vec<char> = typed.chars().collect();
        let mut matrix = DistanceMatrix::new(&typed);
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.len() {
            let word = self.get(at);
            match matrix.distance(word, max_distance) {
                Ok(distance) if distance <= max_distance => {
                    found.push(SimilarWord { word: word.to_owned(), distance });
                    at += 1;
                }
                Ok(_) => at += 1,
                Err(bytes) => at = self.skip_prefix(at + 1, &word[..bytes]),
            }
        }
        found
    }
}

/// Rows of the distance matrix between `typed` and the prefixes of the current word.
struct DistanceMatrix<'a> {
    typed: &'a [char],
    /// The characters whose rows are computed.
    word: Vec<char>,
    /// One row for the empty prefix and one per character of `word`.
    rows: Vec<Vec<usize>>,
}

impl<'a> DistanceMatrix<'a> {
    fn new(typed: &'a [char]) -> Self {
        Self { typed, word: Vec::new(), rows: vec![(0..=typed.len()).collect()] }
    }

    /// The distance of a word. `Err` with a length in bytes if no word with this prefix is within
    /// `max_distance`.
    fn distance(&mut self, word: &str, max_distance: usize) -> Result<usize, usize> {
        let shared = word.chars().zip(&self.word).take_while(|(a, b)| a == *b).count();
        self.word.truncate(shared);
        self.rows.truncate(shared + 1);
        for (at, letter) in word.char_indices().skip(shared) {
            self.push(letter);
            let least = |row: &Vec<usize>| row.iter().copied().min().unwrap_or(0);
            let length = self.rows.len();
            // The next row depends on this one, and by a transposition on the one before.
            let is_far = least(&self.rows[length - 1]) > max_distance
                && least(&self.rows[length - 2]) + 1 > max_distance;
            if is_far {
                return Err(at + letter.len_utf8());
            }
        }
        Ok(self.rows[self.word.len()][self.typed.len()])
    }

    fn push(&mut self, letter: char) {
        let above = &self.rows[self.rows.len() - 1];
        let mut row = Vec::with_capacity(self.typed.len() + 1);
        row.push(above[0] + 1);
        for (at, &typed) in self.typed.iter().enumerate() {
            let substituted = above[at] + usize::from(typed != letter);
            let mut least = substituted.min(above[at + 1] + 1).min(row[at] + 1);
            if let (Some(&before), Some(typed_before)) =
                (self.word.last(), at.checked_sub(1).map(|before| self.typed[before]))
                && before == typed
                && typed_before == letter
            {
                least = least.min(self.rows[self.rows.len() - 2][at - 1] + 1);
            }
            row.push(least);
        }
        self.rows.push(row);
        self.word.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn list<'a>(words: impl IntoIterator<Item = &'a String>) -> WordList {
        let sorted: BTreeSet<&String> = words.into_iter().collect();
        let mut list = WordList::default();
        sorted.into_iter().for_each(|word| list.push(word));
        list
    }

    /// The definition of the distance, without sharing of rows.
    fn optimal_alignment(a: &str, b: &str) -> usize {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                rows[i][j] = match (i, j) {
                    (0, n) | (n, 0) => n,
                    _ => {
                        let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                        let mut least = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                        if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                            least = least.min(rows[i - 2][j - 2] + 1);
                        }
                        least
                    }
                };
            }
        }
        rows[a.len()][b.len()]
    }

    #[test]
    fn misspelt_words_are_found() {
        let words = ["connect", "connection", "connexion", "größe", "mutex", "über"];
        let words = list(&words.map(str::to_owned));
        for (typed, max_distance, expected) in [
            ("conection", 2, "connection 1"),
            ("connectoin", 1, "connection 1"),
            ("onnection", 1, "connection 1"),
            ("grösse", 2, "größe 2"),
            ("uber", 1, "über 1"),
            ("mutex", 0, "mutex 0"),
            ("semaphore", 2, ""),
        ] {
            let found = words.within(typed, max_distance);
            let found: Vec<String> =
                found.iter().map(|it| format!("{} {}", it.word, it.distance)).collect();
            assert_eq!(found.join(", "), expected, "{typed}");
        }
        assert_eq!(WordList::default().within("mutex", 2), []);
    }

    proptest! {
        /// Exactly the words within the distance are found, with their distance.
        #[test]
        fn every_word_within_the_distance_is_found(
            words in prop::collection::vec("[abcé]{0,8}", 0..60),
            typed in "[abcdé]{0,8}",
            max_distance in 0_usize..4,
        ) {
            let list = list(&words);
            let sorted: BTreeSet<&String> = words.iter().collect();
            let expected = sorted.into_iter().filter_map(|word| {
                let distance = optimal_alignment(word, &typed);
                let similar = SimilarWord { word: word.clone(), distance };
                (distance <= max_distance).then_some(similar)
            });
            prop_assert_eq!(list.within(&typed, max_distance), expected.collect::<Vec<_>>());
        }
    }
}
