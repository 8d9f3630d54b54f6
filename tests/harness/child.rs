//! The real binary as a process of its own: it can be killed.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::Pid;

use super::{Client, Setup, config_text, process, secrets};

pub const BINARY: &str = env!("CARGO_BIN_EXE_campanile");

/// A folder that is all of the file system that a process sees, with the binary at `/campanile`.
pub struct Enclosed {
    root: PathBuf,
    /// Whose process it is, if not the caller's.
    pub uid: Option<u32>,
}

impl Enclosed {
    /// As somebody without rights: root becomes another user, others are nobody in a namespace of their own. `None`:
    /// this machine does not allow it.
    pub fn possible() -> Option<Self> {
        let uid = rustix::process::geteuid().is_root().then_some(65_532);
        let allowed = || Command::new("unshare").args(["--user", "true"]).status().is_ok_and(|end| end.success());
        (uid.is_some() || allowed()).then(|| Self { root: "/".into(), uid })
    }

    pub fn within(self, root: &Path) -> Self {
        Self { root: root.to_owned(), ..self }
    }

    fn command(&self) -> Command {
        let mut run = Command::new("/usr/bin/unshare");
        match self.uid {
            Some(uid) => run.args([format!("--setgid={uid}"), format!("--setuid={uid}")]),
            None => run.arg("--user"),
        };
        run.arg("--root").arg(&self.root).arg("/campanile");
        run
    }

    fn sees(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(&self.root).unwrap())
    }
}

/// A `campanile serve` with its folder.
pub struct Bridge {
    pub folder: PathBuf,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    /// The soft limit of open files that it is started with.
    pub open_files: Option<u32>,
    /// Runs its binary instead of the one that was built with the tests.
    pub enclosed: Option<Enclosed>,
    child: Option<Child>,
    env: Vec<(String, String)>,
}

impl Bridge {
    /// Writes the configuration; nothing runs yet.
    pub fn new(folder: &Path, setup: &Setup, slack_url: &str, telegram_url: &str) -> Self {
        let (public, admin) = (free_port(), free_port());
        let text = config_text(setup, slack_url, telegram_url, &public.to_string(), &admin.to_string());
        std::fs::write(folder.join("config.yaml"), text).unwrap();
        let env = secrets().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { folder: folder.to_owned(), public, admin, open_files: None, enclosed: None, child: None, env }
    }

    pub fn env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub fn command(&self, command: &str) -> Command {
        let config = self.folder.join("config.yaml");
        let (mut run, config) = match (&self.enclosed, self.open_files) {
            (Some(enclosed), _) => (enclosed.command(), enclosed.sees(&config)),
            (None, None) => (Command::new(BINARY), config),
            (None, Some(files)) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -Sn {files}; exec \"$0\" \"$@\""), BINARY]);
                (shell, config)
            }
        };
        run.arg(command).arg("--config").arg(config).env_clear().envs(self.env.iter().cloned());
        run
    }

    /// Starts it and returns when it is ready.
    pub async fn start(&mut self) {
        assert!(self.starts().await, "it ended: {}", self.log());
    }

    /// Starts it; `false` when it ended before it was ready, as a fail point can make it.
    pub async fn starts(&mut self) -> bool {
        self.launch();
        let client = Client::default();
        for _ in 0..2_000 {
            let ready = client.get(&format!("http://{}/readyz", self.public)).try_body("").await;
            if ready.is_ok_and(|answer| answer.status == 200) {
                return true;
            }
            if !self.runs() {
                return false;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("it does not become ready: {}", self.log());
    }

    /// Starts it, and does not wait.
    pub fn launch(&mut self) {
        let log = std::fs::File::options().append(true).create(true).open(self.log_path()).unwrap();
        let child = self.command("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    /// Whether it was started and did not end by itself since.
    pub fn runs(&mut self) -> bool {
        self.child.take_if(|child| child.try_wait().unwrap().is_some());
        self.child.is_some()
    }

    /// Stands still, as on a machine that is paused.
    pub fn suspend(&self) {
        process::suspend(self.pid());
    }

    pub fn resume(&self) {
        process::resume(self.pid());
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn hook_url(&self) -> String {
        format!("http://{}/hooks/tracker", self.public)
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns when the process has ended by itself.
    pub async fn wait_for_its_end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    }

    /// SIGTERM; waits for the end and says how it ended.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
        let mut child = self.child.take().expect("it runs");
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
    }

    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.join("data/campanile.db")).unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Compiles what is loaded before libc (`LD_PRELOAD`): a C compiler is there wherever SQLite could be built.
pub fn preloaded(name: &str, folder: &Path) -> PathBuf {
    let library = folder.join(format!("{name}.so"));
    let source = format!("{}/tests/harness/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(built.success());
    library
}

/// Runs a command of the binary to its end.
pub fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(BINARY).args(arguments).env_clear().envs(env.iter().copied()).output().unwrap()
}

/// None of those that the kernel gives to outgoing connections: it must still be free when the process starts anew.
fn free_port() -> SocketAddr {
    let mut ports = std::iter::repeat_with(|| TcpListener::bind(("127.0.0.1", fastrand::u16(10_000..30_000))));
    ports.find_map(Result::ok).unwrap().local_addr().unwrap()
}
