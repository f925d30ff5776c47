//! What a person looks at to see an anomaly, where the operations alone do not show it.
//!
//! A checker that knows how its operations hang together says so here, and the report draws it.
//! What operations show by themselves (a stale read, a lost element, two holders of a lock) the
//! report works out from the history.

use serde::{Deserialize, Serialize};

/// One picture of an anomaly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "shows", rename_all = "kebab-case")]
pub enum Picture {
    /// Operations in a circle: each must come before the next, and the last before the first.
    Cycle { edges: Vec<Edge> },
    /// What was said of the same things at several moments: a column a node, or an account.
    Table(Table),
    /// Blocks and what follows them.
    Tree { blocks: Vec<Block> },
    /// How far operations have an order.
    Prefix(Prefix),
}

/// The longest prefix of an object's history that has an order: everything that returned before one
/// operation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// The first so many operations to return have an order.
    pub explained: usize,
    /// So many returned in all.
    pub of: usize,
    /// The end of one such order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placed: Vec<Placed>,
    /// Operations in front of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: usize,
    /// What the object holds after them, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub holds: String,
    /// First the one up to whose return there is no order, then what else was open then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<Next>,
    /// Why it was not looked for to the end: `explained` is then the least that it can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// An operation in an order, and what the object holds after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub op: u64,
    pub then: String,
}

/// An operation that could come next, or why it cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub op: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why one operation comes before another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Indices of invocations.
    pub from: u64,
    pub to: u64,
    pub relation: Relation,
    /// The sentence for it.
    pub why: String,
}

/// The relations of Adya's thesis ("Weak Consistency", 1999), and two of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The second overwrote what the first wrote.
    Ww,
    /// The second read what the first wrote.
    Wr,
    /// The second overwrote what the first read.
    Rw,
    /// The same process asked for the first and then for the second.
    Process,
    /// The first had returned when the second was invoked.
    RealTime,
}

/// Rows in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows, as a caption says it.
    pub of: String,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// Rows that are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One moment, or what holds at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// When, for people.
    pub at: String,
    /// Of which column, and what it says there.
    pub cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    pub column: usize,
    pub text: String,
    /// Cells with the same value have the same number, so that what differs can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<usize>,
}

/// A block, or several that follow each other and are all alike to what is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its place in the list of the block that it follows; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    pub name: String,
    pub height: i64,
    /// How many blocks it stands for.
    pub blocks: u64,
    /// What is to be known of it: whose head it was, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
