//! How an object was put together, asked of the side that holds it.

use crate::engine::decide::plan::{Layout, even_layout};
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::session::BucketClient;
use crate::engine::stop::{Stop, fault_at};
use crate::s3::error::Class;
use crate::s3::object::head::{HeadObject, ObjectHead};
use crate::s3::{Key, PartNumber};

/// How many parts' lengths are asked for at a time: connections are for the bytes.
const LOOKS: usize = 16;

/// What is believed of parts between the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MiddleParts {
    /// That they are as long as the first, if that makes the size: nearly every client cuts evenly.
    AssumeEven,
    /// Nothing: each is asked for.
    AskEach,
}

#[derive(Clone, Copy)]
pub(crate) struct KnownObject<'a> {
    pub(crate) end: Side,
    pub(crate) head: &'a ObjectHead,
}

impl KnownObject<'_> {
    fn at<'a>(&self, job: &'a Job) -> (&'a BucketClient, &'a Key) {
        match self.end {
            Side::Source => (&job.session.source, &job.source_key),
            Side::Target => (&job.session.target, &job.target_key),
        }
    }
}

/// The lengths of an object's parts; `None` if the server does not tell, or they do not make the object. With
/// [`MiddleParts::AssumeEven`], parts between whose first is above `longest` are not asked for: nobody wants them as
/// they are.
pub(crate) async fn layout(
    job: &Job,
    notes: &Notes,
    held: KnownObject<'_>,
    between: MiddleParts,
    longest: u64,
) -> Result<Option<Layout>, Stop> {
    let Some(count) = held.head.etag.parts() else { return Ok(None) };
    let number = |number: u16| -> Result<PartNumber, Stop> {
        PartNumber::new(number.into()).map_err(|error| Fault::new(FaultClass::Internal, error.to_string()).into())
    };
    let ends = (number(1)?, number(count)?);
    let (Some(first), Some(last)) =
        (part_length(job, notes, held, ends.0).await?, part_length(job, notes, held, ends.1).await?)
    else {
        return Ok(None);
    };
    let even = even_layout(held.head.size, count, first, last);
    if between == MiddleParts::AssumeEven {
        if even.is_some() {
            return Ok(even);
        }
        if first > longest {
            return Ok(None);
        }
    }
    let Some(lengths) = all_lengths(job, notes, held, count).await? else { return Ok(None) };
    let is_whole = lengths.iter().sum::<u64>() == held.head.size;
    let is_even = lengths.split_last().is_some_and(|(_, others)| others.iter().all(|length| *length == first));
    Ok(match even.filter(|_| is_even) {
        _ if !is_whole => None,
        Some(even) => Some(even),
        None => Some(Layout::Uneven(lengths)),
    })
}

/// The lengths of all parts, asked for many at a time; `None` if the server stops telling.
pub(crate) async fn all_lengths(
    job: &Job,
    notes: &Notes,
    held: KnownObject<'_>,
    count: u16,
) -> Result<Option<Vec<u64>>, Stop> {
    let mut lengths = Vec::with_capacity(usize::from(count));
    let numbers: Vec<PartNumber> = (1..=count).filter_map(|number| PartNumber::new(number.into()).ok()).collect();
    for batch in numbers.chunks(LOOKS) {
        let looks = batch.iter().map(|number| part_length(job, notes, held, *number));
        for length in futures_util::future::join_all(looks).await {
            match length? {
                Some(length) => lengths.push(length),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(lengths))
}

/// The length of one part; `None` if the server does not know part numbers.
async fn part_length(job: &Job, notes: &Notes, held: KnownObject<'_>, part: PartNumber) -> Result<Option<u64>, Stop> {
    let (side, key) = held.at(job);
    let version = match held.end {
        Side::Source => held.head.version.clone(),
        // The target's user may read current versions only; what is copied of it is pinned by its ETag.
        Side::Target => None,
    };
    let operation = HeadObject {
        bucket: side.bucket.clone(),
        key: key.clone(),
        version,
        // Without a condition: moto holds it against the part's own ETag. Lengths of another object do not add up to
        // the pinned size, and if they do, no byte is read by them that is not pinned.
        if_match: None,
        part: Some(part),
    };
    let mut attempts = job.part().nested();
    let answer = side.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(head) => Ok(head.parts_count.and(Some(head.length))),
        Err(error) => match error.class() {
            Class::Missing | Class::Precondition => {
                let name = held.end.name();
                Err(Stop::replaced(format!("the {name} object was replaced while its part sizes were read")))
            }
            // A bucket's owner may allow GetObject and still refuse this; a server may not know it.
            Class::Refused => Ok(None),
            Class::Throttled | Class::Transient | Class::Ambiguous => Err(fault_at(held.end, &error).into()),
        },
    }
}
