//! Uploads that are open, on the disk of the process that opened them: what a killed process can be gone on from.
//!
//! One file for a pair of objects, removed when nothing is open any more. A file is a log of lines, each on the disk
//! before the work goes on; of a torn one the last whole line counts. Whoever works on a pair holds its file's lock, so
//! that two processes never resume one upload; the lock ends with the process, however it ends.

use crate::engine::decide::ticket::{Ticket, UploadJournal};
use crate::report::ticket::{read_ticket, ticket_json};
use crate::s3::integrity::etag::hex;
use crate::s3::{Key, UploadId};
use md5::{Digest as _, Md5};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The ending of a file of ours.
const EXTENSION: &str = "jsonl";
/// Lines longer than this are not ours: a ticket of 10,000 uneven parts has a tenth of it.
const LONGEST: u64 = 4 << 20;

/// One object, as an entry names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectName {
    /// The endpoint that it is reached at, since two servers can have a bucket of one name.
    pub endpoint: String,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

/// What is copied where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyName {
    /// From here.
    pub source: ObjectName,
    /// To there.
    pub target: ObjectName,
}

/// A folder of entries.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

/// What an entry says that was begun and never ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriorRun {
    /// An upload that is open.
    pub ticket: Option<Ticket>,
    /// When, in seconds since 1970, uploads were meant to be begun of which no more is known: one for each process
    /// that was killed meanwhile.
    pub intended: Vec<i64>,
}

/// The entry of a pair, held by this process until it is dropped.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    names: CopyName,
    file: Mutex<File>,
}

