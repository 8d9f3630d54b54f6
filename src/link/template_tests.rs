use proptest::prelude::*;

use super::*;

fn captured(shape: &str, call: &str) -> Option<(String, String)> {
    let (path, query) = call.split_once('?').map_or((call, None), |(path, query)| (path, Some(query)));
    let found = Shape::parse(shape).unwrap().matches(path, query)?;
    Some((found.remote_key.unwrap_or_default(), found.issue_key.unwrap_or_default()))
}

#[test]
fn shapes_in_any_order_path_or_query() {
    for (shape, call, found) in [
        ("/links/{{remoteKey}}", "/links/1234", Some(("1234", ""))),
        ("/{{remoteKey}}/info", "/1234/info", Some(("1234", ""))),
        ("/links", "/links", Some(("", ""))),
        ("/links", "/links/", None),
        ("/links/", "/links", None),
        ("/links/{{remoteKey}}", "/links/", None),
        ("/links/{{remoteKey}}", "/linksx1", None),
        ("/links/{{remoteKey}}/{{issueKey}}", "/links/1234/TEST-123", Some(("1234", "TEST-123"))),
        ("/links/{{ remoteKey }}/{{issueKey}}", "/links/a/b/TEST-1/TEST-2", Some(("a/b/TEST-1", "TEST-2"))),
        ("/links/{{issueKey}}/{{remoteKey}}", "/links/TEST-1/TEST-2/a", Some(("TEST-2/a", "TEST-1"))),
        ("/links/{{remoteKey}}/{{issueKey}}", "/links/1234/TEST-0", None),
        ("/links/{{remoteKey}}/{{issueKey}}", "/links//TEST-1", None),
        ("/l/{{issueKey}}-{{remoteKey}}.json", "/l/TEST-1-2-x.json.json", Some(("2-x.json", "TEST-1"))),
        ("/l/{{remoteKey}}_{{issueKey}}!", "/l/a_TEST-1_TEST-2!", Some(("a_TEST-1", "TEST-2"))),
        (
            "/links/?action=del&ticket={{issueKey}}&obj={{remoteKey}}",
            "/links/?obj=12%2F34&more&action=del&ticket=TEST-123",
            Some(("12/34", "TEST-123")),
        ),
        ("/links?action=del&obj={{remoteKey}}", "/links?action=add&obj=1", None),
        ("/links?action=del&obj={{remoteKey}}", "/links?obj=1", None),
        ("/links?action=del&obj={{remoteKey}}", "/links", None),
        ("/links?del&obj={{remoteKey}}", "/links?obj=1&del=", Some(("1", ""))),
        ("/links?obj={{remoteKey}}", "/links?obj=&obj=2", Some(("2", ""))),
        ("/links?obj={{remoteKey}}", "/links?obj=a=b", Some(("a=b", ""))),
        ("/links?a=x/y&obj={{remoteKey}}", "/links?a=x%2fy&obj=1", Some(("1", ""))),
        ("/{{issueKey}}?obj=id-{{remoteKey}}", "/TEST-1?obj=id-7", Some(("7", "TEST-1"))),
    ] {
        let found = found.map(|(remote, issue)| (remote.to_owned(), issue.to_owned()));
        assert_eq!(captured(shape, call), found, "{shape} of {call}");
    }
}

#[test]
fn a_key_with_slash_percent_and_cyrillic() {
    let shape = "/links/{{remoteKey}}/{{issueKey}}";
    for (call, key) in [
        ("review:github:team/bells:7", "review:github:team/bells:7"),
        ("review%3Agithub%3Ateam%2Fbells%3A7", "review:github:team/bells:7"),
        ("bench:a%252Fb", "bench:a%2Fb"),
        ("bench:%D0%B2%D0%B5%D1%82%D0%BA%D0%B0", "bench:ветка"),
        ("bench:ветка+1%23", "bench:ветка+1#"),
        ("bench:100%", "bench:100%"),
        ("bench:%zz%1", "bench:%zz%1"),
    ] {
        assert_eq!(captured(shape, &format!("/links/{call}/TEST-1")), Some((key.into(), "TEST-1".into())), "{call}");
    }
    assert_eq!(captured(shape, "/links/%FF/TEST-1"), None, "no UTF-8");
    assert_eq!(captured(shape, "/links%2Fa/TEST-1"), None, "an encoded slash parts nothing");
    assert_eq!(
        captured("/связи/{{remoteKey}}", "/%D1%81%D0%B2%D1%8F%D0%B7%D0%B8/1"),
        Some(("1".into(), String::new()))
    );
}

