//! Processes that stand still and go on: a machine that is paused.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(20);

/// Returns when none of its threads runs any more: the signal alone leaves it some more milliseconds on a busy machine.
pub fn suspend(process: Pid) {
    let _ = kill_process(process, Signal::STOP); // it may have ended
    let until = Instant::now() + PATIENCE;
    while runs(process) {
        assert!(Instant::now() < until, "{process:?} does not stand still");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn resume(process: Pid) {
    let _ = kill_process(process, Signal::CONT); // it may have ended
}

pub fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: &i32| stat(&Path::new("/proc").join(pid.to_string())).is_some_and(|(_, parent)| parent == of);
    pids.filter(parent).filter_map(Pid::from_raw).collect()
}

fn runs(process: Pid) -> bool {
    let tasks = Path::new("/proc").join(process.as_raw_nonzero().to_string()).join("task");
    let mut tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    tasks.any(|task| stat(&task.path()).is_some_and(|(state, _)| !"TtZX".contains(&state)))
}

/// Its state and its parent. `None`: it has ended.
fn stat(process: &Path) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // `pid (name) state parent …`; a name may hold blanks.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some((words.next()?, words.next()?))
}
