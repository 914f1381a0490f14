//! What every operation has to say about itself before it can be sent.

use crate::mutation::{self, Mutation};
use crate::s3::checksum::Crc64;
use crate::s3::error::{Refusal, Unreadable};
use crate::s3::xml;
use crate::s3::{Bucket, Key, VersionId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// One operation of S3: everything the wire needs to send it and to read what comes back.
///
/// The constants have no defaults, so that a new operation cannot forget one.
pub trait Operation: Send + Sync {
    /// Its name in the API reference.
    const NAME: &'static str;
    /// Its HTTP method.
    const METHOD: Method;
    /// The statuses that can mean it was done.
    const ACCEPTS: &'static [StatusCode];
    /// What a second sending can find.
    const REPEAT: Repeat;
    /// Where a reply that was accepted by its status keeps what it says.
    const ANSWER: Answer;
    /// How long it may take S3 to begin answering.
    const PACE: Pace;
    /// What it answers with.
    type Reply: Send;

    /// The bucket it is sent to.
    fn bucket(&self) -> &Bucket;
    /// The object it is about, if it is about one.
    fn key(&self) -> Option<&Key>;
    /// Its query.
    fn query(&self, query: &mut Query);
    /// Its headers, but for those of the transport and the signature.
    fn headers(&self, headers: &mut Headers);
    /// Its body.
    fn body(&self) -> Bytes;
    /// Reads a reply whose status is among [`Self::ACCEPTS`] and whose body holds no error.
    ///
    /// # Errors
    /// [`Unreadable`] if it is not what the API reference promises.
    fn reply(&self, head: &Head, body: &[u8]) -> Result<Self::Reply, Unreadable>;
}

/// What sending an operation twice can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The same as once.
    Same,
    /// Its own traces: a refusal after an unanswered attempt may mean that the attempt was carried out.
    Traces,
}

/// Where an accepted reply keeps what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// In the headers; the body is bytes of an object, left to the caller.
    Stream,
    /// In the headers; a body is not expected, and one whose root is `Error` is an error.
    Head,
    /// In an XML document, which may be an `Error` even under 200 ("CompleteMultipartUpload", "Response Elements").
    Document,
}

/// How long S3 may think before the first byte of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Lookups and parts.
    Prompt,
    /// Complete "could take several minutes" to answer.
    Slow,
}

/// Status and headers of a reply.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
}

impl Head {
    /// A header's text, if it is there and is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    /// A header's number, if it is there and is one: digits and nothing else.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    }

    /// The version that it names; an object without one has the version `null` ("Working with objects in a
    /// versioning-suspended bucket").
    pub fn version(&self) -> Option<VersionId> {
        self.text("x-amz-version-id").filter(|id| *id != "null").and_then(|id| VersionId::new(id).ok())
    }

    /// The CRC64NVME that it says of a whole object or of a whole part, never one that was made of parts' checksums.
    pub fn crc(&self) -> Option<Crc64> {
        let full = self.text("x-amz-checksum-type").is_none_or(is_full_object);
        self.text(CRC64NVME).filter(|_| full).and_then(Crc64::parse)
    }
}

/// The header of a CRC64NVME.
pub const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

/// Whether a checksum type says that the checksum is of the bytes themselves. CRT spells it in lower case.
pub fn is_full_object(checksum_type: &str) -> bool {
    checksum_type.eq_ignore_ascii_case("FULL_OBJECT")
}

/// Reads a whole reply: what was asked for, or why not. The one place where a reply's root element decides.
///
/// # Errors
/// [`Failure::Refused`] if the status or the root element says so, [`Failure::Unreadable`] if neither an answer nor
/// an error can be read.
pub fn read<O: Operation>(operation: &O, head: &Head, body: &[u8]) -> Result<O::Reply, Failure> {
    let refused = || Failure::Refused(Box::new(Refusal::read(operation, head, body)));
    if !O::ACCEPTS.contains(&head.status) {
        return Err(refused());
    }
    match O::ANSWER {
        Answer::Stream => {}
        Answer::Head | Answer::Document => {
            if xml::root(body).as_deref() == Some("Error") {
                return Err(refused());
            }
        }
    }
    operation.reply(head, body).map_err(Failure::Unreadable)
}

/// Why a reply is not what was asked for.
#[derive(Debug)]
pub enum Failure {
    /// S3 said no.
    Refused(Box<Refusal>),
    /// Nobody can say what S3 said.
    Unreadable(Unreadable),
}

/// Everything but the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A key as a path: every byte but the unreserved ones and `/` percent-encoded, nothing normalised.
pub fn path_of(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// The query of a request, encoded strictly, because the signature decodes and encodes it again.
#[derive(Debug, Default)]
pub struct Query(String);

impl Query {
    /// A name without a value.
    pub fn flag(&mut self, name: &str) {
        self.pair(name, "");
    }

    /// A name and its value.
    pub fn pair(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend(utf8_percent_encode(name, QUERY));
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, QUERY));
    }

    /// A name and its value, if there is one.
    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(name, value);
        }
    }

    /// The encoded text, empty if nothing was added.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names and values as a form encodes them: `x-amz-tagging`.
