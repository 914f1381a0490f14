//! Parts that are streamed: over TLS between the embedded servers, and over pipes where time decides.
use crate::rig::{KIB, MIB, content, impatient, on, pair, put};
use aws_credential_types::Credentials;
use bytes::Bytes;
use fakes::fault::faults::{Action, Moment};
use fakes::s3::refusal::Refusal;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET, TARGET_REGION, target_keys};
use xpsync::s3::error::Class;
use xpsync::s3::http::aws_chunked::framed_length;
use xpsync::s3::http::endpoint::{Endpoint, Region};
use xpsync::s3::http::operation::Operation;
use xpsync::s3::integrity::checksum::{Digests, combine};
use xpsync::s3::integrity::crc64::Crc64;
use xpsync::s3::integrity::etag::hex;
use xpsync::s3::multipart::streamed::{Form, StreamedPart};
use xpsync::s3::multipart::upload::{CompleteMultipartUpload, CompletedPart, CreateMultipartUpload};
use xpsync::s3::object::get::GetObject;
use xpsync::s3::object::put::{ObjectOptions, Written};
use xpsync::s3::{Bucket, ByteRange, Key, PartNumber, UploadId};
use xpsync::wire::body::pipe::{PipeWriter, PushError, StreamError};
use xpsync::wire::client::attempt::Attempts;
use xpsync::wire::client::call::Client;
use xpsync::wire::client::config::Config;
use xpsync::wire::client::retry::Persistence;
use xpsync::wire::deadline::Deadline;
use xpsync::wire::gate::{AlwaysOpen, Boxed, Gate, Permit, RequestOutcome, RequestResult, Unit};
use xpsync::wire::keys::Fixed;
use xpsync::wire::net::connect::{Connect, ConnectError, Connected, Network, Origin};
use xpsync::wire::net::tls::client_config;

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Streamed = Result<(Written, Digests), StreamError<Failed>>;

const FORMS: [Form; 2] = [Form::Trailer, Form::Plain];

fn attempts() -> Attempts {
    Attempts::new(Persistence::Part, &Deadline::never())
}

fn target_bucket() -> Bucket {
    Bucket::new(TARGET_BUCKET).unwrap()
}

fn key() -> Key {
    Key::new("k").unwrap()
}

/// Both sides' clients and an upload at the target, of an object that the source has.
struct Rig {
    pair: Pair,
    source: Client,
    target: Client,
    upload: UploadId,
    bytes: Bytes,
}

impl Rig {
    async fn new(length: usize) -> Self {
        let pair = pair().await;
        let bytes = content(length, 7);
        put(&pair, "k", bytes.clone());
        let source = pair.source_client(impatient("source")).unwrap();
        let target = pair.target_client(impatient("target")).unwrap();
        let create = CreateMultipartUpload { bucket: target_bucket(), key: key(), style: ObjectOptions::default() };
        let upload = target.call(&create, &mut attempts()).await.unwrap();
        Self { pair, source, target, upload, bytes }
    }

    fn part(&self, number: u64, length: u64, form: Form) -> StreamedPart {
        let (upload, number) = (self.upload.clone(), PartNumber::new(number).unwrap());
        StreamedPart { bucket: target_bucket(), key: key(), upload, number, length, form }
    }

    /// The source's bytes of a range into a feed.
    async fn pour(source: Client, range: ByteRange, mut feed: PipeWriter) -> Result<(), Failed> {
        let bucket = Bucket::new(SOURCE_BUCKET).unwrap();
        let get = GetObject { range: Some(range), ..GetObject::whole(bucket, key()) };
        let (_, mut body) = source.open(&get, &mut attempts()).await?;
        while let Some(bytes) = body.next().await? {
            feed.push(bytes).await?;
        }
        Ok(())
    }

    async fn stream(&self, number: u64, range: ByteRange, form: Form) -> Streamed {
        let part = self.part(number, range.bytes(), form);
        let source = self.source.clone();
        self.target.stream(&part, &mut attempts(), |feed| Self::pour(source, range, feed)).await
    }

    fn parts(&self) -> usize {
        self.pair.target.open_uploads()[0].parts().len()
    }
}

fn all(rig: &Rig) -> ByteRange {
    ByteRange::new(0, rig.bytes.len() as u64).unwrap()
}

/// The length and the proofs that an answer and what passed have to agree on.
fn assert_proven(written: &Written, digests: &Digests, bytes: &[u8], form: Form) {
    assert_eq!(*digests, Digests::of(bytes));
    assert_eq!(written.etag.as_str(), hex(&digests.md5.unwrap()));
    let crc = match form {
        Form::Trailer => Some(digests.crc),
        Form::Plain => None,
    };
    assert_eq!(written.crc, crc);
}