impl Journal {
    /// The journal in a folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Takes the entry of a pair, with what was left in it; `None` if another process works on the same pair.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(&self, names: CopyName) -> io::Result<Option<(Entry, PriorRun)>> {
        let path = self.folder.join(file_name(&names));
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        make()?;
        match self.take(path.clone(), Some(names.clone())) {
            // Whoever ended just now has taken the folder away as empty.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make()?;
                self.take(path, Some(names))
            }
            taken => taken,
        }
    }

    /// The entry of a pair, to be taken when something is begun.
    pub(crate) fn later(&self, names: CopyName) -> DeferredEntry {
        DeferredEntry { journal: self.clone(), names, entry: Mutex::new(None) }
    }

    /// Forgets the upload that a pair's entry names, unless somebody works on it: it is known elsewhere. What the entry
    /// says of another one stays.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn forget(&self, names: CopyName, upload: &UploadId) -> io::Result<()> {
        match self.open(names)? {
            Some((entry, before)) if before.ticket.as_ref().is_some_and(|ticket| ticket.upload == *upload) => {
                entry.ended()
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes every entry that a process left which is gone.
    ///
    /// # Errors
    /// Those of the disk; a folder that is not there has none.
    pub fn left(&self) -> io::Result<Vec<(Entry, PriorRun)>> {
        let mut left = Vec::new();
        for path in self.files()? {
            left.extend(self.take(path, None)?);
        }
        Ok(left)
    }

    /// The ids of all uploads that any process resumes or could.
    ///
    /// # Errors
    /// Those of the disk; a folder that is not there has none.
    pub fn uploads(&self) -> io::Result<BTreeSet<UploadId>> {
        let mut uploads = BTreeSet::new();
        for path in self.files()? {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                // Its work has just ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (_, before) = read(&mut file)?;
            uploads.extend(before.ticket.map(|ticket| ticket.upload));
        }
        Ok(uploads)
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let listing = match std::fs::read_dir(&self.folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in listing {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Locks a file and reads it; without names they are those in it.
    fn take(&self, path: PathBuf, names: Option<CopyName>) -> io::Result<Option<(Entry, PriorRun)>> {
        loop {
            let opened = OpenOptions::new().read(true).append(true).create(names.is_some()).open(&path);
            let mut file = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound && names.is_none() => return Ok(None),
                opened => opened?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Whoever held the lock before may have removed the file between our opening and our locking it.
            if file.metadata()?.nlink() == 0 {
                continue;
            }
            let (found, before) = read(&mut file)?;
            return Ok(match names.or(found) {
                Some(names) => {
                    sync_folder(&self.folder)?;
                    Some((Entry { path, names, file: Mutex::new(file) }, before))
                }
                // Nobody can tell what it was about.
                None => {
                    std::fs::remove_file(&path)?;
                    None
                }
            });
        }
    }
}

/// The entry of a pair that is taken only once something is begun: most objects need none.
#[derive(Debug)]
pub(crate) struct DeferredEntry {
    journal: Journal,
    names: CopyName,
    entry: Mutex<Option<Entry>>,
}

impl DeferredEntry {
    fn with(&self, write: impl FnOnce(&Entry) -> io::Result<()>) -> io::Result<()> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(Ok(()), write)
    }
}

impl UploadJournal for DeferredEntry {
    fn intends(&self) -> io::Result<()> {
        let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.is_none() {
            // Of two who copy the same pair at once, one has the entry, and what it has left there since is not written
            // over: nothing else tells of that upload.
            let opened = self.journal.open(self.names.clone())?;
            *entry = opened.filter(|(_, before)| *before == PriorRun::default()).map(|(entry, _)| entry);
        }
        entry.as_ref().map_or(Ok(()), Entry::intends)
    }

    fn begun(&self, ticket: &Ticket) -> io::Result<()> {
        self.with(|entry| entry.begun(ticket))
    }

    fn is_held(&self) -> bool {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn ended(&self) -> io::Result<()> {
        self.with(Entry::ended)?;
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

impl Entry {
    /// What it is about.
    pub fn names(&self) -> &CopyName {
        &self.names
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, what: &str, value: &Value) -> io::Result<()> {
        // On a line of its own, also behind one that was torn.
        let line = format!("\n{}\n", json!({ "names": self.names, what: value }));
        let mut file = self.file();
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }
}

impl UploadJournal for Entry {
    fn intends(&self) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.add("intended", &json!(now))
    }

    fn begun(&self, ticket: &Ticket) -> io::Result<()> {
        self.add("ticket", &ticket_json(ticket))
    }

    fn ended(&self) -> io::Result<()> {
        let file = self.file();
        file.set_len(0)?;
        file.sync_data()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // An entry of nothing is not worth a file, nor the folder if it was the last; one that cannot be removed says
        // nothing.
        if self.file().metadata().is_ok_and(|metadata| metadata.len() == 0 && metadata.nlink() > 0) {
            let _ = std::fs::remove_file(&self.path);
            let _ = self.path.parent().map(std::fs::remove_dir);
        }
    }
}

/// The name of a pair's file. Each text is preceded by its length, so that no two pairs are the same bytes.
fn file_name(names: &CopyName) -> String {
    let mut md5 = Md5::new();
    for ObjectName { endpoint, bucket, key } in [&names.source, &names.target] {
        for text in [endpoint, bucket, key] {
            md5.update((text.len() as u64).to_be_bytes());
            md5.update(text);
        }
    }
    format!("{}.{EXTENSION}", hex(&md5.finalize()))
}

/// What the whole lines of a file say, the last one first; a line that was torn by a kill or a full disk says nothing.
fn read(file: &mut File) -> io::Result<(Option<CopyName>, PriorRun)> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(LONGEST).read_to_end(&mut bytes)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let (mut names, mut before) = (None, PriorRun::default());
    for line in lines {
        names = line.get("names").and_then(|names| CopyName::deserialize(names).ok()).or(names);
        if let Some(intended) = line.get("intended").and_then(Value::as_i64) {
            before.ticket = None;
            before.intended.push(intended);
        }
        if let Some(ticket) = line.get("ticket").and_then(read_ticket) {
            // Whoever began it has swept what those before it left.
            before = PriorRun { ticket: Some(ticket), intended: Vec::new() };
        }
    }
    Ok((names, before))
}

/// A file is on the disk only once its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Entries of the journal that nobody has taken yet, by the source's key.
#[derive(Default)]
pub(crate) struct Leftovers(pub(crate) Mutex<BTreeMap<String, (Entry, PriorRun)>>);

impl Leftovers {
    /// What was left of a key; not of another upload than the one that is resumed, for which there would be no
    /// place then. The next invocation finds it again.
    pub(crate) fn take(&self, key: &Key, ticket: Option<&Ticket>) -> Option<(Entry, PriorRun)> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, before) = left.get(key.as_str())?;
        let is_another =
            ticket.zip(before.ticket.as_ref()).is_some_and(|(brought, found)| brought.upload != found.upload);
        if is_another { None } else { left.remove(key.as_str()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::plan::Layout;
    use crate::engine::decide::ticket::SourcePin;
    use crate::s3::http::operation::Precondition;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xpsync-journal-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }

        fn journal(&self) -> Journal {
            Journal::new(self.0.join("a/b"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn names(key: &str) -> CopyName {
        let named = |bucket: &str| ObjectName { endpoint: "https://e".into(), bucket: bucket.into(), key: key.into() };
        CopyName { source: named("a"), target: named("b") }
    }

    fn ticket(id: &str) -> Ticket {
        let (etag, style) = ("e".to_owned(), "s".to_owned());
        Ticket {
            upload: UploadId::new(id).unwrap(),
            pin: SourcePin { etag, version: None, size: 9, last_modified: None, style },
            layout: Layout::Even { part: 5, size: 9 },
            condition: Precondition::IfAbsent,
        }
    }

    fn ours(journal: &Journal, key: &str) -> (Entry, PriorRun) {
        journal.open(names(key)).unwrap().unwrap()
    }

    fn with_ticket(id: &str) -> PriorRun {
        PriorRun { ticket: Some(ticket(id)), intended: Vec::new() }
    }

    #[test]
    fn what_was_begun_and_not_ended_is_found_again() {
        let folder = Folder::new("again");
        let journal = folder.journal();
        let (entry, before) = ours(&journal, "k");
        assert_eq!(before, PriorRun::default());
        entry.intends().unwrap();
        entry.begun(&ticket("one")).unwrap();
        drop(entry);
        let (entry, before) = ours(&journal, "k");
        assert_eq!(before, with_ticket("one"));
        assert_eq!(journal.uploads().unwrap(), BTreeSet::from([UploadId::new("one").unwrap()]));
        entry.ended().unwrap();
        drop(entry);
        assert_eq!(ours(&journal, "k").1, PriorRun::default());
    }

    #[test]
    fn nothing_stays_of_what_has_ended() {
        let folder = Folder::new("ended");
        let journal = folder.journal();
        let (entry, _) = ours(&journal, "k");
        entry.begun(&ticket("one")).unwrap();
        entry.ended().unwrap();
        drop(entry);
        assert_eq!(journal.files().unwrap(), Vec::<PathBuf>::new());
        assert!(journal.left().unwrap().is_empty());
        assert!(!folder.0.join("a/b").exists());
    }

    #[test]
    fn what_another_has_left_meanwhile_is_not_written_over() {
        let folder = Folder::new("meanwhile");
        let journal = folder.journal();
        let later = journal.later(names("k"));
        let (entry, _) = ours(&journal, "k");
        entry.begun(&ticket("one")).unwrap();
        drop(entry);
        later.intends().unwrap();
        later.begun(&ticket("two")).unwrap();
        later.ended().unwrap();
        drop(later);
        assert_eq!(ours(&journal, "k").1, with_ticket("one"));
    }

    #[test]
    fn an_upload_that_was_only_meant_to_be_begun_is_told_with_its_time() {
        let folder = Folder::new("meant");
        let (entry, _) = ours(&folder.journal(), "k");
        entry.intends().unwrap();
        drop(entry);
        let before = ours(&folder.journal(), "k").1;
        assert!(before.ticket.is_none(), "{before:?}");
        assert!(matches!(before.intended[..], [at] if at > 1_700_000_000), "{before:?}");
    }

    #[test]
    fn a_torn_line_leaves_what_was_before_it() {
        let folder = Folder::new("torn");
        let journal = folder.journal();
        let (entry, _) = ours(&journal, "k");
        entry.begun(&ticket("one")).unwrap();
        entry.begun(&ticket("two")).unwrap();
        drop(entry);
        let path = journal.files().unwrap().remove(0);
        let whole = std::fs::read(&path).unwrap();
        let first = 1 + whole[1..].iter().position(|byte| *byte == b'\n').unwrap();
        for length in [whole.len() - 2, first + 2, first + 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(ours(&journal, "k").1, with_ticket("one"), "{length}");
        }
        for garbage in [&b"\0\0\0\0"[..], b"{}\n", b"\xff\n[]\n", b""] {
            std::fs::write(&path, garbage).unwrap();
            assert_eq!(ours(&journal, "k").1, PriorRun::default());
        }
    }

    #[test]
    fn what_is_written_behind_a_torn_line_is_read() {
        let folder = Folder::new("behind");
        let journal = folder.journal();
        let (entry, _) = ours(&journal, "k");
        entry.intends().unwrap();
        drop(entry);
        let path = journal.files().unwrap().remove(0);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        let (entry, _) = ours(&journal, "k");
        entry.intends().unwrap();
        drop(entry);
        assert_eq!(ours(&journal, "k").1.intended.len(), 1);
    }

    #[test]
    fn an_entry_is_one_process_s_at_a_time_and_pairs_are_told_apart() {
        let folder = Folder::new("locked");
        let journal = folder.journal();
        let (held, _) = ours(&journal, "k");
        assert!(journal.open(names("k")).unwrap().is_none());
        let (other, _) = ours(&journal, "l");
        other.begun(&ticket("one")).unwrap();
        assert!(journal.left().unwrap().is_empty(), "both are held");
        drop((held, other));
        let left = journal.left().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].0.names(), &left[0].1), (&names("l"), &with_ticket("one")));
    }
}
