//! Renders the body of a document.

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::latex::characters::{accent, accented, symbol};
use crate::extract::latex::commands::{
    FORMULAS, IGNORED_ENVIRONMENTS, KEYS, PREFORMATTED, REMOVED, SECTIONS, STYLED, TABLES,
    VERBATIM, WITH_ARGUMENT,
};
use crate::extract::latex::scanner::Scanner;

/// The text and headings of a body. The highest sectioning command in it is level 1.
pub(super) fn render(body: &str) -> Document {
    let is_used = |name: &str| {
        body.contains(&format!("\\{name}{{")) || body.contains(&format!("\\{name}*{{"))
    };
    let top = SECTIONS.iter().position(|name| is_used(name)).unwrap_or(0);
    let mut reader = LatexReader {
        scanner: Scanner::new(body),
        builder: DocumentBuilder::default(),
        top,
        depth: 0,
        ends: Vec::new(),
        table_depth: 0,
        is_preformatted: false,
    };
    reader.read();
    reader.builder.finish()
}

/// The text of an argument, on one line.
pub(super) fn plain(argument: &str) -> String {
    collapse_whitespace(&render(argument).text)
}

/// What ends with a group.
#[derive(Clone, Copy)]
enum GroupEnd {
    Heading,
    Note,
}

struct LatexReader<'a> {
    scanner: Scanner<'a>,
    builder: DocumentBuilder,
    /// The index of the highest sectioning command.
    top: usize,
    /// Number of open groups.
    depth: usize,
    /// Groups that end a heading or note, with their depth.
    ends: Vec<(usize, GroupEnd)>,
    table_depth: usize,
    /// `true` in an environment of which the lines are kept.
    is_preformatted: bool,
}

