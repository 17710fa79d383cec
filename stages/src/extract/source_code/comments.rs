//! Finds the comments of source code, without parsing the language.

/// Bytes of comments that are collected; more do not improve the detection of a language.
const SAMPLE_BYTES: usize = 4096;

/// Signs of decoration around the words of a comment.
const DECORATION: &[char] = &['/', '*', '#', '!', '-', ';', '%', '=', '<', '>', '"', '\''];

/// How comments begin and end. Only comments at the start of a line are found, so that signs in
/// strings are no comments.
pub(super) struct Comments {
    /// Signs that begin a comment to the end of the line.
    line: &'static [&'static str],
    /// Signs around a comment of several lines.
    blocks: &'static [(&'static str, &'static str)],
}

impl Comments {
    pub(super) const fn new(
        line: &'static [&'static str],
        blocks: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { line, blocks }
    }

    /// The words of the first comments.
    pub(super) fn sample(&self, code: &str) -> String {
        let mut sample = String::new();
        let mut until: Option<&str> = None;
        for line in code.lines() {
            if sample.len() >= SAMPLE_BYTES {
                break;
            }
            let line = line.trim();
            if let Some(end) = until {
                let (words, ended) = split_end(line, end);
                add(&mut sample, words);
                until = (!ended).then_some(end);
                continue;
            }
            let block = self.blocks.iter().find_map(|(begin, end)| {
                line.strip_prefix(begin).map(|rest| (split_end(rest, end), *end))
            });
            if let Some(((words, ended), end)) = block {
                add(&mut sample, words);
                until = (!ended).then_some(end);
            } else if let Some(words) = self.line.iter().find_map(|sign| line.strip_prefix(sign)) {
                add(&mut sample, words);
            }
        }
        sample
    }
}

/// The part of a line before the end of a comment, and whether the comment ends there.
fn split_end<'a>(line: &'a str, end: &str) -> (&'a str, bool) {
    line.split_once(end).map_or((line, false), |(words, _)| (words, true))
}

fn add(sample: &mut String, words: &str) {
    let is_around = |char: char| char.is_whitespace() || DECORATION.contains(&char);
    let words = words.trim_matches(is_around);
    if !words.is_empty() {
        sample.push_str(words);
        sample.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_that_begin_a_line_are_found() {
        let c = Comments::new(&["//"], &[("/*", "*/")]);
        let code = "/* One\n * two\n */ int x; // not\n  // three\nurl = \"http://a\"; /* not */\n";
        assert_eq!(c.sample(code), "One\ntwo\nthree\n");
        let python = Comments::new(&["#"], &[("\"\"\"", "\"\"\"")]);
        let code = "#!/usr/bin/python\n\"\"\"One line.\"\"\"\ndef f():\n    \"\"\"Two\n    lines.\n    \"\"\"\n";
        assert_eq!(python.sample(code), "usr/bin/python\nOne line.\nTwo\nlines.\n");
    }
}
