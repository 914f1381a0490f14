//! What is watched: the log's form and filter, and the metrics of an object and of an invocation.
//!
//! One table declares every metric; dashboards and alarms read exactly these names. They have few dimensions on
//! purpose: a key or a request id in one would be a metric of its own, and paid for as such; those belong in the log.

use crate::engine::fault::FaultClass;
use crate::engine::report::{Outcome, Report};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How log events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON, one event a line, on stdout: for the function, whose stdout is its log.
    Json,
    /// Compact text on stderr: for a terminal, whose stdout belongs to results.
    Plain,
}

/// The targets of our own events: the library with the command line, and the function's binary.
const OWN_TARGETS: [&str; 2] = ["xpsync", "bootstrap"];

/// Starts logging for the rest of the process.
///
/// # Errors
/// If something else logs already.
pub fn init(level: Level, format: LogFormat) -> Result<(), TryInitError> {
    match format {
        LogFormat::Json => json_lines(level, io::stdout).try_init(),
        LogFormat::Plain => plain_lines(level, io::stderr).try_init(),
    }
}

/// Our own events at the level asked for, those of others at `WARN` at most: hyper, rustls and the SDKs log headers,
/// requests and bodies below that, and with them tokens and the secret.
fn filter(level: Level) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    let others = level.min(Level::WARN);
    filter_fn(move |event| {
        *event.level() <= if is_ours(event.target()) { level } else { others } && !is_silent(event.target())
    })
    .with_max_level_hint(level)
}

/// The embedded server's protocol library logs every refusal as an error of its own; refusing is what it is there for.
fn is_silent(target: &str) -> bool {
    target.split("::").next() == Some("s3s")
}

fn is_ours(target: &str) -> bool {
    OWN_TARGETS.contains(&target.split("::").next().unwrap_or(target))
}

fn json_lines<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().json().flatten_event(true).with_span_list(false).with_ansi(false).with_writer(writer);
    tracing_subscriber::registry().with(filter(level)).with(lines)
}

fn plain_lines<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().compact().without_time().with_target(false).with_ansi(false).with_writer(writer);
    tracing_subscriber::registry().with(filter(level)).with(lines)
}

/// Where the metrics are found in CloudWatch.
pub(crate) const NAMESPACE: &str = "S3CrossPartitionSync";

/// What a metric is broken down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimension {
    Outcome,
    Class,
    /// Nothing: one value of the whole function.
    Nothing,
}

impl Dimension {
    /// Its name in CloudWatch, if it has one.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Outcome => Some("Outcome"),
            Self::Class => Some("Class"),
            Self::Nothing => None,
        }
    }
}

/// One metric: stable, since dashboards and alarms outside the project may read it.
#[derive(Debug)]
pub struct Metric {
    /// Its name in CloudWatch.
    pub(crate) name: &'static str,
    /// CloudWatch's unit.
    pub(crate) unit: &'static str,
    /// What it is broken down by.
    pub(crate) by: Dimension,
    /// What it tells.
    pub meaning: &'static str,
    /// Of what it is.
    of: Of,
}

/// What has the metric, and its value there; `None` where it would say nothing, which also saves a paid metric.
#[derive(Debug)]
enum Of {
    Object(fn(&FinishedLine<'_>) -> Option<f64>),
    Invocation(fn(&InvocationMetrics) -> Option<f64>),
}

struct FinishedLine<'a> {
    report: &'a Report,
    lag_seconds: Option<f64>,
}

/// An invocation that was about objects and is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvocationMetrics {
    /// Bytes that were sent and count at the target.
    pub(crate) bytes: u64,
    /// From its beginning to its answer.
    pub(crate) seconds: f64,
    /// The requests to the source that could be under way in the end.
    pub(crate) source_window: u32,
    /// The same of the target.
    pub(crate) target_window: u32,
}

