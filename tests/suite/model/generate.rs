//! Which scripts there are, and how often each kind comes: weighted so that what rarely meets by chance meets often
//! enough.

use super::script::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// One in so many cases has S3's own MiB, and the table that objects are sent by.
const REAL_SIZES: u32 = 400;

pub(crate) fn scripts() -> impl Strategy<Value = Script> {
    let small = (Just(Unit::KiB), vec(scene(), 1..5)).boxed();
    let real = (Just(Unit::MiB), vec(round(1), 1..2)).boxed();
    let played = prop_oneof![REAL_SIZES - 1 => small, 1 => real];
    (played, bucket(), bucket(), etag(), slots(), deletes()).prop_map(
        |((unit, scenes), source, target, etag, slots, deletes)| Script {
            unit,
            source,
            target,
            etag,
            slots,
            deletes,
            steps: scenes.into_iter().flatten().collect(),
        },
    )
}

fn bucket() -> impl Strategy<Value = Bucket> {
    let versions = prop_oneof![3 => Just(Versions::OnlyOne), 1 => Just(Versions::All)];
    let crypt = prop_oneof![1 => Just(Crypt::Plain), 3 => Just(Crypt::SseS3), 3 => Just(Crypt::Kms)];
    (versions, crypt, select(vec![Sums::Stored, Sums::NotStored])).prop_map(|(versions, crypt, sums)| Bucket {
        versions,
        crypt,
        sums,
    })
}

fn etag() -> impl Strategy<Value = Etag> {
    prop_oneof![5 => Just(Etag::Auto), 1 => Just(Etag::Any), 2 => Just(Etag::Preserve)]
}

fn slots() -> impl Strategy<Value = Slots> {
    select(vec![Slots::OnHeap, Slots::OnHeap, Slots::InTmp])
}

fn deletes() -> impl Strategy<Value = Deletes> {
    prop_oneof![2 => Just(Deletes::Kept), 1 => Just(Deletes::Synced)]
}

fn scene() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![9 => round(3), 1 => there_and_back(), 1 => late_write(), 2 => torn_read(), 1 => stopped(), 1 => recreated(), 1 => killed()]
}

/// Things happen at the source, others go wrong, events are delivered.
fn round(most: usize) -> BoxedStrategy<Vec<Step>> {
    let begins =
        vec(prop_oneof![8 => change().prop_map(Step::Source), 1 => meddling().prop_map(Step::Stranger)], 1..=most);
    let wrong = vec(wrong(), 0..=most);
    (begins, wrong, deliver()).prop_map(|(begins, wrong, deliver)| [begins, wrong, vec![deliver]].concat()).boxed()
}

fn wrong() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => fault().prop_map(Step::Fault),
        1 => select(vec![Secret::WithSecret, Secret::BeforeSecret]).prop_map(Step::Rotate),
        1 => (end(), select(vec![-20_i8, -16, -5, 5, 16, 20])).prop_map(|(end, minutes)| Step::Clock(end, minutes)),
    ]
}

fn deliver() -> impl Strategy<Value = Step> {
    let event = prop_oneof![4 => number().prop_map(Event::Once), 1 => number().prop_map(Event::Twice)];
    let time = prop_oneof![9 => Just(Time::Ample), 1 => (1_u16..400).prop_map(Time::Milliseconds)];
    (vec(event, 1..5), time, by()).prop_map(|(events, time, by)| Step::Deliver(events, time, by))
}

/// From A to B, and back to A before B is at the target, which the event of A finds to be as it should be. Where the
/// first PUT finds something there, the second is the one that counts.
fn there_and_back() -> impl Strategy<Value = Vec<Step>> {
    let written = (number(), size(), dress(), cut(), select(vec![On::PutObject, On::Complete]), 1..3_u8);
    written.prop_map(|(key, size, dress, cut, on, nth)| {
        let put = |content, size| Change::Put { key, size, content, dress, cut };
        let what = What::Before(Meanwhile::ChangesAndIsHandled(put(1, size)));
        vec![
            Step::Source(put(1, size)),
            all(),
            Step::Source(put(2, size)),
            Step::Fault(Fault { at: End::AtTarget, on, nth, times: 1, what }),
            oldest(),
        ]
    })
}

/// A write of an outdated state that is carried out when everything is over.
fn late_write() -> impl Strategy<Value = Vec<Step>> {
    (number(), size(), dress(), 1..3_u8).prop_map(|(key, size, dress, nth)| {
        let put = |content| Change::Put { key, size, content, dress, cut: Cut::Whole };
        vec![
            Step::Source(put(1)),
            Step::Fault(Fault { at: End::AtTarget, on: On::PutObject, nth, times: 1, what: What::Park }),
            all(),
            Step::Source(put(2)),
            all(),
        ]
    })
}

