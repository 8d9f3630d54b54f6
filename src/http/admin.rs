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
    /// Bound for everybody, any address that leads here is ours: a page that came by a name sends that name.
    fn knows(&self, host: &str) -> bool {
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let address = host.parse::<IpAddr>();
        let bound = self.bound.ip();
        host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback() || address == bound || bound.is_unspecified())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As of a replica in a container, which Prometheus calls by the container's address.
    #[test]
    fn bound_for_everybody_it_is_known_by_every_address_and_no_other_name() {
        for (bound, host, ours) in [
            ("0.0.0.0:8081", "10.1.2.3:8081", true),
            ("[::]:8081", "10.1.2.3", true),
            ("[::]:8081", "[fd00::7]:8081", true),
            ("[::]:8081", "localhost:8081", true),
            ("[::]:8081", "10.1.2.3.evil.example:8081", false),
            ("[::]:8081", "campanile-admin:8081", false),
            ("10.1.2.3:8081", "10.1.2.3:8081", true),
            ("10.1.2.3:8081", "10.1.2.4:8081", false),
        ] {
            let guard = Guard { token: None, bound: bound.parse().unwrap(), public_host: None };
            assert_eq!(guard.knows(host), ours, "{host} at {bound}");
        }
    }
}
