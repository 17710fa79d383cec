//! Schedules and notifications of a pipeline file.
//!
//! URLs and keys of webhooks are in `stores`, where variables are replaced; `notify` contains no
//! secrets.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Secret;

/// Schedule on which a worker runs the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Minute, hour, day of month, month, day of week; a sixth field in front is seconds. Names of
    /// months and days, `L` (last), `W` (nearest working day), `#` (n-th weekday) and shorthands
    /// such as `@daily` are supported.
    #[schemars(length(min = 1))]
    pub cron: String,
    /// IANA name of the time zone of `cron`. A time that the change to summer time skips is due at
    /// the next existing moment; a time that the change back repeats is due once, unless `cron`
    /// matches every hour.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Operation to run.
    #[serde(default)]
    pub operation: ScheduledOperation,
    /// Treatment of a run that is due while the previous one is running.
    #[serde(default)]
    pub overlap: Overlap,
    /// Treatment of runs that were due while no worker ran.
    #[serde(default)]
    pub missed: MissedRunPolicy,
    /// Maximum number of missed runs to execute with `missed: all`; the latest ones are chosen.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub missed_limit: u32,
    /// Maximum delay of a run after its due time, so that not all runs start together.
    #[serde(default)]
    pub jitter: Option<HumanDuration>,
    /// Time limit of a run. A run that exceeds it is stopped and fails; documents that it stored
    /// stay stored.
    #[serde(default)]
    pub deadline: Option<HumanDuration>,
    /// Retries of a failed run.
    #[serde(default)]
    pub retry: RetrySpec,
    /// `true` pauses the schedule.
    #[serde(default)]
    pub paused: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn ten() -> u32 {
    10
}

/// Operation that a schedule runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduledOperation {
    /// Index new and changed documents.
    #[default]
    Append,
    /// Build a new generation beside the live one.
    Reindex,
}

/// Treatment of a run that is due while the previous one is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Skip the new run.
    #[default]
    Skip,
    /// Queue the new run.
    Queue,
    /// Cancel the previous run.
    CancelPrevious,
}

/// Treatment of runs that were due while no worker ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissedRunPolicy {
    /// Skip them.
    Skip,
    /// Execute one run, unless a run is due now.
    #[default]
    Once,
    /// Execute all runs in order, up to `missed_limit`.
    All,
}

/// Retries of a failed run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Maximum number of retries.
    #[schemars(range(min = 0, max = 20))]
    pub attempts: u32,
    /// Delay before the first retry; it doubles before each further retry, up to one day.
    pub backoff: HumanDuration,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self { attempts: 0, backoff: HumanDuration::from_secs(60) }
    }
}

/// A duration as text: a number and `s`, `m`, `h` or `d`.
///
/// ```
/// use pipeline::HumanDuration;
///
/// assert_eq!(HumanDuration::try_from("2h".to_owned())?.as_secs(), 7200);
/// assert_eq!(String::from(HumanDuration::from_secs(90)), "90s");
/// assert!(HumanDuration::try_from("2 weeks".to_owned()).is_err());
/// # Ok::<_, String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(String);

impl JsonSchema for HumanDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]{1,6}[smhd]$",
            "examples": ["90s", "10m", "2h", "1d"],
        })
    }
}

impl HumanDuration {
    /// A duration in seconds.
    pub fn from_secs(seconds: u32) -> Self {
        Self(format!("{seconds}s"))
    }

    /// Length in seconds.
    pub fn as_secs(&self) -> u64 {
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

impl TryFrom<String> for HumanDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) =
            text.split_at_checked(text.len().saturating_sub(1)).unwrap_or(("", ""));
        let is_number =
            (1..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        if is_number && matches!(unit, "s" | "m" | "h" | "d") {
            return Ok(Self(text));
        }
        Err(format!("invalid duration `{text}`: expected a number and s, m, h or d, such as `90s`"))
    }
}

impl From<HumanDuration> for String {
    fn from(span: HumanDuration) -> Self {
        span.0
    }
}

/// Webhooks by name.
pub type Webhooks = BTreeMap<String, WebhookSpec>;

/// An HTTP endpoint that receives notifications.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSpec {
    /// URL of the endpoint.
    #[schemars(regex(pattern = r"^(https?://|\$\{)"))]
    pub url: Secret,
    /// Key that signs messages, so that the receiver can verify the sender.
    #[schemars(regex(pattern = r"^(.{16,}|.*\$\{.*)$"))]
    pub secret: Secret,
}

/// A webhook with the events that it receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifySpec {
    /// Name of the webhook in `stores.webhooks`.
    #[schemars(length(min = 1))]
    pub webhook: String,
    /// Events to send.
    #[serde(default = "failures_and_recoveries")]
    #[schemars(length(min = 1))]
    pub on: Vec<NotifyEvent>,
}

fn failures_and_recoveries() -> Vec<NotifyEvent> {
    vec![NotifyEvent::Failure, NotifyEvent::Recovery]
}

/// An event that triggers a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    /// An operation failed.
    Failure,
    /// An operation succeeded.
    Success,
    /// An operation succeeded, and the previous one had failed.
    Recovery,
}
