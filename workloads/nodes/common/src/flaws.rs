//! Planted bugs: what a node's catalogue has to say of each, and which are switched on.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::Serialize;

/// The planted bugs of one node.
pub trait Planted: Copy + 'static {
    /// Every one of them, in the order of the catalogue; at most 32.
    const ALL: &'static [Self];

    /// The catalogue's entry.
    fn entry(self) -> Entry;

    /// A number below 32 that no other flaw of the node has.
    fn number(self) -> u32;

    /// The name for `--flaw`.
    fn name(self) -> &'static str {
        self.entry().name
    }
}

/// What a person or a harness should know to bring a flaw to light. The node's command `flaws`
/// prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The name for `--flaw`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The family of faults that shows it: `partition`, `pause`, `packet`, `clock` or `kill`, or
    /// `none` if none is needed.
    pub fault: &'static str,
    /// The mode for `--reads` that it needs, if any.
    pub reads: Option<&'static str>,
    /// Other flags of the node that make it likely to be seen, without the dashes.
    pub params: BTreeMap<&'static str, &'static str>,
    /// What shows it: `linearizability`, or a property that the node's catalogue explains.
    pub evidence: &'static [&'static str],
}

/// The flaw of this name.
///
/// # Errors
/// A sentence with the names that there are.
pub fn parse<F: Planted>(text: &str) -> Result<F, String> {
    let found = F::ALL.iter().find(|flaw| flaw.name() == text);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = F::ALL.iter().map(|flaw| flaw.name()).collect();
        format!("unknown flaw {text:?}; there are: {}", names.join(", "))
    })
}

/// The flaws that are switched on in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaws<F>(u64, PhantomData<F>);

impl<F: Planted> Flaws<F> {
    /// Whether `flaw` is switched on.
    pub fn has(self, flaw: F) -> bool {
        self.0 & (1 << flaw.number()) != 0
    }

    /// The names of those that are switched on.
    pub fn names(self) -> Vec<&'static str> {
        let on = F::ALL.iter().filter(|flaw| self.has(**flaw));
        on.map(|flaw| flaw.name()).collect()
    }
}

impl<F> Default for Flaws<F> {
    fn default() -> Flaws<F> {
        Flaws(0, PhantomData)
    }
}

impl<F: Planted> FromIterator<F> for Flaws<F> {
    fn from_iter<I: IntoIterator<Item = F>>(flaws: I) -> Self {
        let bits = flaws
            .into_iter()
            .fold(0, |bits, flaw| bits | 1 << flaw.number());
        Flaws(bits, PhantomData)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Flaw {
        Deaf,
        Mute,
    }

    impl Planted for Flaw {
        const ALL: &'static [Flaw] = &[Flaw::Deaf, Flaw::Mute];

        fn entry(self) -> Entry {
            Entry {
                name: match self {
                    Flaw::Deaf => "deaf",
                    Flaw::Mute => "mute",
                },
                summary: "",
                fault: "none",
                reads: None,
                params: BTreeMap::new(),
                evidence: &[],
            }
        }

        fn number(self) -> u32 {
            self as u32
        }
    }

    #[test]
    fn a_flaw_is_found_by_its_name_alone() {
        assert_eq!(parse("mute"), Ok(Flaw::Mute));
        let error = parse::<Flaw>("dea").unwrap_err();
        assert_eq!(error, "unknown flaw \"dea\"; there are: deaf, mute");
    }

    #[test]
    fn only_what_was_switched_on_is_on() {
        let none = Flaws::<Flaw>::default();
        assert!(none.names().is_empty() && !none.has(Flaw::Deaf));
        let one = Flaws::from_iter([Flaw::Mute]);
        assert!(one.has(Flaw::Mute) && !one.has(Flaw::Deaf));
        assert_eq!(
            Flaws::from_iter([Flaw::Mute, Flaw::Deaf]).names(),
            ["deaf", "mute"]
        );
    }
}
