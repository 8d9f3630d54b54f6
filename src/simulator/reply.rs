//! Answers on the wire: at once, or half now and half at the next release.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::call::Answer;

/// Returns at the next release. The sender outlives all connections of a running simulator.
pub(super) async fn released(release: &mut watch::Receiver<u64>) {
    if release.changed().await.is_err() {
        std::future::pending().await
    }
}

pub(super) fn response(answer: Answer) -> Response<Reply> {
    let length = answer.body.len();
    with_head(&answer, length, Reply::whole(answer.body.clone()))
}

/// Headers that promise the whole answer, half of it, and the rest at the next release.
pub(super) fn halting(mut answer: Answer, mut release: watch::Receiver<u64>) -> Response<Reply> {
    let length = answer.body.len();
    let first = answer.body.split_to(length / 2);
    let rest = answer.body.clone();
    let released = Box::pin(async move { released(&mut release).await });
    with_head(&answer, length, Reply { first: Some(first), rest: Some((released, rest)) })
}

fn with_head(answer: &Answer, length: usize, reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if answer.status != 204 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(seconds) = answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    for (name, value) in &answer.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(*name, value);
        }
    }
    response
}

/// The body of an answer: at once, or its second part later.
pub(super) struct Reply {
    first: Option<Bytes>,
    rest: Option<(Release, Bytes)>,
}

type Release = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Reply {
    fn whole(body: Bytes) -> Self {
        Self { first: Some(body).filter(|body| !body.is_empty()), rest: None }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some((release, _)) = &mut self.rest else { return Poll::Ready(None) };
        ready!(release.as_mut().poll(cx));
        Poll::Ready(self.rest.take().map(|(_, rest)| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.first.as_ref().map_or(0, Bytes::len) + self.rest.as_ref().map_or(0, |(_, rest)| rest.len());
        SizeHint::with_exact(length as u64)
    }
}
