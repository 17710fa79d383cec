//! When runs are due: cron, time zones and what was missed, as functions of times that are given. There is no
//! clock in here, and nothing is fired; a worker and Postgres do that.
//!
//! The wall clock of a zone leaves hours out and repeats hours. The rules: a time that does not exist is due at the
//! next moment that does, once; one that exists twice is due the first time, unless `cron` names every hour, since a
//! run that is due each quarter of an hour is not to pause for an hour. `croner` only says which wall-clock times
//! match; the mapping to moments is done here.

use chrono::offset::LocalResult;
use chrono::{DateTime, Duration, NaiveDateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use sha2::{Digest as _, Sha256};

use crate::finding::{Finding, suggest};
use crate::{Missed, PipelineSpec, ScheduleSpec};

/// A run that is looked at no later than this after it was due is on time; another was missed.
const ON_TIME: Duration = Duration::minutes(1);

/// No zone's clock was ever set back by more than this; it is looked further than that for a repeated time.
const LARGEST_REPEAT: Duration = Duration::hours(3);

/// The most runs that are named as missed; there may have been more.
const MISSED_NAMED: usize = 100;

/// A schedule that was checked.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: Tz,
    /// Whether `cron` names every hour.
    hourly: bool,
    missed: Missed,
    missed_limit: usize,
    jitter: u64,
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleFault {
    /// The key that is wrong.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What becomes of a run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It takes place.
    Fired,
    /// It takes place, late.
    MadeUp,
    /// It was missed, and does not take place.
    Missed,
}

/// A run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// By the calendar.
    pub at: DateTime<Utc>,
    /// What becomes of it.
    pub fate: Fate,
}

impl Schedule {
    /// Reads what a file says.
    ///
    /// # Errors
    /// If `cron` is not a cron expression or never due, or there is no such time zone.
    pub fn read(spec: &ScheduleSpec) -> Result<Self, Vec<ScheduleFault>> {
        let (cron, zone) = (read_cron(&spec.cron), read_zone(&spec.timezone));
        match (cron, zone) {
            (Ok(cron), Ok(zone)) => {
                let hourly = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
                Ok(Self {
                    cron,
                    zone,
                    hourly,
                    missed: spec.missed,
                    missed_limit: spec.missed_limit as usize,
                    jitter: spec.jitter.as_ref().map_or(0, crate::Span::seconds),
                })
            }
            (cron, zone) => Err(cron.err().into_iter().chain(zone.err()).collect()),
        }
    }

