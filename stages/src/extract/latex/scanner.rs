//! Reads the source of a document: commands, groups and environments, at a position that only moves
//! forward.

/// Bytes of an argument; one that is longer is read as text.
const MAX_ARGUMENT: usize = 4096;

/// A position in the source.
pub(super) struct Scanner<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// The next character, without moving.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    /// Moves past a text, if it comes next.
    pub(super) fn skip(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// The characters that fulfil a condition.
    pub(super) fn take_while(&mut self, condition: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char| !condition(char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The text up to `end`, which is skipped, or the rest of the source.
    pub(super) fn take_until(&mut self, end: &str) -> &'a str {
        let rest = self.rest();
        let (text, length) = match rest.split_once(end) {
            Some((text, _)) => (text, text.len() + end.len()),
            None => (rest, rest.len()),
        };
        self.at += length;
        text
    }

    /// The name of the command after a backslash: letters, or one other character. White space
    /// after letters belongs to the command.
    pub(super) fn command(&mut self) -> &'a str {
        let name = self.take_while(|char| char.is_ascii_alphabetic() || char == '@');
        if name.is_empty() {
            let rest = self.rest();
            self.next();
            return &rest[..rest.len() - self.rest().len()];
        }
        self.skip("*");
        if !self.is_paragraph() {
            self.take_while(|char| matches!(char, ' ' | '\t' | '\n'));
        }
        name
    }

    /// `true` if white space with an empty line comes next.
    fn is_paragraph(&self) -> bool {
        let mut breaks = self.rest().chars().take_while(|char| char.is_whitespace());
        breaks.by_ref().filter(|char| *char == '\n').nth(1).is_some()
    }

    /// The content of the group `{…}` that comes next; `None` without a group that ends within
    /// [`MAX_ARGUMENT`].
    pub(super) fn argument(&mut self) -> Option<&'a str> {
        self.group('{', '}')
    }

    /// The same for `[…]`.
    pub(super) fn option(&mut self) -> Option<&'a str> {
        self.group('[', ']')
    }

    fn group(&mut self, open: char, close: char) -> Option<&'a str> {
        let rest = self.rest().strip_prefix(open)?;
        let (mut depth, mut is_escaped) = (0_usize, false);
        for (at, char) in rest.char_indices().take_while(|(at, _)| *at < MAX_ARGUMENT) {
            if is_escaped {
                is_escaped = false;
            } else if char == '\\' {
                is_escaped = true;
            } else if char == close && depth == 0 {
                self.at += 1 + at + 1;
                return Some(&rest[..at]);
            } else if char == '{' {
                depth += 1;
            } else if char == '}' {
                depth = depth.saturating_sub(1);
            }
        }
        None
    }
}