pub fn form(pairs: &[(String, String)]) -> String {
    let mut query = Query::default();
    for (name, value) in pairs {
        query.pair(name, value);
    }
    query.0
}

/// The headers of a request; a value that cannot stand in a header is remembered and refused before it is sent.
#[derive(Debug, Default)]
pub struct Headers {
    map: HeaderMap,
    unfit: Option<String>,
}

impl Headers {
    /// Sets a header.
    pub fn set(&mut self, name: &str, value: &str) {
        if name == CRC64NVME && mutation::is_on(Mutation::NoCrc) {
            return;
        }
        match (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => drop(self.map.insert(name, value)),
            _ => self.unfit = Some(name.to_owned()),
        }
    }

    /// Sets a header, if there is a value.
    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a header, if there is one.
    pub fn optional_pair(&mut self, header: Option<(&str, String)>) {
        if let Some((name, value)) = header {
            self.set(name, &value);
        }
    }

    /// Sets `Content-MD5`, which some operations require of their document.
    pub fn content_md5(&mut self, body: &[u8]) {
        self.set("content-md5", &STANDARD.encode(Md5::digest(body)));
    }

    /// The headers.
    ///
    /// # Errors
    /// The name of a header whose value cannot be sent.
    pub fn finish(self) -> Result<HeaderMap, String> {
        match self.unfit {
            None => Ok(self.map),
            Some(name) => Err(name),
        }
    }
}

/// What must hold at the target for a write to be carried out ("Conditional writes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing may be there: `If-None-Match: *`.
    IfAbsent,
    /// The object with this ETag must be there: `If-Match`.
    IfMatch(crate::s3::etag::ETag),
}

impl Precondition {
    /// Whether both ask for the same: the text of an ETag is all that counts within a bucket.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::IfAbsent, Self::IfAbsent) => true,
            (Self::IfMatch(one), Self::IfMatch(two)) => one.is_same_state(two),
            (Self::IfAbsent | Self::IfMatch(_), _) => false,
        }
    }

    /// Spells it.
    pub fn set(&self, headers: &mut Headers) {
        match self {
            Self::IfAbsent => headers.set("if-none-match", "*"),
            Self::IfMatch(etag) => headers.set("if-match", &etag.quoted()),
        }
    }
}

/// Requests and replies as text, for the tests of each operation.
#[cfg(test)]
pub(crate) mod spelled {
    use super::*;

    /// Method, path, query, headers by name and body of a request, as they go out.
    pub(crate) fn request<O: Operation>(operation: &O) -> String {
        let (mut query, mut headers) = (Query::default(), Headers::default());
        operation.query(&mut query);
        operation.headers(&mut headers);
        let path = path_of(operation.key().map_or("", Key::as_str));
        let question = if query.as_str().is_empty() { "" } else { "?" };
        let mut text = format!("{} /{path}{question}{}\n", O::METHOD, query.as_str());
        let headers = headers.finish().unwrap();
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
        lines.sort();
        text.extend(lines);
        let body = String::from_utf8(operation.body().to_vec()).unwrap();
        format!("{text}\n{body}")
    }

    /// Status and headers of a reply: `name: value` by line.
    pub(crate) fn head(status: u16, lines: &str) -> Head {
        let mut headers = HeaderMap::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
            headers.append(HeaderName::try_from(name.to_lowercase()).unwrap(), value.parse().unwrap());
        }
        Head { status: StatusCode::from_u16(status).unwrap(), headers }
    }

    /// The refusal that a reply is.
    pub(crate) fn refusal<O: Operation>(operation: &O, head: &Head, body: &str) -> Refusal
    where
        O::Reply: std::fmt::Debug,
    {
        match read(operation, head, body.as_bytes()) {
            Err(Failure::Refused(refusal)) => *refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// What a reply is, if it is readable.
    pub(crate) fn reply<O: Operation>(operation: &O, head: &Head, body: &str) -> Result<O::Reply, String> {
        match read(operation, head, body.as_bytes()) {
            Ok(reply) => Ok(reply),
            Err(Failure::Refused(refusal)) => panic!("{refusal}"),
            Err(Failure::Unreadable(unreadable)) => Err(unreadable.to_string()),
        }
    }

    /// Checks that a reply which breaks off anywhere within its document is never taken for an answer.
    pub(crate) fn cut_anywhere_is_unreadable<O: Operation>(operation: &O, body: &str) {
        let document = body.trim_end();
        for cut in 0..document.len() {
            let read = read(operation, &head(200, ""), &document.as_bytes()[..cut]);
            assert!(matches!(read, Err(Failure::Unreadable(_))), "{}: {}", O::NAME, &document[..cut]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::UploadId;
    use crate::s3::error::Class;
    use crate::s3::etag::ETag;
    use crate::s3::multipart::{AbortMultipartUpload, CompleteMultipartUpload, UploadPart};
    use crate::s3::object::{GetObject, HeadObject, PutObject};
    use crate::s3::operation::spelled::{head, refusal, reply};

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
