//! How much of a body that was put on a connection has arrived.

/// How much of what a connection has taken is still on this machine: 32 KiB each in hyper, in rustls, and unsent in the
/// kernel. The gate hears of bytes this much later, so that filling these is not taken for goodput.
pub(crate) const ON_THE_WAY: u64 = 96 << 10;

/// Of so many bytes that a connection has taken, those that have left this machine.
pub(crate) fn arrived(taken: u64) -> u64 {
    taken.saturating_sub(ON_THE_WAY)
}

/// Bytes of a body of which the gate has not heard when the answer comes.
pub(crate) fn unreported(length: u64) -> u64 {
    length.min(ON_THE_WAY)
}
