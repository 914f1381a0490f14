//! What SQS says: queues' ARNs, redrive policies and replies, none of which is trusted to be one.
#![no_main]

use bytes::Bytes;
use http::{Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use xpsync::aws::json::{Unanswered, read};
use xpsync::queue::{QueueArn, dead_letters_in};

fuzz_target!(|data: &[u8]| {
    for status in [200, 400, 403, 429, 500, 503] {
        let mut response = Response::new(Bytes::copy_from_slice(data));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        match read(&response) {
            Ok(_) => assert_eq!(status, 200),
            Err(Unanswered::Refused(what)) => assert!(what.starts_with("40"), "{what}"),
            Err(Unanswered::Again(what)) => assert!(!what.is_empty()),
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = dead_letters_in(text);
    let policy = json!({ "deadLetterTargetArn": text, "maxReceiveCount": "5" }).to_string();
    let arn = QueueArn::parse(text).ok();
    assert_eq!(dead_letters_in(&policy), arn);
    if let Some(arn) = arn {
        assert_eq!(arn.to_string(), text);
        assert_eq!(QueueArn::parse(&arn.to_string()).ok(), Some(arn));
    }
});
