//! The external application's addresses on the public listener. Answers have the form of Tracker's own.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tracing::warn;

use super::answer::ok;
use super::hooks::Hooks;
use crate::link::template::Captured;
use crate::link::{Application, Changed, Denied, NotChanged, Rules};

/// What a call wants.
enum Wanted {
    Info(String),
    Create,
    Remove(Captured),
    /// The address is one of ours, and the call none that comes there.
    Nothing,
}

impl Wanted {
    /// `None`: the address is not ours.
    fn of(rules: &Rules, method: &Method, path: &str, query: Option<&str>) -> Option<Self> {
        let captured = |shape: &crate::link::template::Shape| shape.matches(path, query);
        let wanted = match *method {
            Method::GET | Method::HEAD => captured(&rules.info).and_then(|call| call.remote_key).map(Self::Info),
            Method::POST => captured(&rules.create).map(|_| Self::Create),
            Method::DELETE => captured(&rules.remove).map(Self::Remove),
            _ => None,
        };
        let is_ours = || [&rules.info, &rules.create, &rules.remove].into_iter().any(|shape| captured(shape).is_some());
        wanted.or_else(|| is_ours().then_some(Self::Nothing))
    }
}

impl Hooks {
    /// Answers what Tracker asks of links and tells of them.
    ///
    /// # Errors
    /// The call is not for the external application: it is given back.
    pub(super) async fn link(&self, request: Request) -> Result<Response, Request> {
        let Some(rules) = self.application.rules.borrow().clone() else { return Err(request) };
        let uri = request.uri();
        match Wanted::of(&rules, request.method(), uri.path(), uri.query()) {
            None => Err(request),
            Some(wanted) => Ok(self.answer_link(&rules, wanted, request).await),
        }
    }

    async fn answer_link(&self, rules: &Rules, wanted: Wanted, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let application: &Arc<Application> = &self.application;
        let shown_until = application.shown_until();
        let admitted = tokio::select! {
            admitted = rules.auth.admit(&head.headers) => admitted,
            () = application.clock.sleep_until_elapsed(shown_until), if matches!(wanted, Wanted::Info(_)) => {
                Err(Denied::NobodyKnows)
            }
        };
        let by = match admitted {
            Ok(by) => by,
            Err(denied) => {
                let caller = self.caller_of(&head.extensions, &head.headers);
                warn!(caller, ?denied, "a call to a link without the right token");
                return unauthorized(denied);
            }
        };
        match wanted {
            Wanted::Info(key) => match application.info(rules, &key, shown_until).await {
                Ok(Some(info)) => ok(StatusCode::OK, info),
                Ok(None) => refused(StatusCode::NOT_FOUND, &[NO_OBJECT.to_owned()]),
                Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, &["the store does not answer; ask again".into()]),
            },
            Wanted::Create => {
                let (body, _room) = match self.read(&head.headers, body).await {
                    Ok(read) => read,
                    Err((status, why)) => return ended(refused(status, &[why.to_owned()])),
                };
                match application.create(rules, &body, by).await {
                    Ok(Changed { issue, objects, events }) => {
                        ok(StatusCode::OK, json!({"issueKey": issue, "entityIds": objects, "events": events}))
                    }
                    Err(why) => not_changed(why),
                }
            }
            Wanted::Remove(call) => match application.remove(rules, call, by).await {
                Ok(_) => empty(StatusCode::NO_CONTENT),
                Err(why) => not_changed(why),
            },
            Wanted::Nothing => {
                let addresses = format!(
                    "this is answered here: GET {}, POST {}, DELETE {}, with an issue's key as TEST-123",
                    rules.info, rules.create, rules.remove
                );
                // A link's end that names no issue comes to an address that would be right otherwise.
                let is_gone = head.method == Method::DELETE;
                let status = if is_gone { StatusCode::NOT_FOUND } else { StatusCode::METHOD_NOT_ALLOWED };
                refused(status, &[addresses])
            }
        }
    }
}

const NO_OBJECT: &str =
    "no such object is known: keys are `channel:<name>`, `review:<host>:<repository>:<id>` and `bench:<branch>`";

fn unauthorized(denied: Denied) -> Response {
    let (status, why) = match denied {
        Denied::Missing => {
            (StatusCode::UNAUTHORIZED, "the token is missing: send it as `Authorization: OAuth <token>`")
        }
        Denied::Wrong => (StatusCode::UNAUTHORIZED, "the token is not the right one"),
        Denied::NobodyKnows => (StatusCode::SERVICE_UNAVAILABLE, "Tracker does not say whose token it is; ask again"),
    };
    let mut response = refused(status, &[why.to_owned()]);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("OAuth"));
    }
    ended(response)
}

fn not_changed(why: NotChanged) -> Response {
    match why {
        NotChanged::Refused(why) => refused(StatusCode::BAD_REQUEST, &why),
        NotChanged::Unknown => refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            &["Tracker does not tell what the issue was called before it was moved; call again".to_owned()],
        ),
        NotChanged::NotStored => refused(StatusCode::INTERNAL_SERVER_ERROR, &["not stored; call again".to_owned()]),
    }
}

/// As Tracker writes its own errors (tracker.md, 4.2 and 5.5).
fn refused(status: StatusCode, why: &[String]) -> Response {
    ok(status, json!({"errors": {}, "errorMessages": why, "statusCode": status.as_u16()}))
}

/// After it the connection ends: what is left of the request is not wanted.
fn ended(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

impl Hooks {
    fn caller_of(&self, extensions: &http::Extensions, headers: &HeaderMap) -> String {
        let peer = extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>().map(|peer| peer.0);
        self.caller(peer, headers).map(|caller| caller.to_string()).unwrap_or_default()
    }
}
