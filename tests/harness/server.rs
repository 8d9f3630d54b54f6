//! A PostgreSQL server that a test can stop, kill, freeze and start again. It ends with the test's process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::process;

/// Of the server: it refuses to run as root.
const NOBODY: &str = "65534";
const PREFIX: &str = "campanile-pg-";
const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is stopped; the signals are PostgreSQL's own (its manual, "Shutting Down the Server").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// Sessions are cut, what they had not committed is undone, everything is written.
    Fast,
    /// As a power failure, but for what the kernel holds: the next start recovers from the log.
    Immediate,
}

pub struct Server {
    folder: PathBuf,
    settings: Vec<String>,
    env: Vec<(String, String)>,
    postmaster: Option<Pid>,
}

impl Server {
    /// A new cluster, running, with these settings (`name=value`).
    pub fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, &[])
    }

    /// As [`Server::start`], with these variables in its processes' environment.
    pub fn start_with(settings: &[&str], env: &[(&str, &str)]) -> Self {
        Self::make(own_folder(), settings, env)
    }

    /// As [`Server::start`], in this empty folder.
    pub fn within(folder: PathBuf, settings: &[&str]) -> Self {
        Self::make(folder, settings, &[])
    }

    /// A hot standby that follows this server.
    pub fn standby(&self, settings: &[&str]) -> Self {
        let folder = own_folder();
        owned(&folder);
        let mut copy = as_somebody("pg_basebackup", false);
        copy.args(["-U", "campanile", "--checkpoint=fast", "--no-sync", "--write-recovery-conf", "-h"]);
        copy.arg(&self.folder).arg("-D").arg(folder.join("data"));
        assert!(copy.status().unwrap().success());
        let mut standby = Self::in_folder(folder, settings, &[]);
        standby.launch();
        standby.until("it follows", || standby.log().contains("ready to accept read"));
        standby
    }

    fn make(folder: PathBuf, settings: &[&str], env: &[(&str, &str)]) -> Self {
        owned(&folder);
        let mut initdb = as_somebody("initdb", false);
        initdb.args(["-U", "campanile", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
        assert!(initdb.arg(folder.join("data")).status().unwrap().success());
        let mut server = Self::in_folder(folder, settings, env);
        server.launch();
        server.until_ready();
        server
    }

    fn in_folder(folder: PathBuf, settings: &[&str], env: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(ToString::to_string).collect();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { folder, settings, env, postmaster: None }
    }

    /// Of its database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://campanile@{}/postgres", self.folder.display().to_string().replace('/', "%2F"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// From its next start on.
    pub fn env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it again; it may still be recovering when this returns.
    pub fn launch(&mut self) {
        assert!(self.postmaster.is_none(), "it runs");
        let mut postgres = as_somebody("postgres", true);
        postgres.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder).args(["-h", ""]);
        for setting in &self.settings {
            postgres.args(["-c", setting]);
        }
        postgres.envs(self.env.iter().map(|(name, value)| (name, value)));
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let (started, pid) = std::sync::mpsc::channel();
        // A thread that lives as long as the server: the kernel ends a child with the thread that started it.
        std::thread::spawn(move || {
            let mut server = postgres.stderr(log).spawn().unwrap();
            started.send(Pid::from_child(&server)).unwrap();
            let _ = server.wait();
        });
        self.postmaster = Some(pid.recv().unwrap());
    }

    /// It may have given up by itself.
    pub fn runs(&mut self) -> bool {
        self.postmaster.take_if(|postmaster| !is_there(*postmaster));
        self.postmaster.is_some()
    }

    pub fn until_ready(&self) {
        self.until("it starts", || self.log().contains("ready to accept connections"));
    }

    /// Stops it, and returns when it is gone.
    pub fn stop(&mut self, how: Stop) {
        let postmaster = self.postmaster.take().expect("it runs");
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        kill_process(postmaster, signal).unwrap();
        self.until("it stops", || !is_there(postmaster));
    }

    /// Every process of it stands still, as on a machine that is paused.
    pub fn suspend(&self) {
        self.processes().for_each(process::suspend);
    }

    pub fn resume(&self) {
        self.processes().for_each(process::resume);
    }

    /// The postmaster first: it starts no more of them.
    fn processes(&self) -> impl Iterator<Item = Pid> {
        let postmaster = self.postmaster.expect("it runs");
        std::iter::once(postmaster).chain(std::iter::once_with(move || process::children(postmaster)).flatten())
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "PostgreSQL: {what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.runs() {
            self.resume();
            self.stop(Stop::Immediate);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Gone with the server, or swept when the process is gone.
fn own_folder() -> PathBuf {
    sweep();
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().unwrap().keep()
}

fn owned(folder: &Path) {
    if geteuid().is_root() {
        assert!(Command::new("chown").arg(NOBODY).arg(folder).status().unwrap().success());
    }
}

fn is_there(process: Pid) -> bool {
    Path::new("/proc").join(process.as_raw_nonzero().to_string()).exists()
}

/// The newest of the machine's servers.
fn binaries() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    folders.sort_by_key(|bin| bin.parent().and_then(|it| it.file_name()?.to_str()?.parse::<u32>().ok()));
    folders.pop().expect("PostgreSQL's server is missing: install postgresql")
}

fn as_somebody(program: &str, ends_with_us: bool) -> Command {
    let mut command = Command::new("setpriv");
    if geteuid().is_root() {
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    }
    if ends_with_us {
        command.args(["--pdeathsig", "QUIT"]);
    }
    command.arg(binaries().join(program)).current_dir("/").stdout(Stdio::null());
    command
}

/// Removes what processes left that are gone.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(entry.path()); // another process may be at it
        }
    }
}
