//! Sending a part whose bytes arrive while it is sent.

use crate::s3::http::operation::Request;
use crate::s3::integrity::checksum::Digests;
use crate::s3::multipart::streamed::StreamedPart;
use crate::s3::object::put::Written;
use crate::wire::body::outgoing::Load;
use crate::wire::body::pipe::{PipeWriter, StreamError, line};
use crate::wire::client::attempt::Attempts;
use crate::wire::client::call::Client;
use crate::wire::error::{Error, LostAt};
use std::future::Future;
use std::io;
use std::pin::pin;

impl Client {
    /// Sends a part once, its bytes as `source` pushes them. The source is begun when the part has its permit, and runs
    /// while a connection is found and used. It must push all bytes before it returns.
    ///
    /// Only what the target did counts as an attempt that failed: after `StreamError::Target`, [`Self::again`] decides.
    ///
    /// # Errors
    /// `StreamError`. An upload keeps nothing of a part that was torn.
    ///
    /// # Cancel safety
    /// The source is dropped and the request's connection closed.
    pub async fn stream<E: Send, S: Future<Output = Result<(), E>> + Send>(
        &self,
        part: &StreamedPart,
        attempts: &mut Attempts,
        source: impl FnOnce(PipeWriter) -> S + Send,
    ) -> Result<(Written, Digests), StreamError<E>> {
        let permit = self.permit_for(attempts, part.length).await;
        let (writer, reader) = line(part);
        let line = reader.pipe();
        let result = {
            let mut feeding = pin!(source(writer));
            let mut sending = pin!(async {
                let answered = self.attempt_with(&Request::of(part), Load::Streamed(reader), permit, attempts).await?;
                self.read(part, answered).await
            });
            let mut is_feeding = true;
            loop {
                tokio::select! {
                    biased;
                    answer = &mut sending => break match answer {
                        Ok(written) => match line.digests().filter(|_| line.is_over()) {
                            Some(digests) => Ok((written, digests)),
                            None => Err(StreamError::Target(early())),
                        },
                        Err(_) if line.is_cut() => Err(line.short()),
                        Err(error) => Err(StreamError::Target(error)),
                    },
                    stopped = &mut feeding, if is_feeding => match stopped {
                        Ok(()) if line.digests().is_some() => is_feeding = false,
                        Ok(()) => break Err(line.short()),
                        // The source stopped because the target did; what that has to say is still to come.
                        Err(_) if line.is_abandoned() => is_feeding = false,
                        Err(error) => break Err(StreamError::Source(error)),
                    },
                }
            }
        };
        if result.is_ok() {
            self.succeeded(attempts);
        }
        result
    }
}

/// A success that came before the bytes.
pub(crate) fn early() -> Error {
    Error::lost(
        LostAt::Reading,
        io::Error::new(io::ErrorKind::InvalidData, "the target answered before the whole part was sent"),
    )
}
