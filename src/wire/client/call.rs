//! One call of a client: permit, signature, connection, request, reply, and again after a failure.

use crate::s3::Bucket;
use crate::s3::error::{Failure, Remedy, read};
use crate::s3::http::endpoint::{Endpoint, Region};
use crate::s3::http::message::Head;
use crate::s3::http::operation::{AnswerTime, Operation, OperationInfo, ReplyIn, Request};
use crate::s3::object::get::GetObject;
use crate::s3::object::head::ObjectHead;
use crate::wire::body::incoming::Incoming;
use crate::wire::body::lease::{Lease, LeasedConnection};
use crate::wire::body::outgoing::{Load, Outgoing};
use crate::wire::body::progress::unreported;
use crate::wire::client::attempt::{AdmissionMode, Attempts};
use crate::wire::client::config::Config;
use crate::wire::client::quirks::{Quirks, seconds};
use crate::wire::client::request::{Answered, OutgoingRequest, RegionalEndpoint, signed};
use crate::wire::client::retry::{Budget, Verdict};
use crate::wire::error::{Error, LostAt};
use crate::wire::gate::{self, Gate, Permit, RequestOutcome, Unit};
use crate::wire::keys::{Keys, Prefetch};
use crate::wire::net::connect::{Connect, Origin};
use crate::wire::net::pool::{Connection, Pool};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

/// A reply that is not object bytes and is larger than this is none of S3's: a page of 1,000 keys of 1,024 encoded
/// bytes each takes 4 MB.
const REPLY_LIMIT: usize = 16 << 20;

/// How far off our clock may be, in seconds ("Error responses", RequestTimeTooSkewed).
const SKEW_ALLOWED: u64 = 15 * 60;

