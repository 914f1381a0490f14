//! `aws-chunked` bodies without signatures, held to what S3 wants of them.
//!
//! s3s decodes them, but takes small chunks, a missing end, and trailers that nobody announced. So the bytes are looked
//! at on their way to it, and the body breaks where S3 refuses it. The codes are those that versitygw saw AWS answer
//! with (its issues 1600, 1666, 1683, 1691); chunks of at least 8 KiB are from "Signature calculations for the
//! Authorization header: transferring payload in multiple chunks".

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The smallest chunk that another one may follow.
const SMALLEST: u64 = 8 << 10;

/// The longest line of a framing.
const LINE: usize = 1 << 10;

/// Why a framing is refused; its text is S3's code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Broken {
    /// It is not one, or ends early.
    #[error("IncompleteBody")]
    Incomplete,
    /// Its trailers are not those announced.
    #[error("MalformedTrailerError")]
    Trailer,
    /// A chunk that is not the last is too small.
    #[error("InvalidChunkSizeError")]
    ChunkSize,
}

/// Where in a framing the next byte stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    Head,
    Data(u64),
    Close,
    Trailers,
    Over,
}

/// A framing that is read.
#[derive(Debug)]
struct Framing {
    at: At,
    line: Vec<u8>,
    // The size of the chunk before, if there is one.
    last: Option<u64>,
    decoded: u64,
    promised: u64,
    trailer: String,
    has_trailer: bool,
}

impl Framing {
    fn new(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            at: At::Head,
            line: Vec::new(),
            last: None,
            decoded: 0,
            promised: text("x-amz-decoded-content-length").parse().unwrap_or(0),
            trailer: text("x-amz-trailer").to_ascii_lowercase(),
            has_trailer: false,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while let Some((first, rest)) = bytes.split_first() {
            if let At::Data(left) = self.at {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - here as u64;
                self.at = if left == 0 { At::Close } else { At::Data(left) };
                bytes = &bytes[here..];
                continue;
            }
            if self.at == At::Over || self.line.len() == LINE {
                return Err(Broken::Incomplete);
            }
            self.line.push(*first);
            bytes = rest;
            if let Some(line) = self.line.strip_suffix(b"\r\n") {
                let line = String::from_utf8(line.to_vec()).map_err(|_| Broken::Incomplete)?;
                self.line.clear();
                self.end_line(&line)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &str) -> Result<(), Broken> {
        match self.at {
            At::Head => {
                let digits = line.bytes().all(|digit| digit.is_ascii_hexdigit());
                let size = u64::from_str_radix(line, 16).ok().filter(|_| digits).ok_or(Broken::Incomplete)?;
                if size > 0 && self.last.is_some_and(|last| last < SMALLEST) {
                    return Err(Broken::ChunkSize);
                }
                self.decoded = self.decoded.checked_add(size).ok_or(Broken::Incomplete)?;
                self.last = Some(size);
                self.at = if size == 0 { At::Trailers } else { At::Data(size) };
            }
            At::Close if line.is_empty() => self.at = At::Head,
            At::Trailers if line.is_empty() => {
                if !self.has_trailer {
                    return Err(Broken::Trailer);
                }
                self.at = At::Over;
            }
            At::Trailers => {
                let name = line.split_once(':').map(|(name, _)| name.to_ascii_lowercase());
                if name.is_none_or(|name| name != self.trailer) || self.has_trailer {
                    return Err(Broken::Trailer);
                }
                self.has_trailer = true;
            }
            At::Close | At::Data(_) | At::Over => return Err(Broken::Incomplete),
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Broken> {
        let is_whole = self.at == At::Over && self.decoded == self.promised;
        if is_whole { Ok(()) } else { Err(Broken::Incomplete) }
    }
}

/// A body whose framing is read as it passes.
struct Strict {
    body: Body,
    framing: Framing,
    is_finished: bool,
}

/// The body of a request, which breaks where its framing does; one that has none passes as it is.
pub(crate) fn strict(headers: &HeaderMap, body: Body) -> Body {
    match headers.get("x-amz-content-sha256") {
        Some(payload) if payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => {
            Body::http_body(Strict { body, framing: Framing::new(headers), is_finished: false })
        }
        _ => body,
    }
}

impl http_body::Body for Strict {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if self.is_finished {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                self.is_finished = true;
                Poll::Ready(self.framing.finish().err().map(|broken| Err(broken.into())))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => {
                let read = frame.data_ref().map_or(Ok(()), |bytes| self.framing.read(bytes));
                Poll::Ready(Some(read.map(|()| frame).map_err(Into::into)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8], decoded: u64, step: usize) -> Result<(), Broken> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-decoded-content-length", decoded.into());
        headers.insert("x-amz-trailer", "x-amz-checksum-crc64nvme".parse().unwrap());
        let mut framing = Framing::new(&headers);
        body.chunks(step).try_for_each(|bytes| framing.read(bytes))?;
        framing.finish()
    }

    const TRAILER: &str = "x-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n";

    #[test]
    fn what_s3_takes_is_taken_and_what_it_refuses_is_refused() {
        let check = |body: String, decoded, expected| {
            for step in [1, 3, body.len().max(1)] {
                assert_eq!(read(body.as_bytes(), decoded, step), expected, "{body:?} by {step}");
            }
        };
        check(format!("9\r\n123456789\r\n0\r\n{TRAILER}"), 9, Ok(()));
        check(format!("0\r\n{TRAILER}"), 0, Ok(()));
        let large = "a".repeat(8_192);
        check(format!("2000\r\n{large}\r\n1\r\na\r\n0\r\n{TRAILER}"), 8_193, Ok(()));
        let incomplete = Err(Broken::Incomplete);
        check(format!("9\r\n123456789\r\n0\r\n{TRAILER}"), 8, incomplete);
        check(format!("9\r\n123456789\r\n0\r\n{TRAILER}"), 10, incomplete);
        check(format!("8\r\n123456789\r\n0\r\n{TRAILER}"), 8, incomplete);
        check(format!("x\r\n123456789\r\n0\r\n{TRAILER}"), 9, incomplete);
        check(format!("+9\r\n123456789\r\n0\r\n{TRAILER}"), 9, incomplete);
        check(format!("9\n123456789\r\n0\r\n{TRAILER}"), 9, incomplete);
        check("9\r\n123456789\r\n".into(), 9, incomplete);
        check("9\r\n12345".into(), 9, incomplete);
        check(String::new(), 0, incomplete);
        check(format!("9\r\n123456789\r\n0\r\n{}", &TRAILER[..TRAILER.len() - 2]), 9, incomplete);
        check(format!("9\r\n123456789\r\n0\r\n{TRAILER}more"), 9, incomplete);
        let trailer = Err(Broken::Trailer);
        check("9\r\n123456789\r\n0\r\n\r\n".into(), 9, trailer);
        check("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n".into(), 9, trailer);
        check(format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n{TRAILER}"), 9, trailer);
        check("9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme\r\n\r\n".into(), 9, trailer);
        check(format!("4\r\n1234\r\n5\r\n56789\r\n0\r\n{TRAILER}"), 9, Err(Broken::ChunkSize));
    }
}
