//! Each limit from both sides.

use super::tests::{HEAD, accepted, findings, refused, with};
use super::*;

#[test]
fn limits_hold_on_both_sides() {
    for (key, least, most) in
        [("max_pending", 1u64, 1_000_000_000u64), ("retention_days", 1, 36_500), ("store_reserve_mb", 0, 1_000_000_000)]
    {
        accepted(&with(&format!("{key}: {least}")));
        accepted(&with(&format!("{key}: {most}")));
        let message = format!("`{key}` must be a whole number from {least} to {most}");
        for wrong in [most as i128 + 1, least as i128 - 1] {
            refused(&[(&format!("{key}: {wrong}"), (4, key.len() + 3), &message, "")]);
        }
    }
    let channel = |rest: &str| format!("telegram: {{token: {{env: T}}}}\nchannels: {{a: {{telegram: {rest}}}}}");
    for right in
        ["9999999999", "-4503599627370495", "1, topic: 1", "1, topic: 2147483647", "1, give_up_after_hours: 8760"]
    {
        accepted(&with(&channel(right)));
    }
    for (wrong, column, message) in [
        ("4503599627370496", 26, "`telegram` must be a chat's id"),
        ("-4503599627370496", 26, "`telegram` must be a chat's id"),
        ("0", 26, "`telegram` must be a chat's id"),
        ("\"@chat\"", 26, "`telegram` must be a chat's id"),
        ("1, topic: 0", 36, "`topic` must be a whole number from 1"),
        ("1, topic: 2147483648", 36, "`topic` must be"),
        ("1, give_up_after_hours: 0", 50, "`give_up_after_hours` must be"),
        ("1, give_up_after_hours: 8761", 50, "`give_up_after_hours` must be"),
        ("1, give_up_after_hours: 1.5", 50, "`give_up_after_hours` must be"),
    ] {
        refused(&[(&channel(wrong), (5, column), message, "")]);
    }
    for right in
        ["{per_channel_per_second: 0.001}", "{per_channel_per_second: 100000, burst: 1000}", "{burst: 1}", "{}"]
    {
        accepted(&with(&format!("slack: {{pace: {right}}}")));
    }
    for wrong in [
        "{burst: 0}",
        "{burst: 1001}",
        "{per_channel_per_second: 0}",
        "{per_channel_per_second: -1}",
        "{per_channel_per_second: inf}",
        "{per_channel_per_second: nan}",
        "{per_channel_per_second: 0.0009}",
        "[]",
    ] {
        assert_eq!(findings(&with(&format!("slack: {{pace: {wrong}}}"))).len(), 1, "{wrong}");
    }
    let long = |bytes: usize| format!("{HEAD}#{}", "x".repeat(bytes - HEAD.len() - 1));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), long(1 << 20)).unwrap();
    assert!(load(file.path(), &|_| Vec::new()).is_ok());
    std::fs::write(file.path(), long((1 << 20) + 1)).unwrap();
    assert!(load(file.path(), &|_| Vec::new()).err().unwrap()[0].message.contains("larger than 1 MiB"));
}

#[test]
fn the_server_is_not_left_open() {
    let server = |rest: &str| HEAD.replace("\"[::]:8080\"", &format!("\"[::]:8080\", {rest}"));
    for right in ["admin: \"127.0.0.2:1\"", "admin: \"[::1]:1\"", "admin: \"0.0.0.0:1\", admin_token: {env: A}"] {
        accepted(&server(right));
    }
    for (wrong, message) in [
        ("admin: \"0.0.0.0:1\"", "has no `admin_token`"),
        ("admin: \"10.0.0.1:1\"", "has no `admin_token`"),
        ("admin: \"[::]:8080\", admin_token: {env: A}", "are the same address"),
        ("admin: localhost", "`admin` must be an address and a port"),
        ("shutdown_seconds: 0", "from 1 to 3600"),
        ("shutdown_seconds: 3601", "from 1 to 3600"),
        ("trusted_proxies: [proxy]", "addresses or networks"),
        ("public_url: bells", "must be a URL"),
    ] {
        let found = findings(&server(wrong));
        assert!(found.len() == 1 && found[0].message.contains(message), "{wrong}: {found:?}");
    }
}
