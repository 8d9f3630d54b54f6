//! What an issue's key looks like.

/// A key as Tracker writes it into `{{issue.key}}`: the queue's letters (digits are tolerated), a hyphen, a number
/// without leading zeros. Source: tracker.md, section 6.
pub fn is_key(text: &str) -> bool {
    let Some((queue, number)) = text.split_once('-') else { return false };
    queue.len() <= 64
        && queue.starts_with(|first: char| first.is_ascii_alphabetic())
        && queue.chars().all(|c| c.is_ascii_alphanumeric())
        && (1..=10).contains(&number.len())
        && number.chars().all(|c| c.is_ascii_digit())
        && !number.starts_with('0')
}

/// The queue's key: what stands before the hyphen.
pub fn queue_of(key: &str) -> &str {
    key.split_once('-').map_or(key, |(queue, _)| queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_what_only_looks_like_one() {
        for key in ["TEST-1", "A-9999999999", "ops2-7"] {
            assert!(is_key(key), "{key}");
        }
        for other in [
            "",
            "TEST",
            "TEST-",
            "TEST-0",
            "TEST-01",
            "-1",
            "TEST-1a",
            "ТЕСТ-1",
            "TE ST-1",
            "TEST-12345678901",
            "{{issue.key}}",
        ] {
            assert!(!is_key(other), "{other}");
        }
    }
}
