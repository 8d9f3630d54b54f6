//! What the simulators share: connections, faults, the record. What a service accepts and answers is its own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::call::{Answer, Call, Given, HTML, JSON, TEXT};
use super::fault::{Fault, Faults, LimitForm, Rule};
use super::record::{Arrival, Counts, Posted, Record};
use super::reply::{Reply, halting, released, response};
use crate::clock::Clock;

#[cfg(test)]
mod tests;

/// Longest body that is read at all, in bytes; a proxy in front of a service refuses more.
const LONGEST_CALL: usize = 4 << 20;

/// What makes a server one of the services.
pub trait Service: Send + 'static {
    /// The answer to an accepted call that has lost its id.
    const OK_WITHOUT_ID: &'static str;

    /// Reads a call without judging it. In lean mode only what the answer needs.
    fn read(head: &Parts, body: &Bytes, lean: bool) -> Call;

    /// Judges a call, does what it asks, answers.
    fn handle(&mut self, call: &Call, now: Timestamp, record: &mut Record) -> Answer;

    /// Refuses a call on command, in the service's own words.
    fn refuse(&self, call: &Call, refusal: Refusal<'_>) -> Answer;

    /// A message as the service gives it to those who read the conversation.
    fn shown(&self, post: &Posted) -> Value;
}

/// A refusal that a fault wants.
pub enum Refusal<'a> {
    RateLimited { retry_after: Option<u64> },
    Error(&'a str),
    Internal,
    Moved { to: i64 },
}

/// A running simulator. Dropping it ends its tasks.
pub struct Simulator<S> {
    shared: Arc<Shared<S>>,
    addr: SocketAddr,
    up: Mutex<Option<Up>>,
    beside: Mutex<JoinSet<()>>,
}

/// A simulator as seen by a task that runs beside its server.
pub(super) struct Inside<S>(Arc<Shared<S>>);

impl<S> Clone for Inside<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Service> Inside<S> {
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Changes the service; whoever waits looks again.
    pub fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        self.0.change(change)
    }
}

struct Shared<S> {
    clock: Clock,
    lean: bool,
    state: Mutex<State<S>>,
    changed: Notify,
    /// Counts releases; a hanging call waits for the next one.
    released: watch::Sender<u64>,
}

struct State<S> {
    service: S,
    record: Record,
    faults: Faults,
}

/// A listening socket and all its connections.
struct Up {
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Drop for Up {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<S: Service> Simulator<S> {
    pub(super) async fn serve(addr: SocketAddr, clock: Clock, lean: bool, service: S) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let state = State { service, record: Record::new(lean), faults: Faults::default() };
        let (state, changed) = (Mutex::new(state), Notify::new());
        let shared = Arc::new(Shared { clock, lean, state, changed, released: watch::Sender::new(0) });
        let up = Mutex::new(Some(Up::new(listener, Arc::clone(&shared))));
        Ok(Self { shared, addr, up, beside: Mutex::default() })
    }

    /// Where it listens; the port stays the same over [`Simulator::go_down`] and [`Simulator::come_up`].
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening and cuts all connections. Returns when the port refuses. Cancel safe.
    pub async fn go_down(&self) {
        let up = self.up.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut up) = up {
            up.stop.cancel();
            if let Err(panic) = (&mut up.accepting).await {
                error!(%panic, "a simulator's listener ended badly");
            }
        }
    }

