//! What the embedded server says when it says no: status, code, message, and the extra elements and headers that S3
//! documents for some codes.
//!
//! It must not know sockets or the store; the store and every operation answer with this one type.

use http::{HeaderName, HeaderValue, StatusCode};
use std::fmt::Write as _;

/// A refusal as S3 would give it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The S3 error code, such as `NoSuchKey`.
    pub code: String,
    /// The sentence for people.
    pub message: String,
    /// Elements beside Code and Message in the document, such as `Region`.
    pub details: Vec<(&'static str, String)>,
    /// Headers beside the usual ones, such as `x-amz-delete-marker`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// The refusal that S3 gives under this code, with its usual status and message.
    #[must_use]
    pub fn of(code: &str) -> Self {
        let (status, message) = usual(code);
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.to_owned(),
            message: message.to_owned(),
            details: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The same refusal under another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same refusal with another message.
    #[must_use]
    pub fn because(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The same refusal with one more element in its document.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The same refusal with one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The `<Error>` element without an XML declaration; S3's error documents carry no namespace.
    #[must_use]
    pub fn element(&self, resource: &str, request_id: &str, host_id: &str) -> String {
        let mut text = String::from("<Error>");
        let fixed = [("Code", self.code.as_str()), ("Message", self.message.as_str())];
        let last = [("Resource", resource), ("RequestId", request_id), ("HostId", host_id)];
        let details = self.details.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in fixed.into_iter().chain(details).chain(last) {
            // Writing to a String cannot fail.
            let _ = write!(text, "<{name}>{}</{name}>", quick_xml::escape::escape(value));
        }
        text.push_str("</Error>");
        text
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self, resource: &str, request_id: &str, host_id: &str) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", self.element(resource, request_id, host_id))
    }
}

/// Status and message by code, after the error list of the S3 API reference
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn usual(code: &str) -> (u16, &'static str) {
    match code {
        "AccessDenied" => (403, "Access Denied"),
        "AuthorizationHeaderMalformed" => (400, "The authorization header is malformed."),
        "BadDigest" => (400, "The checksum that you specified did not match the checksum that was calculated."),
        "ConditionalRequestConflict" => {
            (409, "The conditional request cannot succeed due to a conflicting operation against this resource.")
        }
        "EntityTooSmall" => (400, "Your proposed upload is smaller than the minimum allowed size"),
        "ExpiredToken" => (400, "The provided token has expired."),
        "IncompleteBody" => {
            (400, "You did not provide the number of bytes specified by the Content-Length HTTP header")
        }
        "InvalidAccessKeyId" => (403, "The AWS Access Key Id you provided does not exist in our records."),
        "InvalidArgument" => (400, "Invalid Argument"),
        "InvalidBucketName" => (400, "The specified bucket is not valid."),
        "InvalidChunkSizeError" => (403, "Only the last chunk is allowed to have a size less than 8192 bytes"),
        "InvalidObjectState" => (403, "The operation is not valid for the object's storage class"),
        "InvalidPart" => (
            400,
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag.",
        ),
        "InvalidPartNumber" => (416, "The requested partnumber is not satisfiable"),
        "InvalidPartOrder" => (
            400,
            "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
        ),
        "InvalidRange" => (416, "The requested range is not satisfiable"),
        "InvalidRequest" => (400, "Invalid Request"),
        "InvalidTag" => (400, "The tag provided was not a valid tag."),
        "InvalidToken" => (400, "The provided token is malformed or otherwise invalid."),
        "InvalidURI" => (400, "Couldn't parse the specified URI."),
        "KeyTooLongError" => (400, "Your key is too long"),
        "MalformedTrailerError" => (
            400,
            "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        ),
        "MalformedXML" => {
            (400, "The XML you provided was not well-formed or did not validate against our published schema")
        }
        "RequestHeaderSectionTooLarge" => (400, "Your request header section exceeds the maximum allowed size"),
        "MetadataTooLarge" => (400, "Your metadata headers exceed the maximum allowed metadata size"),
        "MethodNotAllowed" => (405, "The specified method is not allowed against this resource."),
        "MissingContentLength" => (411, "You must provide the Content-Length HTTP header."),
        "NoSuchBucket" => (404, "The specified bucket does not exist"),
        "NoSuchKey" => (404, "The specified key does not exist."),
        "NoSuchUpload" => (
            404,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted \
             or completed.",
        ),
        "NoSuchVersion" => (404, "The specified version does not exist."),
        "NotImplemented" => (501, "A header you provided implies functionality that is not implemented"),
        "NotModified" => (304, "Not Modified"),
        "ObjectNotInActiveTierError" => (403, "The source object of the COPY action is not in the active tier."),
        "OperationAborted" => (
            409,
            "A conflicting conditional operation is currently in progress against this resource. Please try again.",
        ),
        "PermanentRedirect" => (
            301,
            "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all \
             future requests to this endpoint.",
        ),
        "PreconditionFailed" => (412, "At least one of the pre-conditions you specified did not hold"),
        "RequestTimeTooSkewed" => (403, "The difference between the request time and the current time is too large."),
        "RequestTimeout" => (
            400,
            "Your socket connection to the server was not read from or written to within the timeout period. Idle \
             connections will be closed.",
        ),
        "ServiceUnavailable" => (503, "Service is unable to handle request."),
        "SignatureDoesNotMatch" => (
            403,
            "The request signature we calculated does not match the signature you provided. Check your key and \
             signing method.",
        ),
        "SlowDown" => (503, "Please reduce your request rate."),
        "TemporaryRedirect" => (
            307,
            "Please re-send this request to the specified temporary endpoint. Continue to use the original request \
             endpoint for future requests.",
        ),
        "XAmzContentSHA256Mismatch" => {
            (400, "The provided 'x-amz-content-sha256' header does not match what was computed.")
        }
        _ => (500, "We encountered an internal error. Please try again."),
    }
}
