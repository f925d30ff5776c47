//! What a chain's nodes show while a run goes on: heads, each with the blocks that are new.
//!
//! A block is shown once, by whichever node is first seen to build upon it, so that a head that is
//! asked for several times a second costs little more than its hash.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use harness::cluster::Node;
use harness::system::Watch;
use history::{Name, Value};

use crate::interface::{Block, Chain};

/// As many blocks as wait to be shown at most: more than a chain makes in a run, and little enough
/// to be held in memory. A node that claims more is not believed.
const MOST_BLOCKS: usize = 20_000;

/// Ancestors that are asked for at once; the first question is for the head alone.
const PAGE: usize = 100;

/// A look that takes longer has failed: what the answer says would be true of no one moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at the nodes of one run.
pub struct ChainWatch {
    chain: Arc<dyn Chain>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Hashes of the blocks that are in the history already, whoever showed them.
    shown: HashSet<String>,
    /// Blocks that have been read and not been shown, because the look was not finished: a long
    /// chain is read in steps, whatever the patience. By their hash, which says what is in them.
    read: HashMap<String, Block>,
    /// By node, what it was last seen to have refused.
    refused: HashMap<Name, BTreeMap<String, i64>>,
}

impl ChainWatch {
    pub fn new(chain: Arc<dyn Chain>) -> ChainWatch {
        ChainWatch {
            chain,
            known: Mutex::default(),
        }
    }

    /// Several times a block interval, where blocks come as often as tests can wait for them.
    pub fn every() -> Watch {
        Watch {
            f: "head".into(),
            every: Duration::from_millis(150),
        }
    }

    /// The value of the event `head`: see `harness/docs/history.md`.
    ///
    /// # Errors
    /// Why the node's head could not be seen, for the history.
    pub async fn look(&self, node: &Node) -> Result<Value, String> {
        let looked = tokio::time::timeout(PATIENCE, self.look_patiently(node)).await;
        looked.unwrap_or_else(|_| Err(format!("no whole answer in {PATIENCE:?}")))
    }

    async fn look_patiently(&self, node: &Node) -> Result<Value, String> {
        let head = self.chain.head(node).await?;
        self.read_new(node, &head.hash).await?;
        // Nothing is waited for from here on: a block that counts as shown is in the answer.
        let mut known = self.known();
        let blocks = known.show(&head.hash);
        let mut entries = vec![
            ("node".into(), node.name.clone().into()),
            ("head".into(), Value::text(&head.hash)),
            ("height".into(), head.height.into()),
            ("blocks".into(), Value::List(blocks)),
        ];
        if let Some(last_final) = &head.last_final {
            entries.push(("final".into(), Value::text(last_final)));
        }
        for (name, block) in [
            ("heaviest", head.heaviest),
            ("best_header", head.best_header),
        ] {
            if let Some(other) = block.filter(|block| *block != head.hash) {
                entries.push((name.into(), Value::text(&other)));
            }
        }
        if let Some(refused) = head
            .refused
            .filter(|refused| known.changed(&node.name, refused))
        {
            let counts = refused
                .into_iter()
                .map(|(rule, n)| (Value::text(rule), n.into()));
            entries.push(("refused".into(), Value::Map(counts.collect())));
        }
        Ok(Value::Map(entries))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while held")
    }

    /// Reads what is missing between `head` and the first block that has been shown, or genesis.
    async fn read_new(&self, node: &Node, head: &str) -> Result<(), String> {
        let mut wanted = head.to_string();
        let mut most = 1;
        loop {
            let unread = self.known().first_unread(&wanted);
            match unread {
                None => return Ok(()),
                Some(hash) => wanted = hash,
            }
            let page = self.chain.blocks(node, &wanted, most).await?;
            if page.is_empty() {
                return Err(format!("the node does not have its block {wanted}"));
            }
            let mut known = self.known();
            let mut expected = wanted.clone();
            for block in page {
                if block.hash != expected {
                    let got = block.hash;
                    return Err(format!("asked for block {expected}, the node gave {got}"));
                }
                if known.read.len() >= MOST_BLOCKS {
                    return Err(format!("more than {MOST_BLOCKS} blocks to show at {head}"));
                }
                expected = block.parent.clone();
                if !known.shown.contains(&block.hash) {
                    known.read.insert(block.hash.clone(), block);
                }
            }
            drop(known);
            most = (most * 4).min(PAGE);
        }
    }
}

