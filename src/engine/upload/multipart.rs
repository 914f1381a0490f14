//! An object that goes in parts: an upload is begun or resumed, what it lacks is sent, and it is completed.

use crate::engine::context::{Applied, Context, PendingWrite};
use crate::engine::decide::plan::{Cut, Layout};
use crate::engine::decide::verify::{self, Expected, SourceCheck};
use crate::engine::decide::{Checks, Style};
use crate::engine::job::Step;
use crate::engine::look::source;
use crate::engine::notes;
use crate::engine::parts::buffering;
use crate::engine::parts::ordered::OrderedChecksum;
use crate::engine::parts::part::PartContext;
use crate::engine::parts::uploaded::PartOrigin;
use crate::engine::report::{Outcome, Proof};
use crate::engine::stop::{Stop, integrity_stop};
use crate::engine::upload::Completion;
use std::sync::Arc;

impl Context<'_> {
    /// Begins or resumes an upload, sends what it lacks, proves it and completes it, as far as the job's step goes.
    ///
    /// # Cancel safety
    /// What is open is left to [`Context::clean_up`]; whether the upload was completed is unknown.
    pub(crate) async fn upload(
        &self,
        wanted: PendingWrite<'_>,
        cut: &Layout,
        checks: Checks,
        style: &Style,
    ) -> Result<Applied, Stop> {
        let job = self.job;
        let PendingWrite { head, condition, .. } = wanted;
        let may_stream = matches!(checks.source, SourceCheck::Nothing);
        let ring = buffering::ring(job, &self.notes, head.size, &Cut::Parts(cut.clone()), may_stream).await?;
        let own_boundaries = match checks.source {
            SourceCheck::Ordered(algorithm, runs) if job.ongoing.step == Step::Complete => {
                Some(OrderedChecksum::begin(algorithm, runs))
            }
            SourceCheck::Ordered(..) | SourceCheck::Nothing => None,
        };
        let Style { object, keeps_etag, .. } = style;
        let kind = ring.kind();
        let wanted = u32::try_from(cut.count()).unwrap_or(u32::MAX).min(job.session.target.client.window());
        job.session.target.client.warm(&job.session.target.bucket, wanted);
        let (upload, listed) = self.upload_for(head, cut, object, &condition).await?;
        let parts = Arc::new(PartContext {
            job: job.clone(),
            notes: Arc::clone(&self.notes),
            pinned: head.clone(),
            upload: upload.clone(),
            own_boundaries,
            listed,
            ring,
        });
        let sent = match &job.ongoing.step {
            Step::Complete => self.all_parts(&parts, cut, *keeps_etag, checks.kinds).await?,
            Step::Send(numbers) => return Err(self.some_parts(&parts, cut, numbers, checks.kinds).await?),
            Step::Begin => return Err(Stop::StepDone),
        };
        self.parts_landed_as_sent(&upload, cut, &sent).await?;
        let made = Expected::of_parts(&sent.digests());
        let own = match &parts.own_boundaries {
            Some(ordered) => ordered.finish().await,
            None => None,
        };
        let source_proofs = self.prove_source(head, &made, own.as_ref())?;
        // Bytes that prove nothing although they were cut as the source was are wrong.
        if source_proofs.is_empty()
            && *keeps_etag
            && let Some(mismatch) = verify::layout_mismatch(head, &made)
            && source::is_layout(job, &self.notes, head, cut).await?
        {
            return Err(integrity_stop(&mismatch));
        }
        let named = sent.completed_parts();
        let completion =
            Completion { source: head, upload: &upload, parts: &named, sent: &made, condition, style: object };
        let committed = self.uploads.complete(job, &self.notes, completion).await?;
        self.tag_apart(head, &committed).await?;
        let mut applied = self.applied(head, committed, source_proofs, sent.count(PartOrigin::Sent), kind);
        if applied.outcome == Outcome::Copied {
            applied.bytes = sent.bytes(PartOrigin::Sent);
            applied.resumed_parts = sent.count(PartOrigin::Kept);
            notes::note(&self.notes, head, &Cut::Parts(cut.clone()), None);
            if sent.all_md5 && sent.all_hashed() {
                applied.at_target.proofs.push(Proof::PartMd5);
            }
        }
        Ok(applied)
    }
}
