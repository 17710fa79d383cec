//! Due times of runs: cron, time zones and missed runs, as functions of the given times. This
//! module reads no clock and starts no run; workers and Postgres do.
//!
//! The wall clock of a time zone skips hours and repeats hours. A skipped time is due once, at the
//! next existing moment. A repeated time is due at its first moment only, unless `cron` matches
//! every hour, because a run that is due every 15 minutes must not pause for an hour. `croner` only
//! matches wall-clock times; this module maps them to moments.

use chrono::offset::LocalResult;
use chrono::{DateTime, Duration, NaiveDateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use sha2::{Digest as _, Sha256};

use crate::finding::{Finding, suggest};
use crate::{MissedRunPolicy, PipelineSpec, ScheduleSpec};

/// A run that is checked at most this long after its due time is on time; a later one was missed.
const ON_TIME_TOLERANCE: Duration = Duration::minutes(1);

/// No time zone was ever set back by more than this; the search for repeated times covers this
/// range.
const MAX_CLOCK_SETBACK: Duration = Duration::hours(3);

/// Maximum number of missed runs to report; there may have been more.
const MAX_MISSED_RUNS: usize = 100;

/// A checked schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    timezone: Tz,
    /// `true` if `cron` matches every hour.
    hourly: bool,
    missed_policy: MissedRunPolicy,
    missed_limit: usize,
    jitter: u64,
}

/// An error in a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// The invalid key.
    pub key: &'static str,
    /// The message.
    pub message: String,
    /// Suggested remedy.
    pub help: Option<String>,
}

/// Treatment of a due run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OccurrenceStatus {
    /// The run starts on time.
    Fired,
    /// The run was missed and starts late.
    CatchUp,
    /// The run was missed and is skipped.
    Missed,
}

/// A due run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Due time, without the delay of the jitter.
    pub at: DateTime<Utc>,
    /// Treatment of the run.
    pub status: OccurrenceStatus,
}

impl Schedule {
    /// Checks a schedule.
    ///
    /// # Errors
    /// If `cron` is invalid or never due, or the time zone is unknown.
    ///
    /// ```
    /// use pipeline::{Schedule, ScheduleSpec};
    ///
    /// let spec: ScheduleSpec =
    ///     serde_json::from_str(r#"{ "cron": "0 3 * *", "timezone": "Europe/Berlni" }"#)?;
    /// let errors = Schedule::from_spec(&spec).unwrap_err();
    /// assert_eq!((errors[0].key, &*errors[0].message), ("cron", "`0 3 * *` has 4 fields"));
    /// assert_eq!(errors[1].help.as_deref(), Some("did you mean `Europe/Berlin`?"));
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    pub fn from_spec(spec: &ScheduleSpec) -> Result<Self, Vec<ScheduleError>> {
        let (cron, zone) = (parse_cron(&spec.cron), parse_timezone(&spec.timezone));
        match (cron, zone) {
            (Ok(cron), Ok(zone)) => {
                let hourly = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
                Ok(Self {
                    cron,
                    timezone: zone,
                    hourly,
                    missed_policy: spec.missed,
                    missed_limit: spec.missed_limit as usize,
                    jitter: spec.jitter.as_ref().map_or(0, crate::HumanDuration::as_secs),
                })
            }
            (cron, zone) => Err(cron.err().into_iter().chain(zone.err()).collect()),
        }
    }