/// Every metric.
pub(crate) const METRICS: [Metric; 12] = [
    Metric {
        name: "Objects",
        unit: "Count",
        by: Dimension::Outcome,
        meaning: "objects finished",
        of: Of::Object(|_| Some(1.0)),
    },
    Metric {
        name: "Bytes",
        unit: "Bytes",
        by: Dimension::Outcome,
        meaning: "bytes sent that count at the target",
        of: Of::Object(|of| of.moved().then_some(of.bytes())),
    },
    Metric {
        name: "Seconds",
        unit: "Seconds",
        by: Dimension::Outcome,
        meaning: "from the start of an object's work to its end",
        of: Of::Object(|of| Some(of.report.seconds)),
    },
    Metric {
        name: "Goodput",
        unit: "Bytes/Second",
        by: Dimension::Outcome,
        meaning: "bytes of an object by its seconds",
        of: Of::Object(|of| (of.moved() && of.report.bytes > 0).then(|| of.bytes() / of.report.seconds)),
    },
    Metric {
        name: "Retries",
        unit: "Count",
        by: Dimension::Outcome,
        meaning: "requests sent again",
        of: Of::Object(|of| Some(f64::from(of.report.retries))),
    },
    Metric {
        name: "Hedges",
        unit: "Count",
        by: Dimension::Outcome,
        meaning: "parts sent again on another connection, because they stood still or were late",
        of: Of::Object(|of| Some(f64::from(of.report.hedges))),
    },
    Metric {
        name: "ResumedParts",
        unit: "Count",
        by: Dimension::Outcome,
        meaning: "parts of an object that an earlier invocation had sent",
        of: Of::Object(|of| (of.report.resumed_parts > 0).then(|| f64::from(of.report.resumed_parts))),
    },
    Metric {
        name: "Lag",
        unit: "Seconds",
        by: Dimension::Outcome,
        meaning: "from the event at the source to the copy at the target",
        // The two clocks are not one.
        of: Of::Object(|of| of.lag_seconds.filter(|_| of.copied()).map(|lag| lag.max(0.0))),
    },
    Metric {
        name: "Failures",
        unit: "Count",
        by: Dimension::Class,
        meaning: "objects that failed, by the class of their fault",
        of: Of::Object(|of| of.class().map(|_| 1.0)),
    },
    Metric {
        name: "SourceWindow",
        unit: "Count",
        by: Dimension::Nothing,
        meaning: "requests to the source that could be under way when an invocation ended",
        of: Of::Invocation(|of| Some(f64::from(of.source_window))),
    },
    Metric {
        name: "TargetWindow",
        unit: "Count",
        by: Dimension::Nothing,
        meaning: "the same of the target",
        of: Of::Invocation(|of| Some(f64::from(of.target_window))),
    },
    Metric {
        name: "InvocationGoodput",
        unit: "Bytes/Second",
        by: Dimension::Nothing,
        meaning: "bytes of all objects of an invocation by its seconds",
        of: Of::Invocation(|of| (of.bytes > 0).then(|| of.bytes as f64 / of.seconds)),
    },
];

impl FinishedLine<'_> {
    fn copied(&self) -> bool {
        self.report.outcome == Outcome::Copied
    }

    /// Whether its bytes count at the target, or will once it is resumed.
    fn moved(&self) -> bool {
        self.copied() || self.report.outcome == Outcome::Resumable
    }

    fn bytes(&self) -> f64 {
        self.report.bytes as f64
    }

    fn class(&self) -> Option<&'static str> {
        let class = self.report.fault.as_ref().map_or(FaultClass::Internal, |fault| fault.class).name();
        (self.report.outcome == Outcome::Failed).then_some(class)
    }
}

/// The metrics of a finished object as one line of CloudWatch's embedded metric format ("Embedded metric format
/// specification"). `now_ms` is the time in milliseconds since 1970; `lag_seconds` how long ago the event happened, if
/// there was one and it told its time.
pub fn emf(report: &Report, now_ms: u64, lag_seconds: Option<f64>) -> String {
    let finished = FinishedLine { report, lag_seconds };
    let sets = [(Dimension::Outcome, Some(report.outcome.name())), (Dimension::Class, finished.class())];
    line(now_ms, &sets, |of| match of {
        Of::Object(value) => value(&finished),
        Of::Invocation(_) => None,
    })
}

/// The same of an invocation.
pub fn emf_of_invocation(ended: &InvocationMetrics, now_ms: u64) -> String {
    line(now_ms, &[(Dimension::Nothing, None)], |of| match of {
        Of::Object(_) => None,
        Of::Invocation(value) => value(ended),
    })
}