#[tokio::test]
async fn parts_are_streamed_from_one_side_to_the_other_and_make_the_object() {
    for form in FORMS {
        let rig = Rig::new(11 * MIB + 4_321).await;
        let (mut parts, mut digests) = (Vec::new(), Vec::new());
        for (number, start) in PartNumber::all().zip([0, 5 * MIB as u64 + 77]) {
            let end = if number == PartNumber::FIRST { 5 * MIB as u64 + 77 } else { rig.bytes.len() as u64 };
            let (written, seen) =
                rig.stream(u64::from(number.get()), ByteRange::new(start, end).unwrap(), form).await.unwrap();
            let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            assert_proven(&written, &seen, &rig.bytes[range], form);
            parts.push(CompletedPart { number, etag: written.etag, crc: seen.crc });
            digests.push(seen);
        }
        let whole = combine(&digests);
        let complete = CompleteMultipartUpload {
            bucket: target_bucket(),
            key: key(),
            upload: rig.upload.clone(),
            parts,
            size: whole.length,
            crc: whole.crc,
            precondition: None,
        };
        let written = rig.target.call(&complete, &mut attempts()).await.unwrap();
        assert_eq!((Some(written.etag), written.crc), (whole.etag, Some(Crc64::of(&rig.bytes))));
        let object = rig.pair.target.store().get(TARGET_BUCKET, "k").unwrap();
        assert!(object.bytes() == rig.bytes);
        assert_eq!(object.attributes.get("content-encoding"), None);
        let seen = rig.pair.target.seen();
        let seen: Vec<_> = seen.iter().filter(|seen| seen.operation == "UploadPart").collect();
        let (expected, trailer) = match form {
            Form::Trailer => (framed_length(digests[0].length), Some("x-amz-checksum-crc64nvme")),
            Form::Plain => (digests[0].length, None),
        };
        assert_eq!((seen[0].received, seen[0].header("x-amz-trailer")), (expected, trailer));
        // Both parts went over one connection: a streamed part leaves it as good as another.
        assert_eq!(seen[0].connection, seen[1].connection);
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_closes_the_put_and_leaves_nothing() {
    for form in FORMS {
        let rig = Rig::new(5 * MIB).await;
        rig.pair.source.faults().add(on("GetObject", Action::Truncate(2 * MIB as u64)));
        let torn = rig.stream(1, all(&rig), form).await.unwrap_err();
        assert!(matches!(torn, StreamError::Source(_)), "{torn:?}");
        while rig.pair.target.open_connections() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.parts(), 0);
        let seen = rig.pair.target.seen();
        let part = seen.iter().find(|seen| seen.operation == "UploadPart").unwrap();
        assert!(part.received < 5 * MIB as u64 && part.status != 200, "{part:?}");
        // Read again, it is a part.
        let (written, digests) = rig.stream(1, all(&rig), form).await.unwrap();
        assert_proven(&written, &digests, &rig.bytes, form);
        assert_eq!(rig.parts(), 1);
    }
}

#[tokio::test]
async fn a_source_that_says_it_is_done_too_early_is_not_padded() {
    for form in FORMS {
        let rig = Rig::new(MIB).await;
        let part = rig.part(1, MIB as u64, form);
        let bytes = rig.bytes.slice(..MIB - 1);
        let source = |mut feed: PipeWriter| async move { Ok(feed.push(bytes).await?) };
        let torn: Streamed = rig.target.stream(&part, &mut attempts(), source).await;
        let expected = (MIB as u64 - 1, MIB as u64);
        assert!(matches!(torn, Err(StreamError::Short { pushed, length }) if (pushed, length) == expected), "{torn:?}");
        while rig.pair.target.open_connections() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.parts(), 0);
    }
}

#[tokio::test]
async fn a_source_that_has_too_much_is_told_so() {
    let rig = Rig::new(MIB).await;
    let part = rig.part(1, MIB as u64 - 1, Form::Trailer);
    let bytes = rig.bytes.clone();
    let source = |mut feed: PipeWriter| async move { Ok(feed.push(bytes).await?) };
    match rig.target.stream::<Failed, _>(&part, &mut attempts(), source).await {
        Err(StreamError::Source(error)) => assert_eq!(error.downcast_ref(), Some(&PushError::Overfull)),
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.parts(), 0);
}

