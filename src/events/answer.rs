//! What each kind of caller is told.

use crate::engine::fault::FaultClass;
use crate::engine::report::Report;
use crate::events::disposition::is_failure;
use crate::events::refusal::NotAccepted;
use crate::report::json::report_json;
use crate::s3::Bucket;
use serde_json::{Value, json};

/// How an invocation ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// With a value.
    Success(Value),
    /// As a function error, so that Lambda's retries, on-failure destinations and a state machine's Catch see it.
    FunctionError {
        /// `errorType`: the class of the (first) fault.
        error_type: String,
        /// `errorMessage`: the report, or the array of reports, as JSON.
        error_message: String,
    },
}

impl Answer {
    /// To the caller of a single object: its report.
    pub(crate) fn of_one(report: &Report) -> Self {
        Self::unless_failed(report_json(report), std::slice::from_ref(report))
    }

    /// To S3, or whoever sent notification records: an array of reports, an error if one failed.
    pub(crate) fn of_notifications(reports: &[Report]) -> Self {
        Self::unless_failed(reports.iter().map(report_json).collect(), reports)
    }

    /// To SQS: the ids of the messages to keep.
    pub(crate) fn of_messages<'a>(kept: impl IntoIterator<Item = &'a str>) -> Self {
        let failures: Vec<_> = kept.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
        Self::Success(json!({ "batchItemFailures": failures }))
    }

    /// To the sender of a payload that was not accepted as a whole.
    pub fn of_refusal(refused: &NotAccepted, source: &Bucket, target: &Bucket) -> Self {
        Self::of_one(&refused.report(source, target))
    }

    fn unless_failed(value: Value, reports: &[Report]) -> Self {
        match first_failure(reports) {
            Some(error_type) => {
                Self::FunctionError { error_type: error_type.to_owned(), error_message: value.to_string() }
            }
            None => Self::Success(value),
        }
    }
}

/// The class of the first report that failed, or was stopped.
fn first_failure(reports: &[Report]) -> Option<&'static str> {
    let failed = reports.iter().find(|report| is_failure(report))?;
    Some(failed.fault.as_ref().map_or(FaultClass::Internal, |fault| fault.class).name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fault::Fault;
    use crate::engine::report::Outcome;
    use crate::report::json::tests::{copied, place};

    fn failed(class: FaultClass) -> Report {
        Report::failed(place("a"), place("b"), Fault::new(class, "it broke"))
    }

    #[test]
    fn a_single_object_is_answered_with_its_report_or_as_a_function_error() {
        assert_eq!(Answer::of_one(&copied()), Answer::Success(report_json(&copied())));
        for outcome in [Outcome::Unchanged, Outcome::Deleted, Outcome::Superseded, Outcome::Ignored] {
            let report = Report::new(outcome, place("a"), place("b"));
            assert_eq!(Answer::of_one(&report), Answer::Success(report_json(&report)));
        }
        let report = failed(FaultClass::Throttled);
        let Answer::FunctionError { error_type, error_message } = Answer::of_one(&report) else { panic!() };
        assert_eq!(error_type, "throttled");
        assert_eq!(error_message, report_json(&report).to_string());
    }

    #[test]
    fn a_failure_that_lost_its_fault_is_still_an_error() {
        let report = Report::new(Outcome::Failed, place("a"), place("b"));
        assert!(
            matches!(Answer::of_one(&report), Answer::FunctionError { error_type, .. } if error_type == "internal")
        );
    }

    #[test]
    fn notifications_are_answered_with_an_array_and_an_error_if_one_failed() {
        assert_eq!(Answer::of_notifications(&[copied()]), Answer::Success(json!([report_json(&copied())])));
        let reports = [copied(), failed(FaultClass::Network), failed(FaultClass::Refused)];
        let Answer::FunctionError { error_type, error_message } = Answer::of_notifications(&reports) else { panic!() };
        assert_eq!(error_type, "network");
        let told: Vec<Value> = serde_json::from_str(&error_message).unwrap();
        assert_eq!(told, reports.iter().map(report_json).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_is_answered_with_the_messages_that_failed() {
        let Answer::Success(value) = Answer::of_messages(["m2"]) else { panic!() };
        assert_eq!(value.to_string(), r#"{"batchItemFailures":[{"itemIdentifier":"m2"}]}"#);
        let Answer::Success(value) = Answer::of_messages([]) else { panic!() };
        assert_eq!(value.to_string(), r#"{"batchItemFailures":[]}"#);
    }

    #[test]
    fn a_refused_payload_is_a_function_error_of_class_event() {
        let bucket = Bucket::new("cn-data").unwrap();
        let answer = Answer::of_refusal(&NotAccepted::TooDeep, &bucket, &bucket);
        assert!(matches!(answer, Answer::FunctionError { error_type, .. } if error_type == "event"));
    }
}
