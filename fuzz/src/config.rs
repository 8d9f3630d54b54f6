//! config.yaml → a configuration, or findings with their places.

use campanile::config::{Loaded, load};
use campanile::event::Document;
use campanile::finding::Severity;

const EVENT: &str = r#"{
    "event": {"kind": "issue.created", "source": "tracker", "received_at": "2026-05-20T09:15:00Z", "degraded": false},
    "issue": {"key": "TEST-1", "summary": "s", "queue": {"key": "TEST"}, "priority": {"key": "critical"}, "tags": ["a"],
        "followers": [{"login": "a"}], "fields": {"n": 7, "x": -1.5}},
    "body": {"list": [1, "b", {}], "big": 9223372036854775807}
}"#;

/// `input`: the file.
pub fn check(input: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, input).unwrap();
    let load = || load(&path, &|_| Vec::new());
    let text = |file: &str| (file == path.to_str().unwrap()).then_some(input);
    match (load(), load()) {
        (Err(found), Err(again)) => {
            assert!(found.iter().any(|finding| finding.severity == Severity::Error), "refused without an error");
            assert_eq!(found, again);
            super::findings::hold(&found, text);
        }
        (Ok(loaded), Ok(again)) => {
            let told = |loaded: &Loaded| format!("{:?}", (&loaded.config, &loaded.warnings));
            assert_eq!(told(&loaded), told(&again));
            assert!(loaded.warnings.iter().all(|finding| finding.severity == Severity::Warning));
            super::findings::hold(&loaded.warnings, text);
            for document in [EVENT, "{}"].map(|json| Document::new(json, Some(1))) {
                let (routed, explained) = (loaded.router.route(&document), loaded.router.explain(&document));
                assert_eq!(explained.len(), loaded.config.routes.len());
                let panicked = |text: &str| text.contains("panicked");
                assert!(!explained.iter().any(|route| panicked(&route.why)), "{explained:?}");
                let known = |name| loaded.config.channels.iter().any(|channel| channel.name == name);
                assert!(routed.planned.into_iter().all(|planned| known(planned.channel)));
            }
        }
        _ => panic!("accepted once and refused once"),
    }
}