impl Known {
    /// The first block on the way from `hash` down that nobody has read; none if the way is whole.
    fn first_unread(&self, hash: &str) -> Option<String> {
        let mut hash = hash;
        while !self.shown.contains(hash) {
            match self.read.get(hash) {
                None => return Some(hash.to_string()),
                Some(genesis) if genesis.height == 0 => return None,
                Some(block) => hash = &block.parent,
            }
        }
        None
    }

    /// Whether these counts are not what this node showed last.
    fn changed(&mut self, node: &Name, refused: &BTreeMap<String, i64>) -> bool {
        let last = self.refused.insert(node.clone(), refused.clone());
        last.as_ref() != Some(refused)
    }

    /// The way down from `head`, parents first, as values; it counts as shown.
    fn show(&mut self, head: &str) -> Vec<Value> {
        let mut blocks = Vec::new();
        let mut next = head.to_string();
        while let Some(block) = self.read.remove(&next) {
            blocks.push(block.to_value());
            self.shown.insert(next);
            next = block.parent;
        }
        blocks.reverse();
        blocks
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use harness::dummy;

    use super::*;
    use crate::interface::Head;

    /// Blocks by hash; every node has all of them, and its own head.
    #[derive(Default)]
    struct Fixed {
        blocks: HashMap<String, Block>,
        heads: Mutex<HashMap<String, &'static str>>,
        heaviest: Mutex<Option<String>>,
        best_header: Mutex<Option<String>>,
        refused: Mutex<Option<BTreeMap<String, i64>>>,
        asked: Mutex<Vec<(String, usize)>>,
    }

    impl Fixed {
        /// `a<-b` means that a is the parent of b; `-<-g` that g is genesis.
        fn new(edges: &[(&str, &str, i64)]) -> Fixed {
            let block = |(parent, hash, height): &(&str, &str, i64)| Block {
                hash: hash.to_string(),
                parent: parent.to_string(),
                height: *height,
                time_ms: 0,
                work: 1,
                miner: "n1".into(),
                transactions: Vec::new(),
            };
            Fixed {
                blocks: edges.iter().map(|e| (e.1.to_string(), block(e))).collect(),
                ..Fixed::default()
            }
        }

        fn set(&self, node: &str, head: &'static str) {
            self.heads.lock().unwrap().insert(node.into(), head);
        }
    }

    #[async_trait]
    impl Chain for Fixed {
        async fn head(&self, node: &Node) -> Result<Head, String> {
            let hash = *self
                .heads
                .lock()
                .unwrap()
                .get(node.name.as_str())
                .ok_or("refused")?;
            Ok(Head {
                hash: hash.into(),
                height: self.blocks.get(hash).map_or(99, |block| block.height),
                last_final: None,
                heaviest: self.heaviest.lock().unwrap().clone(),
                best_header: self.best_header.lock().unwrap().clone(),
                refused: self.refused.lock().unwrap().clone(),
            })
        }

        async fn blocks(&self, _: &Node, tip: &str, most: usize) -> Result<Vec<Block>, String> {
            self.asked.lock().unwrap().push((tip.into(), most));
            let mut found = Vec::new();
            let mut next = tip.to_string();
            while let Some(block) = self.blocks.get(&next).filter(|_| found.len() < most) {
                next = block.parent.clone();
                found.push(block.clone());
            }
            Ok(found)
        }
    }

    #[tokio::test]
    async fn refusals_are_shown_when_they_are_not_what_the_node_showed_before() {
        let chain = Arc::new(tree());
        let watch = ChainWatch::new(chain.clone());
        let nodes = dummy::nodes(2);
        let shown = async |node: usize, count: Option<i64>| {
            chain.set(nodes[node].name.as_str(), "a");
            let counts = count.map(|n| BTreeMap::from([("time-too-new".to_string(), n)]));
            *chain.refused.lock().unwrap() = counts;
            let value = watch.look(&nodes[node]).await.unwrap();
            value
                .get("refused")
                .map(|counts| counts.get("time-too-new").cloned())
        };
        assert_eq!(shown(0, None).await, None);
        assert_eq!(shown(0, Some(0)).await, Some(Some(Value::Int(0))));
        assert_eq!(shown(0, Some(0)).await, None);
        assert_eq!(shown(0, Some(2)).await, Some(Some(Value::Int(2))));
        // Another node has its own, and one that was restarted begins anew.
        assert_eq!(shown(1, Some(2)).await, Some(Some(Value::Int(2))));
        assert_eq!(shown(0, Some(0)).await, Some(Some(Value::Int(0))));
    }

    #[tokio::test]
    async fn the_heaviest_block_and_the_best_header_are_shown_when_they_are_not_the_head() {
        let chain = Arc::new(tree());
        let watch = ChainWatch::new(chain.clone());
        let nodes = dummy::nodes(1);
        chain.set("n1", "f");
        for (name, known) in [
            ("heaviest", &chain.heaviest),
            ("best_header", &chain.best_header),
        ] {
            for (block, shown) in [(None, None), (Some("f"), None), (Some("y"), Some("y"))] {
                *known.lock().unwrap() = block.map(String::from);
                let value = watch.look(&nodes[0]).await.unwrap();
                assert_eq!(value.get(name).and_then(Value::as_text), shown);
            }
        }
    }

    fn hashes(value: &Value) -> Vec<&str> {
        let blocks = value.get("blocks").unwrap().as_list().unwrap();
        let hash = |block: &'_ Value| block.as_list().unwrap()[0].clone();
        let names: Vec<Value> = blocks.iter().map(hash).collect();
        let known = ["g", "a", "b", "c", "d", "e", "f", "x", "y"];
        let name = |value: &Value| {
            let text = value.as_text().unwrap();
            *known.iter().find(|k| **k == text).unwrap()
        };
        names.iter().map(name).collect()
    }

    fn tree() -> Fixed {
        Fixed::new(&[
            ("-", "g", 0),
            ("g", "a", 1),
            ("a", "b", 2),
            ("b", "c", 3),
            ("c", "d", 4),
            ("d", "e", 5),
            ("e", "f", 6),
            ("b", "x", 3),
            ("x", "y", 4),
        ])
    }

    #[tokio::test]
    async fn every_block_is_shown_once_and_parents_come_first() {
        let chain = Arc::new(tree());
        let watch = ChainWatch::new(chain.clone());
        let nodes = dummy::nodes(2);
        chain.set("n1", "f");
        let first = watch.look(&nodes[0]).await.unwrap();
        assert_eq!(hashes(&first), ["g", "a", "b", "c", "d", "e", "f"]);
        assert_eq!(first.get("head"), Some(&Value::text("f")));
        assert_eq!(first.get("height"), Some(&Value::Int(6)));
        assert_eq!(first.get("node"), Some(&Value::text("n1")));
        assert_eq!(first.get("final"), None);
        // A branch of another node: only what is new, down to the fork.
        chain.set("n2", "y");
        assert_eq!(hashes(&watch.look(&nodes[1]).await.unwrap()), ["x", "y"]);
        // A head that everybody knows costs no question.
        chain.set("n2", "f");
        let asked = chain.asked.lock().unwrap().len();
        let none: [&str; 0] = [];
        assert_eq!(hashes(&watch.look(&nodes[1]).await.unwrap()), none);
        assert_eq!(chain.asked.lock().unwrap().len(), asked);
    }

    #[tokio::test]
    async fn one_new_block_is_asked_for_alone() {
        let chain = Arc::new(tree());
        let watch = ChainWatch::new(chain.clone());
        let nodes = dummy::nodes(1);
        chain.set("n1", "e");
        watch.look(&nodes[0]).await.unwrap();
        chain.asked.lock().unwrap().clear();
        chain.set("n1", "f");
        watch.look(&nodes[0]).await.unwrap();
        assert_eq!(*chain.asked.lock().unwrap(), [("f".to_string(), 1)]);
    }

    #[tokio::test]
    async fn two_looks_at_once_do_not_show_a_block_twice() {
        let chain = Arc::new(tree());
        let watch = ChainWatch::new(chain.clone());
        let nodes = dummy::nodes(2);
        chain.set("n1", "f");
        chain.set("n2", "f");
        let (one, two) = tokio::join!(watch.look(&nodes[0]), watch.look(&nodes[1]));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(hashes(&one).len() + hashes(&two).len(), 7);
    }

    #[tokio::test]
    async fn what_cannot_be_seen_is_said() {
        let chain = Arc::new(Fixed::new(&[("a", "b", 2), ("-", "g", 0)]));
        let watch = ChainWatch::new(chain.clone());
        let nodes = dummy::nodes(1);
        assert_eq!(watch.look(&nodes[0]).await, Err("refused".into()));
        // Its head has a parent that the node does not have.
        chain.set("n1", "b");
        let error = watch.look(&nodes[0]).await.unwrap_err();
        assert!(error.contains("does not have its block a"), "{error}");
        // Nothing of it counts as shown.
        assert!(watch.known().shown.is_empty());
    }
}
