//! What Tracker's form is to hold.

use serde_json::json;

use super::TOKEN;
use crate::harness::child;

#[test]
fn the_form_of_the_registration_is_told_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let registration = |server: &str, links: &str| {
        let text = format!(
            "server: {{listen: '127.0.0.1:0'{server}}}\nstore: sqlite://a.db\nsources: {{t: {{kind: tracker, secret: {{env: S}}}}}}\n{links}"
        );
        std::fs::write(&config, text).unwrap();
        let path = config.display().to_string();
        child::run(&["links", "registration", "--json", "--config", &path], &[("LINKS", TOKEN)])
    };
    let (public, links) = (", public_url: 'https://bells.example.com/'", "links: {auth: {token: {env: LINKS}}}\n");
    let told = registration(public, links);
    assert!(told.status.success(), "{told:?}");
    let form: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        form,
        json!({"id": "campanile", "name": "Campanile", "canLinkFromFront": true,
            "frontUrl": "https://bells.example.com/links/{{remoteKey}}",
            "entityInfoUrl": "https://bells.example.com/links/{{remoteKey}}",
            "createLinkUrl": "https://bells.example.com/links",
            "removeLinkUrl": "https://bells.example.com/links/{{remoteKey}}/{{issueKey}}",
            "oauthToken": "the value of LINKS", "responsible": "a person of yours whom Tracker's team can write to"})
    );
    for (server, links, why) in [("", links, "`server.public_url` is not set"), (public, "", "has no `links`")] {
        let told = registration(server, links);
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.status.code() == Some(1) && said.contains(why), "{said}");
    }
}
