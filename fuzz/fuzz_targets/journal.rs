//! The journal's files: whatever a dead process or a full disk left in one, what is written next is what is read next.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use xpsync::engine::decide::ticket::UploadJournal as _;
use xpsync::journal::{CopyName, Journal, ObjectName};
use xpsync_fuzz::{AnyTicket, any_key};

static FOLDER: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("xpsync-fuzz-journal-{}", std::process::id())));

fn names(u: &mut Unstructured<'_>) -> Option<CopyName> {
    let mut named = |bucket: &str| {
        let key = any_key(u).ok()?.to_string();
        Some(ObjectName { endpoint: "localhost:1".into(), bucket: bucket.into(), key })
    };
    Some(CopyName { source: named("source")?, target: named("target")? })
}

fuzz_target!(|data: &[u8]| {
    let journal = Journal::new(FOLDER.as_path());
    let mut u = Unstructured::new(data);
    let Some(names) = names(&mut u) else { return };
    let ticket = AnyTicket::arbitrary(&mut u).ok();
    // Taking an entry makes its file, whose name is the journal's business.
    let (entry, _) = journal.open(names.clone()).unwrap().unwrap();
    entry.intends().unwrap();
    let file = std::fs::read_dir(FOLDER.as_path()).unwrap().next().unwrap().unwrap().path();
    drop(entry);
    std::fs::write(&file, data).unwrap();
    // An entry of which nobody can tell what it is about is removed by whoever looks for what was left.
    let _ = journal.uploads().unwrap();
    for (left, before) in journal.left().unwrap() {
        assert!(before.ticket.is_none() || before.intended.is_empty());
        drop(left);
    }
    let (entry, _) = journal.open(names.clone()).unwrap().unwrap();
    entry.intends().unwrap();
    drop(entry);
    let (entry, before) = journal.open(names.clone()).unwrap().unwrap();
    assert!(!before.intended.is_empty() && before.ticket.is_none(), "{before:?}");
    if let Some(AnyTicket(ticket)) = ticket {
        entry.begun(&ticket).unwrap();
        drop(entry);
        let left = journal.left().unwrap();
        assert!(left.iter().any(|(entry, before)| *entry.names() == names && before.ticket.as_ref() == Some(&ticket)));
        assert!(journal.uploads().unwrap().contains(&ticket.upload));
        for (entry, _) in left {
            entry.ended().unwrap();
        }
    } else {
        entry.ended().unwrap();
        drop(entry);
    }
    let left = std::fs::read_dir(FOLDER.as_path()).map_or(0, Iterator::count);
    assert_eq!(left, 0, "a file of nothing stays");
});