    /// Listens again on the same port. Nothing where it is up already.
    ///
    /// # Errors
    /// Another process has taken the port.
    pub async fn come_up(&self) -> io::Result<()> {
        if self.up.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            let up = Up::new(TcpListener::bind(self.addr).await?, Arc::clone(&self.shared));
            *self.up.lock().unwrap_or_else(PoisonError::into_inner) = Some(up);
        }
        Ok(())
    }

    /// Ends it and waits until its tasks have ended.
    pub async fn shutdown(self) {
        self.go_down().await;
        self.beside.into_inner().unwrap_or_else(PoisonError::into_inner).shutdown().await;
    }

    /// Runs a task beside the server, whether this is up or down, until the simulator ends.
    pub(super) fn beside<F>(&self, task: impl FnOnce(Inside<S>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(Inside(Arc::clone(&self.shared)));
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    /// Puts a rule in force, behind those that are.
    pub fn fault(&self, rule: Rule) {
        self.shared.state().faults.add(rule);
    }

    /// Ends all rules. Calls that hang go on hanging; see [`Simulator::release`].
    pub fn clear(&self) {
        self.shared.state().faults.clear();
    }

    /// Lets all calls go on that hang now.
    pub fn release(&self) {
        self.shared.released.send_modify(|releases| *releases += 1);
    }

    /// Every call so far, in order of arrival. Empty in lean mode.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.state().record.arrivals().to_vec()
    }

    pub fn counts(&self) -> Counts {
        self.shared.state().record.counts()
    }

    /// The messages that stand in this conversation, oldest first.
    pub fn posted(&self, conversation: &str) -> Vec<Posted> {
        self.shared.state().record.posted(conversation).cloned().collect()
    }

    /// Looks at the whole record at one moment. `look` must not ask the simulator.
    pub fn record<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.shared.state().record)
    }

    /// Returns once `seen` holds, asked now and after every change. It must not ask the simulator. Cancel safe.
    pub async fn wait_for(&self, mut seen: impl FnMut(&Record) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable(); // before looking, or a change in between is missed
            if seen(&self.shared.state().record) {
                return;
            }
            changed.await;
        }
    }

    /// Returns once so many messages were posted, in all conversations, over all time. Cancel safe.
    pub async fn wait_for_posts(&self, posts: u64) {
        self.wait_for(|record| record.counts().posted >= posts).await;
    }

    /// Returns once so many calls have arrived. Cancel safe.
    pub async fn wait_for_calls(&self, calls: u64) {
        self.wait_for(|record| record.counts().calls >= calls).await;
    }

    /// Looks at the service and its record at one moment. `look` must not ask the simulator.
    pub(super) fn look<T>(&self, look: impl FnOnce(&S, &Record) -> T) -> T {
        let state = self.shared.state();
        look(&state.service, &state.record)
    }

    /// Ends at the next change of the record, from when it is enabled.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Changes the service from outside of any call; whoever waits looks again.
    pub(super) fn service<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        self.shared.change(change)
    }
}

impl Up {
    fn new<S: Service>(listener: TcpListener, shared: Arc<Shared<S>>) -> Self {
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "`Up::accepting` looks at its end")]
        let accepting = tokio::spawn(accept(listener, shared, stop.clone()));
        Self { stop, accepting }
    }
}

async fn accept<S: Service>(listener: TcpListener, shared: Arc<Shared<S>>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(end) = connections.join_next() => note(end),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    shared.state().record.connected();
                    connections.spawn(Arc::clone(&shared).connection(stream, stop.clone()));
                }
                // Out of sockets: a loop without a breath would keep it so.
                Err(error) => {
                    error!(%error, "a simulator could not accept");
                    #[expect(clippy::disallowed_methods, reason = "a held clock would never try again")]
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
        }
    }
    drop(listener); // refused from here on, before the last connection has ended
    while let Some(end) = connections.join_next().await {
        note(end);
    }
}

fn note(end: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = end {
        error!(%panic, "a simulator's connection ended badly");
    }
}

/// How a fault ends a connection.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Cut {
    Close,
    Reset,
}

impl<S: Service> Shared<S> {
    fn change<T>(&self, change: impl FnOnce(&mut S) -> T) -> T {
        let changed = change(&mut self.state().service);
        self.changed.notify_waiters();
        changed
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        // A predicate of a test may panic under the lock; the state behind it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, stop: CancellationToken) {
        let _ = stream.set_nodelay(true); // without it answers are late, not wrong
        let (cut, mut cuts) = watch::channel(None);
        let service = service_fn(|request| Arc::clone(&self).call(request, cut.clone()));
        let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let cut = tokio::select! {
            _ = &mut connection => return, // an error is the client's going away
            cut = cuts.wait_for(Option::is_some) => cut.ok().and_then(|cut| *cut),
            () = stop.cancelled() => None,
        };
        if cut == Some(Cut::Reset) {
            let _ = connection.into_parts().io.into_inner().set_zero_linger();
        }
    }

