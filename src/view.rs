//! The live view of a run: a line for each node on a terminal, a log line now and then elsewhere.
//!
//! It only reads the run's metrics; the run does not know that it is watched.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pipeline::{Metrics, NodeProgress, Plan};

use crate::render::{bytes, count, seconds};

/// How often a terminal is drawn.
const DRAW: Duration = Duration::from_millis(200);
/// How often a line is logged.
const LOG: Duration = Duration::from_secs(10);

pub(crate) struct View {
    started: Instant,
    nodes: Vec<String>,
    screen: Option<Screen>,
}

struct Screen {
    bars: MultiProgress,
    total: ProgressBar,
    nodes: Vec<ProgressBar>,
    before: Vec<NodeProgress>,
    drawn: Instant,
}

impl View {
    pub(crate) fn new(plan: &Plan) -> Self {
        let nodes: Vec<String> = plan.graph().map(|(id, _, _)| id.to_owned()).collect();
        let screen = stderr().is_terminal().then(|| Screen::new(&nodes));
        Self { started: Instant::now(), nodes, screen }
    }

    /// How long to wait between two calls of [`View::update`].
    pub(crate) fn period(&self) -> Duration {
        if self.screen.is_some() { DRAW } else { LOG }
    }

    /// Shows how far the run is; `tokens` is what the model has read so far.
    pub(crate) fn update(&mut self, metrics: &Metrics, tokens: u64) {
        let progress: Vec<NodeProgress> =
            self.nodes.iter().map(|node| metrics.node(node)).collect();
        let total = Total::of(metrics, &progress, tokens, self.started.elapsed());
        match &mut self.screen {
            Some(screen) => screen.draw(&self.nodes, progress, &total),
            None => total.log(holder(&self.nodes, &progress, &[])),
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

/// What has become of documents so far.
struct Total {
    seen: u64,
    stored: u64,
    unchanged: u64,
    duplicate: u64,
    left: u64,
    tokens: u64,
    elapsed: f64,
    /// Seconds until what is in flight is stored; known once the sources have ended.
    eta: Option<f64>,
}

impl Total {
    fn of(metrics: &Metrics, progress: &[NodeProgress], tokens: u64, elapsed: Duration) -> Self {
        let outcomes = metrics.outcomes();
        let of = |word: &str| outcomes.get(word).copied().unwrap_or(0);
        let (seen, left) = (metrics.documents_seen(), outcomes.values().sum());
        let elapsed = elapsed.as_secs_f64();
        // Sources read nothing, and give no more once they have ended.
        let mut sources = progress.iter().filter(|node| node.bytes_in == 0 && node.rows_in == 0);
        let has_ended = sources.all(|source| source.ended);
        let waiting = seen.saturating_sub(left);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let eta = (has_ended && left > 0).then(|| waiting as f64 * elapsed / left as f64);
        Self {
            seen,
            stored: of("stored"),
            unchanged: of("unchanged"),
            duplicate: of("duplicate"),
            left,
            tokens,
            elapsed,
            eta,
        }
    }

    fn set_aside(&self) -> u64 {
        self.left - self.stored - self.unchanged - self.duplicate
    }

    fn tokens_per_second(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate for people"
        )]
        let rate = (self.tokens as f64 / self.elapsed.max(0.001)) as u64;
        rate
    }

    fn log(&self, holder: Option<&str>) {
        tracing::info!(
            seen = self.seen,
            stored = self.stored,
            unchanged = self.unchanged,
            duplicate = self.duplicate,
            set_aside = self.set_aside(),
            tokens_per_second = self.tokens_per_second(),
            busiest_node = holder.unwrap_or("none"),
            "running"
        );
    }
}

/// The node that holds the flow up: the one that worked longest, or worked longest since `before`.
fn holder<'a>(
    nodes: &'a [String],
    progress: &[NodeProgress],
    before: &[NodeProgress],
) -> Option<&'a str> {
    let since =
        |index: usize| progress[index].busy - before.get(index).map_or(0.0, |before| before.busy);
    let busiest = (0..progress.len()).max_by(|a, b| since(*a).total_cmp(&since(*b)))?;
    (since(busiest) > 0.0).then(|| nodes[busiest].as_str())
}

/// Documents that a node is done with, set aside ones included; a source is given none.
fn done_of(node: &NodeProgress) -> u64 {
    (node.rows_in - node.rows_under_way).max(node.rows_out)
}

impl Screen {
    fn new(nodes: &[String]) -> Self {
        let style =
            |template| ProgressStyle::with_template(template).expect("the template is valid");
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
        let width = nodes.iter().map(String::len).max().unwrap_or(0);
        let lines = nodes.iter().map(|node| {
            let line = ProgressBar::new_spinner().with_style(style("  {prefix} {msg}"));
            bars.add(line.with_prefix(format!("{node:width$}")))
        });
        let nodes: Vec<ProgressBar> = lines.collect();
        let before = vec![NodeProgress::default(); nodes.len()];
        Self { total, nodes, bars, before, drawn: Instant::now() }
    }

    fn draw(&mut self, nodes: &[String], progress: Vec<NodeProgress>, total: &Total) {
        let past = self.drawn.elapsed().as_secs_f64().max(0.001);
        self.drawn = Instant::now();
        let eta = total.eta.map_or_else(String::new, |eta| format!(" · {} to go", seconds(eta)));
        self.total.set_message(format!(
            "{} seen · {} stored · {} unchanged · {} duplicate · {} set aside · {} tokens/s · {}{eta}",
            count(total.seen),
            count(total.stored),
            count(total.unchanged),
            count(total.duplicate),
            count(total.set_aside()),
            count(total.tokens_per_second()),
            seconds(total.elapsed),
        ));
        self.total.tick();
        let holder = holder(nodes, &progress, &self.before);
        for ((line, node), (now, before)) in
            self.nodes.iter().zip(nodes).zip(progress.iter().zip(&self.before))
        {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = (done_of(now) - done_of(before)) as f64 / past;
            let share = |now: f64, before: f64| ((now - before) / past * 100.0).clamp(0.0, 999.0);
            let mark = if holder == Some(node) { " ◄ holds the flow up" } else { "" };
            line.set_message(format!(
                "{:>9} done · {:>7.0}/s · queue {:>10} · busy {:>3.0} % · waits {:>3.0} %{mark}",
                count(done_of(now)),
                rate,
                bytes(now.queue_bytes),
                share(now.busy, before.busy),
                share(now.starved + now.blocked, before.starved + before.blocked).min(100.0),
            ));
        }
        self.before = progress;
    }
}
