//! Whether the world's address leads to a bridge.

use http::header::LOCATION;
use http::{HeaderMap, Method, Uri};

use super::Ground;
use super::row::{Row, Trouble};
use crate::config::SourceKind;
use crate::delivery::SendError;
use crate::transport::{Reply, Request};

const CHECK: &str = "public url";

pub async fn public_url(ground: &Ground<'_>) -> Vec<Row> {
    let Some(url) = &ground.config.server.public_url else {
        let triggers = ground.config.sources.iter().any(|source| source.kind == SourceKind::Tracker);
        let row = Row::warn(CHECK, "server.public_url", "it is not set: which triggers call us cannot be told");
        return if triggers { vec![row.hint("as in `public_url: https://bells.example.com`")] } else { Vec::new() };
    };
    let address = format!("{url}/healthz");
    let row = match ground.ask(asked(ground, &address)).await {
        // It may be reachable for Tracker, and from here not.
        Err(Trouble { message, .. }) => Row::warn(CHECK, &address, format!("not reached from here: {message}"))
            .hint("ask it from outside too; if nobody reaches it, look at DNS, the reverse proxy and `server.listen`"),
        Ok(reply) => answered(&address, &reply),
    };
    vec![row]
}

async fn asked(ground: &Ground<'_>, address: &str) -> Result<Reply, SendError> {
    let uri = Uri::try_from(address).map_err(|_| SendError::Refused { code: "it is no address".into() })?;
    let request = Request { method: Method::GET, uri, headers: HeaderMap::new(), body: Vec::new() };
    Ok(ground.transport.call(request).await?)
}

fn answered(address: &str, reply: &Reply) -> Row {
    let status = reply.status.as_u16();
    match status {
        200 if reply.body.trim_ascii() == b"alive" => Row::ok(CHECK, address, "a bridge answers"),
        200..300 => Row::fail(CHECK, address, format!("something else answers: HTTP {status}, and no bridge's words"))
            .hint("lead `/hooks/` and `/healthz` of this address to `server.listen`"),
        300..400 => {
            let to = reply.headers.get(LOCATION).and_then(|to| to.to_str().ok()?.split('?').next());
            Row::fail(
                CHECK,
                address,
                format!("HTTP {status}, elsewhere: {}; Tracker may not follow", to.unwrap_or("nowhere")),
            )
            .hint("write the address that answers by itself, with its scheme")
        }
        502..=504 => Row::fail(CHECK, address, format!("HTTP {status}: the proxy reaches no bridge"))
            .hint("does `campanile serve` run, and does the proxy lead to `server.listen`?"),
        status => Row::fail(CHECK, address, format!("HTTP {status}"))
            .hint("lead `/hooks/` and `/healthz` of this address to `server.listen`"),
    }
}
