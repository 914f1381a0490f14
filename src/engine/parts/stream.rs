//! A part that goes straight from the source to the target, without waiting in memory: the usual way.
//!
//! It is held to what holds for any other: a GET of the pinned state, a checksum that the target compares, an ETag that
//! is compared here. What it costs is a second reading of the source when the target has to be sent it again.

use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::parts::part::{PartContext, refused};
use crate::engine::parts::read::read_into_pipe;
use crate::engine::parts::uploaded::{UploadedPart, proven};
use crate::engine::stop::Stop;
use crate::mutation::{self, Mutation};
use crate::s3::error::Class;
use crate::s3::http::operation::Operation;
use crate::s3::integrity::checksum::Kinds;
use crate::s3::multipart::streamed::{Form, StreamedPart};
use crate::s3::{ByteRange, PartNumber};
use crate::wire::body::pipe::{PipeWriter, StreamError};
use crate::wire::client::attempt::Attempts;
use crate::wire::error::Error;
use std::sync::Arc;

/// Streams a part until the target has it, byte for byte.
///
/// # Cancel safety
/// Both connections are closed; the upload keeps nothing of the part.
pub(crate) async fn stream(
    parts: Arc<PartContext>,
    number: PartNumber,
    range: ByteRange,
    kinds: Kinds,
    mut attempts: Attempts,
) -> Result<UploadedPart, Stop> {
    let result = until_it_is_there(&parts, number, range, kinds, &mut attempts).await;
    parts.notes.count(&attempts);
    result
}

async fn until_it_is_there(
    parts: &PartContext,
    number: PartNumber,
    range: ByteRange,
    kinds: Kinds,
    attempts: &mut Attempts,
) -> Result<UploadedPart, Stop> {
    let client = &parts.job.session.target.client;
    let mut part = StreamedPart {
        bucket: parts.job.session.target.bucket.clone(),
        key: parts.job.target_key.clone(),
        upload: parts.upload.clone(),
        number,
        length: range.bytes(),
        form: if mutation::is_on(Mutation::NoCrc) { Form::Plain } else { client.quirks().form() },
    };
    // The refusal of a trailer, while the part is tried without.
    let mut with_trailer: Option<Error> = None;
    loop {
        let source = |mut line: PipeWriter| {
            line.begin(kinds);
            read_into_pipe(&parts.job, &parts.notes, &parts.pinned, range, line)
        };
        let error = match client.stream(&part, attempts, source).await {
            Ok((written, digests)) => {
                let done = proven(part.number, &digests, written, attempts)?;
                if let Some(refusal) = with_trailer {
                    // Of plain bytes the ETag is the only proof.
                    if !done.is_md5 {
                        return Err(refused(&refusal));
                    }
                    client.quirks().send_no_trailers();
                } else if part.form == Form::Trailer {
                    client.quirks().note_trailer_taken();
                }
                return Ok(done);
            }
            Err(StreamError::Target(error)) => error,
            Err(StreamError::Source(stop)) => return Err(stop),
            Err(short @ StreamError::Short { .. }) => {
                let fault = Fault::new(FaultClass::Network, short.to_string());
                return Err(Fault { side: Some(Side::Source), ..fault }.into());
            }
        };
        let is_refused = error.class() == Class::Refused;
        if is_refused && let Some(refusal) = &with_trailer {
            return Err(refused(refusal));
        }
        if is_refused && part.form == Form::Trailer && knows_no_trailers(&error) {
            part.form = Form::Plain;
            with_trailer = Some(error);
            continue;
        }
        client.again(&StreamedPart::INFO, error, attempts).await.map_err(|error| refused(&error))?;
    }
}

/// Whether a refusal can mean that the server knows no trailers: it takes them for bytes that are not what was signed,
/// or says that this is not implemented.
fn knows_no_trailers(error: &Error) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.status, 400 | 501))
}
