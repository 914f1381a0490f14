//! The part of the target's keys that belongs to us: what waits there is no copy of anything, and nobody's to read.

/// What the keys of our own helpers begin with: stages, of which objects are put together, and the probe by which a sweep
/// learns who we are. Listings of the target leave it out, and a sweep removes what is old under it. A deployed function
/// and a later version meet here, so it is never changed; with it the target user's policy, which names it, would be.
pub const PREFIX: &str = ".xpsync/";
