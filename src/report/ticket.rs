//! A ticket as JSON: in a continuation message, in the command line's journal.
//!
//! What is written here is read by other versions of this program, so that every field is named and none is guessed: a
//! ticket that cannot be read is no ticket, and the object is copied from the start.

use crate::engine::decide::plan::Layout;
use crate::engine::decide::ticket::{SourcePin, Ticket};
use crate::s3::UploadId;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::etag::ETag;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Raised when a field changes its meaning: a ticket of another version is not read.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct TicketJson {
    version: u32,
    upload_id: String,
    source: SourceJson,
    layout: LayoutJson,
    condition: ConditionJson,
}

#[derive(Serialize, Deserialize)]
struct SourceJson {
    etag: String,
    version_id: Option<String>,
    size: u64,
    last_modified: Option<String>,
    style: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LayoutJson {
    Even { part: u64, size: u64 },
    Uneven(Vec<u64>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ConditionJson {
    IfAbsent,
    IfMatch(String),
}

/// A ticket as JSON.
pub fn ticket_json(ticket: &Ticket) -> Value {
    let SourcePin { etag, version, size, last_modified, style } = ticket.pin.clone();
    let written = TicketJson {
        version: VERSION,
        upload_id: ticket.upload.as_str().to_owned(),
        source: SourceJson { etag, version_id: version, size, last_modified, style },
        layout: match ticket.layout.clone() {
            Layout::Even { part, size } => LayoutJson::Even { part, size },
            Layout::Uneven(lengths) => LayoutJson::Uneven(lengths),
        },
        condition: match &ticket.condition {
            Precondition::IfAbsent => ConditionJson::IfAbsent,
            // Quoted, since what is read is unquoted once: a text can have quotes of its own.
            Precondition::IfMatch(etag) => ConditionJson::IfMatch(etag.quoted()),
        },
    };
    serde_json::json!(written)
}

/// Reads one; `None` if it is none, or of another version.
pub fn read_ticket(value: &Value) -> Option<Ticket> {
    let TicketJson { version, upload_id, source, layout, condition } = TicketJson::deserialize(value).ok()?;
    let SourceJson { etag, version_id, size, last_modified, style } = source;
    let layout = match layout {
        LayoutJson::Even { part: 0, .. } => return None,
        LayoutJson::Even { part, size } => Layout::Even { part, size },
        LayoutJson::Uneven(lengths) => Layout::Uneven(lengths),
    };
    let ticket = Ticket {
        upload: UploadId::new(&upload_id).ok()?,
        pin: SourcePin { etag, version: version_id, size, last_modified, style },
        layout,
        condition: match condition {
            ConditionJson::IfAbsent => Precondition::IfAbsent,
            ConditionJson::IfMatch(etag) => Precondition::IfMatch(ETag::listed(&etag)),
        },
    };
    (version == VERSION).then_some(ticket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ticket(layout: Layout, condition: Precondition) -> Ticket {
        let pin = SourcePin {
            etag: "0cc175b9c0f1b6a831c399e269772661-2".into(),
            version: Some("v".into()),
            size: 20,
            last_modified: Some("Wed, 25 Nov 2026 10:00:00 GMT".into()),
            style: "d41d8cd98f00b204e9800998ecf8427e".into(),
        };
        Ticket { upload: UploadId::new("an upload/+%").unwrap(), pin, layout, condition }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let check = |ticket: Ticket| {
            let text = ticket_json(&ticket).to_string();
            assert_eq!(read_ticket(&serde_json::from_str(&text).unwrap()), Some(ticket));
        };
        check(ticket(Layout::Even { part: 10, size: 20 }, Precondition::IfAbsent));
        check(ticket(Layout::Uneven(vec![5, 15]), Precondition::IfMatch(ETag::listed("x"))));
        // Found by fuzzing.
        check(ticket(Layout::Uneven(Vec::new()), Precondition::IfMatch(ETag::listed("\"\"x\"\""))));
    }

    #[test]
    fn a_ticket_of_another_version_or_of_another_shape_is_none() {
        let written = ticket_json(&ticket(Layout::Even { part: 10, size: 20 }, Precondition::IfAbsent));
        let check = |pointer: &str, value: Value| {
            let mut changed = written.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_eq!(read_ticket(&changed), None, "{pointer}");
        };
        check("/version", json!(2));
        check("/upload_id", json!(""));
        check("/source/size", json!("20"));
        check("/layout", json!({ "even": { "part": 0, "size": 20 } }));
        check("/condition", json!("if_lucky"));
        assert_eq!(read_ticket(&json!("ticket")), None);
    }
}
