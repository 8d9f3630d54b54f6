//! What stands in line is written together: a batch is one statement, which is one commit.

use std::ops::Range;

use super::core::{Core, Refusal};
use crate::outbox::OutboxError;

/// A larger batch would keep its first callers waiting.
pub const LARGEST: usize = 512;

pub type Ends<A> = Vec<Result<A, OutboxError>>;

/// The end of each of so many that go `together`, in their order. One bad row must not fail the others: then each is
/// written alone.
pub async fn write<A, F>(core: &Core, length: usize, together: impl Fn(Range<usize>) -> F) -> Ends<A>
where
    F: Future<Output = Result<Ends<A>, Refusal>>,
{
    let mut ends = Vec::with_capacity(length);
    if length == 0 {
        return ends;
    }
    match together(0..length).await {
        Ok(all) => ends = all,
        Err(refusal) if refusal.is_about_a_row() && length > 1 => {
            for at in 0..length {
                match together(at..at + 1).await {
                    Ok(one) => ends.extend(one),
                    Err(refusal) if refusal.is_about_a_row() => ends.push(Err(core.failed(refusal))),
                    Err(refusal) => {
                        let error = core.failed(refusal);
                        ends.extend((at..length).map(|_| Err(again(&error))));
                        break;
                    }
                }
            }
        }
        Err(refusal) => {
            let error = core.failed(refusal);
            ends.extend((0..length).map(|_| Err(again(&error))));
        }
    }
    ends
}

/// One failure is told to all that it met.
pub fn again(error: &OutboxError) -> OutboxError {
    match error {
        OutboxError::Unavailable(error) => OutboxError::Unavailable(error.clone()),
        _ => OutboxError::Closed,
    }
}
