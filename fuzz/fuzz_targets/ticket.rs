//! Tickets and continuations, which come out of a queue: whatever is read is written as it was read, and the reverse.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use xpsync::engine::decide::ticket::Ticket;
use xpsync::events::continuation::continuation;
use xpsync::events::read;
use xpsync::events::task::{Continuation, Invocation, Task};
use xpsync::report::ticket::{read_ticket, ticket_json};
use xpsync_fuzz::{AnyTicket, any_key, bucket};

fn round_trip(ticket: &Ticket) {
    let text = ticket_json(ticket).to_string();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read_ticket(&value).as_ref(), Some(ticket), "{text}");
}

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = serde_json::from_slice::<Value>(data)
        && let Some(ticket) = read_ticket(&value)
    {
        round_trip(&ticket);
    }
    if let Ok(Invocation::One(Task::Reconcile { key, size_hint, event_time_ms, continued: Some(at), .. })) =
        read(data, &bucket())
    {
        let message = continuation(&bucket(), &key, size_hint, event_time_ms, &at).to_string();
        let again = read(message.as_bytes(), &bucket());
        assert!(
            matches!(again, Ok(Invocation::One(Task::Reconcile { key: k, continued: Some(a), .. })) if k == key && a == at)
        );
    }
    let mut u = Unstructured::new(data);
    let Ok(AnyTicket(ticket)) = AnyTicket::arbitrary(&mut u) else { return };
    round_trip(&ticket);
    let Ok((fruitless, size, time)) = u.arbitrary::<(u32, Option<u64>, Option<i64>)>() else { return };
    let Ok(key) = any_key(&mut u) else { return };
    let at = Continuation { ticket: Some(ticket), fruitless };
    let message = continuation(&bucket(), &key, size, time, &at).to_string();
    let expected = Task::Reconcile {
        key,
        size_hint: size,
        event_time_ms: time,
        event: "continue".to_owned(),
        continued: Some(Box::new(at)),
    };
    assert_eq!(read(message.as_bytes(), &bucket()), Ok(Invocation::One(expected)), "{message}");
});
