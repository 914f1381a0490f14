//! What a write or the lack of one comes to, and what the bytes that were read prove of the source.

use crate::engine::commit::put::put_tags;
use crate::engine::commit::{Committed, TargetState};
use crate::engine::context::{Applied, Context};
use crate::engine::decide::sameness::Sameness;
use crate::engine::decide::verify::{self, Expected};
use crate::engine::report::{BufferKind, Outcome, Proof};
use crate::engine::stop::{Stop, integrity_stop};
use crate::s3::integrity::sums::Stored;
use crate::s3::object::head::ObjectHead;

impl Context<'_> {
    pub(crate) fn unchanged(&self, head: &ObjectHead, at_target: TargetState, by: Sameness) -> Applied {
        match by {
            Sameness::Recorded => {
                self.notes.note(
                    "considered equal by the xpsync-source-etag metadata at the target; the content was not compared",
                );
            }
            Sameness::Checksum => self.notes.note("considered equal: source and target store the same checksum"),
            Sameness::ETag | Sameness::Crc64Nvme | Sameness::Different => {}
        }
        Applied {
            source: Box::new(head.clone()),
            outcome: Outcome::Unchanged,
            at_target,
            source_proofs: Vec::new(),
            bytes: 0,
            parts: 0,
            resumed_parts: 0,
        }
    }

    pub(crate) async fn tag_apart(&self, head: &ObjectHead, committed: &Committed) -> Result<(), Stop> {
        match committed {
            Committed::Written(_) => put_tags(self.job, &self.notes, head).await,
            Committed::Unchanged(..) => Ok(()),
        }
    }

    pub(crate) fn prove_source(
        &self,
        head: &ObjectHead,
        made: &Expected,
        own: Option<&Stored>,
    ) -> Result<Vec<Proof>, Stop> {
        let proofs = verify::source(head, made, own).map_err(|mismatch| integrity_stop(&mismatch))?;
        if proofs.is_empty() {
            self.notes.note(
                "the source stores no checksum, and its ETag is not an MD5, so the bytes read could not be compared \
                 with it",
            );
        }
        Ok(proofs)
    }

    pub(crate) fn applied(
        &self,
        head: &ObjectHead,
        committed: Committed,
        source_proofs: Vec<Proof>,
        parts: u32,
        kind: BufferKind,
    ) -> Applied {
        match committed {
            Committed::Written(at_target) => {
                self.notes.with(|kept| kept.buffer = Some(kind));
                let source = Box::new(head.clone());
                let (bytes, resumed_parts) = (head.size, 0);
                Applied { source, outcome: Outcome::Copied, at_target, source_proofs, bytes, parts, resumed_parts }
            }
            Committed::Unchanged(at_target, by) => Applied { source_proofs, ..self.unchanged(head, at_target, by) },
        }
    }
}
