//! Suggestions for words that were probably misspelt.

/// The word that was probably meant: at most two letters wrong, and fewer than half.
pub(crate) fn nearest<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|word| (strsim::levenshtein(given, word), word))
        .filter(|(wrong, word)| *wrong <= 2 && wrong * 2 < word.chars().count())
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word() {
        let words = ["workers", "listen", "key", "log"];
        for (given, meant) in [
            ("worker", Some("workers")),
            ("wrokers", Some("workers")),
            ("lisen", Some("listen")),
            ("kez", Some("key")),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, words.into_iter()), meant, "{given}");
        }
    }
}
