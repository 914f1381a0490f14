//! CreateMultipartUpload, and the uploads that unanswered attempts at it may have left.

use crate::engine::decide::ticket::UploadJournal;
use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::upload::abort::abort;
use crate::s3::UploadId;
use crate::s3::multipart::listing::{ListMultipartUploads, OpenUpload};
use crate::s3::multipart::upload::CreateMultipartUpload;
use crate::s3::object::put::ObjectOptions;
use crate::wire::client::attempt::Attempts;
use crate::wire::client::retry::Persistence;
use crate::wire::deadline::Deadline;
use crate::wire::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How much earlier than ours, by the server's clock, an upload of an unanswered attempt can have been begun: the time
/// that those attempts took, and this for the clock's grain.
pub(crate) const CLOCK_GRAIN: i64 = 2;

/// How long after it was meant to be begun an upload of a process that was killed can have been begun, in seconds: a
/// Create over the border with some attempts. What came later is left to the sweep.
pub(crate) const CREATE_SECONDS: i64 = 30;

/// What the job's ledger says that has to be taken back.
#[derive(Default)]
pub(crate) struct JournalState {
    pub(crate) anything: AtomicBool,
    /// That uploads were meant to be begun which may be open, and whose ids nobody knows.
    pub(crate) unknown: AtomicBool,
}

/// Creates an upload.
///
/// # Cancel safety
/// An upload may be left open.
pub(crate) async fn create(
    job: Job,
    notes: Arc<Notes>,
    style: ObjectOptions,
    written: Arc<JournalState>,
) -> Result<UploadId, Error> {
    let (bucket, key) = (job.session.target.bucket.clone(), job.target_key.clone());
    let mut attempts = job.part();
    let began = Instant::now();
    let operation = CreateMultipartUpload { bucket, key, style };
    let answer = job.session.target.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    let tried = attempts.unanswered().then(|| began.elapsed());
    match &answer {
        Ok(upload) if tried.is_some() || written.unknown.load(Ordering::SeqCst) => {
            let left = abort_unanswered(&job, &notes, upload, tried).await;
            written.unknown.store(left == Leftover::Unknown, Ordering::SeqCst);
        }
        // Without one that is known to be ours, nothing says which of those under the key are.
        Err(_) if attempts.unanswered() => {
            written.unknown.store(true, Ordering::SeqCst);
            notes.note_permanent(
                "a CreateMultipartUpload got no answer; its upload may still be open, a sweep aborts it",
            );
        }
        Ok(_) | Err(_) => {}
    }
    answer
}

/// Writes something into the job's ledger, if it has one; a disk that does not take it is no reason not to copy.
pub(crate) async fn write_down(
    job: &Job,
    notes: &Notes,
    write: impl FnOnce(&dyn UploadJournal) -> io::Result<()> + Send + 'static,
) {
    let Some(journal) = job.ongoing.journal.clone() else { return };
    let written = tokio::task::spawn_blocking(move || write(&*journal)).await;
    if let Err(error) =
        written.unwrap_or_else(|_| Err(io::Error::other("internal error: the thread of the journal panicked")))
    {
        notes.note_permanent(format!(
            "the journal could not be written, so this copy cannot be resumed if it is killed: {error}"
        ));
    }
}

/// Aborts the uploads that unanswered attempts of ours may have begun, or a process that was killed before it knew its
/// upload: of this key, by the initiator of the one we know, begun while it was tried. Another invocation's upload of
/// the same seconds would be among them; it finds its upload gone and begins again, while an orphan would be paid for
/// until somebody finds it.
pub(crate) async fn abort_unanswered(job: &Job, notes: &Notes, ours: &UploadId, tried: Option<Duration>) -> Leftover {
    let mut list = ListMultipartUploads {
        bucket: job.session.target.bucket.clone(),
        prefix: job.target_key.as_str().to_owned(),
        after: None,
    };
    let mut open: Vec<OpenUpload> = Vec::new();
    loop {
        // Past the job's deadline: what is left is bounded by its grace.
        let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
        match job.session.target.client.call(&list, &mut attempts).await {
            Ok(page) => {
                open.extend(page.uploads.into_iter().filter(|upload| upload.key == job.target_key));
                match page.next {
                    Some(next) => list.after = Some(next),
                    None => break,
                }
            }
            Err(error) => {
                notes.note_permanent(format!(
                    "a CreateMultipartUpload got no answer; its upload may still be open, a sweep aborts it: {error}"
                ));
                return Leftover::Unknown;
            }
        }
    }
    // A server that does not show who began what, or not at once, will not show it later either.
    let Some(known) = open.iter().find(|upload| upload.upload == *ours) else { return Leftover::Nothing };
    let (Some(initiator), Some(begun)) = (&known.initiator, known.initiated) else { return Leftover::Nothing };
    let mut left = Leftover::Nothing;
    let seconds = |tried: Duration| i64::try_from(tried.as_secs()).unwrap_or(i64::MAX / 2);
    let of_these = tried.map(|tried| begun - seconds(tried) - CLOCK_GRAIN..=begun + CLOCK_GRAIN);
    let of_the_killed = job.ongoing.intended.iter().map(|at| at - CLOCK_GRAIN..=at + CREATE_SECONDS);
    let windows: Vec<_> = of_these.into_iter().chain(of_the_killed).collect();
    for upload in &open {
        let is_orphan = upload.upload != *ours
            && upload.initiator.as_ref() == Some(initiator)
            && upload.initiated.is_some_and(|at| windows.iter().any(|window| window.contains(&at)));
        if is_orphan && let Err(error) = abort(&job.session.target, &job.target_key, &upload.upload).await {
            notes.note_permanent(format!(
                "upload {} may still be open, a sweep aborts it: {error}",
                upload.upload.as_str()
            ));
            left = Leftover::Unknown;
        }
    }
    left
}

/// What is left of uploads whose ids nobody knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// Nothing that could be found.
    Nothing,
    Unknown,
}
