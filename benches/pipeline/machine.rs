//! What it ran on: without it the figures say nothing.

use std::io::Write;
use std::time::Instant;

pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let line = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let memory = line("/proc/meminfo", "MemTotal").split(' ').next().and_then(|kb| kb.parse::<f64>().ok());
    format!(
        "{cores} cores ({}), {:.0} GB, fdatasync of 4 KiB {:.2} ms (median); load generator and messengers on the same \
         cores; the server with CAMPANILE_LOG=warn",
        line("/proc/cpuinfo", "model name"),
        memory.unwrap_or_default() / 1_048_576.0,
        fdatasync_ms(),
    )
}

fn fdatasync_ms() -> f64 {
    let mut file = tempfile::tempfile().expect("a file");
    let mut took: Vec<f64> = (0..201)
        .map(|_| {
            file.write_all(&[7; 4_096]).expect("a disk");
            let started = Instant::now();
            file.sync_data().expect("a disk");
            started.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}
