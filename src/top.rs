//! The screen of `semantik top`: rate of documents, bottleneck, queues and rejections of a running
//! operation. It draws a [`Progress`] and differences between two of them; `src/cmd/top.rs` obtains
//! them.

use std::collections::VecDeque;

use pipeline::{NodeState, Progress};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use serde_json::{Value, json};

use crate::rates::{self, NodeRates};
use crate::render::{format_bytes, format_count, format_seconds, visible_line};

/// Minimum heights in lines: the title, the chart of the rate with its border, border and header of
/// the table of nodes, the rejections.
const HEADER_LINES: u16 = 4;
const RATE_LINES: u16 = 5;
const FRAME_LINES: u16 = 3;
const REJECTION_LINES: u16 = 3;

/// Samples in the chart of the rate.
const RATE_SAMPLES: usize = 240;
/// Samples in the mean rate. Documents are stored in large transactions, so one sample says little.
const RECENT_SAMPLES: usize = 15;
/// Rates are stored in tenths, so that slow ones are visible.
const RATE_SCALE: f64 = 10.0;

/// Title of an operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperationTitle {
    pub(crate) collection: String,
    /// `append`, `reindex`, ….
    pub(crate) kind: String,
    /// `pending`, `processing`, ….
    pub(crate) status: String,
    pub(crate) worker: Option<String>,
    pub(crate) error: Option<String>,
}

/// Samples of an operation.
#[derive(Debug, Default)]
pub(crate) struct OperationView {
    title: OperationTitle,
    now: Progress,
    /// The previous sample, for differences.
    before: Option<Progress>,
    /// Tenths of documents per second, one value per sample.
    rates: VecDeque<u64>,
    /// Number of nodes scrolled past if they do not all fit.
    scrolled: usize,
}

impl OperationView {
    /// Adds a sample. If its progress equals the previous one, only the title changes.
    pub(crate) fn update(&mut self, title: OperationTitle, progress: Progress) {
        self.title = title;
        let past = progress.elapsed_seconds - self.now.elapsed_seconds;
        if progress == self.now || past <= 0.0 {
            return;
        }
        let before = std::mem::replace(&mut self.now, progress);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
        let rate = (rates::document_rate(&self.now, &before) * RATE_SCALE).round() as u64;
        if self.rates.len() == RATE_SAMPLES {
            self.rates.pop_front();
        }
        self.rates.push_back(rate);
        self.before = Some(before);
    }

    /// Scrolls by this number of nodes, up if negative.
    pub(crate) fn scroll(&mut self, by: isize) {
        let last = self.now.nodes.len().saturating_sub(1);
        self.scrolled = self.scrolled.saturating_add_signed(by).min(last);
    }

    /// Height in lines that shows everything.
    pub(crate) fn height(&self) -> u16 {
        let nodes = u16::try_from(self.now.nodes.len()).unwrap_or(u16::MAX);
        nodes.saturating_add(HEADER_LINES + RATE_LINES + FRAME_LINES + REJECTION_LINES + 1)
    }

    /// The drawn state as one JSON value.
    pub(crate) fn as_json(&self) -> Result<Value, serde_json::Error> {
        let OperationTitle { collection, kind, status, worker, error } = &self.title;
        Ok(json!({
            "collection": collection,
            "type": kind,
            "status": status,
            "worker": worker,
            "error": error,
            "progress": serde_json::to_value(&self.now)?,
        }))
    }

