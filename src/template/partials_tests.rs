use super::*;
use crate::template::partials::MOST;

#[test]
fn a_partial_stands_where_it_is_named() {
    let who = "{{default display login}}";
    for (source, partials, said) in [
        ("{{> p}}", &[("p", "{{issue.key}}")][..], "TEST-1"),
        ("a\n{{> p}}\nb {{> p}} c", &[("p", "{{issue.key}}")], "a\nTEST-1b TEST-1 c"),
        ("a\n{{> p}}\nb", &[("p", "{{issue.key}}\n")], "a\nTEST-1\nb"),
        ("{{> who issue.assignee}}", &[("who", who)], "Иван Иванов"),
        ("{{#each issue.followers}}{{> who}}{{@index}} {{/each}}", &[("who", who)], "A0 b1"),
        (
            "{{#each issue.followers}}{{> p}}{{/each}}",
            &[("p", "{{@index}}{{@root.issue.key}}{{login}}")],
            "0TEST-1a1TEST-1b",
        ),
        ("{{#with issue.assignee}}{{> p}}{{/with}}", &[("p", "{{../../issue.key}}")], "TEST-1"),
        ("{{> p name=issue.status.display mark=\"!\"}}", &[("p", "{{name}}{{mark}} {{issue.key}}")], "Открыт! TEST-1"),
        ("{{> a}}", &[("a", "{{#if issue}}{{> b}}{{/if}}"), ("b", "{{#each issue.tags}}{{this}}{{/each}}")], "xy"),
        ("{{> p issue.status text=issue.key}}", &[("p", "{{key}} {{text}}")], "open TEST-1"),
        ("{{#each body.list}}{{> p}}{{/each}}", &[("p", "{{n}}{{this.n}}")], "1122"),
    ] {
        let (templates, findings) = load_with(source, partials);
        assert_eq!(findings, Vec::<String>::new(), "{source}");
        assert_eq!(render(&templates, "t", &document()).as_deref(), Ok(said), "{source}");
    }
}

#[test]
fn what_a_partial_gets_wrong_is_found_in_its_file() {
    for (source, partials, found) in [
        ("{{> head}}", &[][..], "1:5 there is no `partials/head.hbs` (there are no partials)"),
        (
            "{{> haed}}",
            &[("head", "x")],
            "1:5 there is no `partials/haed.hbs` (did you mean `head`? The partials: `head`)",
        ),
        (
            "{{> p}}",
            &[("p", "\n {{issue.sumary}}")],
            "p:2:4 no event has `issue.sumary` (did you mean `issue.summary`?)",
        ),
        ("{{> p issue.status}}", &[("p", "{{kee}}")], "p:1:3 no event has `kee` (did you mean `issue.status.key`?)"),
        ("{{> p}}", &[("p", "{{#if}}")], "p:1:1 `{{#if}}` is never closed (close it with `{{/if}}`)"),
        ("{{> p}}", &[("p", "a {{> p}}")], "p:1:7 a partial that comes to itself never ends: `p` → `p`"),
        (
            "{{> a}}",
            &[("a", "{{> b}}"), ("b", "{{> c}}"), ("c", "\n{{> b}}")],
            "c:2:5 a partial that comes to itself never ends: `b` → `c` → `b`",
        ),
        ("{{> p issue.key issue.url}}", &[("p", "x")], "1:5 a partial takes one value (write `{{> p member=value}}`)"),
        ("{{> p x=issue.kee}}", &[("p", "x")], "1:9 no event has `issue.kee` (did you mean `issue.key`?)"),
        (
            "{{#each issue.followers as |who|}}{{> p}}{{/each}}",
            &[("p", "{{../issue.kee}}")],
            "p:1:3 `../issue.kee` is looked up in the block's own value here (write `@root.issue.kee`)",
        ),
        (
            "{{> (lookup body \"p\")}}",
            &[],
            "1:1 a partial's name cannot be computed (write `{{> name}}` for `partials/name.hbs`)",
        ),
        (
            "{{#*inline \"p\"}}x{{/inline}}",
            &[],
            "1:1 a partial cannot be written inside a template (write it to a file, `partials/name.hbs`)",
        ),
    ] {
        let (templates, findings) = load_with(source, partials);
        assert_eq!(findings.first().map(String::as_str), Some(found), "{source}");
        assert!(matches!(render(&templates, "t", &document()), Err(RenderError::Broken(_))), "{source}");
    }
    let (templates, findings) = load_with("x\n{{> p}}", &[("p", "a\n{{body.list.name}}")]);
    assert!(findings.is_empty(), "only the call itself can tell");
    let end = render(&templates, "t", &document());
    assert!(matches!(&end, Err(RenderError::Failed { file, line: 2, .. }) if file == "p"), "{end:?}");
}

#[test]
fn partials_nest_and_multiply_up_to_a_limit() {
    let chain = |depth: usize| {
        let name = |n: usize| format!("p{n}");
        let text = |n: usize| if n + 1 == depth { "x".to_owned() } else { format!("{{{{> {}}}}}", name(n + 1)) };
        (0..depth).map(|n| (name(n), text(n))).collect::<Vec<_>>()
    };
    let load = |source: &str, partials: &[(String, String)]| {
        let partials: Vec<_> = partials.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        load_with(source, &partials)
    };
    let (templates, findings) = load("{{> p0}}", &chain(32));
    assert_eq!((findings, render(&templates, "t", &document())), (Vec::new(), Ok("x".to_owned())));
    let deep = "p31:1:5 blocks and partials are nested more than 32 deep";
    assert_eq!(load("{{> p0}}", &chain(33)).1, [deep]);
    assert_eq!(
        load("{{#if issue}}{{> p0}}{{/if}}", &chain(32)).1,
        ["p30:1:5 blocks and partials are nested more than 32 deep"]
    );
    let doubled: Vec<_> = chain(20).into_iter().map(|(name, text)| (name, text.repeat(2))).collect();
    let (_, findings) = load("{{> p0}}", &doubled);
    assert_eq!(findings.len(), 1);
    assert!(findings[0].ends_with(&format!("partials within partials come to more than {} here", MOST)));
    let wide = "{{> p0}}".repeat(MOST);
    assert!(load(&wide, &chain(1)).1.is_empty() && load(&(wide + "{{> p0}}"), &chain(1)).1.len() == 1);
}
