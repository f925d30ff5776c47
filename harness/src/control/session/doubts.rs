//! What makes it doubtful that an agent did its work all the time: it healed itself, or could not
//! be reached for a while. What was asked of it since may not have been so.

use history::Name;

#[derive(Default)]
pub struct Doubts(Vec<Doubt>);

struct Doubt {
    what: String,
    is_absence: bool,
}

impl Doubts {
    /// The agent ended, or undid faults and stopped daemons.
    pub fn add(&mut self, what: String) {
        let is_absence = false;
        self.0.push(Doubt { what, is_absence });
    }

    /// It could not be reached for a while, and went on meanwhile.
    pub fn add_absence(&mut self, what: String) {
        let is_absence = true;
        self.0.push(Doubt { what, is_absence });
    }

    /// All of them, of this node.
    pub fn told(&self, node: &Name) -> Vec<String> {
        self.0.iter().map(|doubt| doubt.named(node)).collect()
    }

    /// Takes those away that came of an absence.
    pub fn take_absences(&mut self, node: &Name) -> Vec<String> {
        let absences = self.0.extract_if(.., |doubt| doubt.is_absence);
        absences.map(|doubt| doubt.named(node)).collect()
    }
}

impl Doubt {
    fn named(&self, node: &Name) -> String {
        format!("{node}: {}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_can_be_forgiven_and_an_agent_that_healed_its_node_not() {
        let node = Name::from("n1");
        let mut doubts = Doubts::default();
        doubts.add_absence("away".into());
        doubts.add("healed".into());
        assert_eq!(doubts.told(&node), ["n1: away", "n1: healed"]);
        assert_eq!(doubts.take_absences(&node), ["n1: away"]);
        assert_eq!(doubts.told(&node), ["n1: healed"]);
    }
}