    /// Draws the state. The nodes have priority; the other parts follow if they fit.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let Rect { width, height, .. } = frame.area();
        let nodes =
            u16::try_from(self.now.nodes.len()).unwrap_or(u16::MAX).saturating_add(FRAME_LINES);
        let mut room = height.saturating_sub(HEADER_LINES + 1 + nodes);
        let mut lines_for = |lines: u16| {
            let given = if room >= lines { lines } else { 0 };
            room -= given;
            given
        };
        let (feed, rate) = (lines_for(REJECTION_LINES), lines_for(RATE_LINES));
        let feed = if feed > 0 { Constraint::Min(feed) } else { Constraint::Length(0) };
        let [head, rate, table, feed, foot] = Layout::vertical([
            Constraint::Length(HEADER_LINES),
            Constraint::Length(rate),
            Constraint::Length(nodes.min(height.saturating_sub(HEADER_LINES + 1))),
            feed,
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.header(width.saturating_sub(1).into()), head);
        if rate.height > 0 {
            self.draw_rate(frame, rate);
        }
        frame.render_widget(self.nodes_table(table.width, table.height), table);
        if feed.height > 0 {
            self.draw_rejections(frame, feed);
        }
        let keys = if self.is_running() { " q quits; the operation continues" } else { " q quits" };
        let keys = Line::from(keys).dim();
        frame.render_widget(Paragraph::new(keys), foot);
    }

    fn header(&self, room: usize) -> Paragraph<'_> {
        let OperationTitle { collection, kind, status, worker, error } = &self.title;
        let state = match status.as_str() {
            "failed" => Span::from(status.as_str()).red(),
            "completed" => Span::from(status.as_str()).green(),
            _ => Span::from(status.as_str()).bold(),
        };
        let by = worker
            .as_ref()
            .map_or_else(String::new, |worker| format!(" · {}", visible_line(worker)));
        let first = Line::from(vec![
            Span::from(format!(" {}", visible_line(collection))).bold(),
            Span::from(format!(" · {kind} · ")),
            state,
            Span::from(by).dim(),
        ]);
        let now = &self.now;
        let second = Line::from(format!(" {}", rates::fit_parts(&rates::outcome_parts(now), room)));
        let mut parts = Vec::new();
        if status == "processing" {
            parts.extend(now.share.map(|share| (0, format!("{} %", rates::format_percent(share)))));
        }
        parts.extend([
            (4, format!("{} chunks", format_count(now.chunks))),
            (2, format!("{} tokens", format_count(now.tokens))),
            (3, format!("{} tokens/s", format_count(now.tokens_per_second()))),
            (1, format_seconds(now.elapsed_seconds)),
        ]);
        if status == "processing" {
            parts.extend(rates::remaining_time(now).map(|words| (0, words)));
        }
        let third = Line::from(format!(" {}", rates::fit_parts(&parts, room)));
        let fourth = match error {
            Some(error) => Line::from(format!(" {}", visible_line(error))).red(),
            None => Line::default(),
        };
        Paragraph::new(vec![first, second, third, fourth])
    }

    fn draw_rate(&self, frame: &mut Frame<'_>, area: Rect) {
        let block =
            Block::bordered().title(format!(" documents per second: {} ", self.recent_rate()));
        let width = usize::from(area.width.saturating_sub(2));
        let from = self.rates.len().saturating_sub(width);
        let shown: Vec<u64> = self.rates.iter().skip(from).copied().collect();
        frame.render_widget(Sparkline::default().data(shown).block(block), area);
    }

    /// Mean rate of the last samples in documents per second; of the whole operation once it has
    /// ended.
    fn recent_rate(&self) -> String {
        let last = self.rates.iter().rev().take(RECENT_SAMPLES);
        let looks = last.len();
        if looks == 0 || !self.is_running() {
            return rates::format_rate(rates::document_rate(&self.now, &Progress::default()));
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for display")]
        let mean = last.sum::<u64>() as f64 / looks as f64 / RATE_SCALE;
        rates::format_rate(mean)
    }

    fn is_running(&self) -> bool {
        matches!(self.title.status.as_str(), "pending" | "processing")
    }

    fn nodes_table(&self, room: u16, height: u16) -> Table<'_> {
        let nothing = Progress::default();
        let before = self.before.as_ref().unwrap_or(&nothing);
        let longest = self.now.nodes.iter().map(|node| node.id.chars().count()).max();
        let name = u16::try_from(longest.unwrap_or(0).clamp(4, 24)).unwrap_or(24);
        let columns = NodeColumns::that_fit(name, room);
        let all = self.now.nodes.len();
        let fit = usize::from(height.saturating_sub(FRAME_LINES)).max(1);
        let over = self.scrolled.min(all.saturating_sub(fit));
        let rows = rates::node_rates(&self.now, before).skip(over).take(fit).map(|(node, pace)| {
            let style =
                if pace.is_bottleneck { Style::new().bold().yellow() } else { Style::new() };
            Row::new(columns.of(node_cells(node, pace, columns.has_bars))).style(style)
        });
        let head = ["node", "done", "docs/s", "queue", "busy", "idle", ""].map(str::to_owned);
        let mut block = Block::bordered();
        if all > fit {
            block = block.title(format!(" {}–{} of {all}, ↑↓ scroll ", over + 1, over + fit));
        }
        Table::new(rows, columns.widths.iter().map(|width| Constraint::Length(*width)))
            .column_spacing(columns.spacing)
            .header(Row::new(columns.of(head)).dim())
            .block(block)
    }

    fn draw_rejections(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(" last set aside ");
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
                    Span::from(format!("{} ", visible_line(name))),
                    Span::from(format!("at {}: {}, ", visible_line(&it.node), it.reason)).yellow(),
                    Span::from(visible_line(&it.message)).dim(),
                ])
            })
            .collect();
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