#[test]
fn a_template_without_a_clear_meaning_is_refused() {
    for (shape, why) in [
        ("links/{{remoteKey}}", Why::NoPath),
        ("", Why::NoPath),
        ("?obj={{remoteKey}}", Why::NoPath),
        ("https://x/{{remoteKey}}", Why::NoPath),
        ("/hooks/{{remoteKey}}", Why::Taken("/hooks")),
        ("/healthz", Why::Taken("/healthz")),
        ("/slack/x", Why::Taken("/slack")),
        ("/a#{{remoteKey}}", Why::Fragment),
        ("/{{remotekey}}", Why::Unknown("remotekey".into())),
        ("/{{remoteKey", Why::Open),
        ("/{{remoteKey}}/{{remoteKey}}", Why::Twice("{{remoteKey}}")),
        ("/{{issueKey}}?a={{issueKey}}", Why::Twice("{{issueKey}}")),
        ("/{{remoteKey}}{{issueKey}}", Why::NoBorder),
        ("/{{issueKey}}0{{remoteKey}}", Why::NoBorder),
        ("/?a={{remoteKey}}x{{issueKey}}", Why::NoBorder),
        ("/?{{remoteKey}}=1", Why::InName),
    ] {
        assert_eq!(Shape::parse(shape), Err(why), "{shape}");
    }
    for right in ["/hooksx", "/slackers/{{remoteKey}}", "/{{issueKey}}-{{remoteKey}}", "/?", "/a?b&c={{remoteKey}}"] {
        assert_eq!(Shape::parse(right).unwrap().to_string(), right);
    }
}

/// As a careful caller writes a text into an address, and as a careless one does.
fn encoded(text: &str, careful: bool) -> String {
    let kept = |byte: u8| match careful {
        true => byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte),
        false => !byte.is_ascii_control() && !b" %?#&\"<>".contains(&byte),
    };
    let written = |byte: u8| match kept(byte) {
        true if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(written).collect()
}

proptest! {
    #[test]
    fn what_was_written_into_a_template_is_read_from_it(
        remote in "[a-zA-Z0-9/:%_. я+=#&-]{1,20}", issue in "[A-Z]{1,4}-[1-9][0-9]{0,3}", careful: bool, which in 0..10usize,
    ) {
        let shape = [
            "/links/{{remoteKey}}/{{issueKey}}",
            "/links/{{issueKey}}/{{remoteKey}}",
            "/{{remoteKey}}/of/{{issueKey}}.json",
            "/{{issueKey}}-{{remoteKey}}/x",
            "/a?obj={{remoteKey}}&ticket={{issueKey}}",
            "/{{issueKey}}?action=del&obj=id.{{remoteKey}}",
            "/a?both={{issueKey}}.{{remoteKey}}",
            "/{{remoteKey}}-{{issueKey}}",
            "/{{issueKey}}-1{{remoteKey}}",
            "/{{remoteKey}}T-{{issueKey}}",
        ][which];
        let call = shape.replace("{{remoteKey}}", &encoded(&remote, careful)).replace("{{issueKey}}", &issue);
        prop_assert_eq!(captured(shape, &call), Some((remote, issue)), "{}", call);
    }

    #[test]
    fn no_text_is_too_odd(shape in "/[a{}?&=%/#]{0,12}(\\{\\{(remote|issue)Key\\}\\})?[a/?=]{0,3}", call in "/[a%2F/TEST1?&=-]{0,24}") {
        if let Ok(shape) = Shape::parse(&shape) {
            let (path, query) = call.split_once('?').map_or((call.as_str(), None), |(path, query)| (path, Some(query)));
            shape.matches(path, query);
        }
    }
}
