//! Two servers on both ends of a border: the source beside the client, the target at the far end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const SOURCE_PORT: u16 = 4443;
const TARGET_PORT: u16 = 4444;

/// Both servers, each with a bucket of its name and keys `NAME` and `NAME-secret`, and a folder for the client's files.
/// The servers end with it, and the folder goes.
pub(crate) struct World {
    source: Server,
    target: Server,
    folder: PathBuf,
    host: String,
}

impl World {
    /// Starts them; the source has these objects, `KEY=SIZE`.
    pub(crate) fn new(far: &str, host: &str, seeds: &[String]) -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("border-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let itself = std::env::current_exe()?;
        let near = Command::new(&itself);
        let mut beyond = Command::new("ip");
        beyond.args(["netns", "exec", far]).arg(&itself);
        let source = Server::start(near, &folder, "source", SOURCE_PORT, &["--seed", &seeds.join(",")])?;
        let target = Server::start(beyond, &folder, "target", TARGET_PORT, &["--address", "0.0.0.0", "--name", host])?;
        Ok(Self { source, target, folder, host: host.to_owned() })
    }

    pub(crate) fn source_url(&self) -> String {
        format!("https://localhost:{SOURCE_PORT}")
    }

    pub(crate) fn target_url(&self) -> String {
        format!("https://{}:{TARGET_PORT}", self.host)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the certificates that both servers', and these, are signed with, and says where.
    pub(crate) fn bundle(&self, more: &str) -> io::Result<PathBuf> {
        let path = self.path("ca.pem");
        let both = [fs::read(self.path("source.pem"))?, fs::read(self.path("target.pem"))?].concat();
        fs::write(&path, [both.as_slice(), more.as_bytes()].concat())?;
        Ok(path)
    }

    /// Ends the target, and gives what it counted by name.
    pub(crate) fn count(&mut self) -> io::Result<BTreeMap<String, u64>> {
        self.target.count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.source.end();
        self.target.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The user `nobody`.
const NOBODY: &str = "65534";

/// A program that is run by a user who may choose only what congestion control is allowed; root may choose any.
pub(crate) fn as_nobody(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program);
    command
}

/// A server as a process.
struct Server {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts one and waits until it is ready.
    fn start(mut command: Command, folder: &Path, name: &str, port: u16, more: &[&str]) -> io::Result<Self> {
        let region = if name == "source" { "cn-north-1" } else { "us-west-2" };
        let mut child = command
            .args(["embedded", "--bucket", name, "--access-key", name, "--secret-key", &format!("{name}-secret")])
            .args(["--region", region, "--port", &port.to_string()])
            .arg("--ca")
            .arg(folder.join(format!("{name}.pem")))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or_else(|| io::Error::other("a server without stdout"))?;
        let mut server = Self { child, said: BufReader::new(said).lines() };
        match server.said.next().transpose()? {
            Some(line) if line.starts_with("ready ") => Ok(server),
            _ => {
                server.end();
                Err(io::Error::other(format!("the {name} does not start")))
            }
        }
    }

    fn count(&mut self) -> io::Result<BTreeMap<String, u64>> {
        // `ip netns exec` has become the server, so this is its own id.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or_else(|| io::Error::other("no process"))?, Signal::TERM)?;
        let mut counts = BTreeMap::new();
        for line in self.said.by_ref() {
            let line = line?;
            let (name, count) = line.split_once(' ').ok_or_else(|| io::Error::other(format!("`{line}`?")))?;
            counts.insert(name.to_owned(), count.parse().map_err(io::Error::other)?);
        }
        Ok(counts)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
