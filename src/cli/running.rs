//! The bridge that runs on a configuration, as one of its listeners answers.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;

use crate::clock::Clock;
use crate::delivery::BoxError;

/// Longest answer: a page of rows has a few megabytes at most.
const LONGEST: usize = 64 << 20;

pub struct Running {
    address: SocketAddr,
    /// From a call to the end of its answer.
    within: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
    clock: Clock,
}

impl Running {
    /// Asks the listener that is bound there.
    pub fn at(bound: SocketAddr, within: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address: reachable(bound), within, client, clock: Clock::machine() }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole answer. `None`: nobody listens at the address.
    ///
    /// # Errors
    /// The innermost cause of an answer that does not come, breaks off, or takes longer than it may.
    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Option<(StatusCode, Bytes)>, BoxError> {
        let answer = tokio::select! {
            answer = self.answer(request) => answer,
            () = self.clock.sleep(self.within) => Err(format!("it took longer than {} s", self.within.as_secs()).into()),
        };
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.downcast_ref().is_some_and(legacy::Error::is_connect) => Ok(None),
            Err(error) => Err(innermost(&*error).to_string().into()),
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), BoxError> {
        let (head, body) = self.client.request(request).await?.into_parts();
        Ok((head.status, Limited::new(body, LONGEST).collect().await?.to_bytes()))
    }
}

/// The first cause: the words of those around it say only where it stood.
pub fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

/// An address that is bound for everybody is reached by loopback: by IPv4's, which `[::]` takes too, and which a
/// container has where IPv6 is switched off.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = if bound.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { bound.ip() };
    SocketAddr::new(ip, bound.port())
}
