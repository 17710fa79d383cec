//! The picture of a running operation that `semantik top` shows: how quickly documents come, which node holds them
//! up, what waits where, what was set aside. It draws a [`Progress`] and differences between two of them; where that
//! comes from is `src/cmd/top.rs`'s to say.

use std::collections::VecDeque;

use pipeline::{NodeState, Progress};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};

use crate::render::{bytes, count, seconds, so_far};

/// How many looks the picture of the rate goes back.
const LOOKS: usize = 240;

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
    /// Documents a second, a figure for each look.
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
            clippy::cast_precision_loss,
            reason = "a rate for people"
        )]
        let rate = (self.now.left().saturating_sub(before.left()) as f64 / past).round() as u64;
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
        frame.render_widget(self.nodes(), table);
        self.feed(frame, feed);
        let keys = Line::from(" q quits; the operation goes on").dim();
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
        let second = Line::from(format!(
            " {} seen{} · {} stored · {} unchanged · {} duplicate · {} set aside",
            count(now.seen),
            if status == "processing" { so_far(now) } else { "" },
            count(now.outcome("stored")),
            count(now.outcome("unchanged")),
            count(now.outcome("duplicate")),
            count(now.set_aside_count()),
        ));
        let eta = match now.eta_seconds {
            Some(eta) if status == "processing" => format!(" · {} to go", seconds(eta)),
            Some(_) | None => String::new(),
        };
        let third = Line::from(format!(
            " {} chunks · {} tokens · {} tokens/s · {}{eta}",
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
        let last = self.rates.back().copied().unwrap_or(0);
        let block = Block::bordered().title(format!(" documents a second: {} ", count(last)));
        let width = usize::from(area.width.saturating_sub(2));
        let from = self.rates.len().saturating_sub(width);
        let shown: Vec<u64> = self.rates.iter().skip(from).copied().collect();
        frame.render_widget(Sparkline::default().data(shown).block(block), area);
    }

    fn nodes(&self) -> Table<'_> {
        let nothing = Progress::default();
        let before = self.before.as_ref().unwrap_or(&nothing);
        let past = (self.now.elapsed_seconds - before.elapsed_seconds).max(0.001);
        let new = NodeState::default();
        let rows = self.now.nodes.iter().map(|node| {
            let before = before.nodes.iter().find(|it| it.id == node.id).unwrap_or(&new);
            let holds_up = self.now.holder.as_deref() == Some(&*node.id);
            let style = if holds_up { Style::new().bold().yellow() } else { Style::new() };
            Row::new(cells(node, before, past, holds_up)).style(style)
        });
        let widths = [
            Constraint::Length(12),
            Constraint::Length(9),
            Constraint::Length(8),
            Constraint::Length(10),
            Constraint::Length(16),
            Constraint::Length(5),
            Constraint::Min(19),
        ];
        let head = ["node", "done", "a second", "waits", "busy", "idle", ""];
        Table::new(rows, widths).header(Row::new(head).dim()).block(Block::bordered())
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
                    Span::from(format!("at {}: {} ", it.node, it.reason)).yellow(),
                    Span::from(it.message.as_str()).dim(),
                ])
            })
            .collect();
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

/// What a node did in the seconds since `before`.
fn cells(now: &NodeState, before: &NodeState, past: f64, holds_up: bool) -> [String; 7] {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = now.done().saturating_sub(before.done()) as f64 / past;
    let share = |now: f64, before: f64| ((now - before) / past).clamp(0.0, 9.99);
    let busy = share(now.busy, before.busy);
    let idle = share(now.starved + now.blocked, before.starved + before.blocked).min(1.0);
    let mark = match (now.ended, holds_up) {
        (true, _) => "ended",
        (false, true) => "◄ holds the flow up",
        (false, false) => "",
    };
    [
        now.id.clone(),
        count(now.done()),
        format!("{rate:.0}"),
        bytes(now.queue_bytes),
        format!("{} {:>3.0} %", bar(busy), busy * 100.0),
        format!("{:>3.0} %", idle * 100.0),
        mark.to_owned(),
    ]
}

/// A share as ten places; several workers may be busy more than all of the time.
fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10")]
    let full = (share.min(1.0) * 10.0).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(10 - full))
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
}
