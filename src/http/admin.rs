//! The admin listener: its guards, and where its paths lead.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use http::{Method, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;

use super::answer::{ANOTHER_METHOD, last_word, refusal};
use super::hooks::Readiness;
use crate::admin::{Api, api_router, metrics_page};
use crate::source::Secrets;

/// Who may speak to the admin listener, and under which names it is known.
pub struct Guard {
    /// Wanted on every path but `/healthz`, when configured.
    pub token: Option<Secrets>,
    pub bound: SocketAddr,
    /// The host of `public_url`.
    pub public_host: Option<String>,
}

impl Guard {
    /// A page in a browser can make it call any address, but not with any `Host`: names that are not ours are refused.
    fn knows(&self, host: &str) -> bool {
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let address = host.parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback() || address == self.bound.ip())
            || self.public_host.as_deref().is_some_and(|public| public.eq_ignore_ascii_case(host))
    }

    fn check(&self, request: &Request) -> Result<(), (StatusCode, &'static str)> {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        if !host.is_some_and(|host| self.knows(host)) {
            return Err((StatusCode::FORBIDDEN, "this `Host` is not the admin listener's"));
        }
        if request.uri().path() == "/healthz" {
            return Ok(());
        }
        if self.token.as_ref().is_some_and(|token| !token.admit(request.headers())) {
            return Err((StatusCode::UNAUTHORIZED, "the admin token is wrong or missing"));
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let json = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let json =
            json.is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json"));
        if changes && !json {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "a change wants `Content-Type: application/json`"));
        }
        Ok(())
    }
}

pub struct Admin {
    pub guard: Guard,
    pub api: Arc<Api>,
    pub readiness: Readiness,
}

pub fn admin_router(admin: Admin) -> Router {
    let guard = Arc::new(admin.guard);
    let readiness = admin.readiness;
    Router::new()
        .nest("/api/v1", api_router(admin.api.clone()))
        .route("/metrics", get(metrics_page).with_state(admin.api))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async move || readiness.answer()))
        .method_not_allowed_fallback(async || refusal(StatusCode::METHOD_NOT_ALLOWED, ANOTHER_METHOD))
        .fallback(async || refusal(StatusCode::NOT_FOUND, "nothing is here; pages come with a later version"))
        .layer(middleware::from_fn_with_state(guard, guarded))
        .layer(CatchPanicLayer::custom(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "a mistake of ours")))
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => last_word(status, why),
    }
}