/// Shown columns of the table of nodes, with their widths.
struct NodeColumns {
    indices: Vec<usize>,
    widths: Vec<u16>,
    spacing: u16,
    has_bars: bool,
}

impl NodeColumns {
    /// The most columns that fit. Removed in this order: idle, then the bars of busy and the text
    /// of the mark, then the queue, then the rate.
    fn that_fit(name: u16, room: u16) -> Self {
        const ALL: [usize; 7] = [0, 1, 2, 3, 4, 5, 6];
        const WIDE: [u16; 7] = [0, 9, 8, 10, 14, 5, 13];
        const NARROW: [u16; 7] = [0, 9, 8, 10, 5, 5, 5];
        let tries: [(&[usize], [u16; 7], u16); 6] = [
            (&ALL, WIDE, 2),
            (&ALL, WIDE, 1),
            (&[0, 1, 2, 3, 4, 6], WIDE, 1),
            (&[0, 1, 2, 3, 4, 6], NARROW, 1),
            (&[0, 1, 2, 4, 6], NARROW, 1),
            (&[0, 1, 4, 6], NARROW, 1),
        ];
        let columns = |(places, mut widths, spacing): (&[usize], [u16; 7], u16)| {
            widths[0] = name;
            let has_bars = widths[4] == WIDE[4];
            let widths: Vec<u16> = places.iter().map(|place| widths[*place]).collect();
            Self { indices: places.to_vec(), widths, spacing, has_bars }
        };
        let [.., last] = tries;
        let fits = tries.into_iter().map(columns).find(|it| it.needed() <= room);
        fits.unwrap_or_else(|| columns(last))
    }

    /// Width including two borders and the spacing between columns.
    fn needed(&self) -> u16 {
        let gaps = u16::try_from(self.widths.len()).unwrap_or(u16::MAX).saturating_sub(1);
        self.widths.iter().sum::<u16>() + 2 + self.spacing * gaps
    }

    /// The shown cells of a row; figures are right-aligned.
    fn of(&self, mut cells: [String; 7]) -> Vec<Text<'static>> {
        let mut cell = |place: usize| Text::from(std::mem::take(&mut cells[place]));
        let is_figure = |place: usize| matches!(place, 1..=3 | 5) || (place == 4 && !self.has_bars);
        let shown = self
            .indices
            .iter()
            .map(|&place| if is_figure(place) { cell(place).right_aligned() } else { cell(place) });
        shown.collect()
    }
}

