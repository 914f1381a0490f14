//! What it takes to resume an upload in another invocation or another process: pure.
//!
//! An upload is resumed by its ticket and never found by listing: what Create froze, headers and tags, is shown by no
//! listing, so an upload without a ticket is not ours to finish. A ticket that does not hold any more costs an abort
//! and a copy from the start, never a wrong object: its parts are of a state of the source that is gone, or of another
//! cut.

use crate::engine::decide::plan::Layout;
use crate::s3::UploadId;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::etag::{ETag, hex};
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;
use md5::{Digest as _, Md5};
use std::io;

/// An open upload, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub upload: UploadId,
    /// The state of the source that its parts are of.
    pub pin: SourcePin,
    /// How it is cut.
    pub layout: Layout,
    /// What had to hold at the target when it was begun. It is decided again before the upload is completed; that it
    /// was another one is worth a line in the log.
    pub condition: Precondition,
}

/// A state of the source, and what the object made of it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePin {
    /// The ETag, as its bucket compares it.
    pub etag: String,
    /// The version, in a versioned source.
    pub version: Option<String>,
    /// Bytes.
    pub size: u64,
    /// `Last-Modified` as it was spelled.
    pub last_modified: Option<String>,
    /// Of headers, metadata, tags, storage class and key, which the upload was begun with and cannot change.
    pub style: String,
}

impl SourcePin {
    /// Of this state, to be written in this style.
    pub(crate) fn of(source: &ObjectHead, style: &ObjectOptions) -> Self {
        Self {
            etag: source.etag.as_str().to_owned(),
            version: source.version.as_ref().map(|version| version.as_str().to_owned()),
            size: source.size,
            last_modified: source.last_modified.clone(),
            style: digest(style),
        }
    }
}

impl Ticket {
    /// Whether the upload can become what is to be written now.
    pub(crate) fn holds(&self, now: &SourcePin, layout: &Layout) -> bool {
        self.pin == *now && self.layout == *layout
    }
}

/// A digest of all that an upload was begun with. Each text is preceded by its length, so that no two lists of texts
/// are the same bytes.
fn digest(style: &ObjectOptions) -> String {
    let mut md5 = Md5::new();
    let mut add = |text: &str| {
        md5.update((text.len() as u64).to_be_bytes());
        md5.update(text);
    };
    let attributes = &style.attributes;
    for (section, pairs) in [("system", &attributes.system), ("user", &attributes.metadata), ("tags", &attributes.tags)]
    {
        add(section);
        add(&pairs.len().to_string());
        for (name, value) in pairs {
            add(name);
            add(value);
        }
    }
    for (name, option) in [("class", &style.storage_class), ("key", &style.kms_key)] {
        add(name);
        add(option.as_deref().unwrap_or_default());
    }
    hex(&md5.finalize())
}

/// What becomes of an upload whose work is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenStopped {
    /// It is aborted.
    #[default]
    Abort,
    /// It is kept, and the report has its ticket.
    Keep,
}

/// Where tickets are written down while their uploads are open, so that a process that is killed leaves something to go
/// on from. Each call blocks until it is on the disk.
pub trait UploadJournal: Send + Sync {
    /// An upload is about to be begun.
    ///
    /// # Errors
    /// Those of the disk; the upload is begun all the same.
    fn intends(&self) -> io::Result<()>;

    /// An upload was begun.
    ///
    /// # Errors
    /// Those of the disk.
    fn begun(&self, ticket: &Ticket) -> io::Result<()>;

    /// Whether what is begun is written down here: of two who work on one pair, one has the place for it.
    fn is_held(&self) -> bool {
        true
    }

    /// Nothing is open any more.
    ///
    /// # Errors
    /// Those of the disk.
    fn ended(&self) -> io::Result<()>;
}

/// Whether a text of a listing can be the MD5 of a part: encrypted with KMS it is something else of the same look.
pub(crate) fn part_md5(etag: &ETag) -> Option<[u8; 16]> {
    use crate::s3::integrity::etag::ETagKind;
    use crate::s3::object::encryption::Encryption;
    match ETag::new(etag.as_str(), &Encryption::Aes256).kind() {
        ETagKind::ContentMd5(md5) => Some(md5),
        ETagKind::Multipart(..) | ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::tests::head;
    use crate::s3::VersionId;
    use crate::s3::object::encryption::Encryption;

    const A: &str = "0cc175b9c0f1b6a831c399e269772661-2";

    fn source() -> ObjectHead {
        ObjectHead { last_modified: Some("then".into()), ..head(20, A, Encryption::Aes256, None) }
    }

    fn ticket() -> (Ticket, SourcePin, Layout) {
        let pin = SourcePin::of(&source(), &ObjectOptions::default());
        let layout = Layout::Even { part: 10, size: 20 };
        let upload = UploadId::new("upload").unwrap();
        let condition = Precondition::IfAbsent;
        (Ticket { upload, pin: pin.clone(), layout: layout.clone(), condition }, pin, layout)
    }

    #[test]
    fn a_ticket_holds_for_the_state_and_the_cut_that_it_was_made_for() {
        let (ticket, pin, layout) = ticket();
        assert!(ticket.holds(&pin, &layout));
        assert!(!ticket.holds(&pin, &Layout::Even { part: 20, size: 20 }));
    }

    #[test]
    fn a_ticket_does_not_hold_for_any_other_state() {
        let (ticket, _, layout) = ticket();
        let check = |change: &dyn Fn(&mut ObjectHead, &mut ObjectOptions)| {
            let (mut head, mut style) = (source(), ObjectOptions::default());
            change(&mut head, &mut style);
            assert!(!ticket.holds(&SourcePin::of(&head, &style), &layout));
        };
        check(&|head, _| head.etag = ETag::new("0cc175b9c0f1b6a831c399e269772661-3", &Encryption::Aes256));
        check(&|head, _| head.version = Some(VersionId::new("v").unwrap()));
        check(&|head, _| head.size = 21);
        check(&|head, _| head.last_modified = Some("later".into()));
        check(&|_, style| style.storage_class = Some("STANDARD_IA".into()));
        check(&|_, style| style.kms_key = Some("key".into()));
        check(&|_, style| drop(style.attributes.system.insert("expires".into(), "never".into())));
        check(&|_, style| drop(style.attributes.metadata.insert("a".into(), String::new())));
        check(&|_, style| drop(style.attributes.tags.insert("a".into(), String::new())));
    }

    #[test]
    fn texts_that_run_together_are_told_apart() {
        let with = |name: &str, value: &str| {
            let mut style = ObjectOptions::default();
            style.attributes.metadata.insert(name.into(), value.into());
            digest(&style)
        };
        assert_ne!(with("ab", "c"), with("a", "bc"));
        let mut tags = ObjectOptions::default();
        tags.attributes.tags.insert("ab".into(), "c".into());
        assert_ne!(with("ab", "c"), digest(&tags));
    }
}
