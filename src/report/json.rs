//! Reports and sweeps as JSON, as every face of the product shows them.
//!
//! The names and the order of a report's fields are a contract: scripts outside the project read them.

use crate::engine::fault::Fault;
use crate::engine::report::{ObjectRef, Outcome, Proof, Report};
use crate::report::ticket::ticket_json;
use crate::sync::sweep::{Counts, Finding, Mode, Sweep, Swept};
use serde_json::{Value, json};

/// The report of one object as JSON. One that can be resumed has its ticket besides: `{"op":"continue"}` takes it.
pub fn report_json(report: &Report) -> Value {
    let mut value = plain_json(report);
    if let (Some(ticket), Some(fields)) = (&report.ticket, value.as_object_mut()) {
        fields.insert("ticket".to_owned(), ticket_json(ticket));
    }
    value
}

fn plain_json(report: &Report) -> Value {
    json!({
        "outcome": report.outcome.name(),
        "source": {
            "bucket": report.source.bucket,
            "key": key_of(&report.source),
            "version_id": report.source.version_id,
            "etag": report.source.etag,
            "size": report.source.size,
        },
        "target": {
            "bucket": report.target.bucket,
            "key": key_of(&report.target),
            "etag": report.target.etag,
        },
        "bytes": report.bytes,
        "parts": report.parts,
        "resumed_parts": report.resumed_parts,
        "retries": report.retries,
        "hedges": report.hedges,
        // Digits below a millisecond would be noise.
        "seconds": (report.seconds * 1e3).round() / 1e3,
        "buffer": report.buffer.map(|buffer| buffer.name()),
        "etag_preserved": report.etag_preserved,
        "verified_by": report.verified_by.iter().map(|proof: &Proof| proof.name()).collect::<Vec<_>>(),
        "not_carried": report.not_carried.iter()
            .map(|left| json!({ "attribute": left.attribute, "reason": left.reason }))
            .collect::<Vec<_>>(),
        "reason": report.reason,
        "error": report.fault.as_deref().map(fault_json),
    })
}

/// A key is never empty, so an empty one stands for none: events that were refused or ignored may name no object.
fn key_of(place: &ObjectRef) -> Option<&str> {
    Some(place.key.as_str()).filter(|key| !key.is_empty())
}

fn fault_json(fault: &Fault) -> Value {
    json!({
        "class": fault.class.name(),
        "operation": fault.operation,
        "code": fault.code,
        "status": fault.status,
        "message": fault.to_string(),
        "request_id": fault.request_id,
        "host_id": fault.host_id,
        "bucket": fault.bucket,
        "key": fault.key,
        "attempts": fault.attempts,
        "hint": fault.hint,
    })
}

/// What a sweep came to, as its callers are told. Stable, like a report.
pub(crate) fn swept_json(sweep: &Sweep, swept: &Swept) -> Value {
    let counts = |of: &Counts| {
        json!({
            "found": of.found, "swept": of.swept, "foreign": of.foreign, "young": of.young, "kept": of.kept,
            "failed": of.failed,
        })
    };
    json!({
        "op": "sweep",
        "bucket": sweep.target.bucket.as_str(),
        "dry_run": sweep.mode == Mode::Dry,
        "older_than_hours": sweep.older_than.as_secs() / 3_600,
        "uploads": counts(&swept.uploads),
        "stages": counts(&swept.stages),
        "reason": swept.reason,
        "error": swept.fault.as_deref().map(fault_json),
    })
}

/// The summary of a run of the command line with one object.
pub fn summary_json(report: &Report) -> Value {
    let count = |outcome| u32::from(report.outcome == outcome);
    json!({
        "objects": 1,
        "copied": count(Outcome::Copied),
        "unchanged": count(Outcome::Unchanged),
        "failed": count(Outcome::Failed),
        "resumable": count(Outcome::Resumable),
        "bytes": report.bytes,
        "seconds": (report.seconds * 1e3).round() / 1e3,
    })
}

/// Something that a sweep found.
pub fn finding_json(found: Finding<'_>) -> Value {
    match found {
        Finding::Upload(open) => json!({
            "upload": open.upload.as_str(), "key": open.key.as_str(), "initiator": open.initiator,
            "initiated": open.initiated,
        }),
        Finding::Stage(stage) => json!({
            "stage": stage.key.as_str(), "version_id": stage.version.as_str(), "modified": stage.modified,
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::fault::FaultClass;
    use crate::engine::report::{BufferKind, NotCarried};

    pub(crate) fn place(bucket: &str) -> ObjectRef {
        ObjectRef { bucket: bucket.into(), key: "k".into(), etag: Some("…".into()), ..ObjectRef::default() }
    }

    pub(crate) fn copied() -> Report {
        Report {
            bytes: 123,
            parts: 1,
            seconds: 0.310_04,
            buffer: Some(BufferKind::Memory),
            etag_preserved: true,
            verified_by: vec![Proof::ETag, Proof::Crc64Nvme, Proof::SourceETag],
            ..Report::new(Outcome::Copied, ObjectRef { size: Some(123), ..place("a") }, place("b"))
        }
    }

    #[test]
    fn a_report_has_the_contracts_fields_in_its_order() {
        let expected = concat!(
            r#"{"outcome":"copied","source":{"bucket":"a","key":"k","version_id":null,"etag":"…","size":123},"#,
            r#""target":{"bucket":"b","key":"k","etag":"…"},"bytes":123,"parts":1,"resumed_parts":0,"retries":0,"#,
            r#""hedges":0,"seconds":0.31,"buffer":"memory","etag_preserved":true,"#,
            r#""verified_by":["etag","crc64nvme","source_etag"],"not_carried":[],"reason":null,"error":null}"#,
        );
        assert_eq!(report_json(&copied()).to_string(), expected);
    }

    #[test]
    fn a_fault_is_told_with_all_its_fields() {
        let fault = Fault {
            operation: Some("PutObject"),
            code: Some("AccessDenied".into()),
            status: Some(403),
            request_id: Some("R".into()),
            host_id: Some("H".into()),
            bucket: Some("b".into()),
            key: Some("k".into()),
            attempts: 1,
            ..Fault::new(FaultClass::Refused, "PutObject refused").with_hint("Allow s3:PutObject.")
        };
        let expected = concat!(
            r#"{"class":"refused","operation":"PutObject","code":"AccessDenied","status":403,"#,
            r#""message":"PutObject refused","request_id":"R","host_id":"H","bucket":"b","key":"k","attempts":1,"#,
            r#""hint":"Allow s3:PutObject."}"#,
        );
        assert_eq!(report_json(&Report::failed(place("a"), place("b"), fault))["error"].to_string(), expected);
    }

    #[test]
    fn what_was_left_behind_is_told_with_its_reason() {
        let left = NotCarried { attribute: "tags".into(), reason: "the target takes ten".into() };
        let report = Report { not_carried: vec![left], reason: Some("said".into()), ..copied() };
        let json = report_json(&report);
        assert_eq!(json["not_carried"].to_string(), r#"[{"attribute":"tags","reason":"the target takes ten"}]"#);
        assert_eq!(json["reason"], "said");
    }

    #[test]
    fn a_report_without_an_object_has_null_keys() {
        let json = report_json(&Report::new(Outcome::Ignored, ObjectRef::default(), ObjectRef::default()));
        assert_eq!((&json["source"]["key"], &json["target"]["key"]), (&Value::Null, &Value::Null));
    }
}