    /// The first due time after `after`; `None` if no further run is due.
    ///
    /// ```
    /// use pipeline::{Schedule, ScheduleSpec};
    ///
    /// let spec: ScheduleSpec =
    ///     serde_json::from_str(r#"{ "cron": "30 2 * * *", "timezone": "Europe/Berlin" }"#)?;
    /// let schedule = Schedule::from_spec(&spec).unwrap();
    /// let next = |after: &str| schedule.next_after(after.parse().unwrap()).unwrap().to_rfc3339();
    /// assert_eq!(next("2026-01-15T12:00:00Z"), "2026-01-16T01:30:00+00:00");
    /// // On 29 March 2026 the clock skips from 2:00 to 3:00; 2:30 is due at 3:00.
    /// assert_eq!(next("2026-03-28T12:00:00Z"), "2026-03-29T01:00:00+00:00");
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let wall = after.with_timezone(&self.timezone).naive_local();
        // The first moments of wall-clock times are ordered, so times before `wall` are not after
        // `after`.
        let mut at = wall;
        let first = loop {
            at = self.next_local_time(at, false)?;
            let moment = self.to_utc(at)?;
            if moment > after {
                break moment;
            }
        };
        if !self.hourly {
            return Some(first);
        }
        Some(self.repeated_time_after(after, wall).map_or(first, |again| first.min(again)))
    }

    /// The first moment after `after` that is the second moment of a repeated time.
    fn repeated_time_after(
        &self,
        after: DateTime<Utc>,
        wall: NaiveDateTime,
    ) -> Option<DateTime<Utc>> {
        let offset =
            |at: DateTime<Utc>| self.timezone.offset_from_utc_datetime(&at.naive_utc()).fix();
        if offset(after - MAX_CLOCK_SETBACK) == offset(after + MAX_CLOCK_SETBACK) {
            return None;
        }
        let mut at = self.next_local_time(wall - MAX_CLOCK_SETBACK, true)?;
        while at <= wall + MAX_CLOCK_SETBACK {
            if let LocalResult::Ambiguous(_, second) = self.timezone.from_local_datetime(&at)
                && second > after
            {
                return Some(second.with_timezone(&Utc));
            }
            at = self.next_local_time(at, false)?;
        }
        None
    }

    /// The next matching time on a clock that never changes.
    fn next_local_time(&self, wall: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        let next = self.cron.find_next_occurrence(&Utc.from_utc_datetime(&wall), inclusive);
        next.ok().map(|at| at.naive_utc())
    }

    /// The moment of a wall-clock time; for a skipped time, the next existing moment.
    fn to_utc(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let mut wall = wall;
        // Time zones skip an hour or less; Pacific/Apia once skipped a day.
        for _ in 0..=2 * 24 * 60 {
            match self.timezone.from_local_datetime(&wall) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => {
                    return Some(at.with_timezone(&Utc));
                }
                LocalResult::None => {
                    let to_minute = i64::from(60 - chrono::Timelike::second(&wall));
                    wall += Duration::seconds(to_minute);
                }
            }
        }
        None
    }

    /// The due times after `after`, in order.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
    }

    /// Runs that were due after `looked_until`, oldest first, with their treatment. Of missed runs
    /// only the latest are included.
    ///
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use pipeline::OccurrenceStatus::{CatchUp, Missed};
    /// use pipeline::{Schedule, ScheduleSpec};
    ///
    /// let spec: ScheduleSpec =
    ///     serde_json::from_str(r#"{ "cron": "@hourly", "missed": "all", "missed_limit": 2 }"#)?;
    /// let schedule = Schedule::from_spec(&spec).unwrap();
    /// let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    /// // No worker ran from 00:30 to 04:30.
    /// let due = schedule.due(time("2026-01-15T00:30:00Z"), time("2026-01-15T04:30:00Z"));
    /// let statuses: Vec<_> = due.iter().map(|run| run.status).collect();
    /// assert_eq!(statuses, [Missed, Missed, CatchUp, CatchUp]);
    /// assert_eq!(due[3].at, time("2026-01-15T04:00:00Z"));
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    pub fn due(&self, looked_until: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Occurrence> {
        let on_time_from = (now - ON_TIME_TOLERANCE).max(looked_until);
        let on_time: Vec<_> = self.upcoming(on_time_from).take_while(|at| *at <= now).collect();
        let makes_up = match self.missed_policy {
            MissedRunPolicy::Skip => 0,
            // A run that is due now replaces the missed ones.
            MissedRunPolicy::Once => usize::from(on_time.is_empty()),
            MissedRunPolicy::All => self.missed_limit,
        };
        let missed = self.last_due(looked_until, on_time_from, makes_up.max(MAX_MISSED_RUNS));
        let made_up_from = missed.len().saturating_sub(makes_up);
        let missed = missed.into_iter().enumerate().map(|(place, at)| {
            let fate = if place >= made_up_from {
                OccurrenceStatus::CatchUp
            } else {
                OccurrenceStatus::Missed
            };
            Occurrence { at, status: fate }
        });
        missed
            .chain(on_time.into_iter().map(|at| Occurrence { at, status: OccurrenceStatus::Fired }))
            .collect()
    }

    /// The last due times in `(from, to]`, at most `most`, oldest first. The cost grows with their
    /// number, not with the length of the range.
    fn last_due(&self, from: DateTime<Utc>, to: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
        let mut span = Duration::minutes(10);
        loop {
            let start = (to - span).max(from);
            let mut found: Vec<_> = self.upcoming(start).take_while(|at| *at <= to).collect();
            if start == from || found.len() >= most {
                return found.split_off(found.len().saturating_sub(most));
            }
            span = span * 2;
        }
    }

    /// Delay of a run after its due time, from zero to the jitter; every process computes the same.
    pub fn jitter_delay(&self, name: &str, due: DateTime<Utc>) -> Duration {
        if self.jitter == 0 {
            return Duration::zero();
        }
        let mut hash = Sha256::new();
        hash.update(name);
        hash.update(due.timestamp().to_be_bytes());
        let digest = hash.finalize();
        let number = u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
        Duration::seconds(i64::try_from(number % (self.jitter + 1)).unwrap_or(0))
    }

    /// Time zone of the schedule.
    pub fn timezone(&self) -> Tz {
        self.timezone
    }
}

