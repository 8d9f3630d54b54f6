//! Whose calls are taken.

use std::time::Duration;

use campanile::simulator::Fault;
use http::Method;
use serde_json::json;

use super::{MARIAS_TOKEN, TOKEN, by_token, linked, register};
use crate::harness::{Answer, TRACKER_TOKEN, World, issue};

impl World {
    async fn call_as(&self, method: Method, path: &str, authorization: Option<&str>, body: &str) -> Answer {
        let call = self.http.call(method, &self.public_url(path));
        let call = authorization.into_iter().fold(call, |call, value| call.header("authorization", value));
        call.body(body.to_owned()).await
    }

    /// How each of the three calls is answered.
    async fn all_three(&self, authorization: Option<&str>) -> [u16; 3] {
        let body = json!({"issueKey": "TEST-1", "entityIds": ["channel:ops-slack"]}).to_string();
        let get = self.call_as(Method::GET, "/links/channel:ops-slack", authorization, "").await;
        let post = self.call_as(Method::POST, "/links", authorization, &body).await;
        let delete = self.call_as(Method::DELETE, "/links/channel:ops-slack/TEST-1", authorization, "").await;
        [get.status, post.status, delete.status]
    }

    /// By the tokens of callers: the bridge asks for its own name too, whenever it comes to that.
    fn asked_whose(&self) -> usize {
        self.tracker()
            .arrivals()
            .iter()
            .filter(|call| call.method == "myself" && call.token.as_deref() != Some(TRACKER_TOKEN))
            .count()
    }
}

#[tokio::test]
async fn only_the_registered_token_opens() {
    let world = by_token().start().await;
    for value in ["OAuth links-t0ken", "oauth links-t0ken", "Bearer links-t0ken"] {
        assert_eq!(world.all_three(Some(value)).await, [200, 200, 204], "{value}");
    }
    for value in [None, Some("OAuth other"), Some("links-t0ken"), Some("OAuth "), Some("Basic links-t0ken")] {
        assert_eq!(world.all_three(value).await, [401, 401, 401], "{value:?}");
    }
    for near in ["OAuth links-t0ke", "OAuth links-t0kens", "OAuth Links-t0ken", "OAuth inks-t0ken"] {
        assert_eq!(world.all_three(Some(near)).await, [401, 401, 401], "{near}");
    }
    assert_eq!(world.event_kinds().await.len(), 6, "nothing came of the others");
    // Before anything is read.
    let large = "x".repeat(2 * 1024 * 1024);
    let answer = world.call_as(Method::POST, "/links", Some("OAuth other"), &large[..1000]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["errorMessages"], json!(["the token is not the right one"]));
    assert!(answer.headers.contains_key("www-authenticate"));
    let [request, method, path] = ["/links/x", "PUT", "/links"];
    let wrong = world.call_as(method.parse().unwrap(), request, None, path).await;
    assert_eq!(wrong.status, 401, "who has no token learns no addresses");
}

#[tokio::test]
async fn anybody_may_where_nobody_is_asked() {
    let world = linked("none").start().await;
    assert_eq!(world.all_three(None).await, [200, 200, 204]);
    assert_eq!(world.all_three(Some("OAuth anything")).await, [200, 200, 204]);
}

