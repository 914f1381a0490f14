//! DeleteObject.

use crate::s3::http::message::{Head, Headers, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::integrity::etag::ETag;
use crate::s3::{Bucket, Key, VersionId};
use http::{Method, StatusCode};

#[derive(Debug, Clone)]
pub(crate) struct DeleteObject {
    pub(crate) bucket: Bucket,
    pub(crate) key: Key,
    /// This version for good, rather than a delete marker upon the current one.
    pub(crate) version: Option<VersionId>,
    /// Only if the object still has this ETag ("Conditional deletes").
    pub(crate) if_match: Option<ETag>,
}

impl Operation for DeleteObject {
    const NAME: &'static str = "DeleteObject";
    const METHOD: Method = Method::DELETE;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::NO_CONTENT, StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::NotIdempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Head;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = ();

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn headers(&self, headers: &mut Headers) {
        headers.optional("if-match", self.if_match.as_ref().map(ETag::quoted).as_deref());
    }

    fn reply(&self, _: &Head, _: &[u8]) -> Result<(), Unreadable> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::s3::spelled::{head, reply, request};

    fn bucket() -> Bucket {
        Bucket::new("example-bucket").unwrap()
    }

    fn key() -> Key {
        Key::new("my image.jpg").unwrap()
    }

    #[test]
    fn a_delete_can_be_of_a_version_or_conditional() {
        let mut delete = DeleteObject { bucket: bucket(), key: key(), version: None, if_match: None };
        assert_eq!(request(&delete), "DELETE /my%20image.jpg\n\n");
        delete.if_match = Some(ETag::listed("a"));
        assert_eq!(request(&delete), "DELETE /my%20image.jpg\nif-match: \"a\"\n\n");
        delete.version = VersionId::new("UIORUnfndfiufdisojhr398493jfdkjFJjkndnqUifhnw89493jJFJ").ok();
        assert!(request(&delete).starts_with("DELETE /my%20image.jpg?versionId=UIORUnfndfi"));
        assert_eq!(reply(&delete, &head(204, "x-amz-delete-marker: true"), ""), Ok(()));
    }
}
