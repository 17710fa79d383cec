//! Due times: against the calendar, against a slow and simple oracle, and over years.

use chrono::{DateTime, Duration, NaiveDateTime, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use insta::assert_snapshot;
use pipeline::{
    HumanDuration, MissedRunPolicy, OccurrenceStatus, Overlap, RetrySpec, Schedule, ScheduleSpec,
    ScheduledOperation,
};
use proptest::prelude::*;

use crate::support::compile_file;

fn spec(cron: &str, zone: &str) -> ScheduleSpec {
    ScheduleSpec {
        cron: cron.to_owned(),
        timezone: zone.to_owned(),
        operation: ScheduledOperation::Append,
        overlap: Overlap::Skip,
        missed: MissedRunPolicy::Once,
        missed_limit: 10,
        jitter: None,
        deadline: None,
        retry: RetrySpec::default(),
        paused: false,
    }
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::from_spec(&spec(cron, zone)).unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The due times on the clock of the time zone.
fn local(cron: &str, zone: &str, from: &str, count: usize) -> String {
    let schedule = schedule(cron, zone);
    let times = schedule.upcoming(utc(from)).take(count);
    let lines =
        times.map(|it| it.with_timezone(&schedule.timezone()).format("%a %F %T %Z").to_string());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_time_that_the_clock_leaves_out_is_due_at_the_next_moment_once() {
    assert_snapshot!(local("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 4), @r"
    Sat 2026-03-28 02:30:00 CET
    Sun 2026-03-29 03:00:00 CEST
    Mon 2026-03-30 02:30:00 CEST
    Tue 2026-03-31 02:30:00 CEST
    ");
    // Several times in the skipped hour are due once.
    assert_snapshot!(local("*/15 2 * * *", "America/New_York", "2026-03-08T04:00:00Z", 3), @r"
    Sun 2026-03-08 03:00:00 EDT
    Mon 2026-03-09 02:00:00 EDT
    Mon 2026-03-09 02:15:00 EDT
    ");
    // A skip of half an hour.
    assert_snapshot!(local("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00:00Z", 3), @r"
    Sun 2026-10-04 02:30:00 +11
    Mon 2026-10-05 02:15:00 +11
    Tue 2026-10-06 02:15:00 +11
    ");
    // A skip of a whole day.
    assert_snapshot!(local("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3), @r"
    Thu 2011-12-29 12:00:00 -10
    Sat 2011-12-31 00:00:00 +14
    Sat 2011-12-31 12:00:00 +14
    ");
}

#[test]
fn a_time_that_the_clock_repeats_is_due_once_unless_every_hour_is_named() {
    assert_snapshot!(local("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2), @r"
    Sun 2026-10-25 02:30:00 CEST
    Mon 2026-10-26 02:30:00 CET
    ");
    assert_snapshot!(local("0,30 1,2 * * *", "America/New_York", "2026-11-01T04:00:00Z", 5), @r"
    Sun 2026-11-01 01:00:00 EDT
    Sun 2026-11-01 01:30:00 EDT
    Sun 2026-11-01 02:00:00 EST
    Sun 2026-11-01 02:30:00 EST
    Mon 2026-11-02 01:00:00 EST
    ");
    assert_snapshot!(local("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:31:00Z", 6), @r"
    Sun 2026-10-25 02:00:00 CEST
    Sun 2026-10-25 02:30:00 CEST
    Sun 2026-10-25 02:00:00 CET
    Sun 2026-10-25 02:30:00 CET
    Sun 2026-10-25 03:00:00 CET
    Sun 2026-10-25 03:30:00 CET
    ");
    assert_snapshot!(local("45 * * * *", "Australia/Lord_Howe", "2026-04-04T13:50:00Z", 3), @r"
    Sun 2026-04-05 01:45:00 +11
    Sun 2026-04-05 01:45:00 +1030
    Sun 2026-04-05 02:45:00 +1030
    ");
}

#[test]
fn months_end_where_they_end() {
    assert_snapshot!(local("0 23 L * *", "UTC", "2028-01-15T00:00:00Z", 4), @r"
    Mon 2028-01-31 23:00:00 UTC
    Tue 2028-02-29 23:00:00 UTC
    Fri 2028-03-31 23:00:00 UTC
    Sun 2028-04-30 23:00:00 UTC
    ");
    assert_snapshot!(local("0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", 3), @r"
    Tue 2026-03-31 00:00:00 UTC
    Sun 2026-05-31 00:00:00 UTC
    Fri 2026-07-31 00:00:00 UTC
    ");
    assert_snapshot!(local("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2), @r"
    Tue 2028-02-29 00:00:00 UTC
    Sun 2032-02-29 00:00:00 UTC
    ");
    assert_snapshot!(local("@monthly", "UTC", "2026-12-15T00:00:00Z", 2), @r"
    Fri 2027-01-01 00:00:00 UTC
    Mon 2027-02-01 00:00:00 UTC
    ");
    assert_snapshot!(local("0 8 * * MON#1", "Europe/Berlin", "2026-12-15T00:00:00Z", 2), @r"
    Mon 2027-01-04 08:00:00 CET
    Mon 2027-02-01 08:00:00 CET
    ");
    assert_snapshot!(local("*/20 0 0 1 1 *", "UTC", "2026-12-15T00:00:00Z", 4), @r"
    Fri 2027-01-01 00:00:00 UTC
    Fri 2027-01-01 00:00:20 UTC
    Fri 2027-01-01 00:00:40 UTC
    Sat 2028-01-01 00:00:00 UTC
    ");
}

/// Due times from a check of every minute in a range.
fn oracle(cron: &str, zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let pattern: Cron = cron.parse().unwrap();
    let hourly = (0..24).all(|hour| pattern.pattern.hour_match(hour).unwrap());
    let matches =
        |wall: NaiveDateTime| pattern.is_time_matching(&Utc.from_utc_datetime(&wall)).unwrap();
    let wall_at = |moment: DateTime<Utc>| moment.with_timezone(&zone).naive_local();
    let mut due = Vec::new();
    let mut moment = from + Duration::minutes(1);
    while moment <= to {
        let (wall, before) = (wall_at(moment), wall_at(moment - Duration::minutes(1)));
        let is_second = zone.from_local_datetime(&wall).latest()
            == Some(moment.with_timezone(&zone))
            && zone.from_local_datetime(&wall).earliest() != Some(moment.with_timezone(&zone));
        let mut left_out = before + Duration::minutes(1);
        let mut of_left_out = false;
        while left_out < wall {
            of_left_out |= matches(left_out);
            left_out += Duration::minutes(1);
        }
        if (matches(wall) && (hourly || !is_second)) || of_left_out {
            due.push(moment);
        }
        moment += Duration::minutes(1);
    }
    due
}

fn cron_strategy() -> impl Strategy<Value = String> {
    let field = |low: u32, high: u32| {
        prop_oneof![
            Just("*".to_owned()),
            (low..=high).prop_map(|n| n.to_string()),
            (low..=high, low..=high).prop_map(|(a, b)| format!("{a},{b}")),
            (2_u32..=7).prop_map(|step| format!("*/{step}")),
        ]
    };
    let days =
        prop_oneof![3 => Just("*".to_owned()), 1 => (0_u32..7).prop_map(|day| day.to_string())];
    (field(0, 59), field(0, 5), days)
        .prop_map(|(minute, hour, day)| format!("{minute} {hour} * * {day}"))
}

/// Days on which the clocks of these time zones change.
const CHANGES: [(&str, &str); 8] = [
    ("Europe/Berlin", "2026-03-29T00:00:00Z"),
    ("Europe/Berlin", "2026-10-25T00:00:00Z"),
    ("America/New_York", "2026-03-08T06:00:00Z"),
    ("America/New_York", "2026-11-01T05:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T14:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T14:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T01:00:00Z"),
    ("UTC", "2026-06-30T23:00:00Z"),
];

proptest! {
    #[test]
    fn what_is_due_is_what_a_look_at_every_minute_finds(cron in cron_strategy(), change in 0_usize..8, shift in -1000_i64..1000) {
        let (zone, day) = CHANGES[change];
        let from = utc(day) - Duration::hours(30) + Duration::minutes(shift);
        let to = from + Duration::hours(60);
        let schedule = schedule(&cron, zone);
        let due: Vec<_> = schedule.upcoming(from).take_while(|it| *it <= to).collect();
        prop_assert_eq!(&due, &oracle(&cron, schedule.timezone(), from, to), "{} in {}", cron, zone);
        // A later start finds the same runs.
        for middle in [from + Duration::hours(29), from + Duration::hours(31), from + Duration::hours(33)] {
            let rest: Vec<_> = schedule.upcoming(middle).take_while(|it| *it <= to).collect();
            let wanted: Vec<_> = due.iter().copied().filter(|it| *it > middle).collect();
            prop_assert_eq!(rest, wanted, "{} in {} from {}", cron, zone, middle);
        }
    }

    /// Each run is found once, for every sequence of checks.
    #[test]
    fn each_run_is_found_once_however_it_is_looked(
        cron in cron_strategy(),
        change in 0_usize..8,
        looks in prop::collection::vec(1_i64..20_000, 1..40),
    ) {
        let (zone, day) = CHANGES[change];
        let mut spec = spec(&cron, zone);
        spec.missed = MissedRunPolicy::All;
        spec.missed_limit = 1000;
        let schedule = Schedule::from_spec(&spec).unwrap();
        let start = utc(day) - Duration::hours(12);
        let (mut until, mut found) = (start, Vec::new());
        for seconds in looks {
            let now = until + Duration::seconds(seconds);
            found.extend(schedule.due(until, now).into_iter().map(|due| due.at));
            until = now;
        }
        let wanted: Vec<_> = schedule.upcoming(start).take_while(|it| *it <= until).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn a_delay_is_the_same_for_whoever_asks_and_within_the_jitter(jitter in 0_u32..7200, minute in 0_i64..1_000_000) {
        let mut spec = spec("* * * * *", "UTC");
        spec.jitter = Some(HumanDuration::from_secs(jitter));
        let schedule = Schedule::from_spec(&spec).unwrap();
        let due = utc("2026-01-01T00:00:00Z") + Duration::minutes(minute);
        let delay = schedule.jitter_delay("docs", due);
        prop_assert_eq!(delay, schedule.jitter_delay("docs", due));
        prop_assert!((0..=i64::from(jitter)).contains(&delay.num_seconds()));
    }
}

/// Treatment of each run as letters: `f` on time, `m` missed and started late, `-` missed and
/// skipped.
fn due_statuses(missed: MissedRunPolicy, limit: u32, since: &str, now: &str) -> String {
    let mut spec = spec("0 * * * *", "UTC");
    spec.missed = missed;
    spec.missed_limit = limit;
    let due = Schedule::from_spec(&spec).unwrap().due(utc(since), utc(now));
    let words = due.iter().map(|due| {
        let letter = match due.status {
            OccurrenceStatus::Fired => 'f',
            OccurrenceStatus::CatchUp => 'm',
            OccurrenceStatus::Missed => '-',
        };
        format!("{}{letter}", due.at.hour())
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_missed_is_made_up_for_as_the_file_says() {
    let (since, late, on_time) =
        ("2026-01-01T00:30:00Z", "2026-01-01T05:30:00Z", "2026-01-01T05:00:20Z");
    assert_eq!(due_statuses(MissedRunPolicy::Skip, 10, since, late), "1- 2- 3- 4- 5-");
    assert_eq!(due_statuses(MissedRunPolicy::Skip, 10, since, on_time), "1- 2- 3- 4- 5f");
    assert_eq!(due_statuses(MissedRunPolicy::Once, 10, since, late), "1- 2- 3- 4- 5m");
    // A run that is due now replaces the missed ones.
    assert_eq!(due_statuses(MissedRunPolicy::Once, 10, since, on_time), "1- 2- 3- 4- 5f");
    assert_eq!(due_statuses(MissedRunPolicy::All, 2, since, late), "1- 2- 3- 4m 5m");
    assert_eq!(due_statuses(MissedRunPolicy::All, 10, since, on_time), "1m 2m 3m 4m 5f");
    assert_eq!(due_statuses(MissedRunPolicy::All, 10, since, "2026-01-01T00:59:59Z"), "");
    assert_eq!(due_statuses(MissedRunPolicy::All, 10, since, "2026-01-01T01:00:00Z"), "1f");
}

#[test]
fn ten_years_away_cost_no_time() {
    let mut spec = spec("* * * * * *", "Europe/Berlin");
    spec.missed = MissedRunPolicy::All;
    spec.missed_limit = 3;
    let due = Schedule::from_spec(&spec)
        .unwrap()
        .due(utc("2016-01-01T00:00:00Z"), utc("2026-01-01T00:00:00Z"));
    let count = |fate| due.iter().filter(|due| due.status == fate).count();
    assert_eq!(
        (
            count(OccurrenceStatus::Fired),
            count(OccurrenceStatus::CatchUp),
            count(OccurrenceStatus::Missed)
        ),
        (60, 3, 97)
    );
    assert_eq!(due.last().unwrap().at, utc("2026-01-01T00:00:00Z"));
}

const NODES: &str =
    "nodes: [{ id: scan, uses: memory }, { id: keep, uses: keep, from: scan, with: { name: x } }]";

fn check(more: &str) -> String {
    let yaml = format!("version: 1\nname: n\ncollection: c\n{more}\n{NODES}\n");
    compile_file(&yaml).map_or_else(|findings| findings.to_string(), |_| "fine".to_owned())
}

#[test]
fn a_file_is_told_what_is_wrong_with_its_schedule() {
    assert_snapshot!(check("schedule: { cron: \"0 2 * *\", timezone: Europe/Berlim }"));
    assert_snapshot!(
        "never",
        check("schedule: { cron: \"0 0 31 2 *\", jitter: 10, missed: some }")
    );
    assert_snapshot!(
        "out_of_range",
        check(
            "schedule: { cron: \"0 25 * * *\", deadline: 2 hours, retry: { attempts: 3, backof: 1m } }"
        )
    );
    assert_eq!(
        check(
            "schedule: { cron: \"@daily\", jitter: 10m, deadline: 2h, retry: { attempts: 3, backoff: 1m } }"
        ),
        "fine"
    );
}

#[test]
fn who_is_told_has_an_address() {
    let stores = "stores: { webhooks: { ops: { url: \"${SET}\", secret: \"${SET}\" } } }";
    assert_snapshot!(
        "no_address",
        check(&format!("{stores}\nnotify: [{{ webhook: opps, on: [failure] }}]"))
    );
}
