//! A socket that reads in large pieces and lets a refusal be read after a write has failed.
//!
//! rustls asks for 4 KiB at a time; reading 32 KiB below it saves seven system calls of eight. And S3 may refuse a
//! large PUT and close while the body is still going out: the write fails with a broken pipe although the answer is
//! there to be read, so after a failed write nothing more is written and the answer has [`GRACE`] to arrive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long an answer may take after a failed write: a round trip over the border and a second.
const GRACE: Duration = Duration::from_millis(1_300);

/// Bytes read from the kernel at once; two TLS records. More saves little and every connection has such a buffer.
const READ_AHEAD: usize = 32 << 10;

pub(crate) struct Socket<S> {
    inner: S,
    ahead: Box<[u8]>,
    start: usize,
    end: usize,
    broken: Option<(io::ErrorKind, Pin<Box<Sleep>>)>,
}

impl<S> Socket<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, ahead: vec![0; READ_AHEAD].into_boxed_slice(), start: 0, end: 0, broken: None }
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// What a write came to. A failed one is pending for ever: reading decides what the request came to.
    fn wrote<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Err(error)) => {
                let until = Instant::now() + GRACE;
                self.broken.get_or_insert_with(|| (error.kind(), Box::pin(sleep_until(until))));
                Poll::Pending
            }
            other @ (Poll::Ready(Ok(_)) | Poll::Pending) => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start == this.end {
            let mut ahead = ReadBuf::new(&mut this.ahead);
            if Pin::new(&mut this.inner).poll_read(cx, &mut ahead)?.is_pending() {
                if let Some((kind, grace)) = &mut this.broken {
                    ready!(grace.as_mut().poll(cx));
                    return Poll::Ready(Err(io::Error::from(*kind)));
                }
                return Poll::Pending;
            }
            (this.start, this.end) = (0, ahead.filled().len());
        }
        let given = buf.remaining().min(this.end - this.start);
        buf.put_slice(&this.ahead[this.start..this.start + given]);
        this.start += given;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.woken_by_grace(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.woken_by_grace(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.woken_by_grace(result, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// As [`Self::wrote`], and sees to it that the reader is polled again: it may have been pending before the write
    /// failed, without a timer to wake it.
    fn woken_by_grace<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let was_whole = self.broken.is_none();
        let result = self.wrote(result);
        if was_whole && self.broken.is_some() {
            cx.waker().wake_by_ref();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_test_pipe::Refusing;

    /// A stream whose writes fail and whose reads come from a pipe.
    mod tokio_test_pipe {
        use super::*;

        pub(crate) struct Refusing(pub(crate) tokio::io::DuplexStream);

        impl AsyncRead for Refusing {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for Refusing {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_read_after_a_write_has_failed() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"HTTP/1.1 403").await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(Socket::new(Refusing(near)));
        let writing = async { writer.write_all(b"body").await };
        let reading = async {
            let mut answer = [0; 12];
            reader.read_exact(&mut answer).await.unwrap();
            answer
        };
        tokio::select! {
            biased;
            result = writing => panic!("a failed write must not answer: {result:?}"),
            answer = reading => assert_eq!(&answer, b"HTTP/1.1 403"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_the_writes_error_comes_out_after_the_grace() {
        let (near, _far) = tokio::io::duplex(64);
        let mut socket = Socket::new(Refusing(near));
        let began = Instant::now();
        assert!(tokio::time::timeout(Duration::from_millis(1), socket.write_all(b"body")).await.is_err());
        let error = socket.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(began.elapsed() >= GRACE);
    }

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let mut got = Vec::new();
        Socket::new(near).read_to_end(&mut got).await.unwrap();
        assert_eq!(got, sent);
    }
}