#[tokio::test]
async fn a_target_that_resets_in_the_middle_is_tried_again_with_the_bytes_read_again() {
    for form in FORMS {
        let rig = Rig::new(5 * MIB).await;
        rig.pair.target.faults().add(on("UploadPart", Action::Reset(Moment::BeforeBody)));
        rig.pair.target.faults().add(on("UploadPart", Action::Reset(Moment::BeforeDoing)).nth(2));
        let part = rig.part(1, 5 * MIB as u64, form);
        let mut attempts = attempts();
        let mut torn = 0;
        let (written, digests) = loop {
            let (source, range) = (rig.source.clone(), all(&rig));
            match rig.target.stream(&part, &mut attempts, |feed| Rig::pour(source, range, feed)).await {
                Ok(done) => break done,
                Err(StreamError::Target(error)) => {
                    torn += 1;
                    rig.target.again(&StreamedPart::INFO, error, &mut attempts).await.unwrap();
                }
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_proven(&written, &digests, &rig.bytes, form);
        assert_eq!((torn, rig.parts()), (2, 1));
    }
}

#[tokio::test]
async fn an_early_refusal_comes_out_and_the_source_learns_that_nobody_reads() {
    for (code, class) in [("AccessDenied", Class::Refused), ("SlowDown", Class::Throttled)] {
        let rig = Rig::new(KIB).await;
        rig.pair.target.faults().add(on("UploadPart", Action::RefuseEarly(Refusal::of(code))));
        let part = rig.part(1, 64 * MIB as u64, Form::Trailer);
        let (learned, learns) = oneshot::channel();
        let source = |mut feed: PipeWriter| async move {
            // Whoever has the bytes may be another task, which outlives the attempt.
            tokio::spawn(async move {
                let end = loop {
                    if let Err(end) = feed.push(Bytes::from_static(&[7; 16 << 10])).await {
                        break end;
                    }
                };
                let _ = learned.send((end, feed.pushed()));
            });
            std::future::pending::<Result<(), Failed>>().await
        };
        match rig.target.stream(&part, &mut attempts(), source).await {
            Err(StreamError::Target(error)) => assert_eq!((error.code(), error.class()), (Some(code), class)),
            other => panic!("{other:?}"),
        }
        let (end, pushed) = learns.await.unwrap();
        assert_eq!(end, PushError::Unread);
        assert!(pushed < 64 * MIB as u64);
        assert_eq!(rig.parts(), 0);
    }
}

#[tokio::test]
async fn a_source_that_stops_because_of_a_refusal_is_not_blamed() {
    let rig = Rig::new(32 * MIB).await;
    rig.pair.target.faults().add(on("UploadPart", Action::RefuseEarly(Refusal::of("AccessDenied"))));
    match rig.stream(1, all(&rig), Form::Plain).await {
        Err(StreamError::Target(error)) => assert_eq!(error.code(), Some("AccessDenied")),
        other => panic!("{other:?}"),
    }
}

/// A connection that flips a bit of what is written, at one place.
struct Flipping {
    inner: Network,
    at: u64,
}

struct Flipped {
    stream: Box<dyn xpsync::wire::net::connect::Stream>,
    at: u64,
    written: u64,
}

impl Connect for Flipping {
    fn connect<'a>(&'a self, origin: &'a Origin, avoid: Option<IpAddr>) -> Boxed<'a, Result<Connected, ConnectError>> {
        Box::pin(async move {
            let Connected { stream, peer } = self.inner.connect(origin, avoid).await?;
            Ok(Connected { stream: Box::new(Flipped { stream, at: self.at, written: 0 }), peer })
        })
    }
}

impl AsyncRead for Flipped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Flipped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut bytes = buf.to_vec();
        if let Some(index) = self.at.checked_sub(self.written)
            && let Some(byte) = usize::try_from(index).ok().and_then(|index| bytes.get_mut(index))
        {
            *byte ^= 1;
        }
        let wrote = Pin::new(&mut self.stream).poll_write(cx, &bytes);
        if let Poll::Ready(Ok(wrote)) = wrote {
            self.written += wrote as u64;
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn client(endpoint: &str, gate: Arc<dyn Gate>, connector: Arc<dyn Connect>) -> Client {
    let keys = target_keys();
    let credentials = Credentials::new(&keys.access_key, &keys.secret_key, None, None, "test");
    let endpoint = Endpoint::overridden(endpoint).unwrap();
    let region = Region::new(TARGET_REGION).unwrap();
    Client::new(Config::new("target", 4), endpoint, region, Arc::new(Fixed(credentials)), gate, connector)
}

#[tokio::test]
async fn bytes_that_change_on_the_way_are_refused_by_their_trailer_or_betrayed_by_their_etag() {
    for form in FORMS {
        let rig = Rig::new(MIB).await;
        let tls = client_config(Some(rig.pair.authority().pem().as_bytes())).unwrap();
        // In the middle of the second chunk's bytes.
        let connector = Flipping { inner: Network::new(tls), at: 100_000 };
        let target = client(&rig.pair.target_endpoint(), Arc::new(AlwaysOpen), Arc::new(connector));
        let (source, range, part) = (rig.source.clone(), all(&rig), rig.part(1, MIB as u64, form));
        let answer = target.stream(&part, &mut attempts(), |feed| Rig::pour(source, range, feed)).await;
        match (form, answer) {
            (Form::Trailer, Err(StreamError::Target(error))) => {
                assert_eq!((error.code(), rig.parts()), (Some("BadDigest"), 0));
            }
            (Form::Plain, Ok((written, digests))) => {
                assert_eq!(digests, Digests::of(&rig.bytes));
                assert_ne!(written.etag.as_str(), hex(&digests.md5.unwrap()));
            }
            (_, other) => panic!("{other:?}"),
        }
    }
}

/// Counts what the gate is told.
#[derive(Default)]
struct Listening {
    told: Arc<Mutex<Vec<RequestOutcome>>>,
    moved: AtomicU64,
}

struct Ticket(Arc<Mutex<Vec<RequestOutcome>>>);

impl Permit for Ticket {
    fn record(&mut self, told: RequestResult) {
        self.0.lock().unwrap().push(told.outcome);
    }
}

impl Gate for Listening {
    fn enter(&self, _: Unit) -> Boxed<'_, Box<dyn Permit>> {
        Box::pin(async { self.admit() })
    }

    fn admit(&self) -> Box<dyn Permit> {
        Box::new(Ticket(Arc::clone(&self.told)))
    }

    fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn window(&self) -> u32 {
        4
    }

    fn surplus(&self) -> u32 {
        0
    }

    fn starved(&self, _: u32) {}

    fn resumed(&self, _: Instant) {}
}

#[tokio::test]
async fn the_gate_hears_of_payload_and_of_the_targets_faults_only() {
    let rig = Rig::new(MIB).await;
    let tls = client_config(Some(rig.pair.authority().pem().as_bytes())).unwrap();
    let gate = Arc::new(Listening::default());
    let target = client(&rig.pair.target_endpoint(), Arc::clone(&gate) as Arc<dyn Gate>, Arc::new(Network::new(tls)));
    let part = rig.part(1, MIB as u64, Form::Trailer);
    let mut attempts = attempts();
    let pour = || {
        let (source, range) = (rig.source.clone(), all(&rig));
        move |feed| Rig::pour(source, range, feed)
    };
    target.stream(&part, &mut attempts, pour()).await.unwrap();
    assert_eq!(
        (gate.moved.load(Ordering::Relaxed), attempts.taken().load(Ordering::Relaxed)),
        (MIB as u64, MIB as u64)
    );
    rig.pair.source.faults().add(on("GetObject", Action::Truncate(300 * KIB as u64)));
    assert!(matches!(target.stream(&part, &mut attempts, pour()).await, Err(StreamError::Source(_))));
    rig.pair.target.faults().add(on("UploadPart", Action::Reset(Moment::BeforeDoing)));
    assert!(matches!(target.stream(&part, &mut attempts, pour()).await, Err(StreamError::Target(_))));
    rig.pair.target.faults().add(on("UploadPart", Action::slow_down(1)));
    assert!(matches!(target.stream(&part, &mut attempts, pour()).await, Err(StreamError::Target(_))));
    assert_eq!(*gate.told.lock().unwrap(), [RequestOutcome::Answered, RequestOutcome::Lost, RequestOutcome::Throttled]);
}

/// A target at the other end of a pipe, as slow as it wants to be.
struct Piped<F>(F);

impl<F: Fn(DuplexStream) -> S + Send + Sync, S: Future<Output = ()> + Send + 'static> Connect for Piped<F> {
    fn connect<'a>(&'a self, _: &'a Origin, _: Option<IpAddr>) -> Boxed<'a, Result<Connected, ConnectError>> {
        let (near, far) = tokio::io::duplex(32 << 10);
        tokio::spawn((self.0)(far));
        Box::pin(async { Ok(Connected { stream: Box::new(near), peer: None }) })
    }
}

fn piped<S: Future<Output = ()> + Send + 'static>(serve: impl Fn(DuplexStream) -> S + Send + Sync + 'static) -> Client {
    client("http://target.test", Arc::new(AlwaysOpen), Arc::new(Piped(serve)))
}