    /// The first moment behind `after` at which a run is due; `None` if none ever is again.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let wall = after.with_timezone(&self.zone).naive_local();
        // The mapping from wall times to their first moments never goes back, so those up to now lie behind.
        let mut at = wall;
        let first = loop {
            at = self.wall_after(at, false)?;
            let moment = self.moment(at)?;
            if moment > after {
                break moment;
            }
        };
        if !self.hourly {
            return Some(first);
        }
        Some(self.repeated_after(after, wall).map_or(first, |again| first.min(again)))
    }

    /// The first moment behind `after` that is the second one of a time which exists twice.
    fn repeated_after(&self, after: DateTime<Utc>, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let offset = |at: DateTime<Utc>| self.zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        if offset(after - LARGEST_REPEAT) == offset(after + LARGEST_REPEAT) {
            return None;
        }
        let mut at = self.wall_after(wall - LARGEST_REPEAT, true)?;
        while at <= wall + LARGEST_REPEAT {
            if let LocalResult::Ambiguous(_, second) = self.zone.from_local_datetime(&at)
                && second > after
            {
                return Some(second.with_timezone(&Utc));
            }
            at = self.wall_after(at, false)?;
        }
        None
    }

    /// The next time that matches, on a clock that never changes.
    fn wall_after(&self, wall: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        let next = self.cron.find_next_occurrence(&Utc.from_utc_datetime(&wall), inclusive);
        next.ok().map(|at| at.naive_utc())
    }

    /// The moment that a time on the zone's clock stands for.
    fn moment(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        let mut wall = wall;
        // Clocks leave out an hour, or less; one island left out a day.
        for _ in 0..=2 * 24 * 60 {
            match self.zone.from_local_datetime(&wall) {
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

    /// The next moments at which runs are due.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
    }

    /// What has been due since a moment up to which everything was looked at, oldest first, and what becomes of it.
    /// Of what was missed only the latest is named.
    pub fn due(&self, looked_until: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Due> {
        let on_time_from = (now - ON_TIME).max(looked_until);
        let on_time: Vec<_> = self.upcoming(on_time_from).take_while(|at| *at <= now).collect();
        let makes_up = match self.missed {
            Missed::Skip => 0,
            // What is due now does for what was missed.
            Missed::Once => usize::from(on_time.is_empty()),
            Missed::All => self.missed_limit,
        };
        let missed = self.latest(looked_until, on_time_from, makes_up.max(MISSED_NAMED));
        let made_up_from = missed.len().saturating_sub(makes_up);
        let missed = missed.into_iter().enumerate().map(|(place, at)| {
            let fate = if place >= made_up_from { Fate::MadeUp } else { Fate::Missed };
            Due { at, fate }
        });
        missed.chain(on_time.into_iter().map(|at| Due { at, fate: Fate::Fired })).collect()
    }

    /// The last moments in `(from, to]` at which runs were due, so many at most, oldest first. The time it takes
    /// grows with their number, not with the span.
    fn latest(&self, from: DateTime<Utc>, to: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
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

    /// How much later than it is due a run begins: the same for whoever asks, between nothing and the jitter.
    pub fn delay(&self, name: &str, due: DateTime<Utc>) -> Duration {
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

    /// The zone that the times are in.
    pub fn zone(&self) -> Tz {
        self.zone
    }
}

fn read_cron(text: &str) -> Result<Cron, ScheduleFault> {
    let fault = |message: String, help: Option<&str>| ScheduleFault {
        key: "cron",
        message,
        help: help.map(str::to_owned),
    };
    const FIELDS: &str = "there are five fields: minute, hour, day of month, month, day of week; \
                          a sixth in front is for seconds";
    let fields = text.split_whitespace().count();
    if !text.trim_start().starts_with('@') && !(5..=6).contains(&fields) {
        let noun = if fields == 1 { "field" } else { "fields" };
        return Err(fault(format!("`{text}` has {fields} {noun}"), Some(FIELDS)));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|error| {
        fault(format!("`{text}` is not a cron expression: {}", in_words(&error)), Some(FIELDS))
    })?;
    let any = Utc.timestamp_opt(0, 0).single().expect("it is a moment");
    if cron.find_next_occurrence(&any, true).is_err() {
        return Err(fault(format!("`{text}` is never due"), None));
    }
    Ok(cron)
}

/// What the parser says, without its manner.
fn in_words(error: &croner::errors::CronError) -> String {
    let words = error.to_string();
    let words = words.split_once(": ").map_or(words.as_str(), |(_, behind)| behind);
    let mut letters = words.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn read_zone(name: &str) -> Result<Tz, ScheduleFault> {
    name.parse().map_err(|_| {
        let help = suggest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()))
            .unwrap_or_else(|| {
                "it is an IANA name: UTC, Europe/Berlin, America/New_York".to_owned()
            });
        ScheduleFault {
            key: "timezone",
            message: format!("there is no time zone `{name}`"),
            help: Some(help),
        }
    })
}

/// Checks what a file says of runs that nobody starts.
pub(crate) fn check(spec: &PipelineSpec, findings: &mut Vec<Finding>) {
    if let Some(schedule) = &spec.file.schedule
        && let Err(faults) = Schedule::read(schedule)
    {
        for ScheduleFault { key, message, help } in faults {
            let finding = Finding::new(spec.at(&format!("/schedule/{key}")), message);
            findings.push(Finding { help, ..finding });
        }
    }
    let known = &spec.file.stores.webhooks;
    for (index, notify) in spec.file.notify.iter().enumerate() {
        if known.contains_key(&notify.webhook) || notify.webhook.is_empty() {
            continue;
        }
        let at = spec.at(&format!("/notify/{index}/webhook"));
        let help = suggest(&notify.webhook, known.keys().map(String::as_str))
            .unwrap_or_else(|| "give its address and its key in `stores.webhooks`".to_owned());
        findings.push(Finding::new(at, format!("unknown webhook `{}`", notify.webhook)).help(help));
    }
}