/// The source is replaced by as many bytes between two of its parts.
fn torn_read() -> impl Strategy<Value = Vec<Step>> {
    let size = (17..40_u8, any::<u16>()).prop_map(|(units, more)| Size::Units(units, more % 1_000));
    (number(), size, dress(), cut(), 2..5_u8).prop_map(|(key, size, dress, cut, nth)| {
        let put = |size, content| Change::Put { key, size, content, dress, cut };
        let what = What::Before(Meanwhile::Changes(put(Size::Same, 2)));
        vec![
            all(),
            Step::Source(put(size, 1)),
            Step::Fault(Fault { at: End::AtSource, on: On::Get, nth, times: 1, what }),
            oldest(),
        ]
    })
}

/// An upload that does not fit its invocation, and what becomes of its source before the next: it is as it was, or has
/// other headers within the same second, or other bytes, or is gone.
fn stopped() -> impl Strategy<Value = Vec<Step>> {
    let size = (17..40_u8, any::<u16>()).prop_map(|(units, more)| Size::Units(units, more % 1_000));
    let next = prop_oneof![
        1 => Just(None),
        4 => dress().prop_map(|dress| Some((1, dress))),
        1 => dress().prop_map(|dress| Some((2, dress))),
    ];
    let stalls = (select(vec![On::UploadPart, On::UploadPart, On::Complete]), 1..4_u8);
    // Within the longer one the queue can be told; after the shorter one only the journal knows.
    let time = prop_oneof![2 => 2_200_u16..2_500, 1 => 300..900_u16];
    (number(), size, dress(), cut(), stalls, (time, by()), next).prop_map(
        |(key, size, dress, cut, (on, nth), (time, by), next)| {
            let put = |content, dress| Step::Source(Change::Put { key, size, content, dress, cut });
            let nth = if on == On::Complete { 1 } else { nth };
            let stall = Fault { at: End::AtTarget, on, nth, times: 3, what: What::StallHead(2_500) };
            let mut steps = vec![
                all(),
                put(1, dress),
                Step::Fault(stall),
                Step::Deliver(vec![Event::Once(0)], Time::Milliseconds(time), by),
            ];
            steps.extend(next.map(|(content, dress)| put(content, dress)));
            // What was left by the one that was stopped, before the event of what came next.
            steps.push(Step::Deliver(vec![Event::Once(0)], Time::Ample, By::Queue));
            steps
        },
    )
}

/// The sandboxes are killed in the middle of an upload, and the message comes again.
fn killed() -> impl Strategy<Value = Vec<Step>> {
    let size = (17..40_u8, any::<u16>()).prop_map(|(units, more)| Size::Units(units, more % 1_000));
    let on = select(vec![On::Create, On::UploadPart, On::UploadPart, On::Complete, On::Copy, On::Abort]);
    (number(), size, dress(), cut(), (on, 1..4_u8, prop::bool::ANY), by()).prop_map(
        |(key, size, dress, cut, (on, nth, before), by)| {
            let kill = Meanwhile::Kills;
            let what = if before { What::Before(kill) } else { What::After(kill) };
            vec![
                all(),
                Step::Source(Change::Put { key, size, content: 1, dress, cut }),
                Step::Fault(Fault { at: End::AtTarget, on, nth, times: 1, what }),
                Step::Deliver(vec![Event::Once(0)], Time::Ample, by),
                oldest(),
            ]
        },
    )
}

/// Written, deleted, and written again while the deletion is followed.
fn recreated() -> impl Strategy<Value = Vec<Step>> {
    (number(), size(), dress(), select(vec![On::Delete, On::Head]), 1..3_u8, 1..3_u8, prop::bool::ANY).prop_map(
        |(key, size, dress, on, nth, content, is_handled)| {
            let put = |content| Change::Put { key, size, content, dress, cut: Cut::Whole };
            let again = put(content);
            let meanwhile = if is_handled { Meanwhile::ChangesAndIsHandled(again) } else { Meanwhile::Changes(again) };
            let what = What::Before(meanwhile);
            vec![
                Step::Source(put(1)),
                all(),
                Step::Source(Change::Delete { key }),
                Step::Fault(Fault { at: End::AtTarget, on, nth, times: 1, what }),
                oldest(),
            ]
        },
    )
}

fn by() -> impl Strategy<Value = By> {
    select(vec![By::Bus, By::Queue, By::Queue, By::OneBatch])
}

/// The oldest events, at once.
fn all() -> Step {
    Step::Deliver((0..4).map(Event::Once).collect(), Time::Ample, By::Queue)
}

/// The oldest event by itself, so that requests come in the order of one copy.
fn oldest() -> Step {
    Step::Deliver(vec![Event::Once(0)], Time::Ample, By::Queue)
}

fn change() -> BoxedStrategy<Change> {
    let put = (number(), size(), 0..4_u8, dress(), cut());
    prop_oneof![
        10 => put.prop_map(|(key, size, content, dress, cut)| Change::Put { key, size, content, dress, cut }),
        2 => number().prop_map(|key| Change::Delete { key }),
        2 => number().prop_map(|key| Change::Rollback { key }),
        1 => (number(), offset()).prop_map(|(key, at)| Change::Rot { key, at }),
    ]
    .boxed()
}

fn meddling() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        2 => (number(), 10..14_u8).prop_map(|(key, content)| Meddling::Overwrites { key, content }),
        1 => number().prop_map(|key| Meddling::Removes { key }),
        1 => Just(Meddling::AbortsUploads),
    ]
}

