//! Clients' requests at the node that received them, until they have an answer.

use super::*;
use block::{Op, Transaction};
use ledger::Draft;

/// Requests that may wait at one node.
const PENDING: usize = 16_384;
/// A transaction that is in no block after so many block intervals is lost, thinks the flaw
/// `resend-renamed`.
const LOST_AFTER: u32 = 5;

struct Pending {
    transaction: Arc<Transaction>,
    confirmations: u64,
    since: u64,
    /// FLAW resend-renamed: it was sent under another name.
    resent: bool,
    /// FLAW confirm-abandoned: what became of it where it was first seen.
    seen: Option<(Answer, Place)>,
}

/// What the mempool's first transactions, up to a place, would make of the ledger.
struct Speculation {
    head: Hash,
    disturbed: u64,
    upto: Option<i64>,
    draft: Draft,
}

#[derive(Default)]
pub(super) struct Requests {
    pending: BTreeMap<RequestId, Pending>,
    speculation: Option<Speculation>,
}

impl Core {
    pub(super) fn request(&mut self, id: RequestId, request: Request) {
        match request {
            Request::Submit {
                transaction,
                confirmations,
            } => self.submit(id, Arc::new(transaction), confirmations),
            Request::Look {
                question,
                confirmations,
            } => {
                let reply = self.look(&question, confirmations);
                self.reply(id, reply);
            }
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply) {
        self.effects.push(Effect::Reply(id, reply));
    }

    fn submit(&mut self, id: RequestId, transaction: Arc<Transaction>, confirmations: u64) {
        if let Err(error) = check_transaction(&transaction) {
            return self.reply(id, Reply::Refused(error));
        }
        if self.requests.pending.len() >= PENDING {
            return self.reply(id, Reply::Overloaded);
        }
        let known = self.knows_transaction(&transaction.id);
        if !known && !self.admit(transaction.clone(), None) {
            return self.reply(id, Reply::Overloaded);
        }
        // FLAW ack-unconfirmed: as if none had been asked for.
        let at_once = confirmations == 0 || self.flawed(Flaw::AckUnconfirmed);
        if at_once && let Some(waiting) = self.mempool.get(&transaction.id) {
            let reply = if waiting.op == transaction.op {
                Reply::Done(self.speculate(&transaction.id), None)
            } else {
                taken(&transaction)
            };
            return self.reply(id, reply);
        }
        let pending = Pending {
            transaction,
            confirmations,
            since: self.now,
            resent: false,
            seen: None,
        };
        match self.outcome(&pending) {
            Some(reply) => self.reply(id, reply),
            None => drop(self.requests.pending.insert(id, pending)),
        }
    }

    /// The answer, if the transaction is deep enough.
    fn outcome(&self, pending: &Pending) -> Option<Reply> {
        self.outcome_at(pending, pending.confirmations)
    }

    fn outcome_at(&self, pending: &Pending, confirmations: u64) -> Option<Reply> {
        let head = self.tree.header(self.tree.head()).height;
        // FLAW confirm-abandoned: where it was first seen it is, thinks the node.
        if let Some((answer, place)) = &pending.seen
            && head + 1 >= place.height + confirmations
        {
            return Some(Reply::Done(answer.clone(), Some(*place)));
        }
        let Transaction { id, op } = &*pending.transaction;
        let block = self.tree.holder(id, self.tree.head())?;
        let height = self.tree.header(block).height;
        // FLAW confirm-by-height: the best header stands for the head, and need not be above this
        // block at all.
        let best = if self.flawed(Flaw::ConfirmByHeight) {
            let leaves = self.tree.leaves();
            let heights = leaves.map(|leaf| self.tree.header(leaf).height);
            heights.max().unwrap_or(0)
        } else {
            head
        };
        if best - height + 1 < confirmations {
            return None;
        }
        let transactions = &self.tree.block(block)?.transactions;
        let position = transactions.iter().position(|other| other.id == *id)?;
        if transactions[position].op != *op {
            return Some(taken(&pending.transaction));
        }
        let applied = &self.chain.applied;
        let newer = applied[height as usize..].iter().rev();
        let answer = self
            .ledger
            .answer_at(op, position, &applied[height as usize - 1], newer);
        let place = Place {
            block,
            height,
            position: position as u64,
        };
        Some(Reply::Done(answer, Some(place)))
    }

    /// What a waiting transaction would give if all before it in the mempool came into a block with
    /// it. What was found for those before it is used again, so that who asks for each that comes
    /// has each run once.
    fn speculate(&mut self, id: &str) -> Answer {
        let (head, disturbed) = (self.tree.head(), self.mempool.disturbed);
        let place = self.mempool.place(id).expect("it waits");
        let begun = self.requests.speculation.take().filter(|begun| {
            (begun.head, begun.disturbed) == (head, disturbed) && begun.upto < Some(place)
        });
        let mut speculation = begun.unwrap_or_else(|| Speculation {
            head,
            disturbed,
            upto: None,
            draft: Draft::new(&self.ledger),
        });
        let mut last = None;
        for transaction in self.mempool.between(speculation.upto, place) {
            last = Some(speculation.draft.run(&self.ledger, &transaction.op));
        }
        speculation.upto = Some(place);
        self.requests.speculation = Some(speculation);
        last.expect("it is the last of them")
    }

    fn look(&self, question: &Question, confirmations: u64) -> Reply {
        let head = self.tree.header(self.tree.head()).height;
        let height = head.saturating_sub(confirmations.saturating_sub(1));
        let newer = self.chain.applied[height as usize..].iter().rev();
        let answer = self.ledger.answer_before(question, newer);
        let block = self.tree.active()[height as usize];
        let position = self.tree.block(block).map_or(0, |b| b.transactions.len());
        let place = Place {
            block,
            height,
            position: position as u64,
        };
        Reply::Done(answer, Some(place))
    }

    /// The chain has changed: whoever waits for what is deep enough now is answered.
    pub(super) fn settle_requests(&mut self) {
        if self.flawed(Flaw::ConfirmAbandoned) {
            self.note_first_sight();
        }
        let done = self.requests.pending.iter().filter_map(|(&id, pending)| {
            let reply = self.outcome(pending)?;
            Some((id, reply))
        });
        for (id, reply) in done.collect::<Vec<_>>() {
            self.requests.pending.remove(&id);
            self.reply(id, reply);
        }
    }

    /// FLAW confirm-abandoned: whoever is in a block for the first time is remembered there.
    fn note_first_sight(&mut self) {
        let unseen = self.requests.pending.iter();
        let unseen = unseen.filter(|(_, pending)| pending.seen.is_none());
        let seen = unseen.filter_map(|(&id, pending)| match self.outcome_at(pending, 1)? {
            Reply::Done(answer, place) => Some((id, answer, place?)),
            _ => None,
        });
        for (id, answer, place) in seen.collect::<Vec<_>>() {
            if let Some(pending) = self.requests.pending.get_mut(&id) {
                pending.seen = Some((answer, place));
            }
        }
    }

    /// FLAW confirm-by-height: a header is enough to be answered.
    pub(super) fn settle_requests_by_height(&mut self) {
        if self.flawed(Flaw::ConfirmByHeight) {
            self.settle_requests();
        }
    }

    pub(super) fn tick_requests(&mut self) {
        let (now, timeout) = (self.now, nanos(self.config.request_timeout));
        let lost = nanos(self.config.rules.block_interval * LOST_AFTER);
        let renames = self.flawed(Flaw::ResendRenamed);
        let (mut over, mut again) = (Vec::new(), Vec::new());
        for (&id, pending) in &mut self.requests.pending {
            if now - pending.since >= timeout {
                over.push(id);
            } else if renames && !pending.resent && now - pending.since >= lost {
                pending.resent = true;
                again.push(pending.transaction.clone());
            }
        }
        for id in over {
            self.requests.pending.remove(&id);
            self.reply(id, Reply::Timeout);
        }
        // FLAW resend-renamed: the first one may be in a block that this node has not seen yet, or
        // still come there.
        for transaction in again {
            if self
                .tree
                .holder(&transaction.id, self.tree.head())
                .is_some()
            {
                continue;
            }
            let id = format!("{}.again", transaction.id);
            let op: Op = transaction.op.clone();
            if id.len() <= ID_MAX && !self.knows_transaction(&id) {
                self.admit(Arc::new(Transaction { id, op }), None);
            }
        }
    }
}

fn taken(transaction: &Transaction) -> Reply {
    let id = &transaction.id;
    Reply::Refused(format!("the name {id} stands for another transaction"))
}
