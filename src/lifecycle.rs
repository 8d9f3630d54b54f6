//! Start and stop: a soft stop ("take nothing new, finish what you hold"), a hard one, and the time between.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// How long intake goes on after a stop was asked for, so that a balancer can see `/readyz` and turn away.
pub const INTAKE_GOES_ON: Duration = Duration::from_secs(2);

/// Shared by all tasks; clones are the same lifecycle.
#[derive(Clone, Default)]
pub struct Lifecycle {
    /// A stop was asked for: `/readyz` says 503, lanes begin nothing new.
    pub stopping: CancellationToken,
    /// Intake ends: listeners take no connection any more and finish what they hold.
    pub closing: CancellationToken,
    /// Time is over: what is still running is dropped.
    pub over: CancellationToken,
}

impl Lifecycle {
    /// Runs the stop: says so, lets intake go on for a while, closes it, and waits for `ended`, at most `patience` in
    /// all. Returns whether everything ended by itself; if not, [`Lifecycle::over`] is set.
    pub async fn stop(&self, clock: &Clock, patience: Duration, ended: impl Future<Output = ()>) -> bool {
        self.stopping.cancel();
        let in_order = async {
            clock.sleep(INTAKE_GOES_ON.min(patience / 2)).await;
            self.closing.cancel();
            ended.await;
        };
        let in_time = tokio::select! {
            () = in_order => true,
            () = clock.sleep(patience) => false,
        };
        self.closing.cancel();
        self.over.cancel();
        in_time
    }
}
