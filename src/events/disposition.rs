//! What becomes of a message of the queue once its reports are there: pure.

use crate::engine::fault::{Fault, FaultClass, Mender};
use crate::engine::report::{Outcome, Report};
use crate::s3::error::Remedy;
use std::time::Duration;

/// How long a message that failed for the first time stays away.
const FIRST: Duration = Duration::from_secs(30);
/// The longest that one stays away: a border that is closed for hours is tried four times in each.
const LONGEST: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disposition {
    Done,
    /// It comes again after so long.
    Later(Duration),
    /// Nothing but a person will help: it goes to the dead letters at once.
    Dead,
}

impl Disposition {
    /// Of a message with these reports, received so often, this time included.
    pub(crate) fn of(reports: &[Report], receives: u32) -> Self {
        let mut failures = reports.iter().filter(|report| is_failure(report)).peekable();
        if failures.peek().is_none() {
            return Self::Done;
        }
        // Of several records in one message, one that may pass is worth the others' being looked at again.
        if failures.any(may_pass) { Self::Later(away(receives)) } else { Self::Dead }
    }
}

/// Whether a report is one of work that is not done.
pub(crate) fn is_failure(report: &Report) -> bool {
    match report.outcome {
        Outcome::Failed | Outcome::Resumable => true,
        Outcome::Copied
        | Outcome::Unchanged
        | Outcome::Deleted
        | Outcome::HandedOver
        | Outcome::Superseded
        | Outcome::Ignored => false,
    }
}

fn may_pass(report: &Report) -> bool {
    // A failure that lost its fault is a defect of ours, and a defect may be mended by the next deployment.
    report.outcome == Outcome::Resumable || report.fault.as_deref().is_none_or(passes_by_itself)
}

/// Beside what its class says: keys that are being rotated, and a source or target that somebody writes
/// faster than it can be copied.
fn passes_by_itself(fault: &Fault) -> bool {
    let by_remedy = match fault.remedy {
        Some(Remedy::Credentials | Remedy::Clock) => true,
        Some(Remedy::Region(_)) | None => false,
    };
    by_remedy || fault.class.mended_by() != Mender::Person
}

/// How long a continuation stays away: not at all if only the time was too short, and longer each time if it was the
/// border or the target that did not take more.
pub(crate) fn delay(report: &Report, fruitless: u32) -> Duration {
    match report.fault.as_deref() {
        Some(fault) if fault.class != FaultClass::Deadline => away(fruitless.saturating_add(1)),
        Some(_) | None => Duration::ZERO,
    }
}

/// Twice as long each time.
fn away(receives: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(receives.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fault::FaultClass;
    use crate::engine::report::ObjectRef;

    fn failed(class: FaultClass) -> Report {
        Report::failed(ObjectRef::default(), ObjectRef::default(), Fault::new(class, "it did not work"))
    }

    fn of(outcome: Outcome) -> Report {
        Report::new(outcome, ObjectRef::default(), ObjectRef::default())
    }

    #[test]
    fn work_that_is_done_or_was_handed_on_is_acknowledged() {
        let all = [
            Outcome::Copied,
            Outcome::Unchanged,
            Outcome::Deleted,
            Outcome::HandedOver,
            Outcome::Superseded,
            Outcome::Ignored,
        ];
        assert_eq!(Disposition::of(&all.map(of), 1), Disposition::Done);
        assert_eq!(Disposition::of(&[], 1), Disposition::Done);
    }

    #[test]
    fn what_may_pass_comes_again_later_each_time() {
        let check = |receives, seconds| {
            let expected = Disposition::Later(Duration::from_secs(seconds));
            assert_eq!(Disposition::of(&[failed(FaultClass::Network)], receives), expected);
        };
        check(0, 30);
        check(1, 30);
        check(2, 60);
        check(5, 480);
        check(6, 900);
        check(u32::MAX, 900);
        assert!(matches!(Disposition::of(&[of(Outcome::Resumable)], 1), Disposition::Later(_)));
        assert!(matches!(Disposition::of(&[failed(FaultClass::Internal)], 1), Disposition::Later(_)));
        assert!(matches!(Disposition::of(&[failed(FaultClass::Precondition)], 1), Disposition::Later(_)));
    }

    #[test]
    fn a_continuation_waits_if_it_was_not_the_time_that_was_too_short() {
        assert_eq!(delay(&failed(FaultClass::Deadline), 2), Duration::ZERO);
        assert_eq!(delay(&failed(FaultClass::Network), 0), Duration::from_secs(30));
        assert_eq!(delay(&failed(FaultClass::Throttled), 2), Duration::from_secs(120));
    }

    #[test]
    fn keys_that_may_be_in_rotation_bury_nothing() {
        let mut report = failed(FaultClass::Refused);
        if let Some(fault) = &mut report.fault {
            fault.remedy = Some(Remedy::Credentials);
        }
        assert!(matches!(Disposition::of(&[report], 1), Disposition::Later(_)));
    }

    #[test]
    fn what_only_a_person_can_mend_is_put_aside_at_once() {
        for class in
            [FaultClass::Refused, FaultClass::Event, FaultClass::Configuration, FaultClass::Budget, FaultClass::Missing]
        {
            assert_eq!(Disposition::of(&[failed(class), of(Outcome::Copied)], 1), Disposition::Dead, "{class:?}");
        }
        assert!(matches!(
            Disposition::of(&[failed(FaultClass::Refused), failed(FaultClass::Network)], 1),
            Disposition::Later(_)
        ));
    }
}
