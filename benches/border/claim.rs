//! The one thing that all borders of a machine share: which congestion controls a process without privileges may
//! choose. The first border sets it, the last one puts back what was there.
//!
//! Each border holds a locked file of its pid. A file that nobody holds is of a run that was killed: whoever comes next
//! unmakes what that one made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::namespaces::Namespace;
use super::options::Congestion;

const FOLDER: &str = "/run/xpsync-border";

const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// A border's part in it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    _held: File,
}

impl Claim {
    /// Unmakes what killed runs left, and allows what this border needs.
    pub(crate) fn new(pid: u32, congestion: Congestion) -> io::Result<Self> {
        fs::create_dir_all(FOLDER)?;
        let _one_at_a_time = exclusive()?;
        for other in others(None)? {
            if other != congestion.allowed() {
                let text = format!("another border is up that allows `{other}`, and this is of the whole machine");
                return Err(io::Error::other(text));
            }
        }
        let path = Path::new(FOLDER).join(pid.to_string());
        let mut held = File::create(&path)?;
        held.lock()?;
        held.write_all(congestion.allowed().as_bytes())?;
        let claim = Self { path, _held: held };
        if !before().exists() {
            fs::write(before(), fs::read(ALLOWED)?)?;
        }
        fs::write(ALLOWED, congestion.allowed())?;
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _one_at_a_time = exclusive();
        let _ = others(Some(&self.path));
        let _ = fs::remove_file(&self.path);
    }
}

/// What was allowed before the first border.
fn before() -> PathBuf {
    Path::new(FOLDER).join("before")
}

fn exclusive() -> io::Result<File> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(Path::new(FOLDER).join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// What the other borders allow that are up. Those that were killed are unmade, and where none is left, what was
/// allowed before them all is put back.
fn others(own: Option<&Path>) -> io::Result<Vec<String>> {
    let mut alive = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let path = entry?.path();
        let pid = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let Some(pid) = pid.filter(|_| Some(path.as_path()) != own) else { continue };
        let mut file = File::open(&path)?;
        if file.try_lock().is_ok() {
            for name in Namespace::names(pid) {
                drop(Namespace::left_behind(&name));
            }
            fs::remove_file(&path)?;
        } else {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            alive.push(text);
        }
    }
    if alive.is_empty()
        && let Ok(allowed) = fs::read(before())
    {
        fs::write(ALLOWED, allowed)?;
        fs::remove_file(before())?;
    }
    Ok(alive)
}