    async fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
        cut: watch::Sender<Option<Cut>>,
    ) -> Result<Response<Reply>, Box<dyn std::error::Error + Send + Sync>> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, LONGEST_CALL).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Ok(response(Answer::html(413, "<html><h1>413 Request Entity Too Large</h1></html>")));
            }
            Err(error) => return Err(error), // cut in the middle: not an arrival
        };
        let call = Arc::new(S::read(&head, &body, self.lean));
        let (seq, fault, release) = {
            let mut state = self.state();
            let fault = state.faults.pick(&call);
            let seq = state.record.arrive(self.clock.now(), &call, fault.as_ref().map(Fault::name));
            let Some(fault) = fault else {
                return Ok(response(self.handle(&mut state, seq, &call))); // the usual way takes the lock once
            };
            (seq, fault, self.released.subscribe()) // whoever sees the call can release it
        };
        self.changed.notify_waiters();
        Ok(self.fail(fault, seq, &call, &cut, release).await)
    }

    fn handle(&self, state: &mut State<S>, seq: u64, call: &Call) -> Answer {
        let answer = state.service.handle(call, self.clock.now(), &mut state.record);
        self.settle(state, seq, answer)
    }

    fn settle(&self, state: &mut State<S>, seq: u64, answer: Answer) -> Answer {
        state.record.settle(seq, &answer.given);
        self.changed.notify_waiters();
        answer
    }

    /// Does to one call what the fault says. `release` lets it go on where it hangs.
    async fn fail(
        &self,
        fault: Fault,
        seq: u64,
        call: &Call,
        cut: &watch::Sender<Option<Cut>>,
        mut release: watch::Receiver<u64>,
    ) -> Response<Reply> {
        let answer = || self.handle(&mut self.state(), seq, call);
        let instead = |answer| response(self.settle(&mut self.state(), seq, answer));
        let refused = |refusal| {
            let mut state = self.state();
            let answer = state.service.refuse(call, refusal);
            response(self.settle(&mut state, seq, answer))
        };
        let unlike = |content_type, body: &'static str| {
            instead(Answer::new(200, content_type, body, Given::Refused("no answer of this service".to_owned())))
        };
        match fault {
            Fault::RateLimited { retry_after, form: LimitForm::Json } => refused(Refusal::RateLimited { retry_after }),
            Fault::RateLimited { retry_after, form } => instead(limit_of_a_proxy(retry_after, form)),
            Fault::Error(word) => refused(Refusal::Error(&word)),
            Fault::Json500 => refused(Refusal::Internal),
            Fault::Moved { to } => refused(Refusal::Moved { to }),
            Fault::Status { status, body } => instead(Answer::html(status, body)),
            Fault::WrongJson => unlike(JSON, r#"{"status":"fine","items":[1,2]}"#),
            Fault::Empty => unlike(JSON, ""),
            Fault::Html200 => unlike(HTML, "<html><form>Please sign in to this network</form></html>"),
            Fault::UnreadableAnswer => {
                let mut answer = answer();
                answer.body.truncate(answer.body.len() / 2);
                response(answer)
            }
            Fault::OkWithoutId => {
                let mut answer = answer();
                if answer.given == Given::Done {
                    answer.body = Bytes::from_static(S::OK_WITHOUT_ID.as_bytes());
                }
                response(answer)
            }
            Fault::LoseAnswer => {
                answer();
                cut_off(cut, Cut::Close).await
            }
            Fault::ResetBefore => cut_off(cut, Cut::Reset).await,
            Fault::ResetAfter => {
                answer();
                cut_off(cut, Cut::Reset).await
            }
            Fault::HangBefore => {
                released(&mut release).await;
                response(answer())
            }
            Fault::HangThen(fault) => {
                released(&mut release).await;
                Box::pin(self.fail(*fault, seq, call, cut, release)).await
            }
            Fault::HangAfter => {
                let answer = answer();
                released(&mut release).await;
                response(answer)
            }
            Fault::HangInBody => halting(answer(), release),
            Fault::Slow(time) => {
                self.clock.sleep(time).await;
                response(answer())
            }
        }
    }
}

fn limit_of_a_proxy(retry_after: Option<u64>, form: LimitForm) -> Answer {
    let given = Given::RateLimited { retry_after };
    match form {
        LimitForm::Html => Answer::new(429, HTML, "<html><h1>429 Too Many Requests</h1></html>", given),
        LimitForm::Text | LimitForm::Json => Answer::new(429, TEXT, "rate_limited", given),
    }
}

async fn cut_off(cut: &watch::Sender<Option<Cut>>, how: Cut) -> Response<Reply> {
    cut.send_replace(Some(how));
    std::future::pending().await // the connection, and this with it, is dropped now
}