/// A place among few: mostly the first, so that things happen to the same key.
fn number() -> impl Strategy<Value = u8> {
    prop_oneof![5 => Just(0_u8), 2 => Just(1), 1 => Just(2)]
}

fn size() -> impl Strategy<Value = Size> {
    let near = -1..=1_i8;
    prop_oneof![
        1 => Just(Size::Empty),
        1 => Just(Size::OneByte),
        3 => near.clone().prop_map(Size::PutFirst),
        1 => near.clone().prop_map(Size::PartMin),
        2 => near.prop_map(Size::SinglePut),
        3 => (1..17_u8, any::<u16>()).prop_map(|(units, more)| Size::Units(units, more % 1_000)),
        5 => (17..40_u8, any::<u16>()).prop_map(|(units, more)| Size::Units(units, more % 1_000)),
        2 => Just(Size::Same),
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        3 => Just(Cut::Whole),
        2 => (5..12_u8).prop_map(Cut::Even),
        1 => (16..21_u8).prop_map(Cut::Even),
        1 => (1..12_u8, 1..12_u8).prop_map(|(first, others)| Cut::Uneven(first, others)),
    ]
}

fn dress() -> impl Strategy<Value = Dress> {
    select(vec![Dress::Bare, Dress::Typed, Dress::Tagged, Dress::Full])
}

fn end() -> impl Strategy<Value = End> {
    select(vec![End::AtSource, End::AtTarget])
}

fn offset() -> impl Strategy<Value = u32> {
    select(vec![0_u32, 1, 40, 63, 900, 5_000, 12_000])
}

fn fault() -> impl Strategy<Value = Fault> {
    use End::{AtSource, AtTarget};
    let at_source = select(vec![On::Get, On::Get, On::Get, On::Head, On::Tagging]);
    let at_target = select(vec![
        On::Head,
        On::Tagging,
        On::PutObject,
        On::PutObject,
        On::Create,
        On::UploadPart,
        On::UploadPart,
        On::Complete,
        On::Complete,
        On::Abort,
        On::ListParts,
        On::Delete,
        On::Copy,
        On::CopyPart,
        On::Anything,
    ]);
    let commits = select(vec![On::PutObject, On::PutObject, On::Complete, On::Complete, On::Copy, On::Delete]);
    let bodies = select(vec![On::PutObject, On::UploadPart]);
    let what = prop_oneof![
        6 => (Just(AtSource), at_source.clone(), broken()).boxed(),
        9 => (Just(AtTarget), at_target.clone(), broken()).boxed(),
        1 => (Just(AtTarget), select(vec![On::Complete, On::Copy, On::CopyPart]), select(vec![What::ErrorIn200, What::ErrorThoughDone])).boxed(),
        1 => (Just(AtTarget), commits.clone(), Just(What::Conflict)).boxed(),
        1 => (Just(AtTarget), commits.clone(), Just(What::ResetThoughDone)).boxed(),
        2 => (Just(AtTarget), bodies, offset().prop_map(What::FlipRequest)).boxed(),
        2 => (Just(AtSource), Just(On::Get), offset().prop_map(What::FlipReply)).boxed(),
        1 => (Just(AtTarget), select(vec![On::PutObject, On::Delete, On::Copy]), Just(What::Park)).boxed(),
        3 => (Just(AtSource), at_source, beside()).boxed(),
        3 => (Just(AtTarget), at_target, beside()).boxed(),
        3 => (Just(AtTarget), commits, beside()).boxed(),
    ];
    let nth = prop_oneof![4 => Just(1_u8), 2 => Just(2), 1 => 3..6_u8];
    let times = prop_oneof![5 => Just(1_u8), 1 => 2..4_u8];
    (what, nth, times).prop_map(|((at, on, what), nth, times)| Fault { at, on, nth, times, what })
}

fn broken() -> BoxedStrategy<What> {
    prop_oneof![
        3 => Just(What::InternalError),
        3 => Just(What::Unavailable),
        1 => Just(What::SlowDown),
        3 => Just(What::ResetBeforeBody),
        3 => Just(What::ResetBeforeDoing),
        3 => Just(What::ResetThoughDone),
        3 => offset().prop_map(What::ResetInReply),
        3 => offset().prop_map(What::Truncate),
        1 => select(vec![50_u16, 400, 2_500]).prop_map(What::StallHead),
        1 => (offset(), select(vec![50_u16, 2_500])).prop_map(|(at, time)| What::StallBody(at, time)),
    ]
    .boxed()
}

fn beside() -> BoxedStrategy<What> {
    let meanwhile = prop_oneof![
        4 => change().prop_map(Meanwhile::Changes),
        3 => change().prop_map(Meanwhile::ChangesAndIsHandled),
        2 => meddling().prop_map(Meanwhile::Meddles),
        1 => Just(Meanwhile::RotatesKeys),
        1 => Just(Meanwhile::Kills),
    ];
    (meanwhile, prop::bool::ANY)
        .prop_map(|(meanwhile, before)| if before { What::Before(meanwhile) } else { What::After(meanwhile) })
        .boxed()
}
