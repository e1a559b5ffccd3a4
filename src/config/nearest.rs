//! "Did you mean": the known word that a mistyped one most likely stands for.

/// Returns the known word nearest to the given one, when one is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = plain(word);
    known
        .into_iter()
        .filter_map(|candidate| Some((rank(&word, &plain(candidate))?, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

fn plain(word: &str) -> String {
    word.to_ascii_lowercase().replace('-', "_")
}

/// Returns how far two words are apart, or nothing when they are too far: a third of the longer one may differ,
/// and a word of which one is the beginning of the other always counts as near.
fn rank(word: &str, candidate: &str) -> Option<usize> {
    let edits = distance(word, candidate);
    let near = edits <= (word.len().max(candidate.len()) / 3).max(1);
    let begins = word.len() >= 3
        && candidate.len() >= 3
        && (candidate.starts_with(word) || word.starts_with(candidate));
    (near || begins).then_some(edits)
}

/// Counts insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut a_before = None;
    for (row, a_char) in a.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut b_before = None;
        for (column, &b_char) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, column) + usize::from(a_char != b_char))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            if a_before == Some(b_char) && b_before == Some(a_char) && column > 0 {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
            b_before = Some(b_char);
        }
        before_last = std::mem::replace(&mut last, current);
        a_before = Some(a_char);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_word_it_stands_for() {
        let known = ["timeout_ms", "transport", "command", "url", "env", "env_pass"];
        for (typed, meant) in [
            ("timout_ms", "timeout_ms"),
            ("timeout", "timeout_ms"),
            ("comand", "command"),
            ("ulr", "url"),
            ("URL", "url"),
            ("env-pass", "env_pass"),
            ("envs", "env"),
        ] {
            assert_eq!(nearest(typed, known), Some(meant), "{typed}");
        }
    }

    #[test]
    fn a_word_that_is_like_none_finds_none() {
        assert_eq!(nearest("colour", ["timeout_ms", "url"]), None);
        assert_eq!(nearest("x", ["url", "env"]), None);
    }

    #[test]
    fn swapped_neighbours_count_as_one_edit() {
        assert_eq!(distance("ulr", "url"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
