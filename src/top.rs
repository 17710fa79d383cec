//! The picture of a running operation that `semantik top` shows: how quickly documents come, which node holds them
//! up, what waits where, what was set aside. It draws a [`Progress`] and differences between two of them; where that
//! comes from is `src/cmd/top.rs`'s to say.

use std::collections::VecDeque;

use pipeline::{NodeState, Progress};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};

use crate::pace::{self, Pace};
use crate::render::{bytes, count, seconds};

/// How many looks the picture of the rate goes back.
const LOOKS: usize = 240;
/// Of how many looks a rate is told in figures: documents are stored many at once.
const LATELY: usize = 15;
/// Rates are kept in tenths, so that what is slow can be seen.
const TENTHS: f64 = 10.0;

/// What an operation is, in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Title {
    pub(crate) collection: String,
    /// `append`, `reindex`, ….
    pub(crate) kind: String,
    /// `pending`, `processing`, ….
    pub(crate) status: String,
    pub(crate) worker: Option<String>,
    pub(crate) error: Option<String>,
}

/// What was seen of an operation so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    title: Title,
    now: Progress,
    /// The look before, for what happened since.
    before: Option<Progress>,
    /// Tenths of documents a second, a figure for each look.
    rates: VecDeque<u64>,
}

impl Seen {
    /// Takes a look in. One at the same progress as before changes nothing but the title.
    pub(crate) fn look(&mut self, title: Title, progress: Progress) {
        self.title = title;
        let past = progress.elapsed_seconds - self.now.elapsed_seconds;
        if progress == self.now || past <= 0.0 {
            return;
        }
        let before = std::mem::replace(&mut self.now, progress);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is rounded"
        )]
        let rate = (pace::documents(&self.now, &before) * TENTHS).round() as u64;
        if self.rates.len() == LOOKS {
            self.rates.pop_front();
        }
        self.rates.push_back(rate);
        self.before = Some(before);
    }

    /// Draws it.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let nodes = u16::try_from(self.now.nodes.len()).unwrap_or(u16::MAX);
        let [head, rate, table, feed, foot] = Layout::vertical([
            Constraint::Length(4),
            Constraint::Length(5),
            Constraint::Length(nodes.saturating_add(3)),
            Constraint::Min(3),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.head(), head);
        self.rate(frame, rate);
        frame.render_widget(self.nodes(table.width), table);
        self.feed(frame, feed);
        let keys = if self.goes_on() { " q quits; the operation goes on" } else { " q quits" };
        let keys = Line::from(keys).dim();
        frame.render_widget(Paragraph::new(keys), foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let Title { collection, kind, status, worker, error } = &self.title;
        let state = match status.as_str() {
            "failed" => Span::from(status.as_str()).red(),
            "completed" => Span::from(status.as_str()).green(),
            _ => Span::from(status.as_str()).bold(),
        };
        let by = worker.as_ref().map_or_else(String::new, |worker| format!(" · {worker}"));
        let first = Line::from(vec![
            Span::from(format!(" {collection}")).bold(),
            Span::from(format!(" · {kind} · ")),
            state,
            Span::from(by).dim(),
        ]);
        let now = &self.now;
        let second = Line::from(format!(" {}", pace::outcomes(now)));
        let to_go = if status == "processing" { pace::to_go(now) } else { String::new() };
        let third = Line::from(format!(
            " {} chunks · {} tokens · {} tokens/s · {}{to_go}",
            count(now.chunks),
            count(now.tokens),
            count(now.tokens_per_second()),
            seconds(now.elapsed_seconds),
        ));
        let fourth = match error {
            Some(error) => Line::from(format!(" {error}")).red(),
            None => Line::default(),
        };
        Paragraph::new(vec![first, second, third, fourth])
    }

    fn rate(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(format!(" documents a second: {} ", self.lately()));
        let width = usize::from(area.width.saturating_sub(2));
        let from = self.rates.len().saturating_sub(width);
        let shown: Vec<u64> = self.rates.iter().skip(from).copied().collect();
        frame.render_widget(Sparkline::default().data(shown).block(block), area);
    }

    /// Documents a second of the last looks; of the whole operation once it has ended.
    fn lately(&self) -> String {
        let last = self.rates.iter().rev().take(LATELY);
        let looks = last.len();
        if looks == 0 || !self.goes_on() {
            return pace::rate(pace::documents(&self.now, &Progress::default()));
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let mean = last.sum::<u64>() as f64 / looks as f64 / TENTHS;
        pace::rate(mean)
    }

    fn goes_on(&self) -> bool {
        matches!(self.title.status.as_str(), "pending" | "processing")
    }

    fn nodes(&self, room: u16) -> Table<'_> {
        let nothing = Progress::default();
        let before = self.before.as_ref().unwrap_or(&nothing);
        let rows = pace::nodes(&self.now, before).map(|(node, pace)| {
            let style = if pace.holds_up { Style::new().bold().yellow() } else { Style::new() };
            Row::new(cells(node, pace)).style(style)
        });
        let longest = self.now.nodes.iter().map(|node| node.id.chars().count()).max();
        let name = u16::try_from(longest.unwrap_or(0).clamp(4, 24)).unwrap_or(24);
        let widths = [name, 9, 8, 10, 14, 5, 13];
        // Two borders, and a space more between columns where there is room for it.
        let needed = widths.iter().sum::<u16>() + 2 + 2 * 6;
        let spacing = if needed <= room { 2 } else { 1 };
        let head =
            aligned(["node", "done", "a second", "queue", "busy", "idle", ""].map(str::to_owned));
        Table::new(rows, widths.map(Constraint::Length))
            .column_spacing(spacing)
            .header(Row::new(head).dim())
            .block(Block::bordered())
    }

    fn feed(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(" set aside last ");
        let room = usize::from(area.height.saturating_sub(2));
        let lines: Vec<Line<'_>> = self
            .now
            .set_aside
            .iter()
            .rev()
            .take(room)
            .map(|it| {
                let name = it.uri.rsplit('/').next().unwrap_or(&it.uri);
                Line::from(vec![
                    Span::from(format!("{name} ")),
                    Span::from(format!("at {}: {}, ", it.node, it.reason)).yellow(),
                    Span::from(it.message.as_str()).dim(),
                ])
            })
            .collect();
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

/// What a node does.
fn cells(node: &NodeState, pace: Pace) -> [Text<'static>; 7] {
    let mark = match (node.ended, pace.holds_up) {
        (true, _) => "ended",
        (false, true) => "◄ holds it up",
        (false, false) => "",
    };
    aligned([
        node.id.clone(),
        count(node.done()),
        pace::rate(pace.rate),
        bytes(node.queue_bytes),
        format!("{} {:>3.0} %", bar(pace.busy), pace.busy * 100.0),
        format!("{:.0} %", pace.idle * 100.0),
        mark.to_owned(),
    ])
}

/// A row with its figures to the right.
fn aligned(cells: [String; 7]) -> [Text<'static>; 7] {
    let mut place = 0;
    cells.map(|cell| {
        let is_figure = matches!(place, 1..=3 | 5);
        place += 1;
        if is_figure { Text::from(cell).right_aligned() } else { Text::from(cell) }
    })
}

/// A share as eight places; several workers may be busy more than all of the time.
fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8")]
    let full = (share.min(1.0) * 8.0).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(8 - full))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pipeline::SetAsideReport;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn node(id: &str, done: u64, busy: f64, starved: f64) -> NodeState {
        NodeState { id: id.to_owned(), rows_in: done, busy, starved, ..NodeState::default() }
    }

    fn progress(at: f64, stored: u64) -> Progress {
        Progress {
            seen: stored + 130,
            all_seen: true,
            outcomes: BTreeMap::from([("stored".to_owned(), stored), ("failed".to_owned(), 2)]),
            chunks: stored * 12,
            tokens: stored * 2400,
            elapsed_seconds: at,
            eta_seconds: Some(12.5),
            nodes: vec![
                NodeState { ended: true, ..node("scan", 0, 1.5, 0.0) },
                NodeState { queue_bytes: 0, ..node("extract", stored + 60, at * 0.4, at * 0.6) },
                NodeState { queue_bytes: 7_400_000, ..node("embed", stored + 20, at, 0.0) },
                node("upsert", stored, at * 0.05, at * 0.95),
            ],
            holder: Some("embed".to_owned()),
            set_aside: vec![SetAsideReport {
                uri: "file:///corpus/broken.pdf".to_owned(),
                node: "extract".to_owned(),
                reason: "failed".to_owned(),
                message: "is not a valid PDF file: no trailer".to_owned(),
                ..SetAsideReport::default()
            }],
        }
    }

    #[test]
    fn a_picture_says_who_holds_the_flow_up() {
        let title = Title {
            collection: "demo".to_owned(),
            kind: "append".to_owned(),
            status: "processing".to_owned(),
            worker: Some("process 4711 on laptop".to_owned()),
            error: None,
        };
        let mut seen = Seen::default();
        for look in 1..=20_u32 {
            let stored = u64::from(look * (look % 7 + 20));
            seen.look(title.clone(), progress(f64::from(look), stored));
        }
        let mut terminal = Terminal::new(TestBackend::new(92, 22)).unwrap();
        terminal.draw(|frame| seen.draw(frame)).unwrap();
        insta::assert_snapshot!(terminal.backend());
    }

    #[test]
    fn what_has_not_begun_can_be_drawn_and_so_can_a_small_window() {
        let mut seen = Seen::default();
        seen.look(Title::default(), Progress::default());
        for (width, height) in [(1, 1), (20, 5), (200, 60)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| seen.draw(frame)).unwrap();
        }
    }

    #[test]
    fn a_usual_window_shows_every_column_whole() {
        let mut seen = Seen::default();
        seen.look(Title::default(), progress(3.0, 40));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| seen.draw(frame)).unwrap();
        let drawn = terminal.backend().to_string();
        for words in [" 100 % ", "a second", "queue", "idle", "7.06 MiB", "◄ holds it up"] {
            assert!(drawn.contains(words), "{words}: {drawn}");
        }
    }
}
