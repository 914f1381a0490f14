//! What a single other attempt can mend: a clock, keys, a region.

use crate::s3::Bucket;
use crate::s3::bucket::HeadBucket;
use crate::s3::error::{Refusal, Remedy};
use crate::s3::http::endpoint::Region;
use crate::s3::http::operation::Request;
use crate::wire::client::attempt::Attempts;
use crate::wire::client::call::Client;
use crate::wire::client::request::RegionalEndpoint;
use crate::wire::error::Error;
use std::sync::PoisonError;
use std::time::SystemTime;

impl Client {
    /// Applies a remedy; false if there is nothing to apply.
    pub(crate) async fn apply(&self, remedy: Remedy, error: &Error, attempts: &Attempts) -> Result<bool, Error> {
        match (remedy, error.refusal()) {
            (Remedy::Clock, Some(Refusal { server_time: Some(theirs), .. })) => {
                self.0.quirks.set_clock(*theirs, SystemTime::now());
                Ok(true)
            }
            (Remedy::Credentials, _) => match attempts.signed_with() {
                Some(refused) => Ok(self.0.keys.renewed(refused).await.map_err(Error::Keys)?.is_some()),
                None => Ok(false),
            },
            (Remedy::Region(named), Some(refusal)) => {
                let found = match named {
                    Some(region) => Some(region),
                    None => self.find_region(refusal).await,
                };
                Ok(found.is_some_and(|region| self.move_to(&region)))
            }
            (Remedy::Clock | Remedy::Region(_), _) => Ok(false),
        }
    }

    /// Asks for the region of a bucket: HeadBucket names it even when it refuses ("HeadBucket").
    async fn find_region(&self, refusal: &Refusal) -> Option<String> {
        let bucket = Bucket::new(&refusal.bucket).ok()?;
        let mut attempts =
            Attempts::new(crate::wire::client::retry::Persistence::Control, &crate::wire::deadline::Deadline::never());
        let operation = HeadBucket { bucket };
        // Boxed: attempts can lead here and from here to an attempt.
        let answered = Box::pin(self.attempt(&Request::of(&operation), &mut attempts)).await.ok()?;
        answered.head.text("x-amz-bucket-region").map(str::to_owned)
    }

    /// Moves this side to another region of its partition; keys of one partition mean nothing in another. True too if
    /// it is there already: a request that was signed before another one was redirected has the right region next
    /// time.
    fn move_to(&self, region: &str) -> bool {
        let Ok(region) = Region::new(region) else { return false };
        let mut site = self.0.site.write().unwrap_or_else(PoisonError::into_inner);
        if region.partition() != site.region.partition() {
            return false;
        }
        if region == site.region {
            return true;
        }
        *site = RegionalEndpoint { endpoint: site.endpoint.moved_to(region.clone()), region };
        true
    }
}
