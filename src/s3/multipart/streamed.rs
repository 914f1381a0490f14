//! UploadPart for bytes that are not known yet when it is sent.

use crate::s3::http::aws_chunked;
use crate::s3::http::message::{CRC64NVME, Head, Headers, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::multipart::upload::{UploadPart, name_part};
use crate::s3::object::put::Written;
use crate::s3::{Bucket, Key, PartNumber, UploadId};
use http::{Method, StatusCode};

/// How S3 learns the checksum of bytes that it begins to receive before anybody knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// From a trailer behind the bytes ("Checking object integrity", trailing checksums): it refuses bytes that do not
    /// have it, as with a header.
    Trailer,
    /// Not at all: plain bytes, for servers that know no trailers. The part's ETag is all that proves them.
    Plain,
}

/// UploadPart, its bytes to come.
#[derive(Debug, Clone)]
pub struct StreamedPart {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// The part's number.
    pub number: PartNumber,
    /// How many bytes will come; neither fewer nor more are a part.
    pub length: u64,
    /// How their checksum is told.
    pub form: Form,
}

impl StreamedPart {
    /// How long the body is: what `Content-Length` says.
    pub(crate) fn body_length(&self) -> u64 {
        match self.form {
            Form::Trailer => aws_chunked::framed_length(self.length),
            Form::Plain => self.length,
        }
    }
}

impl Operation for StreamedPart {
    const NAME: &'static str = UploadPart::NAME;
    const METHOD: Method = UploadPart::METHOD;
    const ACCEPTS: &'static [StatusCode] = UploadPart::ACCEPTS;
    const IDEMPOTENCE: Idempotence = UploadPart::IDEMPOTENCE;
    const REPLY_IN: ReplyIn = UploadPart::REPLY_IN;
    const ANSWER_TIME: AnswerTime = UploadPart::ANSWER_TIME;
    type Reply = Written;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        name_part(query, self.number, &self.upload);
    }

    fn headers(&self, headers: &mut Headers) {
        match self.form {
            Form::Trailer => {
                headers.set("content-encoding", "aws-chunked");
                headers.set("x-amz-decoded-content-length", &self.length.to_string());
                headers.set("x-amz-trailer", CRC64NVME);
            }
            Form::Plain => {}
        }
    }

    fn reply(&self, head: &Head, _: &[u8]) -> Result<Written, Unreadable> {
        Written::of_part(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::spelled::{head, reply, request};

    fn part(form: Form) -> StreamedPart {
        StreamedPart {
            bucket: Bucket::new("example-bucket").unwrap(),
            key: Key::new("example-object").unwrap(),
            upload: UploadId::new("a+b").unwrap(),
            number: PartNumber::FIRST,
            length: 9,
            form,
        }
    }

    #[test]
    fn a_part_with_a_trailer_announces_it() {
        // "PutObject", x-amz-trailer; "Checking object integrity", trailing checksums.
        assert_eq!(
            request(&part(Form::Trailer)),
            "PUT /example-object?partNumber=1&uploadId=a%2Bb\ncontent-encoding: \
             aws-chunked\nx-amz-decoded-content-length: 9\nx-amz-trailer: x-amz-checksum-crc64nvme\n\n"
        );
        assert_eq!(part(Form::Trailer).body_length(), 58);
    }

    #[test]
    fn a_plain_part_announces_nothing() {
        let plain = "PUT /example-object?partNumber=1&uploadId=a%2Bb\n\n";
        assert_eq!(request(&part(Form::Plain)), plain);
        assert_eq!(part(Form::Plain).body_length(), 9);
    }

    #[test]
    fn both_are_answered_as_any_part() {
        for form in [Form::Trailer, Form::Plain] {
            let lines = "etag: \"b54357faf0632cce46e942fa68356b38\"";
            let written = reply(&part(form), &head(200, lines), "").unwrap();
            assert_eq!(written.etag.as_str(), "b54357faf0632cce46e942fa68356b38");
            assert!(reply(&part(form), &head(200, "etag: \"\""), "").is_err());
        }
    }
}
