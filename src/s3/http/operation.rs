//! What every operation has to say about itself before it can be sent.

use crate::s3::http::message::{Head, Headers, Query, Unreadable};
use crate::s3::{Bucket, Key};
use bytes::Bytes;
use http::{Method, StatusCode};

/// One operation of S3: everything the wire needs to send it and to read what comes back.
///
/// The constants have no defaults, so that a new operation cannot forget one; [`Self::INFO`] is made of them.
pub trait Operation: Send + Sync {
    /// Its name in the API reference.
    const NAME: &'static str;
    /// Its HTTP method.
    const METHOD: Method;
    /// The statuses that can mean it was done.
    const ACCEPTS: &'static [StatusCode];
    /// What a second sending can find.
    const IDEMPOTENCE: Idempotence;
    /// Where a reply that was accepted by its status keeps what it says.
    const REPLY_IN: ReplyIn;
    /// How long it may take S3 to begin answering.
    const ANSWER_TIME: AnswerTime;
    /// The constants as one value.
    const INFO: OperationInfo = OperationInfo {
        name: Self::NAME,
        method: Self::METHOD,
        idempotence: Self::IDEMPOTENCE,
        reply_in: Self::REPLY_IN,
        answer_time: Self::ANSWER_TIME,
    };
    /// What it answers with.
    type Reply: Send;

    /// The bucket it is sent to.
    fn bucket(&self) -> &Bucket;
    /// The object it is about, if it is about one.
    fn key(&self) -> Option<&Key>;
    /// Its query; none unless it says so.
    fn query(&self, _: &mut Query) {}
    /// Its headers, but for those of the transport and the signature; none unless it says so.
    fn headers(&self, _: &mut Headers) {}
    /// Its body; empty unless it says so.
    fn body(&self) -> Bytes {
        Bytes::new()
    }
    /// Reads a reply whose status is among [`Self::ACCEPTS`] and whose body holds no error.
    ///
    /// # Errors
    /// [`Unreadable`] if it is not what the API reference promises.
    fn reply(&self, head: &Head, body: &[u8]) -> Result<Self::Reply, Unreadable>;
}

/// The constants of an [`Operation`] that a transport needs.
#[derive(Debug, Clone)]
pub struct OperationInfo {
    /// [`Operation::NAME`].
    pub(crate) name: &'static str,
    /// [`Operation::METHOD`].
    pub(crate) method: Method,
    /// [`Operation::IDEMPOTENCE`].
    pub(crate) idempotence: Idempotence,
    /// [`Operation::REPLY_IN`].
    pub(crate) reply_in: ReplyIn,
    /// [`Operation::ANSWER_TIME`].
    pub(crate) answer_time: AnswerTime,
}

/// A request of any operation as a value: what takes an [`Operation`] is compiled once for each, what takes this once.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// [`Operation::INFO`].
    pub(crate) info: OperationInfo,
    /// [`Operation::bucket`].
    pub(crate) bucket: &'a Bucket,
    /// [`Operation::key`].
    pub(crate) key: Option<&'a Key>,
    /// [`Operation::query`].
    pub(crate) query: Query,
    /// [`Operation::headers`].
    pub(crate) headers: Headers,
    /// [`Operation::body`].
    pub(crate) body: Bytes,
}

impl<'a> Request<'a> {
    pub(crate) fn of<O: Operation>(operation: &'a O) -> Self {
        let (mut query, mut headers) = (Query::default(), Headers::default());
        operation.query(&mut query);
        operation.headers(&mut headers);
        let (bucket, key, body) = (operation.bucket(), operation.key(), operation.body());
        Self { info: O::INFO, bucket, key, query, headers, body }
    }
}

/// What sending an operation twice can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotence {
    /// The same as once.
    Idempotent,
    /// Its own traces: a refusal after an unanswered attempt may mean that the attempt was carried out.
    NotIdempotent,
}

/// Where an accepted reply keeps what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyIn {
    /// In the headers; the body is bytes of an object, left to the caller.
    Stream,
    /// In the headers; a body is not expected, and one whose root is `Error` is an error.
    Head,
    /// In an XML document, which may be an `Error` even under 200 ("CompleteMultipartUpload", "Response Elements").
    Document,
}

/// How long S3 may think before the first byte of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerTime {
    /// Lookups and parts.
    Prompt,
    /// Complete "could take several minutes" to answer.
    Slow,
}

/// What must hold at the target for a write to be carried out ("Conditional writes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing may be there: `If-None-Match: *`.
    IfAbsent,
    /// The object with this ETag must be there: `If-Match`.
    IfMatch(crate::s3::integrity::etag::ETag),
}

