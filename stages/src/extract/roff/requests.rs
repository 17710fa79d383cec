//! Requests and conditions: each line that begins with a control character is mapped to a change of
//! the reader.

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::roff::mdoc;
use crate::extract::roff::reader::{LineMode, NextLine, RoffReader};

impl RoffReader {
    /// Parses a line, in a loop over the conditions at its start.
    pub(super) fn read_line(&mut self, line: &str) {
        let mut rest = Some(line);
        while let Some(line) = rest {
            rest = self.read_condition(line);
        }
    }

    /// Parses a line. The body of a true condition is returned, to be parsed as a line.
    fn read_condition<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        match &mut self.mode {
            LineMode::Skip(end) => {
                if line.trim_end() == end {
                    self.mode = LineMode::Text;
                }
                return None;
            }
            LineMode::SkippedBranch(depth) => {
                *depth += line.matches("\\{").count();
                *depth = depth.saturating_sub(line.matches("\\}").count());
                if *depth == 0 {
                    self.mode = LineMode::Text;
                }
                return None;
            }
            LineMode::Table(_) if !line.starts_with(".TE") => {
                self.table_line(line);
                return None;
            }
            LineMode::Table(_) | LineMode::Text => {}
        }
        let is_request = line.starts_with(['.', '\'']);
        if !is_request {
            self.text_line(line);
            return None;
        }
        let request = line[1..].trim_start();
        let end = request.find([' ', '\t']).unwrap_or(request.len());
        // A request may be directly followed by a comment: `.br\" why`.
        let name = request[..end].split('\\').next().unwrap_or_default();
        let rest = request[name.len()..].trim_start();
        if matches!(name, "if" | "ie" | "el") {
            return self.condition(name, rest);
        }
        self.request(name, rest);
        None
    }

    fn request(&mut self, name: &str, rest: &str) {
        match name {
            "TH" => self.man_title(rest),
            "SH" | "Sh" => self.heading(1, rest),
            "SS" | "Ss" => self.heading(2, rest),
            "PP" | "P" | "LP" | "Pp" | "Sp" | "sp" | "RS" | "RE" | "SY" | "YS" | "Lp" => {
                self.builder.begin_block();
            }
            "br" | "Vb" | "Ve" | "Bl" | "El" | "Bd" | "Ed" | "nf" | "fi" | "EX" | "EE" => {
                self.layout_request(name);
            }
            "TP" => {
                self.builder.begin_block();
                self.next_line = Some(NextLine::Tag);
            }
            "TQ" => {
                self.builder.begin_line();
                self.next_line = Some(NextLine::Tag);
            }
            "IP" => {
                self.builder.begin_block();
                if let Some(tag) = self.arguments(rest).first() {
                    self.builder.push_text(tag);
                    self.builder.separate();
                }
            }
            "B" | "I" | "SM" | "SB" | "R" | "CW" => self.single_font(rest),
            "BR" | "BI" | "IB" | "IR" | "RB" | "RI" | "OP" => self.alternating_fonts(name, rest),
            "UR" | "MT" => self.document_link(rest),
            "UE" | "ME" => {
                let after = self.arguments(rest).concat();
                if !after.is_empty() {
                    self.builder.join();
                }
                self.builder.push_text(&after);
                self.builder.separate();
            }
            "TS" => {
                self.builder.begin_block();
                self.mode = LineMode::Table(false);
            }
            "TE" => self.end_table(),
            "de" | "de1" | "am" | "ig" => {
                let end = rest.split_whitespace().nth(usize::from(name != "ig"));
                self.mode = LineMode::Skip(format!(".{}", end.unwrap_or(".")));
            }
            "ds" | "ds1" | "as" => self.strings.define(rest, name == "as"),
            "so" => {
                self.builder.push_text(rest);
            }
            _ if mdoc::is_macro(name) => mdoc::line(self, name, rest),
            // Layout, registers, fonts, hyphenation, comments.
            _ => {}
        }
    }

    fn layout_request(&mut self, name: &str) {
        match name {
            "nf" | "EX" | "Vb" | "Bd" => {
                self.builder.begin_block();
                self.no_fill = true;
            }
            "fi" | "EE" | "Ve" | "Ed" => {
                self.no_fill = false;
                self.builder.begin_block();
            }
            "br" => self.builder.begin_line(),
            _ => self.builder.begin_block(),
        }
    }

    /// `.if CONDITION BODY`: `n` (a terminal) is true, and `!` negates. Returns the body if the
    /// condition is true.
    fn condition<'a>(&mut self, name: &str, rest: &'a str) -> Option<&'a str> {
        let (holds, body) = if name == "el" {
            (!self.last_condition, rest)
        } else {
            let (negated, rest) = match rest.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            let end = rest.find(' ').unwrap_or(rest.len());
            let end = rest[..end].find("\\{").unwrap_or(end);
            let holds = matches!(&rest[..end], "n" | "o" | "1") != negated;
            (holds, rest[end..].trim_start())
        };
        self.last_condition = holds;
        let block = body.strip_prefix("\\{");
        if !holds {
            let depth = body.matches("\\{").count().saturating_sub(body.matches("\\}").count());
            if block.is_some() && depth > 0 {
                self.mode = LineMode::SkippedBranch(depth);
            }
            return None;
        }
        let body = block.unwrap_or(body).trim_end_matches("\\}").trim();
        Some(body).filter(|body| !body.is_empty() && *body != "\\")
    }

    pub(super) fn finish(mut self) -> Document {
        self.end_table();
        let mut document = self.builder.finish();
        document.metadata = self.document.metadata;
        document.title =
            self.title.map(|title| collapse_whitespace(&title)).filter(|title| !title.is_empty());
        document
    }
}
