//! The checkers from outside: against brute force, against drawn histories, against the corpus.

mod accounts;
mod banks;
mod brute;
mod certificates;
mod chain_brute;
mod chain_promises;
mod chain_rules;
mod chains;
mod corpus;
mod elections;
mod engines;
mod frontier;
mod garbage;
mod isolation;
mod objects;
mod random;
mod registers;
mod run;
mod sets;
mod small;
mod small_objects;
mod staleness;
mod story;
mod subjects;
mod texts;
mod transactions;
