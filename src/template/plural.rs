//! Which form of a word a number wants. Source: Unicode CLDR, "Language Plural Rules", `en` and `ru`.

/// The place of the form, from 0: of two as in English (one, other), of three as in Russian (one, few, many).
pub(super) fn form(number: f64, forms: usize) -> usize {
    let number = number.abs();
    let (tens, ones) = (number % 100.0, number % 10.0);
    let form = match forms {
        0..=2 => usize::from(number != 1.0),
        _ if number.fract() != 0.0 => 1, // «1,5 часа»
        _ if ones == 1.0 && tens != 11.0 => 0,
        _ if (2.0..=4.0).contains(&ones) && !(12.0..=14.0).contains(&tens) => 1,
        _ => 2,
    };
    form.min(forms.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_forms_of_their_language() {
        let en = |number| ["vote", "votes"][form(number, 2)];
        let ru = |number| ["голос", "голоса", "голосов"][form(number, 3)];
        for (number, in_english, in_russian) in [
            (0.0, "votes", "голосов"),
            (1.0, "vote", "голос"),
            (2.0, "votes", "голоса"),
            (4.0, "votes", "голоса"),
            (5.0, "votes", "голосов"),
            (11.0, "votes", "голосов"),
            (12.0, "votes", "голосов"),
            (14.0, "votes", "голосов"),
            (21.0, "votes", "голос"),
            (22.0, "votes", "голоса"),
            (111.0, "votes", "голосов"),
            (1.5, "votes", "голоса"),
            (-1.0, "vote", "голос"),
            (1e300, "votes", "голосов"),
        ] {
            assert_eq!((en(number), ru(number)), (in_english, in_russian), "{number}");
        }
        assert_eq!((form(5.0, 1), form(5.0, 0)), (0, 0));
    }
}
