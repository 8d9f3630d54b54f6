//! The demo's page in a real browser: what a visitor does in the first two minutes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Demo, NASTY};
use crate::harness::browser::{self, Browser};
use crate::harness::child::BINARY;
use crate::harness::{Client, SLACK, TELEGRAM};

/// `target/screenshots/<name>.png`
fn screenshot(name: &str) -> PathBuf {
    let target = Path::new(BINARY).ancestors().nth(2).unwrap();
    target.join("screenshots").join(name).with_extension("png")
}

/// The newest message of a chat, as it is read.
fn newest(chat: &str) -> String {
    format!("([...document.querySelectorAll('#{chat} .text')].at(-1)?.innerText ?? '')")
}

fn open(page: &mut Browser, summary: &str) {
    let summary = json!(summary);
    page.value(&format!("document.getElementById('summary').value = {summary}"));
    page.value("document.querySelector('#open button').click()");
}

fn click(chat: &str, trouble: &str) -> String {
    format!("document.querySelector('#{chat} input[value={trouble}]').click()")
}

#[tokio::test]
async fn open_approve_fail_wait_mend_arrive() {
    let Some(chromium) = browser::found() else {
        eprintln!(
            "skipped: demo::browser::open_approve_fail_wait_mend_arrive needs Chromium (apt-get install chromium)"
        );
        return;
    };
    let demo = Demo::start();
    let mut page = Browser::start(&chromium);
    page.window(1440, 900, false);
    page.open(&demo.url("/"));
    for chat in ["slack", "telegram"] {
        page.until(&format!("{}.includes('Checkout answers 500')", newest(chat)));
        page.until(&format!("document.querySelector('#{chat} .delivered').textContent === '4'"));
    }
    page.photograph(&screenshot("demo"));

    // A text that would be more than text anywhere else.
    page.value("window.alert = () => { window.alerted = true; }");
    open(&mut page, NASTY);
    for chat in ["slack", "telegram"] {
        page.until(&format!("{}.includes({})", newest(chat), json!(NASTY)));
    }
    page.until(&format!("document.querySelector('#DEMO-3 .summary').textContent === {}", json!(NASTY)));
    assert_eq!(page.value("document.querySelectorAll('main script').length + Number(!!window.alerted)"), 0);

    // A verdict comes around: the bridge moves the issue, Tracker's trigger tells both messengers. Two clicks.
    page.value("document.querySelector('#DEMO-1 .approve').click()");
    page.until("document.querySelector('#DEMO-1 .status').textContent === 'Ready for testing'");
    page.until("document.querySelector('#DEMO-1 .newest').textContent.startsWith('Campanile · Status')");
    page.until("document.getElementById('answer').innerText.startsWith('202: the bridge has the verdict')");
    page.value("[...document.querySelectorAll('#DEMO-2 .ways button')].find((way) => way.innerText === 'Start progress').click()");
    page.until("document.querySelector('#DEMO-2 .status').textContent === 'In progress'");
    for (chat, status) in
        [("slack", "Ready for testing"), ("telegram", "Ready for testing"), ("telegram", "In progress")]
    {
        page.until(&format!("document.querySelector('#{chat} .log').innerText.includes('→ {status}')"));
    }
    page.until("document.querySelectorAll('.waits').length === 0");
    page.photograph(&screenshot("demo-circle"));

    // Telegram fails: its message waits, Slack's does not. Tracker fails: the verdict waits.
    page.value(&click("telegram", "down"));
    open(&mut page, "Nobody can pay by card");
    page.until(&format!("{}.includes('by card')", newest("slack")));
    page.until("document.querySelector('#telegram .pending').textContent === '1'");
    page.until("document.querySelector('#telegram .state').textContent.startsWith('tried')");
    page.until(&format!("!{}.includes('by card')", newest("telegram")));
    page.value(&click("tracker", "down"));
    page.value("document.querySelector('#DEMO-3 .reject').click()");
    page.until("document.querySelector('#tracker .pending').textContent === '2'"); // the move and the comment
    page.until("document.querySelector('#tracker .state').textContent.startsWith('tried')");
    page.until("[...document.querySelectorAll('.due')].filter((due) => !due.hidden).length === 1");
    let third =
        "[document.querySelector('#DEMO-3 .status').textContent, document.querySelector('#DEMO-3 .due').hidden]";
    assert_eq!(page.value(third), json!(["Open", false]));
    page.photograph(&screenshot("demo-waits"));
    page.window(1440, 900, true);
    page.photograph(&screenshot("demo-waits-dark"));
    page.value(&click("telegram", "none"));
    page.until(&format!("{}.includes('by card')", newest("telegram")));
    page.value(&click("tracker", "none"));
    page.until("document.querySelector('#DEMO-3 .status').textContent === 'Needs improvement'");
    page.until("document.querySelector('#DEMO-3 .due').hidden");
    page.until("document.querySelector('#slack .log').innerText.includes('reviewer: Please add a test')");
    page.until("document.querySelector('#telegram .pending').textContent === '0'");

    // A pause that the messenger asks for is counted down.
    page.value(&click("slack", "rate_limited"));
    page.value("document.getElementById('priority').value = 'trivial'"); // Telegram takes 20 a minute
    page.value("document.querySelectorAll('#open button')[1].click()");
    page.until("/^paused until .+ s\\)$/.test(document.querySelector('#slack .state').textContent)");
    page.value(&click("slack", "none"));

    // A comment that is being typed outlives what others do meanwhile.
    page.value("document.querySelector('#DEMO-1 .say input').value = 'half a sent'");
    page.value("document.querySelector('#DEMO-1 .reject').click()");
    page.until("document.querySelector('#DEMO-1 .status').textContent === 'Needs improvement'");
    assert_eq!(page.value("document.querySelector('#DEMO-1 .say input').value"), "half a sent");

    others(&demo, &mut page).await;

    for (name, width, height, dark) in [
        ("phone", 390, 844, false),
        ("phone-dark", 390, 844, true),
        ("small-phone", 320, 640, false),
        ("tablet", 820, 1180, false),
    ] {
        page.window(width, height, dark);
        assert_eq!(page.value("document.documentElement.scrollWidth"), width, "{name}: nothing stands out of the page");
        let cut = "[...document.querySelectorAll('.chat, .chat > header, .issue')].some((of) => of.scrollWidth > of.clientWidth)";
        assert_eq!(page.value(cut), false, "{name}: nothing is cut off");
        page.photograph(&screenshot(&format!("demo-{name}")));
    }
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

/// What the demo's routes do not send, but a messenger shows: threads, replies, edits, markup, buttons.
async fn others(demo: &Demo, page: &mut Browser) {
    let config = demo.http.get(&demo.url("/config.yaml")).send().await.text;
    let url = |name: &str| config.split(&format!("{name}: {{")).nth(1).unwrap().split('"').nth(1).unwrap().to_owned();
    let slack = async |method: &str, body: Value| {
        taken(&demo.http, &format!("{}/{method}", url("slack")), &body).await["ts"].clone()
    };
    let telegram = async |method: &str, body: Value| {
        taken(&demo.http, &format!("{}/bot1:x/{method}", url("telegram")), &body).await["result"]["message_id"].clone()
    };
    // Nothing of the bridge's comes between.
    page.until("document.querySelectorAll('.waits').length === 0");
    let old = "*bold* _it_ `x <y>` <https://a.example/?q=1&amp;r|A &amp; B> <!here>\n&gt; said";
    let parent = slack("chat.postMessage", json!({"channel": SLACK, "text": old})).await;
    page.until("document.querySelector('#slack .log > :last-child b:not(.name)')?.innerText === 'bold'");
    let shown = page.value(
        "(() => { const [i, code, a, here, quote] = ['i', '.text code', 'a', '.mention', 'blockquote']\
        .map((of) => document.querySelector(`#slack .log > :last-child ${of}`)); \
        return [i.innerText, code.innerText, a.href, a.innerText, here.innerText, quote.innerText]; })()",
    );
    assert_eq!(shown, json!(["it", "x <y>", "https://a.example/?q=1&r", "A & B", "@here", "said"]));
    slack("chat.postMessage", json!({"channel": SLACK, "text": "in the thread", "thread_ts": parent})).await;
    page.until("document.querySelector('#slack .log > :last-child .thread .text')?.innerText === 'in the thread'");
    slack("chat.update", json!({"channel": SLACK, "ts": parent, "text": "said anew"})).await;
    page.until("document.querySelector('#slack .log > :last-child .text').innerText === 'said anew (edited)'");
    page.until("document.querySelector('#slack .log > :last-child .thread .text')?.innerText === 'in the thread'");

    let keys = json!({"inline_keyboard": [[{"text": "Open DEMO-1", "url": "https://a.example/"}]]});
    let html = "🐞 <b>bold <i>both</i></b> <pre>if a &lt; b</pre><blockquote>said</blockquote>";
    let message = json!({"chat_id": TELEGRAM, "text": html, "parse_mode": "HTML", "reply_markup": keys});
    let parent = telegram("sendMessage", message).await;
    page.until("document.querySelector('#telegram .log > :last-child .keys a')?.innerText === 'Open DEMO-1'");
    let shown = page.value(
        "['b:not(.name)', 'b i', 'pre', 'blockquote']\
        .map((of) => document.querySelector(`#telegram .log > :last-child ${of}`).innerText)",
    );
    assert_eq!(shown, json!(["bold both", "both", "if a < b", "said"]));
    let edit = json!({"chat_id": TELEGRAM, "message_id": parent, "text": "said anew", "reply_markup": keys});
    telegram("editMessageText", edit).await;
    page.until("document.querySelector('#telegram .log > :last-child .meta').innerText.startsWith('edited')");
    let reply = json!({"chat_id": TELEGRAM, "text": "the answer", "reply_parameters": {"message_id": parent}});
    telegram("sendMessage", reply).await;
    page.until("document.querySelector('#telegram .log > :last-child .reply')?.innerText.includes('said anew')");
}

/// Asks a simulator until its pace allows the call.
async fn taken(http: &Client, url: &str, body: &Value) -> Value {
    for _ in 0..2_000 {
        let answer = http.post(url).header("authorization", "Bearer x").json(body).await;
        if answer.status != 429 {
            assert_eq!(answer.json()["ok"], true, "{}", answer.text);
            return answer.json();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{url} takes no call");
}
