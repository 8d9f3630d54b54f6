//! The templates in the binary.

use crate::message::Language;

/// Their names, the same in every language.
pub(super) const NAMES: [&str; 9] = [
    "bench",
    "critical",
    "issue",
    "issue-assigned",
    "issue-comment",
    "issue-created",
    "issue-resolved",
    "issue-status",
    "review",
];

macro_rules! defaults {
    ($($language:ident $folder:literal $name:literal)*) => {
        [$((Language::$language, $name, include_str!(concat!("../../templates/", $folder, $name, ".md.hbs")))),*]
    };
}

/// Language, name and text of each.
pub(super) const ALL: [(Language, &str, &str); 2 * NAMES.len()] = defaults! {
    En "" "bench"
    En "" "critical"
    En "" "issue"
    En "" "issue-assigned"
    En "" "issue-comment"
    En "" "issue-created"
    En "" "issue-resolved"
    En "" "issue-status"
    En "" "review"
    Ru "ru/" "bench"
    Ru "ru/" "critical"
    Ru "ru/" "issue"
    Ru "ru/" "issue-assigned"
    Ru "ru/" "issue-comment"
    Ru "ru/" "issue-created"
    Ru "ru/" "issue-resolved"
    Ru "ru/" "issue-status"
    Ru "ru/" "review"
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_text_in_both_languages() {
        for name in NAMES {
            for language in [Language::En, Language::Ru] {
                assert!(ALL.iter().any(|(of, this, _)| (*of, *this) == (language, name)), "{name} {language:?}");
            }
        }
    }
}
