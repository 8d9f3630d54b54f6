//! Calls that their sender keeps a log of, so that one which was missed can be found there and accepted late.

use super::{Arrival, Millis};

/// Marks of how far such a log was read: those whose names begin so are never forgotten, or what was missed while the
/// bridge was down for longer than retention would seem to be from before its time.
pub const RECOVERED: &str = "recovered";

/// What an event's call was, for whoever reads of it in its sender's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Called {
    /// When it was made: by our clock, or by the log of its sender's.
    pub at: Millis,
    /// It came by the log alone. Then only what was called says whether it is known: an equal call within so much time
    /// of this one, before or after, that was not forgotten by retention. Nobody waits for an answer, so that a
    /// duplicate is not counted.
    pub late: Option<Millis>,
}

impl Arrival {
    /// Around a call that came by the log: the times in which an equal one is the same one, without the ends.
    pub(super) fn late(&self) -> Option<(Millis, Millis)> {
        let Called { at, late } = self.called?;
        late.map(|within| (at.saturating_sub(within), at.saturating_add(within)))
    }
}
