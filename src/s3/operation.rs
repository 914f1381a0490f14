//! What every operation has to say about itself before it can be sent.

use super::error::{Refusal, Unreadable};
use super::{Bucket, Key, xml};
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

    /// A header's number, if it is there and is one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
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
    IfMatch(super::etag::ETag),
}

impl Precondition {
    /// Spells it.
    pub fn set(&self, headers: &mut Headers) {
        match self {
            Self::IfAbsent => headers.set("if-none-match", "*"),
            Self::IfMatch(etag) => headers.set("if-match", &etag.quoted()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
