//! A multipart upload's life: begun, completed or aborted, or kept on purpose with its ticket; and never left behind.

pub(crate) mod abort;
pub(crate) mod create;
pub(crate) mod multipart;
pub(crate) mod part_copies;
pub(crate) mod resume;

use crate::engine::commit::{CarriedOut, Commit, Committed, Retry, commit};
use crate::engine::decide::plan::Layout;
use crate::engine::decide::ticket::{SourcePin, Ticket};
use crate::engine::decide::verify::Expected;
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::{Job, Ongoing};
use crate::engine::notes::Notes;
use crate::engine::stop::{Stop, fault_at};
use crate::engine::upload::abort::abort;
use crate::engine::upload::create::{JournalState, create, write_down};
use crate::s3::UploadId;
use crate::s3::error::Class;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::etag::ETag;
use crate::s3::multipart::listing::ListParts;
use crate::s3::multipart::upload::{CompleteMultipartUpload, CompletedPart};
use crate::s3::object::attributes::Attributes;
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;
use crate::wire::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

type Creation = JoinHandle<Result<UploadId, Error>>;

pub(crate) struct Completion<'a> {
    pub(crate) source: &'a ObjectHead,
    pub(crate) upload: &'a UploadId,
    /// All its parts, in order.
    pub(crate) parts: &'a [CompletedPart],
    pub(crate) sent: &'a Expected,
    pub(crate) condition: Precondition,
    pub(crate) style: &'a ObjectOptions,
}

pub(crate) struct NewUpload<'a> {
    pub(crate) style: &'a ObjectOptions,
    pub(crate) pin: SourcePin,
    pub(crate) layout: &'a Layout,
    pub(crate) condition: &'a Precondition,
}

#[derive(Clone)]
enum CurrentUpload {
    /// An upload that nobody can resume.
    Bare(UploadId),
    Ticketed(Ticket),
}

/// The upload that is open, wherever the work on it was cut off. Create runs in a task of its own, so that being cut
/// off in the middle of it does not lose the id.
#[derive(Default)]
pub(crate) struct Uploads {
    creating: tokio::sync::Mutex<Option<Creation>>,
    open: Mutex<Option<CurrentUpload>>,
    journal: Arc<JournalState>,
}

impl Uploads {
    /// With what somebody else has begun, or meant to begin.
    pub(crate) fn after(ongoing: &Ongoing) -> Self {
        let ticket = ongoing.ticket.clone();
        let (adopted, unknown) = (ticket.is_some(), !ongoing.intended.is_empty());
        let journal = JournalState { anything: AtomicBool::new(adopted || unknown), unknown: AtomicBool::new(unknown) };
        let open = Mutex::new(ticket.map(CurrentUpload::Ticketed));
        Self { creating: Default::default(), open, journal: Arc::new(journal) }
    }

    /// Ends what processes that were killed began and never knew, where nothing was begun that would have: who they
    /// were is told by an upload of one's own, which is left to [`Self::clean_up`].
    ///
    /// # Cancel safety
    /// As [`Self::begin`].
    pub(crate) async fn end_unknown(&self, job: &Job, notes: &Arc<Notes>) {
        if self.journal.unknown.load(Ordering::SeqCst)
            && let Err(stop) = self.begin_bare(job, notes, &ObjectOptions::default()).await
        {
            tracing::info!(
                key = job.target_key.as_str(),
                ?stop,
                "uploads of earlier killed runs were not looked for this time; a sweep removes them"
            );
        }
    }

    fn set(&self, open: Option<CurrentUpload>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
    }