/// Reads a request's head, and so many bytes of its body.
async fn read(stream: &mut DuplexStream, body: usize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.read_exact(&mut vec![0; body]).await.unwrap();
}

async fn acknowledge(stream: &mut DuplexStream, bytes: &[u8]) {
    let etag = hex(&Digests::of(bytes).md5.unwrap());
    let answer = format!("HTTP/1.1 200 OK\r\netag: \"{etag}\"\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

fn a_part(length: usize) -> StreamedPart {
    StreamedPart {
        bucket: target_bucket(),
        key: key(),
        upload: UploadId::new("id").unwrap(),
        number: PartNumber::FIRST,
        length: length as u64,
        form: Form::Plain,
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_does_not_exhaust_the_targets_patience() {
    let bytes = content(300 * KIB, 1);
    let sent = bytes.clone();
    let target = piped(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            read(&mut stream, bytes.len()).await;
            acknowledge(&mut stream, &bytes).await;
            sleep(Duration::from_secs(3_600)).await;
        }
    });
    let pieces = sent.clone();
    let source = |mut feed: PipeWriter| async move {
        for piece in pieces.chunks(90 * KIB) {
            sleep(Duration::from_secs(600)).await;
            feed.push(Bytes::copy_from_slice(piece)).await?;
        }
        Ok(())
    };
    let answer: Streamed = target.stream(&a_part(sent.len()), &mut attempts(), source).await;
    let (written, digests) = answer.unwrap();
    assert_eq!((written.etag.as_str(), digests), (hex(&digests.md5.unwrap()).as_str(), Digests::of(&sent)));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stands_still_is_found_out_however_eager_the_source() {
    let target = piped(|mut stream| async move {
        read(&mut stream, 100 * KIB).await;
        sleep(Duration::from_secs(3_600)).await;
    });
    let stall = Config::new("target", 4).stall;
    let pushed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&pushed);
    let source = |mut feed: PipeWriter| async move {
        loop {
            feed.push(Bytes::from_static(&[7; 16 << 10])).await?;
            counted.store(feed.pushed(), Ordering::Relaxed);
        }
    };
    let began = Instant::now();
    let answer: Streamed = target.stream(&a_part(MIB), &mut attempts(), source).await;
    match answer {
        Err(StreamError::Target(error)) => assert!(error.to_string().contains("no progress for"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(began.elapsed() >= stall && began.elapsed() <= 2 * stall, "{:?}", began.elapsed());
    // What was read, what is in the pipe and in hyper, and the queue: the source was held back.
    assert!(pushed.load(Ordering::Relaxed) <= 320 * KIB as u64, "{pushed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stands_still_after_a_slow_source_is_found_out_too() {
    let target = piped(|mut stream| async move {
        read(&mut stream, 100 * KIB).await;
        sleep(Duration::from_secs(3_600)).await;
    });
    let source = |mut feed: PipeWriter| async move {
        feed.push(Bytes::from_static(&[7; 100 << 10])).await?;
        sleep(Duration::from_secs(90)).await;
        loop {
            feed.push(Bytes::from_static(&[7; 16 << 10])).await?;
        }
    };
    let began = Instant::now();
    let answer: Streamed = target.stream(&a_part(MIB), &mut attempts(), source).await;
    assert!(matches!(answer, Err(StreamError::Target(_))), "{answer:?}");
    let (least, most) = (Duration::from_secs(90), Duration::from_secs(90) + 3 * Config::new("target", 4).stall);
    assert!(began.elapsed() >= least && began.elapsed() <= most, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_acknowledged_before_its_end_is_none() {
    let target = piped(|mut stream| async move {
        read(&mut stream, 10 * KIB).await;
        acknowledge(&mut stream, &[]).await;
        sleep(Duration::from_secs(3_600)).await;
    });
    let source = |mut feed: PipeWriter| async move {
        feed.push(Bytes::from_static(&[7; 20 << 10])).await?;
        std::future::pending().await
    };
    let answer: Streamed = target.stream(&a_part(MIB), &mut attempts(), source).await;
    match answer {
        Err(StreamError::Target(error)) => assert!(error.is_unreadable(), "{error}"),
        other => panic!("{other:?}"),
    }
}
