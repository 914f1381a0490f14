//! Where credentials come from, asked again for each attempt.

use crate::s3::error::Class;
use crate::wire::gate::Boxed;
use aws_credential_types::Credentials;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// Credentials that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct KeysError {
    /// One sentence naming where they were looked for and what is wrong, never what they are.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Why not.
    pub(crate) fault: KeysFault,
}

/// Why credentials cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysFault {
    /// Who keeps them said no.
    Refused(Class),
    /// Who keeps them was not reached.
    Unreachable,
    /// They are not there, or not of the form that they must have.
    Misconfigured,
}

/// A source of credentials.
pub trait Keys: Send + Sync {
    /// The credentials to sign with now.
    fn current(&self) -> Boxed<'_, Result<Credentials, KeysError>>;

    /// Other credentials than these, which S3 refused; `None` if there are no others.
    fn renewed<'a>(&'a self, refused: &'a Credentials) -> Boxed<'a, Result<Option<Credentials>, KeysError>>;
}

/// A place from which credentials can be fetched, again each time.
pub(crate) trait Fetch: Send + Sync {
    fn fetch(&self) -> Boxed<'_, Result<Credentials, KeysError>>;
}

/// How long fetched credentials are used before they are fetched again, so that a rotation needs no restart.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Credentials that end within this are fetched again before they are used once more.
const ENDING: Duration = Duration::from_secs(60);

/// Fetched credentials: fetched once for all who wait, kept, and fetched again when they are old or were refused.
pub(crate) struct CachedKeys<F> {
    place: F,
    held: Mutex<Option<CachedEntry>>,
}

struct CachedEntry {
    credentials: Credentials,
    // By wall clock: a sandbox may have been frozen for longer.
    since: SystemTime,
}

impl CachedEntry {
    fn is_fresh(&self, now: SystemTime) -> bool {
        let young = now.duration_since(self.since).is_ok_and(|age| age < KEPT_FOR);
        let lasting = self.credentials.expiry().is_none_or(|end| now + ENDING < end);
        young && lasting
    }
}

impl<F: Fetch> CachedKeys<F> {
    /// Credentials that have not been fetched.
    pub(crate) fn new(place: F) -> Self {
        Self { place, held: Mutex::default() }
    }

    async fn fetched(&self, held: &mut Option<CachedEntry>) -> Result<Credentials, KeysError> {
        let credentials = self.place.fetch().await?;
        *held = Some(CachedEntry { credentials: credentials.clone(), since: SystemTime::now() });
        Ok(credentials)
    }
}

impl<F: Fetch> Keys for CachedKeys<F> {
    fn current(&self) -> Boxed<'_, Result<Credentials, KeysError>> {
        Box::pin(async {
            let mut held = self.held.lock().await;
            let known = match held.as_ref() {
                Some(held) if held.is_fresh(SystemTime::now()) => return Ok(held.credentials.clone()),
                Some(held) => Some(held.credentials.clone()),
                None => None,
            };
            match (self.fetched(&mut held).await, known) {
                (Ok(fresh), _) => Ok(fresh),
                // Old ones that still work are better than none; if they do not, their refusal asks for new ones.
                (Err(error), Some(known)) => {
                    tracing::warn!(%error, "credentials could not be refreshed; continuing with the old ones");
                    Ok(known)
                }
                (Err(error), None) => Err(error),
            }
        })
    }

    fn renewed<'a>(&'a self, refused: &'a Credentials) -> Boxed<'a, Result<Option<Credentials>, KeysError>> {
        Box::pin(async move {
            let mut held = self.held.lock().await;
            // Another request may have fetched them while this one waited for its refusal.
            if let Some(held) = held.as_ref()
                && differ(&held.credentials, refused)
            {
                return Ok(Some(held.credentials.clone()));
            }
            let fresh = self.fetched(&mut held).await?;
            Ok(Some(fresh).filter(|fresh| differ(fresh, refused)))
        })
    }
}

fn differ(a: &Credentials, b: &Credentials) -> bool {
    a.access_key_id() != b.access_key_id()
        || a.secret_access_key() != b.secret_access_key()
        || a.session_token() != b.session_token()
}

/// Keys that are fetched before a request asks for them. Dropped, it is given up.
pub(crate) struct Prefetch {
    // By wall clock: a frozen sandbox's time may stand still while the other side gives the fetch up.
    since: SystemTime,
    task: JoinHandle<()>,
}

/// A fetch takes milliseconds. One that is older and not over was frozen, and who waits for it may wait for a time-out.
const AHEAD_FOR: Duration = Duration::from_secs(3);

