//! Bodies on their way: ours, which show how far they got, and S3's, which may not stand still.

pub mod incoming;
pub mod lease;
pub mod outgoing;
pub mod pacer;
pub mod pipe;
pub mod progress;
