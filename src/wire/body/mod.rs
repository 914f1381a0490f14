//! Bodies on their way: ours, which show how far they got, and S3's, which may not stand still.

pub mod incoming;
pub(crate) mod lease;
pub(crate) mod outgoing;
pub mod pipe;
pub(crate) mod progress;
