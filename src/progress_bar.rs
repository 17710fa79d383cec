//! The live view of a run: one line per node on a terminal, otherwise a periodic log line.
//!
//! It draws [`Progress`] values from any origin and computes only differences between two of them.
//! No line is longer than the terminal is wide: the least important columns are left out first.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pipeline::{NodeState, Progress};

use crate::rates::{self, NodeRates};
use crate::render::{self, Paint, format_bytes, format_count, visible};

/// Interval between two drawings on a terminal.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Interval between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) struct ProgressView {
    screen: Option<TerminalView>,
}

struct TerminalView {
    bars: MultiProgress,
    /// Outcomes of documents, and progress of the model.
    totals: [ProgressBar; 2],
    /// Created once the nodes are known.
    nodes: Vec<ProgressBar>,
    before: Progress,
    paint: Paint,
}

impl ProgressView {
    pub(crate) fn new() -> Self {
        let draws = stderr().is_terminal() && render::supports_escapes();
        Self { screen: draws.then(TerminalView::new) }
    }

    /// Interval between two calls of [`ProgressView::update`].
    pub(crate) fn period(&self) -> Duration {
        if self.screen.is_some() { DRAW_INTERVAL } else { LOG_INTERVAL }
    }

    /// Draws or logs the progress of the run.
    pub(crate) fn update(&mut self, progress: Progress) {
        match &mut self.screen {
            Some(screen) => screen.draw(progress),
            None => log(&progress),
        }
    }

    /// Reports that the run was requested to stop, and the documents that it finishes first.
    pub(crate) fn stopping(&self, now: &Progress) {
        self.print_line(&format!("{}; press Ctrl-C again to stop now", finishing(now)));
    }

    /// Reports that the run drops the batches that the model has not started.
    pub(crate) fn cutting_short(&self) {
        self.print_line(
            "storing embedded documents; the rest is left to the next run (press Ctrl-C again to \
             exit immediately)",
        );
    }

    fn print_line(&self, words: &str) {
        match &self.screen {
            Some(screen) => screen.bars.suspend(|| render::print_error_line(words)),
            None => tracing::info!("{words}"),
        }
    }

    /// Removes the view from the terminal.
    pub(crate) fn end(self) {
        if let Some(screen) = self.screen {
            screen.totals.iter().chain(&screen.nodes).for_each(ProgressBar::finish_and_clear);
        }
    }
}

/// `finishing 121 documents, about 8 s`.
fn finishing(now: &Progress) -> String {
    let documents = render::count_of(now.in_flight(), "document");
    match now.in_flight_seconds.filter(|seconds| *seconds >= 1.0) {
        Some(seconds) => {
            format!("finishing {documents}, about {}", rates::format_estimate(seconds))
        }
        None => format!("finishing {documents}"),
    }
}

fn log(progress: &Progress) {
    tracing::info!(
        seen = progress.seen,
        stored = progress.outcome_count("stored"),
        unchanged = progress.outcome_count("unchanged"),
        duplicate = progress.outcome_count("duplicate"),
        set_aside = progress.set_aside_count(),
        tokens = progress.tokens_done(),
        tokens_given = progress.tokens_given,
        tokens_per_second = progress.tokens_per_second(),
        percent = progress.share.map(rates::format_percent),
        seconds_to_go = progress.eta_seconds.map(f64::round),
        busiest_node = progress.bottleneck_since(&Progress::default()).unwrap_or("none"),
        "running"
    );
}

impl TerminalView {
    fn new() -> Self {
        let bars = MultiProgress::new();
        let lines = ["{spinner} {msg}", "  {msg}"];
        let totals = lines.map(|line| bars.add(ProgressBar::new_spinner().with_style(style(line))));
        let paint = Paint::for_stream(stderr().is_terminal());
        Self { bars, totals, nodes: Vec::new(), before: Progress::default(), paint }
    }

