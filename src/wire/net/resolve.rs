//! The addresses of hosts: looked up once for all who wait, used for a while, given out in turns.
//!
//! A cold start opens its connections at the same moment. Each with a look-up of its own, they would all begin at the
//! answer's first address.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// How long an answer of the resolver is used; S3 asks for a fresh look-up when a request goes wrong, and an address
/// that fails is dropped at once.
const RESOLVED_FOR: Duration = Duration::from_secs(30);

/// Addresses by host.
#[derive(Default)]
pub(crate) struct Resolver {
    hosts: std::sync::Mutex<HashMap<String, Arc<Mutex<Option<Resolved>>>>>,
}

struct Resolved {
    // By wall clock: a sandbox may have been frozen for longer, and S3 retires addresses within minutes.
    at: SystemTime,
    addresses: Vec<IpAddr>,
    next: usize,
}

impl Resolved {
    fn is_fresh(&self, now: SystemTime) -> bool {
        now.duration_since(self.at).is_ok_and(|age| age < RESOLVED_FOR)
    }

    /// All addresses, beginning with the one whose turn it is.
    fn turn(&mut self) -> Vec<IpAddr> {
        let mut addresses = self.addresses.clone();
        let first = self.next % addresses.len();
        addresses.rotate_left(first);
        self.next = first + 1;
        addresses
    }
}

impl Resolver {
    /// The addresses of a host, beginning with the one whose turn it is; looked up if what is known is old.
    ///
    /// # Errors
    /// That of the look-up, or `NotFound` if it found none.
    ///
    /// # Cancel safety
    /// The look-up is given up; the next one who waits begins another.
    pub(crate) async fn addresses<F>(&self, host: &str, look_up: impl FnOnce() -> F + Send) -> io::Result<Vec<IpAddr>>
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send,
    {
        let entry = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(host.to_owned()).or_default())
        };
        let mut entry = entry.lock().await;
        if let Some(known) = entry.as_mut().filter(|known| known.is_fresh(SystemTime::now())) {
            return Ok(known.turn());
        }
        *entry = None;
        let addresses = look_up().await?;
        if addresses.is_empty() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        Ok(entry.insert(Resolved { at: SystemTime::now(), addresses, next: 0 }).turn())
    }

    /// Forgets a host, so that the next one who asks looks it up.
    pub(crate) fn forget(&self, host: &str) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::cell::Cell;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicU32, Ordering};

    const HOST: &str = "bucket.s3.us-west-2.amazonaws.com";

    fn some(count: u8) -> Vec<IpAddr> {
        (1..=count).map(|last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last))).collect()
    }

    #[tokio::test]
    async fn connections_that_open_together_share_a_look_up_and_spread_over_its_addresses() {
        let (resolver, look_ups) = (Resolver::default(), AtomicU32::new(0));
        let one = || {
            resolver.addresses(HOST, || async {
                look_ups.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(some(4))
            })
        };
        let all = join_all((0..8).map(|_| one())).await;
        assert_eq!(look_ups.load(Ordering::SeqCst), 1);
        let mut firsts: Vec<IpAddr> = all.into_iter().map(|addresses| addresses.unwrap()[0]).collect();
        firsts.sort();
        let twice_each: Vec<IpAddr> = some(4).into_iter().flat_map(|address| [address, address]).collect();
        assert_eq!(firsts, twice_each);
    }

    #[tokio::test]
    async fn what_was_not_found_or_is_forgotten_is_looked_up_again() {
        let resolver = Resolver::default();
        let nothing = resolver.addresses(HOST, || async { Ok(Vec::new()) }).await;
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::NotFound);
        let refused = resolver.addresses(HOST, || async { Err(io::Error::other("no resolver")) }).await;
        assert!(refused.is_err());
        assert_eq!(resolver.addresses(HOST, || async { Ok(some(1)) }).await.unwrap(), some(1));
        let known = resolver.addresses(HOST, || async { Ok(some(2)) }).await;
        assert_eq!(known.unwrap(), some(1), "looked up although it was known");
        resolver.forget(HOST);
        assert_eq!(resolver.addresses(HOST, || async { Ok(some(2)) }).await.unwrap(), some(2));
    }

    #[tokio::test]
    async fn a_look_up_that_is_given_up_leaves_the_next_one_free() {
        let resolver = Resolver::default();
        let began = Cell::new(false);
        let given_up = tokio::time::timeout(Duration::ZERO, async {
            began.set(true);
            resolver.addresses(HOST, std::future::pending::<io::Result<Vec<IpAddr>>>).await
        });
        assert!(given_up.await.is_err() && began.get());
        assert_eq!(resolver.addresses(HOST, || async { Ok(some(1)) }).await.unwrap(), some(1));
    }

    #[test]
    fn an_answer_is_old_by_wall_clock_whatever_the_sandbox_slept() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let fresh = |at| Resolved { at, addresses: some(1), next: 0 }.is_fresh(now);
        assert!(fresh(now) && fresh(now - Duration::from_secs(29)));
        assert!(!fresh(now - RESOLVED_FOR));
        assert!(!fresh(now + Duration::from_secs(1)), "a clock that was set back makes the age unknown");
    }
}
