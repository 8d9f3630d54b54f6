//! Answers are JSON objects, errors too.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

pub fn ok(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

/// Why a path that is there does not answer.
pub const ANOTHER_METHOD: &str = "this path takes another method";

/// A refusal with its reason. Words only, never what the caller sent.
pub fn refusal(status: StatusCode, why: &str) -> Response {
    ok(status, json!({ "error": why }))
}

/// A refusal after which the connection ends: what is left of the request is not wanted.
pub fn last_word(status: StatusCode, why: &str) -> Response {
    let mut response = refusal(status, why);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
