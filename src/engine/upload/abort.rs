//! Aborting an upload, and seeing that it is gone.

use crate::engine::session::BucketClient;
use crate::s3::error::Class;
use crate::s3::multipart::listing::ListParts;
use crate::s3::multipart::upload::AbortMultipartUpload;
use crate::s3::{Key, UploadId};
use crate::wire::client::attempt::Attempts;
use crate::wire::client::retry::Persistence;
use crate::wire::deadline::Deadline;
use crate::wire::error::Error;
use std::time::Duration;
use tokio::time::sleep;

/// How often an abort is repeated while parts that were on their way keep landing ("AbortMultipartUpload").
const ABORTS: u32 = 10;
/// Between an abort and the look at what it left.
const ABORT_PAUSE: Duration = Duration::from_millis(200);

/// Aborts an upload and sees it gone: parts that were on their way may land after an abort, so it is repeated until
/// nothing is listed ("AbortMultipartUpload"). It has no deadline of its own: it mostly comes after one, and whoever
/// waits for it bounds it.
///
/// # Cancel safety
/// The upload may be left open.
///
/// # Errors
/// If the target refuses, cannot be reached, or still lists parts in the end.
pub(crate) async fn abort(at: &BucketClient, key: &Key, upload: &UploadId) -> Result<(), Error> {
    let bucket = &at.bucket;
    let abort = AbortMultipartUpload { bucket: bucket.clone(), key: key.clone(), upload: upload.clone() };
    let list = ListParts { bucket: bucket.clone(), key: key.clone(), upload: upload.clone(), after: None };
    let is_gone = |error: &Error| error.class() == Class::Missing;
    for _ in 0..ABORTS {
        let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
        match at.client.call(&abort, &mut attempts).await {
            Err(error) if !is_gone(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        match at.client.call(&list, &mut attempts).await {
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
            // Some servers list an aborted upload as one without parts.
            Ok(page) if page.parts.is_empty() => return Ok(()),
            Ok(_) => sleep(ABORT_PAUSE).await,
        }
    }
    let alive = std::io::Error::other("the upload was aborted several times but still lists parts");
    Err(Error::body(alive))
}