fn parse_cron(text: &str) -> Result<Cron, ScheduleError> {
    let fault = |message: String, help: Option<&str>| ScheduleError {
        key: "cron",
        message,
        help: help.map(str::to_owned),
    };
    const FIELDS: &str = "expected five fields: minute, hour, day of month, month, day of week; \
                          a sixth in front is for seconds";
    let fields = text.split_whitespace().count();
    if !text.trim_start().starts_with('@') && !(5..=6).contains(&fields) {
        let noun = if fields == 1 { "field" } else { "fields" };
        return Err(fault(format!("`{text}` has {fields} {noun}"), Some(FIELDS)));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|error| {
        fault(
            format!("invalid cron expression `{text}`: {}", cron_error_text(&error)),
            Some(FIELDS),
        )
    })?;
    let any = Utc.timestamp_opt(0, 0).single().expect("0 is a valid timestamp");
    if cron.find_next_occurrence(&any, true).is_err() {
        return Err(fault(format!("cron expression `{text}` is never due"), None));
    }
    Ok(cron)
}

/// Message of the parser without its prefix, in lower case and without a full stop.
fn cron_error_text(error: &croner::errors::CronError) -> String {
    let words = error.to_string();
    let words = words.split_once(": ").map_or(words.as_str(), |(_, behind)| behind);
    let mut letters = words.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn parse_timezone(name: &str) -> Result<Tz, ScheduleError> {
    name.parse().map_err(|_| {
        let help = suggest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()))
            .unwrap_or_else(|| {
                "expected an IANA name: UTC, Europe/Berlin, America/New_York".to_owned()
            });
        ScheduleError {
            key: "timezone",
            message: format!("unknown time zone `{name}`"),
            help: Some(help),
        }
    })
}

/// Checks the schedule and the notifications of a file.
pub(crate) fn check(spec: &PipelineSpec, findings: &mut Vec<Finding>) {
    if let Some(schedule) = &spec.file.schedule
        && let Err(faults) = Schedule::from_spec(schedule)
    {
        for ScheduleError { key, message, help } in faults {
            let finding = Finding::new(spec.span_of(&format!("/schedule/{key}")), message);
            findings.push(Finding { help, ..finding });
        }
    }
    let known = &spec.file.stores.webhooks;
    for (index, notify) in spec.file.notify.iter().enumerate() {
        if known.contains_key(&notify.webhook) || notify.webhook.is_empty() {
            continue;
        }
        let at = spec.span_of(&format!("/notify/{index}/webhook"));
        let help = suggest(&notify.webhook, known.keys().map(String::as_str))
            .unwrap_or_else(|| "define its `url` and `secret` in `stores.webhooks`".to_owned());
        findings.push(
            Finding::new(at, format!("unknown webhook `{}`", notify.webhook)).with_help(help),
        );
    }
}
