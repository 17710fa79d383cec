//! What a pipeline file says of runs that nobody starts: when they are due, and who is told how they went.
//!
//! Addresses and keys of webhooks stand in `stores`, where variables are read; who is told what stands in
//! `notify`, which may be written down anywhere.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Secret;

/// When a worker runs the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Minute, hour, day of month, month, day of week; with seconds in front if there are six. Names of months and
    /// days, `L` (last), `W` (the nearest working day), `#` (the n-th weekday) and `@daily` and the like may be used.
    #[schemars(length(min = 1))]
    pub cron: String,
    /// IANA name of the time zone that `cron` is in. A time that the change to summer time leaves out is due at the
    /// next moment that there is; one that the change back repeats is due once, unless `cron` names every hour.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What is run.
    #[serde(default)]
    pub operation: ScheduledOperation,
    /// What happens when the run before has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// What happens with runs that were due while no worker was there.
    #[serde(default)]
    pub missed: Missed,
    /// How many of them are made up for, the latest, with `missed: all`.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub missed_limit: u32,
    /// Runs begin up to this much later than they are due, so that not all begin at once.
    #[serde(default)]
    pub jitter: Option<Span>,
    /// A run that takes longer is ended, and has failed; what it has stored stays.
    #[serde(default)]
    pub deadline: Option<Span>,
    /// What happens when a run fails.
    #[serde(default)]
    pub retry: RetrySpec,
    /// Nothing is due while this is set.
    #[serde(default)]
    pub paused: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn ten() -> u32 {
    10
}

/// What a schedule runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduledOperation {
    /// Takes in what has changed.
    #[default]
    Append,
    /// Builds a new generation beside the present one.
    Reindex,
}

/// What happens when a run is due and the run before has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The new run does not take place.
    #[default]
    Skip,
    /// The new run waits.
    Queue,
    /// The run before is cancelled.
    CancelPrevious,
}

/// What happens with runs that were due while no worker was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One run, if none is due just now.
    #[default]
    Once,
    /// Every run, one after the other, up to `missed_limit`.
    All,
}

/// How often a run is tried again that has failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySpec {
    /// How often at most.
    #[schemars(range(min = 0, max = 20))]
    pub attempts: u32,
    /// How long it is waited before the first time; twice as long before each one after that, a day at most.
    pub backoff: Span,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self { attempts: 0, backoff: Span::of_seconds(60) }
    }
}

/// A time to wait, as text: a number and `s`, `m`, `h` or `d`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(String);

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,6}[smhd]$" })
    }
}

impl Span {
    /// So many seconds.
    pub fn of_seconds(seconds: u32) -> Self {
        Self(format!("{seconds}s"))
    }

    /// Its length.
    pub fn seconds(&self) -> u64 {
        let (number, unit) = self.0.split_at(self.0.len().saturating_sub(1));
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => 86_400,
        };
        number.parse::<u64>().unwrap_or(0) * unit
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) =
            text.split_at_checked(text.len().saturating_sub(1)).unwrap_or(("", ""));
        let is_number =
            (1..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        if is_number && matches!(unit, "s" | "m" | "h" | "d") {
            return Ok(Self(text));
        }
        Err(format!("`{text}` is no time; write a number and s, m, h or d: `90s`, `10m`, `2h`"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// Places that can be told of something by HTTP, by name.
pub type Webhooks = BTreeMap<String, WebhookSpec>;

/// A place that can be told of something by HTTP.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSpec {
    /// Its address.
    #[schemars(regex(pattern = r"^(https?://|\$\{)"))]
    pub url: Secret,
    /// The key with which messages are signed, so that the receiver can tell who sent them.
    #[schemars(regex(pattern = r"^(.{16,}|.*\$\{.*)$"))]
    pub secret: Secret,
}

/// Who is told how operations go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifySpec {
    /// Its name in `stores.webhooks`.
    #[schemars(length(min = 1))]
    pub webhook: String,
    /// Of what it is told.
    #[serde(default = "failures_and_recoveries")]
    #[schemars(length(min = 1))]
    pub on: Vec<Event>,
}

fn failures_and_recoveries() -> Vec<Event> {
    vec![Event::Failure, Event::Recovery]
}

/// Something that somebody may want to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An operation has failed.
    Failure,
    /// An operation came to its end.
    Success,
    /// An operation came to its end, and the one before had failed.
    Recovery,
}
