//! How the process ends, and what asks for its end.

use crate::cli::show;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    Interrupted,
}

/// Becomes true at the first Ctrl-C or SIGTERM; the second ends the process at once.
pub(crate) fn interrupted() -> std::io::Result<watch::Receiver<bool>> {
    let (ask, asked) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ask = Arc::new(ask);
    // Lives as long as the process: it has no other work than to hear signals.
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if ask.send_replace(true) {
                std::process::exit(130);
            }
            show::problem("interrupted: stopping; press Ctrl-C again to exit at once");
        }
    });
    Ok(asked)
}
