//! MD5s of parts that wait for their answers: computed when the first of them is wanted, together with those of others.
//!
//! Nobody needs a part's MD5 before the target has answered for it, and by then others of its length wait too: sixteen
//! cost as much as two or three by themselves (the package md5s).

use crate::engine::fault::{Fault, FaultClass};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

type Md5Result = Option<[u8; 16]>;

/// Parts whose MD5s nobody has wanted yet, in the order in which they came.
#[derive(Default)]
pub(crate) struct Md5s(Mutex<Md5Queue>);

#[derive(Default)]
struct Md5Queue {
    next: u64,
    parts: BTreeMap<u64, QueuedPart>,
}

struct QueuedPart {
    bytes: Bytes,
    told: watch::Sender<Md5Result>,
}

/// The MD5 of one part. Its bytes are held until it is computed or this drops.
pub(crate) struct Md5 {
    all: Arc<Md5s>,
    place: u64,
    answer: watch::Receiver<Md5Result>,
}

impl Md5s {
    fn waiting(&self) -> MutexGuard<'_, Md5Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(self: &Arc<Self>, bytes: Bytes) -> Md5 {
        let (told, answer) = watch::channel(None);
        let mut waiting = self.waiting();
        let place = waiting.next;
        waiting.next += 1;
        waiting.parts.insert(place, QueuedPart { bytes, told });
        Md5 { all: Arc::clone(self), place, answer }
    }

    /// The part at this place, with those that have waited longest of its length; none if it does not wait any more.
    fn take(&self, place: u64) -> Vec<QueuedPart> {
        let mut waiting = self.waiting();
        let Some(own) = waiting.parts.remove(&place) else { return Vec::new() };
        let is_alike = |(_, part): &(&u64, &QueuedPart)| part.bytes.len() == own.bytes.len();
        let alike = waiting.parts.iter().filter(is_alike).map(|(place, _)| *place);
        let places: Vec<u64> = alike.take(md5s::LANES - 1).collect();
        let others = places.iter().filter_map(|place| waiting.parts.remove(place));
        let mut together: Vec<QueuedPart> = others.collect();
        together.push(own);
        together
    }
}

impl Md5 {
    /// The MD5, computed now if it was not with another's.
    ///
    /// # Cancel safety
    /// What was begun is done all the same, for whoever asks next.
    pub(crate) async fn get(&self) -> Result<[u8; 16], Fault> {
        let together = self.all.take(self.place);
        if !together.is_empty() {
            tokio::task::spawn_blocking(move || {
                let runs: Vec<&[u8]> = together.iter().map(|part| part.bytes.as_ref()).collect();
                let md5s = md5s::of_each(&runs);
                for (part, md5) in together.iter().zip(md5s) {
                    part.told.send_replace(Some(md5));
                }
            });
        }
        let mut answer = self.answer.clone();
        let md5 = answer.wait_for(Option::is_some).await.ok().and_then(|md5| *md5);
        md5.ok_or_else(|| Fault::new(FaultClass::Internal, "the thread that computes MD5s panicked"))
    }
}

impl Drop for Md5 {
    fn drop(&mut self) {
        let part = self.all.waiting().parts.remove(&self.place);
        // After the lock: giving a slot back may take long.
        drop(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::integrity::checksum::Digests;

    fn alone(bytes: &[u8]) -> [u8; 16] {
        Digests::of(bytes).md5.unwrap()
    }

    #[tokio::test]
    async fn who_asks_first_computes_for_those_of_the_same_length_that_wait() {
        let md5s = Arc::new(Md5s::default());
        let parts: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; if n == 7 { 99 } else { 100 }]).collect();
        let all: Vec<Md5> = parts.iter().map(|part| md5s.enter(Bytes::from(part.clone()))).collect();
        assert_eq!(all[9].get().await.unwrap(), alone(&parts[9]));
        // It went with the fifteen that had waited longest, but for the one that is shorter.
        let left: Vec<u64> = md5s.waiting().parts.keys().copied().collect();
        assert_eq!(left, [7, 17, 18, 19]);
        for (part, md5) in parts.iter().zip(&all) {
            assert_eq!(md5.get().await.unwrap(), alone(part));
            assert_eq!(md5.get().await.unwrap(), alone(part));
        }
        assert!(md5s.waiting().parts.is_empty());
    }

    struct Slot(#[expect(dead_code, reason = "it is counted who holds it")] Arc<()>);

    impl AsRef<[u8]> for Slot {
        fn as_ref(&self) -> &[u8] {
            b"part"
        }
    }

    #[tokio::test]
    async fn the_bytes_of_a_part_are_let_go_with_it_and_once_its_md5_is_known() {
        let md5s = Arc::new(Md5s::default());
        let (given_up, wanted) = (Arc::new(()), Arc::new(()));
        let enter = |held: &Arc<()>| md5s.enter(Bytes::from_owner(Slot(Arc::clone(held))));
        drop(enter(&given_up));
        assert_eq!(Arc::strong_count(&given_up), 1);
        let md5 = enter(&wanted);
        assert_eq!(md5.get().await.unwrap(), alone(b"part"));
        // The thread tells before it lets go.
        while Arc::strong_count(&wanted) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