impl LatexReader<'_> {
    fn read(&mut self) {
        while let Some(char) = self.scanner.next() {
            match char {
                '\\' => {
                    let name = self.scanner.command();
                    self.command(name);
                }
                '{' => self.depth += 1,
                '}' => self.end_group(),
                '%' => {
                    self.scanner.take_until("\n");
                    // Indentation of the next line is not text, either.
                    self.scanner.take_while(|char| matches!(char, ' ' | '\t'));
                }
                '$' => self.formula(),
                '&' if self.table_depth > 0 => self.builder.push_text(" | "),
                '~' => self.builder.separate(),
                other if self.is_preformatted => self.preformatted(other),
                '\n' => self.end_line(),
                '-' | '`' | '\'' => self.punctuation(char),
                other => self.text(other),
            }
        }
    }

    /// Writes a character and those after it that have no meaning.
    fn text(&mut self, first: char) {
        let mut bytes = [0; 4];
        self.builder.push_text(first.encode_utf8(&mut bytes));
        let rest = self.scanner.take_while(|char| !"\\{}%$&~\n-`'".contains(char));
        self.builder.push_text(rest);
    }

    /// Writes a character and those after it as they are.
    fn preformatted(&mut self, first: char) {
        let mut bytes = [0; 4];
        self.builder.push_verbatim(first.encode_utf8(&mut bytes));
        let rest = self.scanner.take_while(|char| !"\\{}%$&~".contains(char));
        self.builder.push_verbatim(rest);
    }

    /// Ends a line; an empty line ends a paragraph.
    fn end_line(&mut self) {
        let space = self.scanner.take_while(char::is_whitespace);
        if space.contains('\n') {
            self.builder.begin_block();
        } else {
            self.builder.separate();
        }
    }

    fn punctuation(&mut self, first: char) {
        let sign = match first {
            '-' if self.scanner.skip("--") => "—",
            '-' if self.scanner.skip("-") => "–",
            '-' => "-",
            '`' if self.scanner.skip("`") => "“",
            '`' => "‘",
            _ if self.scanner.skip("'") => "”",
            _ => "’",
        };
        self.builder.push_text(sign);
    }

    /// Writes the formula after `$` as it is.
    fn formula(&mut self) {
        let (sign, end) = if self.scanner.skip("$") { ("$$", "$$") } else { ("$", "$") };
        let formula = self.scanner.take_until(end);
        self.builder.push_text(&format!("{sign}{formula}{end}"));
    }

    fn end_group(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        let Some((_, end)) = self.ends.pop_if(|(depth, _)| *depth > self.depth) else { return };
        match end {
            GroupEnd::Heading => self.builder.end_heading(),
            GroupEnd::Note => self.builder.push_text(")"),
        }
    }

    fn command(&mut self, name: &str) {
        if let Some(accent) = accent(name) {
            return self.accent(accent);
        }
        if let Some(text) = symbol(name) {
            // An empty group after a symbol only ends its name.
            self.scanner.skip("{}");
            return self.builder.push_text(text);
        }
        if let Some(rank) = SECTIONS.iter().position(|section| *section == name) {
            return self.begin_heading(rank);
        }
        if let Some((_, arguments)) = REMOVED.iter().find(|(removed, _)| *removed == name) {
            return self.remove(*arguments);
        }
        match name {
            "begin" => self.begin_environment(),
            "end" => self.end_environment(),
            "item" => self.begin_item(),
            "\\" | "newline" | "tabularnewline" => {
                self.scanner.skip("*");
                self.scanner.option();
                self.builder.begin_line();
            }
            "par" | "newpage" | "clearpage" | "hline" | "toprule" | "midrule" | "bottomrule" => {
                self.builder.begin_line();
            }
            "caption" => {
                self.scanner.option();
                self.builder.begin_block();
            }
            "bibitem" => {
                self.scanner.option();
                self.builder.begin_block();
                self.key();
            }
            "footnote" | "footnotetext" => self.begin_note(),
            "[" => self.display("\\]"),
            "(" => self.display("\\)"),
            "verb" | "lstinline" => self.verb(),
            "url" | "path" | "nolinkurl" => {
                let address = self.scanner.argument();
                self.builder.push_text(address.unwrap_or_default());
            }
            "and" => self.builder.push_text(", "),
            " " | "," | ";" | ":" | "quad" | "qquad" | "space" | "\n" => self.builder.separate(),
            _ if KEYS.contains(&name) => self.key(),
            _ if STYLED.contains(&name) => self.styled(name),
            _ => {
                self.scanner.option();
            }
        }
    }

    /// Puts an accent on the next letter, which may be in a group or a command.
    fn accent(&mut self, accent: char) {
        self.scanner.take_while(|char| char == ' ');
        let group = self.scanner.argument();
        let mut inner = Scanner::new(group.unwrap_or_default());
        let source = if group.is_some() { &mut inner } else { &mut self.scanner };
        let mut letter = match source.peek() {
            Some('{' | '}') | None => None,
            Some(_) => source.next(),
        };
        if letter == Some('\\') {
            letter = symbol(source.command()).and_then(|text| text.chars().next());
        }
        let rest = if group.is_some() { inner.take_while(|_| true) } else { "" };
        if let Some(letter) = letter {
            self.builder.push_text(&accented(letter, accent));
        }
        self.builder.push_text(rest);
    }

    fn begin_heading(&mut self, rank: usize) {
        self.scanner.option();
        if !self.scanner.skip("{") {
            return;
        }
        let level = u8::try_from((rank + 1).saturating_sub(self.top).max(1)).unwrap_or(u8::MAX);
        self.builder.begin_block();
        self.builder.begin_heading(level);
        self.depth += 1;
        self.ends.push((self.depth, GroupEnd::Heading));
    }

    fn begin_note(&mut self) {
        self.scanner.option();
        if self.scanner.skip("{") {
            self.builder.push_text(" (");
            self.depth += 1;
            self.ends.push((self.depth, GroupEnd::Note));
        }
    }

    fn begin_item(&mut self) {
        let label = self.scanner.option();
        self.builder.begin_item("-");
        if let Some(label) = label {
            self.builder.push_text(&plain_label(label));
            self.builder.separate();
        }
    }

    /// Removes arguments, with a command that the first one may be, and options between them.
    fn remove(&mut self, arguments: usize) {
        for _ in 0..arguments {
            while self.scanner.option().is_some() {}
            if self.scanner.argument().is_none() && self.scanner.skip("\\") {
                self.scanner.command();
            }
        }
    }

    /// Writes the argument, a key, in brackets.
    fn key(&mut self) {
        while self.scanner.option().is_some() {}
        if let Some(key) = self.scanner.argument() {
            self.builder.push_text(&format!("[{key}]"));
        }
    }

    /// Removes the first argument, or writes it after the text of a link.
    fn styled(&mut self, name: &str) {
        while self.scanner.option().is_some() {}
        let first = self.scanner.argument();
        if let (Some(address), "href") = (first, name) {
            let text = self.scanner.argument().map(plain).unwrap_or_default();
            self.builder.push_text(&format!("{text} ({address})"));
        }
    }

    fn verb(&mut self) {
        self.scanner.option();
        let Some(end) = self.scanner.next() else { return };
        let end = if end == '{' { '}' } else { end };
        let text = self.scanner.take_while(|char| char != end && char != '\n');
        self.builder.push_text(text);
        let mut bytes = [0; 4];
        self.scanner.skip(end.encode_utf8(&mut bytes));
    }

    /// Writes a displayed formula.
    fn display(&mut self, end: &str) {
        let formula = self.scanner.take_until(end);
        let is_block = end == "\\]";
        if is_block {
            self.builder.begin_block();
        }
        self.builder.push_text(formula.trim());
        if is_block {
            self.builder.begin_block();
        }
    }

    fn begin_environment(&mut self) {
        let Some(name) = self.scanner.argument() else { return };
        let bare = name.trim_end_matches('*');
        let end = format!("\\end{{{name}}}");
        self.builder.begin_block();
        if IGNORED_ENVIRONMENTS.contains(&bare) {
            self.scanner.take_until(&end);
        } else if VERBATIM.contains(&name) {
            self.scanner.option();
            if name == "minted" {
                self.scanner.argument();
            }
            let text = self.scanner.take_until(&end);
            self.builder.push_verbatim(text);
            self.builder.begin_block();
        } else if FORMULAS.contains(&bare) {
            let formula = self.scanner.take_until(&end);
            self.builder.push_verbatim(formula);
            self.builder.begin_block();
        } else {
            self.scanner.option();
            if WITH_ARGUMENT.contains(&bare) {
                self.scanner.argument();
                self.scanner.option();
            }
            self.is_preformatted |= PREFORMATTED.contains(&name);
            if TABLES.contains(&name) {
                if matches!(name, "tabularx" | "tabular*" | "tabulary") {
                    self.scanner.argument();
                }
                self.table_depth += 1;
            }
        }
    }

    fn end_environment(&mut self) {
        let name = self.scanner.argument().unwrap_or_default();
        if TABLES.contains(&name) {
            self.table_depth = self.table_depth.saturating_sub(1);
        }
        self.is_preformatted &= !PREFORMATTED.contains(&name);
        self.builder.begin_block();
    }
}

/// The label of an item, in which only groups and simple commands occur.
fn plain_label(label: &str) -> String {
    let mut scanner = Scanner::new(label);
    let mut text = String::new();
    while let Some(char) = scanner.next() {
        match char {
            '\\' => {
                let name = scanner.command();
                text.push_str(symbol(name).unwrap_or_default());
            }
            '{' | '}' => {}
            other => text.push(other),
        }
    }
    text
}