    fn get(&self) -> Option<UploadId> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|open| match open {
            CurrentUpload::Bare(upload) => upload.clone(),
            CurrentUpload::Ticketed(ticket) => ticket.upload.clone(),
        })
    }

    /// The ticket of the upload that is open, if there is one.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        match &*self.open.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(CurrentUpload::Ticketed(ticket)) => Some(ticket.clone()),
            Some(CurrentUpload::Bare(_)) | None => None,
        }
    }

    /// The ticket of the upload that is open, to be kept: none while another one is being begun.
    pub(crate) fn keep(&self) -> Option<Ticket> {
        let is_beginning = self.creating.try_lock().map_or(true, |creating| creating.is_some());
        if is_beginning { None } else { self.ticket() }
    }

    /// Begins an upload, and ends those that unanswered attempts may have begun.
    ///
    /// # Cancel safety
    /// All of it is done all the same, and [`Self::clean_up`] waits for it.
    pub(crate) async fn begin(
        &self,
        job: &Job,
        notes: &Arc<Notes>,
        beginning: NewUpload<'_>,
    ) -> Result<UploadId, Stop> {
        let NewUpload { style, pin, layout, condition } = beginning;
        let upload = self.created(job, notes, style).await?;
        let (layout, condition) = (layout.clone(), condition.clone());
        let ticket = Ticket { upload: upload.clone(), pin, layout, condition };
        self.set(Some(CurrentUpload::Ticketed(ticket.clone())));
        notes.begin_upload();
        write_down(job, notes, move |journal| journal.begun(&ticket)).await;
        Ok(upload)
    }

    /// Begins an upload that nobody else can resume, in place of what may be open: of parts that are copied within
    /// the target, or to a stage.
    ///
    /// # Cancel safety
    /// As [`Self::begin`].
    pub(crate) async fn begin_bare(
        &self,
        job: &Job,
        notes: &Arc<Notes>,
        style: &ObjectOptions,
    ) -> Result<UploadId, Stop> {
        if self.get().is_some() {
            self.clean_up(job, notes).await;
        }
        let upload = self.created(job, notes, style).await?;
        self.set(Some(CurrentUpload::Bare(upload.clone())));
        Ok(upload)
    }

    async fn created(&self, job: &Job, notes: &Arc<Notes>, style: &ObjectOptions) -> Result<UploadId, Stop> {
        self.journal.anything.store(true, Ordering::SeqCst);
        write_down(job, notes, |journal| journal.intends()).await;
        let mut creating = self.creating.lock().await;
        let written = Arc::clone(&self.journal);
        let task = creating.insert(tokio::spawn(create(job.clone(), Arc::clone(notes), style.clone(), written)));
        let joined = task.await;
        *creating = None;
        let answer = joined.map_err(|_| Fault::new(FaultClass::Internal, "the task that begins uploads panicked"))?;
        answer.map_err(|error| fault_at(Side::Target, &error).into())
    }

    /// What was open is not any more.
    ///
    /// # Cancel safety
    /// The ledger may still name it; whoever goes by that finds it gone.
    pub(crate) async fn close(&self, job: &Job, notes: &Notes) {
        self.set(None);
        // What is not known to be closed is for whoever comes next.
        if !self.journal.unknown.load(Ordering::SeqCst) && self.journal.anything.swap(false, Ordering::SeqCst) {
            write_down(job, notes, |journal| journal.ended()).await;
        }
    }

    /// Completes the upload under a condition, deciding again while the target changes.
    ///
    /// # Cancel safety
    /// Whether it was completed is unknown; [`Self::clean_up`] aborts it if it was not.
    pub(crate) async fn complete(
        &self,
        job: &Job,
        notes: &Notes,
        completion: Completion<'_>,
    ) -> Result<Committed, Stop> {
        let condition = completion.condition.clone();
        commit(job, notes, &mut CompleteCommit { uploads: self, job, notes, completion, conflicts: 0 }, condition).await
    }

    /// Aborts whatever is open and looks until it is gone, for at most the job's grace.
    ///
    /// # Cancel safety
    /// An upload may be left open.
    pub(crate) async fn clean_up(&self, job: &Job, notes: &Notes) {
        let left = async {
            if let Some(creating) = self.creating.lock().await.take()
                && let Ok(Ok(upload)) = creating.await
            {
                self.set(Some(CurrentUpload::Bare(upload)));
            }
            match self.get() {
                Some(upload) => abort(&job.session.target, &job.target_key, &upload).await,
                None => Ok(()),
            }
        };
        let gone = match timeout(job.grace, left).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {:?}", job.grace)),
        };
        match (gone, self.get()) {
            (None, _) => self.close(job, notes).await,
            (Some(why), Some(upload)) => {
                notes.note_permanent(format!("upload {} may still be open, a sweep aborts it: {why}", upload.as_str()));
            }
            (Some(why), None) => {
                notes.note_permanent(format!("a multipart upload may still be open, a sweep aborts it: {why}"))
            }
        }
    }
}

