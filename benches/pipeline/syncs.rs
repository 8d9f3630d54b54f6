//! How often a store waited for the disk: `fsync` and `fdatasync`, counted at libc's door.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

struct Counter {
    library: PathBuf,
    count: PathBuf,
}

fn counter() -> &'static Counter {
    static COUNTER: OnceLock<Counter> = OnceLock::new();
    COUNTER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("campanile-bench-").tempdir().expect("a folder").keep();
        let counter = Counter { library: folder.join("syncs.so"), count: folder.join("count") };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pipeline/syncs.c");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O2", source, "-o"]).arg(&counter.library).status();
        assert!(compiled.is_ok_and(|end| end.success()), "a C compiler");
        std::fs::write(&counter.count, 0_u64.to_ne_bytes()).expect("a file");
        // PostgreSQL's server runs as somebody else.
        for (path, mode) in [(&folder, 0o755), (&counter.count, 0o666)] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("our own file");
        }
        counter
    })
}

/// The environment of a process whose waits are counted.
pub fn counted() -> [(&'static str, &'static str); 2] {
    let counter = counter();
    let text = |path: &'static PathBuf| path.to_str().expect("a plain path");
    [("LD_PRELOAD", text(&counter.library)), ("SYNCS", text(&counter.count))]
}

/// Of all processes since the bench began.
pub fn count() -> u64 {
    let count = std::fs::read(&counter().count).expect("our own file");
    u64::from_ne_bytes(count[..8].try_into().expect("eight bytes"))
}
