//! One attempt at an object: what is at the source is pinned, what is at the target decides, and what differs is
//! written.

use crate::engine::commit::TargetState;
use crate::engine::context::{Applied, AttemptResult, Context, PendingWrite};
use crate::engine::decide::plan::{Cut, EtagMode, Layout, SourceLayout};
use crate::engine::decide::{Action, Facts, Plan, Route, action, decide};
use crate::engine::fault::{Fault, FaultClass};
use crate::engine::look::source::{self, Pinned};
use crate::engine::look::target;
use crate::engine::stop::Stop;
use crate::s3::http::operation::Precondition;
use crate::s3::object::head::ObjectHead;
use crate::wire::body::incoming::Incoming;

/// Connections to the target that are opened while the first look at it is under way: some, because it may show that
/// there is nothing to send. The others are opened while the upload is begun.
const EARLY_CONNECTIONS: u32 = 16;

impl Context<'_> {
    /// Pins the source, looks at the target, and writes it if it differs.
    pub(crate) async fn attempt(&self, refused_pin: &mut Option<ObjectHead>) -> Result<AttemptResult, Stop> {
        let job = self.job;
        let hinted_large = job.size_hint.is_some_and(|size| size > job.session.options.table.put_first);
        let early_look = async { if hinted_large { Some(target::head(job, &self.notes).await) } else { None } };
        let (found, early) = tokio::join!(source::pin(job, &self.notes), early_look);
        let (head, body) = match found? {
            Pinned::Gone => return Ok(AttemptResult::Gone),
            Pinned::Object(head, body) => (head, body),
        };
        self.learn_source_etag_form(refused_pin.take(), &head);
        job.progress.begin(head.size);
        if head.size > job.session.options.table.single_put {
            job.session.target.client.warm(&job.session.target.bucket, EARLY_CONNECTIONS);
        }
        let result = async {
            if self.puts_before_looking(&head) {
                return self.put_first(&head, body).await;
            }
            let seen = match early {
                Some(seen) => match seen? {
                    Some(mut seen) => {
                        target::add_tags(job, &self.notes, &head, &mut seen).await?;
                        Some(seen)
                    }
                    None => None,
                },
                None => target::look(job, &self.notes, &head).await?,
            };
            match (action(&head, seen.as_ref(), &job.session.options), &seen) {
                (Action::Keep(by), Some(seen)) => Ok(self.unchanged(&head, TargetState::unchanged(seen, by), by)),
                (Action::Recopy(recopy, condition), Some(seen)) => {
                    // An open body holds a permit; it is asked for again if it is wanted after all.
                    drop(body);
                    match self.recopied(&head, seen, &condition, &recopy).await? {
                        Some(applied) => Ok(applied),
                        None => self.write(&head, None, Some(seen), condition).await,
                    }
                }
                (Action::Write(condition), seen) => self.write(&head, body, seen.as_ref(), condition).await,
                (Action::Keep(_) | Action::Recopy(..), None) => {
                    Err(Fault::new(FaultClass::Internal, "a target that nobody saw was to be kept").into())
                }
            }
        }
        .await;
        if matches!(result, Err(Stop::Restart(_))) {
            *refused_pin = Some(*head);
        }
        result.map(AttemptResult::Applied)
    }

    /// Whether the conditional PUT goes before any look at the target.
    fn puts_before_looking(&self, head: &ObjectHead) -> bool {
        let in_parts = self.job.session.options.etag == EtagMode::Preserve && head.etag.parts().is_some();
        head.size <= self.job.session.options.table.put_first && !in_parts
    }

    /// If a state was refused as replaced and the very same is there, the server compares ETags with our quotes.
    fn learn_source_etag_form(&self, refused: Option<ObjectHead>, found: &ObjectHead) {
        if let Some(refused) = refused
            && refused.etag.is_same_state(&found.etag)
            && refused.version == found.version
            && refused.last_modified == found.last_modified
        {
            self.job.session.source.client.quirks().use_unquoted_if_match();
        }
    }

    /// The small path: no look before the first PUT.
    async fn put_first(&self, head: &ObjectHead, body: Option<Box<Incoming>>) -> Result<Applied, Stop> {
        // Of a single part; those of several are larger, but for the last.
        let layout = match head.etag.parts() {
            Some(1) if head.size > 0 => SourceLayout::Parts(Layout::Even { part: head.size, size: head.size }),
            Some(_) => SourceLayout::Unknown,
            None => SourceLayout::Single,
        };
        let checks = Plan::of_first_put(&self.facts(head, &layout, None)).checks;
        let wanted = PendingWrite { head, seen: None, condition: Precondition::IfAbsent };
        self.put(wanted, body, checks).await
    }

    async fn write(
        &self,
        head: &ObjectHead,
        body: Option<Box<Incoming>>,
        seen: Option<&ObjectHead>,
        condition: Precondition,
    ) -> Result<Applied, Stop> {
        let job = self.job;
        let layout = source::layout(job, &self.notes, head).await?;
        let plan = decide(&self.facts(head, &layout, seen))
            .map_err(|error| Fault::new(FaultClass::Configuration, error.to_string()))?;
        if plan.style.gives_up_etag {
            self.notes
                .note("the source's ETag was not preserved: one side is encrypted with KMS, where ETags are not MD5s");
        }
        let wanted = PendingWrite { head, seen, condition };
        match (plan.route, plan.cut) {
            (Route::StagedWhole(stage), _) => self.staged_whole(&wanted, &stage).await,
            (Route::StagedParts(stages), _) => self.staged_parts(&wanted, &stages).await,
            (Route::Direct, Cut::Put { .. }) => self.put(wanted, body, plan.checks).await,
            (Route::Direct, Cut::Parts(cut)) => {
                drop(body);
                self.upload(wanted, &cut, plan.checks, &plan.style).await
            }
        }
    }

    fn facts<'a>(
        &'a self,
        source: &'a ObjectHead,
        layout: &'a SourceLayout,
        seen: Option<&'a ObjectHead>,
    ) -> Facts<'a> {
        let learned_opaque = self.job.session.target.client.quirks().expects_opaque_etags();
        Facts { source, layout, seen, options: &self.job.session.options, learned_opaque }
    }
}