/// The client of one side. Cloning it shares everything.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    // A redirect changes it for all calls that follow.
    pub(crate) site: RwLock<RegionalEndpoint>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) ahead: Mutex<Option<Prefetch>>,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) budget: Mutex<Budget>,
    pub(crate) quirks: Quirks,
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(
        config: Config,
        endpoint: Endpoint,
        region: Region,
        keys: Arc<dyn Keys>,
        gate: Arc<dyn Gate>,
        connector: Arc<dyn Connect>,
    ) -> Self {
        let budget = Mutex::new(Budget::new(config.window));
        Self(Arc::new(Inner {
            config,
            site: RwLock::new(RegionalEndpoint { endpoint, region }),
            keys,
            ahead: Mutex::default(),
            gate,
            pool: Arc::new(Pool::new(connector)),
            budget,
            quirks: Quirks::default(),
        }))
    }

    /// Drops what did not survive the time since the last invocation: connections, and keys on their way.
    pub(crate) fn begin_invocation(&self, until: Instant) {
        self.0.pool.drop_stale();
        let now = SystemTime::now();
        self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner).take_if(|ahead| ahead.is_stale(now));
        self.0.gate.resumed(until);
    }

    /// The region in which requests are signed now.
    pub fn region(&self) -> Region {
        self.site().region
    }

    /// How many requests may be under way now.
    pub(crate) fn window(&self) -> u32 {
        self.0.gate.window()
    }

    /// A permit for a request.
    ///
    /// # Cancel safety
    /// Holds nothing before it has given the permit.
    pub(crate) async fn permit(&self, unit: Unit) -> Box<dyn Permit> {
        self.0.gate.enter(unit).await
    }

    /// How many requests in flight should be begun again later.
    pub(crate) fn surplus(&self) -> usize {
        self.0.gate.surplus() as usize
    }

    /// Nothing moved on so many connections while others moved.
    pub(crate) fn starved(&self, count: usize) {
        self.0.gate.starved(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Begins to open connections to where this bucket is, so that so many are there for the requests that come.
    pub(crate) fn warm(&self, bucket: &Bucket, count: u32) {
        let origin = Origin::from(&self.site().endpoint.locate(bucket, None));
        self.0.pool.warm(&origin, usize::try_from(count).unwrap_or(usize::MAX));
    }

    /// Begins to fetch the keys that the requests to come are signed with, if none are known.
    pub(crate) fn fetch_keys(&self) {
        let mut ahead = self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if ahead.as_ref().is_none_or(Prefetch::is_over) {
            *ahead = Some(Prefetch::begin(Arc::clone(&self.0.keys)));
        }
    }

    /// Object bytes arrived where they should.
    pub(crate) fn delivered(&self, bytes: u64) {
        self.budget(|budget| budget.delivered(bytes));
    }

    /// Sends an operation until it is answered, refused for good, or not worth another attempt.
    ///
    /// # Errors
    /// [`Error`] of the last attempt. If `attempts` says `unanswered`, an earlier one may have been carried out.
    ///
    /// # Cancel safety
    /// The request's connection is closed; whether it was carried out is unknown.
    pub async fn call<O: Operation>(&self, operation: &O, attempts: &mut Attempts) -> Result<O::Reply, Error> {
        let request = Request::of(operation);
        loop {
            let error = match self.attempt(&request, attempts).await {
                Ok(answered) => match self.read(operation, answered).await {
                    Ok(reply) => {
                        self.budget(|budget| attempts.succeeded(budget));
                        return Ok(reply);
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.again(&O::INFO, error, attempts).await?;
        }
    }

    /// Sends a GET until its body begins. What becomes of the body is the caller's; if it breaks, [`Self::again`] says
    /// whether another GET is worth it.
    ///
    /// # Errors
    /// [`Error`] of the last attempt.
    ///
    /// # Cancel safety
    /// The request's connection is closed.
    pub async fn open(&self, get: &GetObject, attempts: &mut Attempts) -> Result<(ObjectHead, Incoming), Error> {
        let request = Request::of(get);
        loop {
            let error = match self.attempt(&request, attempts).await {
                Ok(answered) if GetObject::ACCEPTS.contains(&answered.head.status) => {
                    match read(get, &answered.head, &[]) {
                        Ok(reply) => {
                            self.budget(|budget| attempts.succeeded(budget));
                            return Ok((reply, answered.body));
                        }
                        Err(failure) => failed(failure),
                    }
                }
                Ok(answered) => match self.read(get, answered).await {
                    Ok(_) => {
                        return Err(Error::lost(LostAt::Body, io::Error::other("answer refused or not understood")));
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.again(&GetObject::INFO, error, attempts).await?;
        }
    }

    /// Decides whether a failed request is sent again; if so, applies the remedy, waits, and returns.
    ///
    /// # Errors
    /// The failure itself, if another attempt is not worth it.
    pub async fn again(&self, operation: &OperationInfo, error: Error, attempts: &mut Attempts) -> Result<(), Error> {
        let OperationInfo { name, idempotence: repeat, .. } = *operation;
        let error = self.with_clock_remedy(error.for_operation(name, repeat, attempts.sent()));
        let verdict = self.budget(|budget| attempts.after_failure(&error, budget, Instant::now(), fastrand::f64()));
        debug!(side = self.0.config.side, operation = name, attempt = attempts.sent(), %error, ?verdict, "failed attempt");
        match verdict {
            Verdict::GiveUp => Err(error),
            Verdict::Again(wait, remedy) => {
                if let Some(remedy) = remedy
                    && !self.apply(remedy, &error, attempts).await?
                {
                    return Err(error);
                }
                sleep(wait).await;
                Ok(())
            }
        }
    }

    /// The same; a refusal that names no code (HEAD) is about our clock if that is off by more than S3 allows.
    fn with_clock_remedy(&self, mut error: Error) -> Error {
        if let Error::Refused { refusal, .. } = &mut error
            && refusal.has_no_code()
            && let Some(theirs) = refusal.server_time
            && theirs.abs_diff(seconds(self.0.quirks.clock(SystemTime::now()))) > SKEW_ALLOWED
        {
            refusal.remedy = Some(Remedy::Clock);
        }
        error
    }

    pub(crate) async fn read<O: Operation>(&self, operation: &O, answered: Answered) -> Result<O::Reply, Error> {
        let Answered { head, body } = answered;
        let accepted = O::ACCEPTS.contains(&head.status);
        let body = body.collect(REPLY_LIMIT).await;
        // The status alone refuses it, so a refusal whose document was cut off is still a refusal.
        let body = if accepted { body? } else { body.unwrap_or_default() };
        read(operation, &head, &body).map_err(failed)
    }

    pub(crate) async fn attempt(&self, request: &Request<'_>, attempts: &mut Attempts) -> Result<Answered, Error> {
        let permit = self.permit_for(attempts, request.body.len() as u64).await;
        self.attempt_with(request, Load::Whole(request.body.clone()), permit, attempts).await
    }

    pub(crate) async fn permit_for(&self, attempts: &mut Attempts, bytes: u64) -> Box<dyn Permit> {
        match attempts.admission() {
            AdmissionMode::Wait => self.0.gate.enter(attempts.unit(bytes)).await,
            AdmissionMode::Nested => self.0.gate.admit(),
            AdmissionMode::Exempt => gate::AlwaysOpen.admit(),
            AdmissionMode::Held(permit) => permit,
        }
    }

    /// One attempt under its permit: credentials, signature, connection, request, head of the answer.
    pub(crate) async fn attempt_with(
        &self,
        request: &Request<'_>,
        load: Load,
        permit: Box<dyn Permit>,
        attempts: &mut Attempts,
    ) -> Result<Answered, Error> {
        let began = Instant::now();
        let OperationInfo { name, answer_time: pace, reply_in: answer, .. } = request.info;
        let credentials = self.0.keys.current().await.map_err(Error::Keys)?;
        let (signed, origin) = signed(request, load, &self.site(), &self.0.quirks, &credentials)?;
        attempts.sign_with(credentials);
        attempts.sending();
        let connection = match attempts.may_use_kept() {
            true => self.0.pool.any(&origin).await,
            false => self.0.pool.fresh(&origin, attempts.avoided()).await,
        };
        let mut lease = Lease::new(permit, began, self.0.config.side, name);
        let connection = connection.map_err(|source| {
            lease.record(RequestOutcome::Lost);
            Error::Unconnected { source, operation: name, attempts: attempts.sent() }
        })?;
        attempts.sending_to(connection.peer);
        let sending = OutgoingRequest { request: signed, taken: attempts.taken(), pace, answer };
        let answered = self.send(connection, sending, lease).await?;
        debug!(
            side = self.0.config.side,
            operation = name,
            bucket = request.bucket.as_str(),
            key = request.key.map(|key| key.as_str()),
            status = answered.head.status.as_u16(),
            request_id = answered.head.text("x-amz-request-id"),
            host_id = answered.head.text("x-amz-id-2"),
            attempt = attempts.sent(),
            milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request"
        );
        Ok(answered)
    }

    async fn send(
        &self,
        mut connection: Connection,
        sending: OutgoingRequest,
        mut lease: Lease,
    ) -> Result<Answered, Error> {
        let OutgoingRequest { request, taken, pace, answer } = sending;
        let reused = connection.reused;
        let stage = if reused { LostAt::Reused } else { LostAt::Head };
        let (parts, load) = request.into_parts();
        let progress = load.progress(Arc::clone(&taken));
        let body = Outgoing::new(load, Arc::clone(&self.0.gate), taken);
        let config = &self.0.config;
        let patience = match pace {
            AnswerTime::Prompt => config.first_byte,
            AnswerTime::Slow => config.slow_first_byte,
        };
        let began = Instant::now();
        let outcome = async {
            connection.sender.ready().await.map_err(io::Error::other)?;
            let mut response = pin!(connection.sender.send_request(http::Request::from_parts(parts, body)));
            let mut seen = 0;
            loop {
                let limit = if progress.is_over() { patience } else { config.stall };
                match timeout(limit, &mut response).await {
                    Ok(response) => return response.map_err(io::Error::other),
                    Err(_) if progress.is_hungry() => {}
                    Err(_) => {
                        let (now, length) = (progress.taken(), progress.length);
                        if now == seen || length == 0 {
                            let message = format!("no progress for {limit:?}, after {now} of {length} bytes");
                            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                        }
                        seen = now;
                    }
                }
            }
        };
        let response = outcome.await.map_err(|source: io::Error| {
            if !progress.is_cut() {
                lease.record(RequestOutcome::Lost);
            }
            // A kept connection that timed out was not closed behind our back.
            let stage = if source.kind() == io::ErrorKind::TimedOut { LostAt::Head } else { stage };
            Error::lost(stage, source)
        })?;
        connection.carried(progress.taken(), began.elapsed());
        let (parts, body) = response.into_parts();
        let head = Head { status: parts.status, headers: parts.headers };
        // An answer before the end of our body leaves a connection that cannot be used again.
        let is_reusable = progress.is_over();
        let throttled = head.status.as_u16() == 503 || head.status.as_u16() == 429;
        if throttled {
            lease.record(RequestOutcome::Throttled);
        }
        match answer {
            ReplyIn::Head | ReplyIn::Document => {
                self.0.gate.moved(unreported(progress.taken()));
                lease.record(RequestOutcome::Answered);
            }
            // Its end is when its body was read.
            ReplyIn::Stream => {}
        }
        let finished = LeasedConnection { lease, connection, is_reusable, pool: Arc::clone(&self.0.pool) };
        Ok(Answered { head, body: Incoming::new(body, config.stall, Arc::clone(&self.0.gate), finished) })
    }

    fn site(&self) -> RegionalEndpoint {
        self.0.site.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What its answers have taught about the server.
    pub fn quirks(&self) -> &Quirks {
        &self.0.quirks
    }

    pub(crate) fn succeeded(&self, attempts: &mut Attempts) {
        self.budget(|budget| attempts.succeeded(budget));
    }

    fn budget<T>(&self, with: impl FnOnce(&mut Budget) -> T) -> T {
        with(&mut self.0.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn failed(failure: Failure) -> Error {
    match failure {
        Failure::Refused(refusal) => Error::Refused { refusal, attempts: 1 },
        Failure::Unreadable(unreadable) => {
            Error::lost(LostAt::Reading, io::Error::new(io::ErrorKind::InvalidData, unreadable))
        }
    }
}
