//! The words that Campanile itself adds to messages, by language.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The language of default templates, dates and the words below.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    En,
    Ru,
}

/// The mark of a message that is delivered `late` after its event: "delayed 14 min". Never longer than 50 characters.
pub fn delayed(language: Language, late: Duration) -> String {
    let minutes = late.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    let (prefix, [day, hour, minute]) = match language {
        Language::En => ("delayed", ["d", "h", "min"]),
        Language::Ru => ("с задержкой", ["д", "ч", "мин"]),
    };
    match (days, hours, minutes) {
        (0, 0, minutes) => format!("{prefix} {minutes} {minute}"),
        (0, hours, 0) => format!("{prefix} {hours} {hour}"),
        (0, hours, minutes) => format!("{prefix} {hours} {hour} {minutes} {minute}"),
        (days, 0, _) => format!("{prefix} {days} {day}"),
        (days, hours, _) => format!("{prefix} {days} {day} {hours} {hour}"),
    }
}

/// What stands at the end of a message that was too long, before the link to the whole.
pub fn shortened(language: Language) -> &'static str {
    match language {
        Language::En => "… shortened",
        Language::Ru => "… сокращено",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_told_in_the_two_largest_units() {
        for (seconds, en, ru) in [
            (14 * 60 + 59, "delayed 14 min", "с задержкой 14 мин"),
            (3_600, "delayed 1 h", "с задержкой 1 ч"),
            (3_600 * 3 + 300, "delayed 3 h 5 min", "с задержкой 3 ч 5 мин"),
            (86_400 * 2 + 60, "delayed 2 d", "с задержкой 2 д"),
            (86_400 * 2 + 3_600 * 4, "delayed 2 d 4 h", "с задержкой 2 д 4 ч"),
        ] {
            assert_eq!(delayed(Language::En, Duration::from_secs(seconds)), en);
            assert_eq!(delayed(Language::Ru, Duration::from_secs(seconds)), ru);
        }
        assert!(delayed(Language::Ru, Duration::MAX).chars().count() <= 50);
    }
}
