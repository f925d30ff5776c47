//! Delta debugging: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input",
//! 2002.

/// The fewest of the items, in their order, that still fail: no single one of them can be taken
/// away. Whether all of them fail is known; whether none do is asked first.
///
/// # Errors
/// As `fails`.
pub fn minimal<T: Clone, E>(
    mut items: Vec<T>,
    fails: &mut dyn FnMut(&[T]) -> Result<bool, E>,
) -> Result<Vec<T>, E> {
    if items.is_empty() || fails(&[])? {
        return Ok(Vec::new());
    }
    let mut parts = 2;
    while items.len() > 1 {
        let size = items.len().div_ceil(parts);
        let chunks: Vec<Vec<T>> = items.chunks(size).map(<[T]>::to_vec).collect();
        match smaller(&chunks, fails)? {
            Some((fewer, whole)) => {
                items = fewer;
                // A chunk begins anew; of what is left without one the others are as fine as
                // before.
                parts = if whole { 2 } else { (parts - 1).max(2) };
            }
            None if size == 1 => break,
            None => parts = (2 * parts).min(items.len()),
        }
    }
    Ok(items)
}

/// A chunk that fails by itself, or what is left without one; and which of the two.
fn smaller<T: Clone, E>(
    chunks: &[Vec<T>],
    fails: &mut dyn FnMut(&[T]) -> Result<bool, E>,
) -> Result<Option<(Vec<T>, bool)>, E> {
    for chunk in chunks {
        if fails(chunk)? {
            return Ok(Some((chunk.clone(), true)));
        }
    }
    // Of two chunks each is what is left without the other.
    if chunks.len() > 2 {
        for out in 0..chunks.len() {
            let others = chunks.iter().enumerate().filter(|(at, _)| *at != out);
            let rest: Vec<T> = others.flat_map(|(_, chunk)| chunk.clone()).collect();
            if fails(&rest)? {
                return Ok(Some((rest, false)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// What is left where all of `needed` are needed, and how often was asked.
    fn left(all: u32, needed: &[u32]) -> (Vec<u32>, usize) {
        let mut asked = 0;
        let left = minimal::<u32, Infallible>((0..all).collect(), &mut |items| {
            asked += 1;
            Ok(needed.iter().all(|n| items.contains(n)))
        });
        let Ok(left) = left;
        (left, asked)
    }

    #[test]
    fn exactly_what_is_needed_is_left() {
        for needed in [&[][..], &[0], &[24], &[3, 17], &[0, 12, 24], &[5, 6, 7, 8]] {
            let (found, asked) = left(25, needed);
            assert_eq!(found, needed);
            assert!(asked < 120, "{needed:?}: {asked}");
        }
        assert_eq!(left(1, &[0]).0, [0]);
        assert!(left(0, &[]).0.is_empty());
    }

    /// Where any one of two does, one of them is left.
    #[test]
    fn nothing_that_is_left_can_be_taken_away() {
        let left = minimal::<u32, Infallible>((0..20).collect(), &mut |items| {
            Ok(items.contains(&4) && (items.contains(&9) || items.contains(&15)))
        });
        let Ok(left) = left;
        assert_eq!(left.len(), 2, "{left:?}");
    }

    /// The first that fails to answer ends it.
    #[test]
    fn an_error_is_handed_on() {
        let mut asked = 0;
        let found = minimal((0..9).collect::<Vec<u32>>(), &mut |_| {
            asked += 1;
            if asked == 3 { Err("stop") } else { Ok(false) }
        });
        assert_eq!(found, Err("stop"));
    }
}
