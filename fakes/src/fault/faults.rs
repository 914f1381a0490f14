//! The script of what goes wrong: rules that match requests by operation, key and count, and do something to them.
//!
//! Rules act around the HTTP service, so that what S3's semantics say stays in the store: a rule can keep a request
//! from it, change the answer on the way out, or do something to the store behind everybody's back.

use crate::fault::reply::{Reply, Turn};
use crate::s3::call::Call;
use crate::s3::refusal::Refusal;
use crate::store::objects::Store;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When a connection is reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// Before the request's body is read.
    BeforeBody,
    /// After the body is read, before anything is done.
    BeforeDoing,
    /// After it is done, before the answer: the client cannot know.
    AfterDoing,
    /// After this many bytes of the reply's body.
    InReply(u64),
}

/// Something done to the store when a rule matches.
pub type Hook = Box<dyn Fn(&Store) + Send + Sync>;

/// What a rule does.
pub enum Action {
    /// Reads the request's body and answers with this refusal instead of doing anything.
    Answer(Refusal),
    /// Answers with this refusal without reading the body, and closes the connection.
    RefuseEarly(Refusal),
    /// A 200 whose body is this refusal's `<Error>`, after so many blanks; nothing is done.
    ErrorInside {
        /// What the document says.
        refusal: Refusal,
        /// How many blanks come first, 10 ms apart, as S3 keeps a long Complete alive.
        blanks: usize,
    },
    /// As `ErrorInside`, but the operation has been done.
    ErrorAfterDoing(Refusal),
    /// The true answer after so many blanks with a pause before each.
    Blanks(usize, Duration),
    /// The connection is reset.
    Reset(Moment),
    /// The reply's body ends after this many bytes, by closing the connection.
    Truncate(u64),
    /// One bit of the reply body's byte at this offset is flipped.
    Flip(u64),
    /// One bit of the request body's byte at this offset is flipped before anything reads it.
    FlipRequest(u64),
    /// The connection is reset after the body is read, and the request is kept: it is carried out whenever
    /// [`crate::server::Server::land`] is called, as one that was delayed on its way.
    Park,
    /// A header of the reply is set, whatever it was.
    SetHeader(HeaderName, HeaderValue),
    /// A header of the reply is left out.
    DropHeader(HeaderName),
    /// The reply comes only after this time, or never. The operation is done first.
    StallHead(Option<Duration>),
    /// The reply's body stops at an offset for this time, or for ever.
    StallBody(u64, Option<Duration>),
    /// The reply's body comes in pieces of at most so many bytes with a pause after each.
    Slow(usize, Duration),
    /// Runs before the operation is done, after its body is at the server's door.
    Before(Hook),
    /// Runs after the operation is done, before its answer.
    After(Hook),
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer(refusal) => write!(f, "Answer({refusal})"),
            Self::RefuseEarly(refusal) => write!(f, "RefuseEarly({refusal})"),
            Self::ErrorInside { refusal, blanks } => write!(f, "ErrorInside({refusal}, {blanks})"),
            Self::ErrorAfterDoing(refusal) => write!(f, "ErrorAfterDoing({refusal})"),
            Self::Blanks(count, pause) => write!(f, "Blanks({count}, {pause:?})"),
            Self::Reset(moment) => write!(f, "Reset({moment:?})"),
            Self::Truncate(at) => write!(f, "Truncate({at})"),
            Self::Flip(at) => write!(f, "Flip({at})"),
            Self::FlipRequest(at) => write!(f, "FlipRequest({at})"),
            Self::Park => f.write_str("Park"),
            Self::SetHeader(name, value) => write!(f, "SetHeader({name}, {value:?})"),
            Self::DropHeader(name) => write!(f, "DropHeader({name})"),
            Self::StallHead(time) => write!(f, "StallHead({time:?})"),
            Self::StallBody(at, time) => write!(f, "StallBody({at}, {time:?})"),
            Self::Slow(bytes, pause) => write!(f, "Slow({bytes}, {pause:?})"),
            Self::Before(_) => f.write_str("Before"),
            Self::After(_) => f.write_str("After"),
        }
    }
}

impl Action {
    /// A refusal by code, as S3 would give it.
    #[must_use]
    pub fn answer(code: &str) -> Self {
        Self::Answer(Refusal::of(code))
    }

    /// `503 SlowDown` that asks for a pause of so many milliseconds.
    #[must_use]
    pub fn slow_down(retry_after: u64) -> Self {
        let header = HeaderName::from_static("x-amz-retry-after");
        Self::Answer(Refusal::of("SlowDown").header(header, HeaderValue::from(retry_after)))
    }