/// One line with the metrics that have a value, by their dimensions and the value of these.
fn line(now_ms: u64, sets: &[(Dimension, Option<&'static str>)], value: impl Fn(&Of) -> Option<f64>) -> String {
    let (mut directives, mut fields) = (Vec::new(), Map::new());
    for (by, dimension) in sets {
        // An object that did not fail has no class. A value that is not finite is no JSON number and would spoil the
        // line.
        let values: Vec<_> = METRICS
            .iter()
            .filter(|metric| metric.by == *by && by.name().is_some() == dimension.is_some())
            .filter_map(|metric| Some((metric, value(&metric.of).filter(|value| value.is_finite())?)))
            .collect();
        if values.is_empty() {
            continue;
        }
        directives.push(json!({
            "Namespace": NAMESPACE,
            "Dimensions": [by.name().into_iter().collect::<Vec<_>>()],
            "Metrics": values.iter().map(|(metric, _)| json!({ "Name": metric.name, "Unit": metric.unit })).collect::<Vec<_>>(),
        }));
        fields.extend(by.name().zip(*dimension).map(|(name, value)| (name.to_owned(), Value::from(value))));
        fields.extend(values.into_iter().map(|(metric, value)| (metric.name.to_owned(), Value::from(value))));
    }
    fields.insert("_aws".to_owned(), json!({ "Timestamp": now_ms, "CloudWatchMetrics": directives }));
    Value::Object(fields).to_string()
}

/// What the sandbox gives, as text for the log's first line: what is not to be found is left out.
pub fn sandbox() -> String {
    let file = |path: &str| {
        std::fs::read_to_string(path).ok().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| text.lines().next().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")));
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.map(|limit| limit.to_string());
    let tmp = rustix::fs::statvfs("/tmp").ok().map(|stat| format!("{} MiB", (stat.f_bavail * stat.f_frsize) >> 20));
    let cpus = std::thread::available_parallelism().ok().map(|count| count.to_string());
    let facts = [
        ("memory", memory),
        ("cpus", cpus),
        ("tmp_free", tmp),
        ("files", files),
        ("tcp_mem_pages", file("/proc/sys/net/ipv4/tcp_mem")),
        ("congestion_control", file("/proc/sys/net/ipv4/tcp_congestion_control")),
    ];
    let known = facts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    known.collect::<Vec<_>>().join("; ")
}

/// Writes one line to stdout, beside the log's own. A log that cannot be written is no reason to fail an object.
pub fn write_line(line: &str) {
    let _unwritten = writeln!(io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fault::Fault;
    use crate::engine::report::ObjectRef;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged<S: Subscriber + Send + Sync + 'static>(lines: impl FnOnce(Lines) -> S, events: impl FnOnce()) -> String {
        let collected = Lines::default();
        tracing::subscriber::with_default(lines(collected.clone()), events);
        collected.text()
    }

    fn json_at(level: Level) -> impl FnOnce(Lines) -> Box<dyn Subscriber + Send + Sync> {
        move |lines| Box::new(json_lines(level, move || lines.clone()))
    }

    #[test]
    fn the_functions_events_are_one_flat_json_line_each() {
        let text = logged(json_at(Level::INFO), || {
            tracing::info!(target: "xpsync::engine", key = "a\nb", bytes = 5, "copied");
            tracing::warn!(target: "bootstrap", "slow");
        });
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "copied");
        assert_eq!(lines[0]["key"], "a\nb");
        assert_eq!(lines[0]["bytes"], 5);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["target"], "xpsync::engine");
        assert!(lines[0]["timestamp"].is_string());
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn others_may_not_log_what_may_hold_secrets() {
        let text = logged(json_at(Level::TRACE), || {
            tracing::trace!(target: "xpsync::wire", "ours");
            tracing::info!(target: "hyper::proto", "authorization: hidden");
            tracing::trace!(target: "aws_smithy_runtime", "hidden");
            tracing::debug!(target: "xpsyncish", "hidden");
            tracing::warn!(target: "rustls", "theirs");
        });
        assert!(text.contains("ours") && text.contains("theirs"), "{text}");
        assert_eq!(text.matches("hidden").count(), 0, "{text}");
    }

    #[test]
    fn a_level_is_kept_by_everybody() {
        let text = logged(json_at(Level::ERROR), || {
            tracing::info!(target: "xpsync", "quiet");
            tracing::warn!(target: "rustls", "quiet");
            tracing::error!(target: "xpsync", "loud");
        });
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
    }

    #[test]
    fn the_command_line_logs_compact_text() {
        let lines = |lines: Lines| plain_lines(Level::INFO, move || lines.clone());
        let text = logged(lines, || tracing::warn!(target: "xpsync", key = "k", "left open"));
        assert_eq!(text, " WARN left open key=\"k\"\n");
    }

    fn report(outcome: Outcome) -> Report {
        Report {
            bytes: 1_000,
            seconds: 0.5,
            retries: 2,
            hedges: 1,
            ..Report::new(outcome, ObjectRef::default(), ObjectRef::default())
        }
    }

    fn check(report: &Report, lag: Option<f64>, expected: Value) {
        let line = emf(report, 1_700_000_000_000, lag);
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }

    fn directive(dimension: &str, metrics: &[(&str, &str)]) -> Value {
        let metrics: Vec<_> = metrics.iter().map(|(name, unit)| json!({"Name": name, "Unit": unit})).collect();
        json!({"Namespace": "S3CrossPartitionSync", "Dimensions": [[dimension]], "Metrics": metrics})
    }

    #[test]
    fn a_copy_has_bytes_goodput_and_lag() {
        let metrics = [
            ("Objects", "Count"),
            ("Bytes", "Bytes"),
            ("Seconds", "Seconds"),
            ("Goodput", "Bytes/Second"),
            ("Retries", "Count"),
            ("Hedges", "Count"),
            ("Lag", "Seconds"),
        ];
        let aws = json!({"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": [directive("Outcome", &metrics)]});
        let expected = json!({"Outcome": "copied", "Objects": 1.0, "Bytes": 1000.0, "Seconds": 0.5, "Goodput": 2000.0,
            "Retries": 2.0, "Hedges": 1.0, "Lag": 1.25, "_aws": aws});
        check(&report(Outcome::Copied), Some(1.25), expected);
    }

    #[test]
    fn an_unchanged_object_has_neither_bytes_nor_lag() {
        let aws = json!({"Timestamp": 1_700_000_000_000_u64,
            "CloudWatchMetrics": [directive("Outcome", &[("Objects", "Count"), ("Seconds", "Seconds"), ("Retries", "Count"), ("Hedges", "Count")])]});
        let expected =
            json!({"Outcome": "unchanged", "Objects": 1.0, "Seconds": 0.5, "Retries": 2.0, "Hedges": 1.0, "_aws": aws});
        check(&report(Outcome::Unchanged), Some(1.25), expected);
    }

    #[test]
    fn an_object_that_was_stopped_and_one_that_was_gone_on_with_have_their_own_shares() {
        let stopped: Value = serde_json::from_str(&emf(&report(Outcome::Resumable), 0, Some(1.25))).unwrap();
        assert_eq!((&stopped["Bytes"], stopped.get("Lag"), stopped.get("ResumedParts")), (&json!(1000.0), None, None));
        let resumed = Report { resumed_parts: 3, ..report(Outcome::Copied) };
        let resumed: Value = serde_json::from_str(&emf(&resumed, 0, Some(1.25))).unwrap();
        assert_eq!((&resumed["ResumedParts"], &resumed["Lag"]), (&json!(3.0), &json!(1.25)));
    }

    #[test]
    fn a_failure_is_counted_by_its_class_too() {
        let failed =
            Report::failed(ObjectRef::default(), ObjectRef::default(), Fault::new(FaultClass::Throttled, "slow down"));
        let by_outcome = directive(
            "Outcome",
            &[("Objects", "Count"), ("Seconds", "Seconds"), ("Retries", "Count"), ("Hedges", "Count")],
        );
        let by_class = directive("Class", &[("Failures", "Count")]);
        let aws = json!({"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": [by_outcome, by_class]});
        let expected = json!({"Outcome": "failed", "Objects": 1.0, "Seconds": 0.0, "Retries": 0.0, "Hedges": 0.0, "Class": "throttled",
            "Failures": 1.0, "_aws": aws});
        check(&failed, None, expected);
    }

    #[test]
    fn an_invocation_has_windows_and_the_goodput_of_all_its_objects() {
        let ended = InvocationMetrics { bytes: 3_000, seconds: 1.5, source_window: 16, target_window: 64 };
        let line: Value = serde_json::from_str(&emf_of_invocation(&ended, 1_700_000_000_000)).unwrap();
        let metrics = [("SourceWindow", "Count"), ("TargetWindow", "Count"), ("InvocationGoodput", "Bytes/Second")];
        let metrics = metrics.map(|(name, unit)| json!({"Name": name, "Unit": unit}));
        let directive = json!({"Namespace": "S3CrossPartitionSync", "Dimensions": [[]], "Metrics": metrics});
        let aws = json!({"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": [directive]});
        let expected = json!({"SourceWindow": 16.0, "TargetWindow": 64.0, "InvocationGoodput": 2_000.0, "_aws": aws});
        assert_eq!(line, expected);
        let idle = emf_of_invocation(&InvocationMetrics { bytes: 0, ..ended }, 0);
        assert!(idle.contains("TargetWindow") && !idle.contains("InvocationGoodput"), "{idle}");
    }

    #[test]
    fn clocks_that_disagree_and_copies_in_no_time_keep_the_line_whole() {
        let instant = Report { seconds: 0.0, ..report(Outcome::Copied) };
        let line: Value = serde_json::from_str(&emf(&instant, 0, Some(-3.0))).unwrap();
        assert_eq!(line["Lag"], 0.0);
        assert_eq!(line.get("Goodput"), None);
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        assert!(METRICS.iter().all(|metric| !metric.meaning.is_empty()));
    }
}