async fn is_alive(job: &Job, notes: &Notes, upload: &UploadId) -> Result<bool, Stop> {
    let list = ListParts {
        bucket: job.session.target.bucket.clone(),
        key: job.target_key.clone(),
        upload: upload.clone(),
        after: None,
    };
    let mut attempts = job.control();
    let answer = job.session.target.client.call(&list, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.class() == Class::Missing => Ok(false),
        Err(error) => Err(fault_at(Side::Target, &error).into()),
    }
}

struct CompleteCommit<'a> {
    uploads: &'a Uploads,
    job: &'a Job,
    notes: &'a Notes,
    completion: Completion<'a>,
    conflicts: u32,
}

impl Commit for CompleteCommit<'_> {
    type Operation = CompleteMultipartUpload;

    fn source(&self) -> &ObjectHead {
        self.completion.source
    }

    fn sent(&self) -> &Expected {
        self.completion.sent
    }

    fn attributes(&self) -> &Attributes {
        &self.completion.style.attributes
    }

    fn operation(&self, precondition: Option<Precondition>) -> CompleteMultipartUpload {
        CompleteMultipartUpload {
            bucket: self.job.session.target.bucket.clone(),
            key: self.job.target_key.clone(),
            upload: self.completion.upload.clone(),
            parts: self.completion.parts.to_vec(),
            size: self.completion.sent.size,
            crc: self.completion.sent.crc,
            precondition,
        }
    }

    async fn carried_out(&mut self, how: CarriedOut, _: &ETag) -> Option<Precondition> {
        match how {
            CarriedOut::Answered => self.uploads.close(self.job, self.notes).await,
            // Another handler of the same event may have made the very same object. Then this upload is open still, so
            // it is left to be aborted, which one that was completed answers with NoSuchUpload.
            CarriedOut::Found => {}
        }
        None
    }

    fn refused(&self, error: &Error) -> Stop {
        let fault = fault_at(Side::Target, error);
        // Opaque ETags differ each time a part is sent: by somebody with the same ticket, or by an attempt of ours that
        // was given up and landed late. ListParts shows what is there now.
        if error.code() == Some("InvalidPart") { Stop::Contended(Box::new(fault)) } else { fault.into() }
    }

    async fn retried(&mut self, retry: &Retry) -> Result<(), Stop> {
        match retry.code.as_deref() {
            Some("NoSuchUpload") => {
                self.uploads.close(self.job, self.notes).await;
                let gone = "the multipart upload does not exist any more: somebody else aborted or completed it";
                Err(Stop::replaced(gone))
            }
            // "Conditional writes": after a conflict the upload may be gone; if it lives, one more Complete.
            Some("ConditionalRequestConflict") => {
                self.conflicts += 1;
                if self.conflicts == 1 && is_alive(self.job, self.notes, self.completion.upload).await? {
                    return Ok(());
                }
                let note = "somebody else wrote the target at the same time, so all parts were sent again";
                self.notes.note_permanent(note);
                Err(Stop::replaced("somebody else wrote the target at the same time, which ended the upload"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