/// The token is the user's on whose behalf Tracker calls: Tracker itself says whose, once in a while.
#[tokio::test]
async fn a_users_own_token_is_asked_for_at_tracker() {
    let world = linked("user").start().await;
    register(&world, |application| application.users_token());
    world.tracker().link("TEST-1", "campanile", "channel:ops-slack", "maria").unwrap();
    world.until_links(1).await;
    let rows = world.api("/api/v1/links").await;
    assert_eq!(rows["links"][0]["by"], "maria");
    assert_eq!(world.api("/api/v1/events/1").await["event"]["document"]["actor"]["login"], "maria");
    world.accepted(&issue("TEST-1", "created")).await;
    world.until_posted(1, 0).await;
    let asked = world.asked_whose();
    for _ in 0..3 {
        assert_eq!(world.tracker().open_issue("TEST-1", "maria").await[0].status, Some(200));
        assert_eq!(world.all_three(Some("OAuth nobodys-t0ken")).await, [401, 401, 401]);
    }
    assert_eq!(world.asked_whose(), asked + 1, "of the unknown one, once");
    assert_eq!(world.all_three(None).await, [401, 401, 401]);
    assert_eq!(world.all_three(Some(&format!("OAuth {TOKEN}"))).await, [401, 401, 401]);

    // Tracker does not answer: who is known goes on, and of the others nobody can tell.
    world.tracker().fault(Fault::bad_gateway().always());
    assert_eq!(world.all_three(Some(&format!("OAuth {MARIAS_TOKEN}"))).await, [200, 200, 204]);
    let answer = world.call_as(Method::GET, "/links/channel:ops-slack", Some("OAuth a-new-t0ken"), "").await;
    assert_eq!((answer.status, &answer.json()["statusCode"]), (503, &json!(503)));
    assert!(!answer.text.contains("t0ken"), "{}", answer.text);
}

/// Tracker's word counts for minutes, and no longer: whose rights are taken is out, and who has got them is in.
#[tokio::test]
async fn who_is_of_another_organisation_by_now_is_kept_out() {
    let world = linked("user").start().await;
    let maria = format!("OAuth {MARIAS_TOKEN}");
    assert_eq!(world.all_three(Some(&maria)).await, [200, 200, 204]);
    for near in [&maria[..maria.len() - 1], &format!("{maria}s")] {
        assert_eq!(world.all_three(Some(near)).await, [401, 401, 401], "{near} is another token");
    }
    world.tracker().fault(Fault::error("403 Организация недоступна.").always().method("myself"));
    assert_eq!(world.all_three(Some(&maria)).await, [200, 200, 204]);
    world.clock.pass(Duration::from_secs(5 * 60));
    assert_eq!(world.all_three(Some(&maria)).await, [401, 401, 401]);
    world.tracker().clear();
    assert_eq!(world.all_three(Some(&maria)).await, [401, 401, 401], "so it was said just now");
    world.clock.pass(Duration::from_secs(30));
    assert_eq!(world.all_three(Some(&maria)).await, [200, 200, 204]);
    assert_eq!(world.event_kinds().await.len(), 6, "nothing came of the refused ones");
}

/// A proxy's page says nothing of anybody.
#[tokio::test]
async fn an_answer_that_names_no_user_lets_nobody_in() {
    let world = linked("user").start().await;
    for status in [200, 204, 302, 404] {
        world.tracker().clear();
        let page = Fault::Status { status, body: "<html>sign in</html>".into() };
        world.tracker().fault(page.always().method("myself"));
        assert_eq!(world.all_three(Some(&format!("OAuth {MARIAS_TOKEN}"))).await, [503, 503, 503], "{status}");
    }
    assert!(world.event_kinds().await.is_empty());
}

/// People look at the issue meanwhile: Tracker is asked for no longer than it waits itself.
#[tokio::test]
async fn what_an_object_is_is_answered_in_time_also_where_tracker_hangs() {
    let world = linked("user").start().await;
    let asked = world.asked_whose();
    world.tracker().fault(Fault::HangBefore.always().method("myself"));
    let call = world.call_as(Method::GET, "/links/channel:ops-slack", Some("OAuth a-new-t0ken"), "");
    let asked = async {
        while world.asked_whose() == asked {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        world.clock.pass(Duration::from_millis(1_500));
    };
    let both = async { tokio::join!(call, asked).0 };
    let answer = tokio::time::timeout(Duration::from_secs(20), both).await.expect("an answer after 1.5 s");
    assert_eq!(answer.status, 503, "{}", answer.text);
    world.tracker().clear();
    world.tracker().release();
}