    fn draw(&mut self, now: Progress) {
        // The spinner takes two columns, and the last column stays free.
        let room = render::width_of_terminal().saturating_sub(3);
        if self.nodes.len() != now.nodes.len() {
            self.nodes.iter().for_each(ProgressBar::finish_and_clear);
            let line = |_| self.bars.add(ProgressBar::new_spinner().with_style(style("  {msg}")));
            self.nodes = now.nodes.iter().map(line).collect();
        }
        let [documents, model] = &self.totals;
        documents.set_message(rates::fit_parts(&rates::outcome_parts(&now), room));
        documents.tick();
        let said = rates::fit_parts(&rates::model_parts(&now), room);
        model.set_message(self.paint.bold(&said));
        // Progress from another process arrives once a second, but the view is drawn more often.
        if now.elapsed_seconds <= self.before.elapsed_seconds {
            return;
        }
        let lines = node_lines(&now, &self.before, room, self.paint);
        for (bar, line) in self.nodes.iter().zip(lines) {
            bar.set_message(line);
        }
        self.before = now;
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is valid")
}

/// One line per node, with as many columns as fit into `room`.
fn node_lines(now: &Progress, before: &Progress, room: usize, paint: Paint) -> Vec<String> {
    let rows: Vec<_> = rates::node_rates(now, before)
        .map(|(node, pace)| (node_cells(node, pace), pace.is_bottleneck))
        .collect();
    // In order of importance: id, documents, bottleneck mark, busy, rate, queue, idle, text of the
    // mark.
    const IMPORTANCE: [usize; 7] = [0, 1, 6, 4, 2, 3, 5];
    let mut widths = [0; 7];
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    let short = |place: usize| if place == 6 { widths[6].min(1) } else { widths[place] };
    let (mut shown, mut used) = ([false; 7], 0);
    for place in IMPORTANCE {
        let needed = short(place) + if used > 0 { SEPARATOR.len() } else { 0 };
        if used + needed <= room {
            (shown[place], used) = (true, used + needed);
        } else {
            break;
        }
    }
    let is_whole = shown[6] && used - short(6) + widths[6] <= room;
    let line = |(cells, holds_up): (&[String; 7], bool)| {
        let shown = (0..7).filter(|place| shown[*place]).map(|place| match (place, is_whole) {
            (0, _) => format!("{:1$}", cells[0], widths[0]),
            (6, true) => cells[6].clone(),
            (6, false) => cells[6].chars().take(1).collect(),
            (_, _) => format!("{:>1$}", cells[place], widths[place]),
        });
        let line = shown.collect::<Vec<_>>().join(SEPARATOR);
        let line: String = line.trim_end().chars().take(room).collect();
        if holds_up { paint.highlighted(&line) } else { line }
    };
    rows.iter().map(|(cells, holds_up)| line((cells, *holds_up))).collect()
}

const SEPARATOR: &str = "  ";

/// The cells of a node, in the order of the columns.
fn node_cells(node: &NodeState, pace: NodeRates) -> [String; 7] {
    [
        visible(&node.id).into_owned(),
        format!("{} done", format_count(node.finished_rows())),
        format!("{}/s", rates::format_rate(pace.rate)),
        format!("queue {}", format_bytes(node.queue_bytes)),
        format!("busy {:>3.0} %", pace.busy * 100.0),
        format!("idle {:>3.0} %", pace.idle * 100.0),
        if pace.is_bottleneck { "◄ bottleneck".to_owned() } else { String::new() },
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn progress(scale: u64) -> Progress {
        let node = |id: &str, n: u64| NodeState {
            id: id.to_owned(),
            rows_in: n * scale,
            queue_bytes: n * scale * 1000,
            busy: 3.0,
            starved: 1.0,
            ..NodeState::default()
        };
        let ids = ["scan", "hash", "dedup", "extract", "chunk", "embed", "upsert"];
        Progress {
            seen: 142 * scale,
            all_seen: true,
            outcomes: [("stored", 99), ("duplicate", 10), ("unchanged", 3), ("failed", 2)]
                .map(|(word, many)| (word.to_owned(), many * scale))
                .into(),
            tokens: 12_000 * scale,
            tokens_expected: Some(27_000 * scale),
            tokens_given: 27_000 * scale,
            share: Some(0.444),
            eta_seconds: Some(8.2),
            in_flight_seconds: Some(8.2),
            elapsed_seconds: 6.6,
            nodes: ids.iter().zip(1..).map(|(id, n)| node(id, n)).collect(),
            bottleneck: Some("embed".to_owned()),
            ..Progress::default()
        }
    }

    fn drawn(now: &Progress, room: usize) -> String {
        let mut all = vec![
            rates::fit_parts(&rates::outcome_parts(now), room),
            rates::fit_parts(&rates::model_parts(now), room),
        ];
        all.extend(node_lines(now, &Progress::default(), room, Paint::none()));
        all.join("\n")
    }

    #[test]
    fn what_matters_most_is_left_where_there_is_little_room() {
        let now = progress(1);
        let shown = [120, 78, 48].map(|room| drawn(&now, room));
        insta::assert_snapshot!(shown.join("\n\n"));
    }

    #[test]
    fn stopping_says_how_much_is_finished_first() {
        let now = progress(1);
        assert_eq!(finishing(&now), "finishing 28 documents, about 8 s");
        let outcomes = [("stored".to_owned(), 141)].into();
        let last = Progress { outcomes, in_flight_seconds: None, ..now };
        assert_eq!(finishing(&last), "finishing 1 document");
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_terminal_is_wide(
            room in 1_usize..200,
            scale in 1_u64..10_000_000,
        ) {
            for line in drawn(&progress(scale), room).lines() {
                prop_assert!(line.chars().count() <= room, "{line}");
            }
        }
    }
}