    /// The redirect to another region: `PermanentRedirect` or `TemporaryRedirect`.
    #[must_use]
    pub fn redirect(code: &str, region: &str) -> Self {
        let mut refusal = Refusal::of(code).detail("Endpoint", format!("s3.{region}.amazonaws.com"));
        if let Ok(region) = HeaderValue::from_str(region) {
            refusal = refusal.header(HeaderName::from_static("x-amz-bucket-region"), region);
        }
        Self::Answer(refusal)
    }

    /// A header of the reply set to a text; a text that no header can hold sets it empty.
    #[must_use]
    pub fn set_header(name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""));
        Self::SetHeader(HeaderName::from_static(name), value)
    }

    /// A header of the reply left out.
    #[must_use]
    pub fn drop_header(name: &'static str) -> Self {
        Self::DropHeader(HeaderName::from_static(name))
    }

    /// Changes the head of a reply.
    pub(crate) fn change_head(&self, headers: &mut HeaderMap) {
        if let Self::SetHeader(name, value) = self {
            headers.insert(name.clone(), value.clone());
        } else if let Self::DropHeader(name) = self {
            headers.remove(name);
        } else if let Self::Blanks(..) = self {
            headers.remove(CONTENT_LENGTH);
        }
    }

    /// Changes the body of a reply.
    pub(crate) fn change_body(&self, reply: &mut Reply) {
        match self {
            Self::Truncate(at) => reply.turn(*at, Turn::Cut),
            Self::Reset(Moment::InReply(at)) => reply.turn(*at, Turn::Reset),
            Self::Flip(at) => reply.turn(*at, Turn::Flip),
            Self::StallBody(at, time) => reply.turn(*at, Turn::Stall(*time)),
            Self::Slow(bytes, pause) => reply.pace(*bytes, *pause),
            Self::Blanks(count, pause) => reply.lead(*count, *pause),
            Self::ErrorInside { blanks, .. } if *blanks > 0 => reply.lead(*blanks, Duration::from_millis(10)),
            Self::ErrorInside { .. }
            | Self::ErrorAfterDoing(_)
            | Self::Answer(_)
            | Self::RefuseEarly(_)
            | Self::Reset(_)
            | Self::FlipRequest(_)
            | Self::Park
            | Self::SetHeader(..)
            | Self::DropHeader(_)
            | Self::StallHead(_)
            | Self::Before(_)
            | Self::After(_) => {}
        }
    }
}

/// A rule: which requests, which of them, what.
#[derive(Debug)]
pub struct Fault {
    operation: Option<String>,
    bucket: Option<String>,
    key: Option<String>,
    part: Option<String>,
    first: usize,
    times: usize,
    action: Arc<Action>,
}

impl Fault {
    /// Does something to the first request of an operation (S3's name; `*` is any).
    #[must_use]
    pub fn on(operation: &str, action: Action) -> Self {
        Self {
            operation: (operation != "*").then(|| operation.to_owned()),
            bucket: None,
            key: None,
            part: None,
            first: 1,
            times: 1,
            action: Arc::new(action),
        }
    }

    /// Only for this bucket.
    #[must_use]
    pub fn bucket(mut self, bucket: &str) -> Self {
        self.bucket = Some(bucket.to_owned());
        self
    }

    /// Only for this key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Only for this part number.
    #[must_use]
    pub fn part(mut self, number: u16) -> Self {
        self.part = Some(number.to_string());
        self
    }

    /// Not before the nth request that matches, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.first = nth.max(1);
        self
    }

    /// For so many requests in a row.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// For every request from the nth on.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    fn matches(&self, call: &Call) -> bool {
        let same = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
        same(&self.operation, call.operation.name())
            && same(&self.bucket, &call.bucket)
            && same(&self.key, &call.key)
            && same(&self.part, call.get("partNumber").unwrap_or_default())
    }
}

/// How often a rule has acted.
#[derive(Clone, Debug)]
pub struct Acted(Arc<AtomicUsize>);

impl Acted {
    /// The count so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    matched: usize,
    acted: Arc<AtomicUsize>,
}

/// The script of a server.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
}

impl Faults {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule; several may act on one request.
    pub fn add(&self, fault: Fault) -> Acted {
        let acted = Arc::<AtomicUsize>::default();
        self.rules().push(Rule { fault, matched: 0, acted: Arc::clone(&acted) });
        Acted(acted)
    }

    /// Drops all rules, those included that would act later.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// The actions for a request, which counts as seen by every rule it matches.
    pub(crate) fn take(&self, call: &Call) -> Vec<Arc<Action>> {
        let mut actions = Vec::new();
        for rule in self.rules().iter_mut().filter(|rule| rule.fault.matches(call)) {
            rule.matched += 1;
            let (first, times) = (rule.fault.first, rule.fault.times);
            if rule.matched >= first && rule.matched - first < times {
                rule.acted.fetch_add(1, Ordering::SeqCst);
                actions.push(Arc::clone(&rule.fault.action));
            }
        }
        actions
    }
}
