//! The live view of a run: a line for each node on a terminal, a log line now and then elsewhere.
//!
//! It draws a [`Progress`], wherever that comes from; it computes nothing but differences between two of them.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pipeline::{NodeState, Progress};

use crate::pace::{self, Pace};
use crate::render::{bytes, count, seconds};

/// How often a terminal is drawn.
const DRAW: Duration = Duration::from_millis(200);
/// How often a line is logged.
const LOG: Duration = Duration::from_secs(10);

pub(crate) struct View {
    screen: Option<Screen>,
}

struct Screen {
    bars: MultiProgress,
    total: ProgressBar,
    /// Made when the nodes are known.
    nodes: Vec<ProgressBar>,
    before: Progress,
}

impl View {
    pub(crate) fn new() -> Self {
        Self { screen: stderr().is_terminal().then(Screen::new) }
    }

    /// How long to wait between two calls of [`View::update`].
    pub(crate) fn period(&self) -> Duration {
        if self.screen.is_some() { DRAW } else { LOG }
    }

    /// Shows how far the run is.
    pub(crate) fn update(&mut self, progress: Progress) {
        match &mut self.screen {
            Some(screen) => screen.draw(progress),
            None => log(&progress),
        }
    }

    /// Says that the run was asked to stop.
    pub(crate) fn stopping(&self) {
        let words = "stopping: what is in flight is stored first (once more stops at once)";
        match &self.screen {
            Some(screen) => screen.bars.suspend(|| crate::render::say(words)),
            None => tracing::info!("{words}"),
        }
    }

    /// Takes the view off the terminal.
    pub(crate) fn end(self) {
        if let Some(screen) = self.screen {
            screen.total.finish_and_clear();
            screen.nodes.iter().for_each(ProgressBar::finish_and_clear);
        }
    }
}

fn log(progress: &Progress) {
    tracing::info!(
        seen = progress.seen,
        stored = progress.outcome("stored"),
        unchanged = progress.outcome("unchanged"),
        duplicate = progress.outcome("duplicate"),
        set_aside = progress.set_aside_count(),
        tokens_per_second = progress.tokens_per_second(),
        busiest_node = progress.holder_since(&Progress::default()).unwrap_or("none"),
        "running"
    );
}

impl Screen {
    fn new() -> Self {
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
        Self { bars, total, nodes: Vec::new(), before: Progress::default() }
    }

    fn draw(&mut self, now: Progress) {
        if self.nodes.len() != now.nodes.len() {
            self.name(&now.nodes);
        }
        self.total.set_message(format!(
            "{} · {} tokens/s · {}{}",
            pace::outcomes(&now),
            count(now.tokens_per_second()),
            seconds(now.elapsed_seconds),
            pace::to_go(&now),
        ));
        self.total.tick();
        // What another process carries out is told once a second, and drawn more often.
        if now.elapsed_seconds <= self.before.elapsed_seconds {
            return;
        }
        for (line, (node, pace)) in self.nodes.iter().zip(pace::nodes(&now, &self.before)) {
            line.set_message(line_of(node, pace));
        }
        self.before = now;
    }

    fn name(&mut self, nodes: &[NodeState]) {
        self.nodes.iter().for_each(ProgressBar::finish_and_clear);
        let width = nodes.iter().map(|node| node.id.len()).max().unwrap_or(0);
        let lines = nodes.iter().map(|node| {
            let line = ProgressBar::new_spinner().with_style(style("  {prefix} {msg}"));
            self.bars.add(line.with_prefix(format!("{:width$}", node.id)))
        });
        self.nodes = lines.collect();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is valid")
}

/// What a node does.
fn line_of(node: &NodeState, pace: Pace) -> String {
    let mark = if pace.holds_up { " ◄ holds the flow up" } else { "" };
    format!(
        "{:>9} done · {:>7}/s · queue {:>10} · busy {:>3.0} % · waits {:>3.0} %{mark}",
        count(node.done()),
        pace::rate(pace.rate),
        bytes(node.queue_bytes),
        pace.busy * 100.0,
        pace.idle * 100.0,
    )
}