impl Prefetch {
    /// Begins to fetch. What goes wrong is found out and reported by the request that asks for the keys.
    pub(crate) fn begin(keys: Arc<dyn Keys>) -> Self {
        let task = tokio::spawn(async move {
            if let Err(error) = keys.current().await {
                tracing::debug!(%error, "the credentials could not be fetched in advance; the first request will try again");
            }
        });
        Self { since: SystemTime::now(), task }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    pub(crate) fn is_stale(&self, now: SystemTime) -> bool {
        !now.duration_since(self.since).is_ok_and(|age| age < AHEAD_FOR)
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Credentials that never change.
#[derive(Debug, Clone)]
pub struct Fixed(pub Credentials);

impl Keys for Fixed {
    fn current(&self) -> Boxed<'_, Result<Credentials, KeysError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn renewed<'a>(&'a self, _: &'a Credentials) -> Boxed<'a, Result<Option<Credentials>, KeysError>> {
        Box::pin(async { Ok(None) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Gives other keys each time, or the same, or none.
    struct Place {
        fetched: AtomicU32,
        rotates: u32,
    }

    impl Fetch for Place {
        fn fetch(&self) -> Boxed<'_, Result<Credentials, KeysError>> {
            Box::pin(async {
                let count = self.fetched.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(Credentials::from_keys(format!("AK{}", count.min(self.rotates)), "SK", None))
            })
        }
    }

    fn kept(rotates: u32) -> CachedKeys<Place> {
        CachedKeys::new(Place { fetched: AtomicU32::new(0), rotates })
    }

    #[tokio::test]
    async fn many_who_wait_are_served_by_one_fetch() {
        let keys = kept(9);
        let both = tokio::join!(keys.current(), keys.current(), keys.current());
        assert!([both.0, both.1, both.2].into_iter().all(|keys| keys.unwrap().access_key_id() == "AK0"));
        assert_eq!(keys.place.fetched.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn refused_keys_are_fetched_again_once_for_all() {
        let keys = kept(9);
        let refused = keys.current().await.unwrap();
        let both = tokio::join!(keys.renewed(&refused), keys.renewed(&refused));
        assert!([both.0, both.1].into_iter().all(|keys| keys.unwrap().unwrap().access_key_id() == "AK1"));
        assert_eq!(keys.place.fetched.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_same_keys_again_are_no_others() {
        let keys = kept(0);
        let refused = keys.current().await.unwrap();
        assert!(keys.renewed(&refused).await.unwrap().is_none());
    }

    /// Never answers the first time, as a fetch that was frozen does.
    #[derive(Default)]
    struct Frozen(AtomicU32);

    impl Fetch for Frozen {
        fn fetch(&self) -> Boxed<'_, Result<Credentials, KeysError>> {
            Box::pin(async {
                if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                    std::future::pending::<()>().await;
                }
                Ok(Credentials::from_keys("AK", "SK", None))
            })
        }
    }

    #[tokio::test]
    async fn a_fetch_that_was_frozen_is_given_up_and_keeps_nobody_waiting() {
        let keys: Arc<CachedKeys<Frozen>> = Arc::new(CachedKeys::new(Frozen::default()));
        let ahead = Prefetch::begin(Arc::<CachedKeys<Frozen>>::clone(&keys));
        tokio::task::yield_now().await;
        assert_eq!((keys.place.0.load(Ordering::SeqCst), ahead.is_over()), (1, false));
        let since = ahead.since;
        assert!(!ahead.is_stale(since) && ahead.is_stale(since + AHEAD_FOR));
        assert!(ahead.is_stale(since - Duration::from_secs(1)), "a clock that was set back makes the age unknown");
        drop(ahead);
        assert_eq!(keys.current().await.unwrap().access_key_id(), "AK");
    }

    #[test]
    fn old_and_ending_keys_are_not_fresh() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let held = |age, ends: Option<u64>| {
            let expiry = ends.map(|seconds| now + Duration::from_secs(seconds));
            let credentials = Credentials::new("AK", "SK", None, expiry, "test");
            CachedEntry { credentials, since: now - Duration::from_secs(age) }.is_fresh(now)
        };
        assert!(held(0, None) && held(299, Some(61)));
        assert!(!held(300, None) && !held(0, Some(60)));
        let future =
            CachedEntry { credentials: Credentials::from_keys("AK", "SK", None), since: now + Duration::from_secs(1) };
        assert!(!future.is_fresh(now), "a clock that was set back makes the age unknown");
    }
}