impl Precondition {
    /// Whether both ask for the same: the text of an ETag is all that counts within a bucket.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::IfAbsent, Self::IfAbsent) => true,
            (Self::IfMatch(one), Self::IfMatch(two)) => one.is_same_state(two),
            (Self::IfAbsent | Self::IfMatch(_), _) => false,
        }
    }

    pub(crate) fn set(&self, headers: &mut Headers) {
        match self {
            Self::IfAbsent => headers.set("if-none-match", "*"),
            Self::IfMatch(etag) => headers.set("if-match", &etag.quoted()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::UploadId;
    use crate::s3::error::Class;
    use crate::s3::http::message::form;
    use crate::s3::http::message::path_of;
    use crate::s3::integrity::crc64::Crc64;
    use crate::s3::integrity::etag::ETag;
    use crate::s3::multipart::upload::{AbortMultipartUpload, CompleteMultipartUpload, UploadPart};
    use crate::s3::object::get::GetObject;
    use crate::s3::object::head::HeadObject;
    use crate::s3::object::put::PutObject;
    use crate::s3::spelled::{head, refusal, reply};

    fn bucket() -> Bucket {
        Bucket::new("example-bucket").unwrap()
    }

    fn key() -> Key {
        Key::new("example-object").unwrap()
    }

    fn complete() -> CompleteMultipartUpload {
        CompleteMultipartUpload {
            bucket: bucket(),
            key: key(),
            upload: UploadId::new("id").unwrap(),
            parts: Vec::new(),
            size: 1,
            crc: Crc64::EMPTY,
            precondition: None,
        }
    }

    /// "CompleteMultipartUpload", sample response with error specified in body.
    const INTERNAL_ERROR: &str = "<Error>
  <Code>InternalError</Code>
  <Message>We encountered an internal error. Please try again.</Message>
  <RequestId>656c76696e6727732072657175657374</RequestId>
  <HostId>Uuag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcfTWAtRPfTaOFg==</HostId>
</Error>";

    #[test]
    fn an_error_in_a_200_is_a_refusal() {
        let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\n{INTERNAL_ERROR}");
        let kept_alive = format!(" \r\n   \n\n {declared}");
        for body in [INTERNAL_ERROR, &declared, &kept_alive] {
            let refusal = refusal(&complete(), &head(200, "x-amz-id-2: header-id"), body);
            assert_eq!((refusal.status, refusal.code.as_str()), (200, "InternalError"));
            assert_eq!(refusal.message, "We encountered an internal error. Please try again.");
            assert_eq!(refusal.request_id.as_deref(), Some("656c76696e6727732072657175657374"));
            assert_eq!(refusal.host_id.as_deref(), Some("header-id"));
            assert_eq!(refusal.class, Class::Ambiguous);
        }
    }

    #[test]
    fn an_error_in_a_200_that_breaks_off_may_have_happened() {
        let begun = INTERNAL_ERROR.find("<Code>").unwrap();
        for cut in begun..INTERNAL_ERROR.len() {
            let refusal = refusal(&complete(), &head(200, ""), &INTERNAL_ERROR[..cut]);
            assert_eq!((refusal.code.as_str(), refusal.class), ("InternalError", Class::Ambiguous), "{cut}");
        }
        let refusal = refusal(&complete(), &head(200, ""), "<Error/>");
        assert_eq!((refusal.code.as_str(), refusal.class), ("InternalError", Class::Ambiguous));
    }

    #[test]
    fn a_code_in_a_200_means_what_it_means_under_its_own_status() {
        let check = |code: &str, expected| {
            let body = format!("<Error><Code>{code}</Code></Error>");
            assert_eq!(refusal(&complete(), &head(200, ""), &body).class, expected, "{code}");
        };
        check("SlowDown", Class::Throttled);
        check("ServiceUnavailable", Class::Transient);
        check("InvalidPart", Class::Refused);
        check("NoSuchUpload", Class::Missing);
        check("PreconditionFailed", Class::Precondition);
        check("ConditionalRequestConflict", Class::Precondition);
    }

    #[test]
    fn an_error_in_the_body_of_a_write_without_a_document_is_a_refusal_too() {
        let put = PutObject::new(bucket(), key(), Bytes::new());
        assert_eq!(refusal(&put, &head(200, "etag: \"a\""), INTERNAL_ERROR).class, Class::Ambiguous);
        let part = UploadPart {
            bucket: bucket(),
            key: key(),
            upload: UploadId::new("id").unwrap(),
            number: crate::s3::PartNumber::FIRST,
            bytes: Bytes::new(),
            crc: Crc64::EMPTY,
        };
        assert_eq!(refusal(&part, &head(200, "etag: \"a\""), INTERNAL_ERROR).class, Class::Transient);
    }

    #[test]
    fn an_object_that_looks_like_an_error_is_an_object() {
        let get = GetObject::whole(bucket(), key());
        let length = format!("etag: \"a\"\ncontent-length: {}", INTERNAL_ERROR.len());
        assert!(reply(&get, &head(200, &length), INTERNAL_ERROR).is_ok());
    }

    #[test]
    fn a_status_that_the_operation_does_not_accept_is_a_refusal_whatever_the_body_says() {
        let body = "<CompleteMultipartUploadResult><ETag>&quot;a&quot;</ETag></CompleteMultipartUploadResult>";
        let refused = refusal(&complete(), &head(202, ""), body);
        assert_eq!((refused.code.as_str(), refused.class), ("InternalError", Class::Ambiguous));
        let moved = refusal(&complete(), &head(307, "location: https://elsewhere/"), "");
        assert_eq!(moved.code, "TemporaryRedirect");
    }

    #[test]
    fn a_refused_head_is_read_from_its_status_and_headers() {
        let operation = HeadObject::current(bucket(), key());
        let lines = "x-amz-request-id: 318BC8BC143432E5\nx-amz-id-2: 3HqH3qlZyiahVVnXxiaN";
        let refused = refusal(&operation, &head(404, lines), "");
        assert_eq!((refused.code.as_str(), refused.class), ("NotFound", Class::Missing));
        assert_eq!(refused.request_id.as_deref(), Some("318BC8BC143432E5"));
        assert_eq!(refused.host_id.as_deref(), Some("3HqH3qlZyiahVVnXxiaN"));
        let marker = "x-amz-delete-marker: true\nlast-modified: Fri, 24 May 2013 00:00:00 GMT";
        assert!(refusal(&operation, &head(405, marker), "").delete_marker);
    }

    #[test]
    fn aborting_is_done_with_or_without_content() {
        let abort = AbortMultipartUpload { bucket: bucket(), key: key(), upload: UploadId::new("id").unwrap() };
        assert_eq!(reply(&abort, &head(204, ""), ""), Ok(()));
        assert_eq!(reply(&abort, &head(200, ""), "<html>fine</html>"), Ok(()));
        assert_eq!(refusal(&abort, &head(404, ""), "<Error><Code>NoSuchUpload</Code></Error>").class, Class::Missing);
    }

    #[test]
    fn numbers_in_headers_are_digits() {
        let check = |text: &str, expected| {
            assert_eq!(head(200, &format!("content-length: {text}")).number("content-length"), expected, "{text}");
        };
        check("0", Some(0));
        check("18446744073709551615", Some(u64::MAX));
        check("18446744073709551616", None);
        check("+5", None);
        check("-5", None);
        check("5, 5", None);
        check("", None);
    }

    #[test]
    fn preconditions_are_spelled_as_headers() {
        let check = |precondition: Precondition, name: &str, value: &str| {
            let mut headers = Headers::default();
            precondition.set(&mut headers);
            let headers = headers.finish().unwrap();
            assert_eq!((headers.len(), headers[name].to_str().unwrap()), (1, value));
        };
        check(Precondition::IfAbsent, "if-none-match", "*");
        check(Precondition::IfMatch(ETag::listed("a-2")), "if-match", "\"a-2\"");
    }

    #[test]
    fn the_md5_of_a_document_is_base64() {
        let mut headers = Headers::default();
        headers.content_md5(b"");
        assert_eq!(headers.finish().unwrap()["content-md5"], "1B2M2Y8AsgTpgAmY7PhCfg==");
    }

    #[test]
    fn queries_are_encoded_strictly() {
        let mut query = Query::default();
        query.flag("uploads");
        query.pair("prefix", "a b+c/~é");
        query.optional("none", None);
        assert_eq!(query.as_str(), "uploads=&prefix=a%20b%2Bc%2F~%C3%A9");
    }

    #[test]
    fn paths_keep_slashes_and_dots() {
        assert_eq!(path_of("//a/./../b c+%~\n"), "//a/./../b%20c%2B%25~%0A");
    }

    #[test]
    fn a_value_that_cannot_be_a_header_is_named() {
        let mut headers = Headers::default();
        headers.set("x-amz-meta-a", "fine");
        headers.set("x-amz-meta-b", "line\nbreak");
        assert_eq!(headers.finish().unwrap_err(), "x-amz-meta-b");
    }

    #[test]
    fn tags_are_encoded_as_a_form() {
        let tags = [("a b".to_owned(), "1&2".to_owned()), ("ü".to_owned(), String::new())];
        assert_eq!(form(&tags), "a%20b=1%262&%C3%BC=");
    }
}