/// The cells of a node, in the order of the columns.
fn node_cells(node: &NodeState, pace: NodeRates, has_bars: bool) -> [String; 7] {
    let mark = match (node.ended, pace.is_bottleneck) {
        (true, _) => "ended",
        (false, true) if has_bars => "◄ bottleneck",
        (false, true) => "◄",
        (false, false) => "",
    };
    let bar = if has_bars { format!("{} ", bar(pace.busy)) } else { String::new() };
    [
        visible_line(&node.id).into_owned(),
        format_count(node.finished_rows()),
        rates::format_rate(pace.rate),
        format_bytes(node.queue_bytes),
        format!("{bar}{:>3.0} %", pace.busy * 100.0),
        format!("{:.0} %", pace.idle * 100.0),
        mark.to_owned(),
    ]
}

/// A share as a bar of eight characters. Several workers can be busy for more than the elapsed
/// time.
fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8")]
    let full = (share.min(1.0) * 8.0).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(8 - full))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pipeline::RejectionReport;
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
            bottleneck: Some("embed".to_owned()),
            set_aside: vec![RejectionReport {
                uri: "file:///corpus/broken.pdf".to_owned(),
                node: "extract".to_owned(),
                reason: "failed".to_owned(),
                message: "is not a valid PDF file: no trailer".to_owned(),
                ..RejectionReport::default()
            }],
            ..Progress::default()
        }
    }

    #[test]
    fn a_picture_says_who_holds_the_flow_up() {
        let title = OperationTitle {
            collection: "demo".to_owned(),
            kind: "append".to_owned(),
            status: "processing".to_owned(),
            worker: Some("process 4711 on laptop".to_owned()),
            error: None,
        };
        let mut seen = OperationView::default();
        for look in 1..=20_u32 {
            let stored = u64::from(look * (look % 7 + 20));
            seen.update(title.clone(), progress(f64::from(look), stored));
        }
        let mut terminal = Terminal::new(TestBackend::new(92, 22)).unwrap();
        terminal.draw(|frame| seen.draw(frame)).unwrap();
        insta::assert_snapshot!(terminal.backend());
    }

    #[test]
    fn what_has_not_begun_can_be_drawn_and_so_can_a_small_window() {
        let mut seen = OperationView::default();
        seen.update(OperationTitle::default(), Progress::default());
        for (width, height) in [(1, 1), (20, 5), (200, 60)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| seen.draw(frame)).unwrap();
        }
    }

    /// The screen for seven nodes, including `embed`, in a window of this size.
    fn seven(width: u16, height: u16, scrolled: isize) -> String {
        let mut now = progress(3.0, 40);
        let more = ["hash", "dedup", "chunk"].map(|id| node(id, 40, 0.1, 0.2));
        now.nodes.splice(1..1, more);
        let mut seen = OperationView::default();
        seen.update(
            OperationTitle { status: "processing".to_owned(), ..OperationTitle::default() },
            now,
        );
        seen.scroll(scrolled);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| seen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_small_window_shows_every_node_with_its_whole_name() {
        let drawn = seven(50, 20, 0);
        for words in ["scan", "hash", "dedup", "chunk", "extract", "embed", "upsert", "100 %", "◄"]
        {
            assert!(drawn.contains(words), "{words}: {drawn}");
        }
        insta::assert_snapshot!(drawn);
    }

    #[test]
    fn where_nodes_do_not_fit_they_can_be_scrolled() {
        let (first, last) = (seven(50, 11, 0), seven(50, 11, 9));
        assert!(first.contains("1–3 of 7") && first.contains("scan"), "{first}");
        assert!(last.contains("5–7 of 7") && last.contains("upsert"), "{last}");
    }

    #[test]
    fn a_usual_window_shows_every_column_whole() {
        let mut seen = OperationView::default();
        seen.update(OperationTitle::default(), progress(3.0, 40));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| seen.draw(frame)).unwrap();
        let drawn = terminal.backend().to_string();
        for words in [" 100 % ", "docs/s", "queue", "idle", "7.06 MiB", "◄ bottleneck"] {
            assert!(drawn.contains(words), "{words}: {drawn}");
        }
    }
}
