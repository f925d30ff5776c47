//! Money that moves between accounts: none is made, none is lost (Jepsen's `bank`).
//!
//! `transfer [from to amount]` and `read nil`, answered with `[[account balance] ...]`. Until a
//! read has been answered there are only reads, so that the history says what the accounts had at
//! first.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkers::Checker;
use checkers::role::{Role, Roles};
use harness::client::{CONFLICT, Client, Completion, Connect, Invocation, OpError};
use harness::closing::Closing;
use harness::cluster::Node;
use harness::generator::{Context, Generator, Next, Offer};
use history::{Event, Kind as EventKind, Name, Value};
use rand::RngExt;

use crate::interface::{self, Call, Interface, Offers, OpenBank};
use crate::params::{Kind, Param, Params};
use crate::workload::{Lacking, Load, Need, Workload, not_ours};

pub(crate) struct Bank;

const MAX_TRANSFER: Param = Param {
    name: "max-transfer",
    kind: Kind::Count {
        min: 1,
        max: 1_000_000_000_000,
    },
    default: "5",
    about: "the most that one transfer moves",
};

impl Workload for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn about(&self) -> &'static str {
        "transfers between accounts and reads of all balances: the total stays the same"
    }

    fn params(&self) -> Vec<Param> {
        vec![MAX_TRANSFER]
    }

    fn needs(&self) -> &'static [Interface] {
        &[Interface::Bank]
    }

    fn calls(&self) -> &'static [Call] {
        &[Call::Transfer, Call::Balances]
    }

    fn load(&self, params: &Params) -> Load {
        let accounts = Accounts::default();
        let main = Transfers {
            accounts: accounts.clone(),
            most: params.count(MAX_TRANSFER.name) as i64,
            burst: None,
        };
        let mut at = 0;
        // From one account after the other to the next. Without a read nobody knows of any.
        let write = move || {
            let accounts = accounts.lock().expect("no panic while held");
            if accounts.len() < 2 {
                return None;
            }
            at += 1;
            let account = |at: usize| Value::Text(accounts[at % accounts.len()].clone());
            Some(Invocation {
                f: "transfer".into(),
                value: Value::List(vec![account(at), account(at + 1), 1.into()]),
            })
        };
        let reads = || {
            vec![Invocation {
                f: "read".into(),
                value: Value::Nil,
            }]
        };
        Load {
            main: Box::new(main),
            closing: Closing {
                write: Box::new(write),
                reads: Box::new(reads),
            },
        }
    }

    fn connect(&self, _params: &Params, offers: &Offers) -> Result<Arc<dyn Connect>, Lacking> {
        let open = offers.bank.clone().ok_or(Lacking {
            workload: self.name(),
            need: Need::Interface(Interface::Bank),
        })?;
        Ok(Arc::new(Clients { open }))
    }

    fn roles(&self) -> Roles {
        &role
    }

    fn checkers(&self, _params: &Params) -> Vec<Box<dyn Checker>> {
        vec![Box::new(checkers::bank::Bank)]
    }
}

/// All accounts are one object: a read shows them all.
fn role(f: &str, _asked: &Value) -> Role {
    match f {
        "transfer" => Role::writes(Value::Nil),
        "read" => Role::reads(Value::Nil),
        _ => Role::default(),
    }
}

/// As the first read named them.
type Accounts = Arc<Mutex<Vec<Name>>>;

struct Transfers {
    accounts: Accounts,
    most: i64,
    /// The last burst, and the account that its transfers begin at.
    burst: Option<(u64, usize)>,
}

impl Generator for Transfers {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let names = self.accounts.lock().expect("no panic while held");
        let accounts = names.len();
        // One read in four: of a bank that nobody reads nothing is known.
        let read = accounts < 2 || context.rng.random_range(0..4) == 0;
        let (f, value) = match read {
            true => ("read", Value::Nil),
            false => {
                let again = self
                    .burst
                    .filter(|(burst, _)| Some(*burst) == context.burst);
                let from = match again {
                    Some((_, from)) => from,
                    None => context.rng.random_range(0..accounts),
                };
                self.burst = context.burst.map(|burst| (burst, from));
                let further = context.rng.random_range(1..accounts);
                let to = (from + further) % accounts;
                let amount = context.rng.random_range(1..=self.most);
                let [from, to] = [from, to].map(|i| Value::Text(names[i].clone()));
                ("transfer", Value::List(vec![from, to, amount.into()]))
            }
        };
        Next::Offer(Offer {
            f: f.into(),
            value,
            at: context.now,
        })
    }

    fn update(&mut self, event: &Event) {
        let mut accounts = self.accounts.lock().expect("no panic while held");
        if !accounts.is_empty() || event.kind != EventKind::Ok || event.f != "read" {
            return;
        }
        let account = |entry: &Value| Some(Name::from(entry.as_pair()?.0.as_text()?));
        let read = event.value.as_list().unwrap_or_default();
        *accounts = read.iter().filter_map(account).collect();
    }
}

struct Clients {
    open: Arc<dyn OpenBank>,
}

#[async_trait]
impl Connect for Clients {
    async fn connect(&self, node: &Node, _process: u64) -> Box<dyn Client> {
        Box::new(BankClient(self.open.open(node)))
    }
}

struct BankClient(Box<dyn interface::Bank>);

impl BankClient {
    async fn perform(&mut self, operation: &Invocation) -> Result<Value, OpError> {
        match (operation.f.as_str(), operation.value.as_list()) {
            ("transfer", Some([Value::Text(from), Value::Text(to), Value::Int(amount)])) => {
                match self.0.transfer(from, to, *amount).await? {
                    true => Ok(operation.value.clone()),
                    false => Err(OpError::new(CONFLICT, "there is less in the account")),
                }
            }
            ("read", _) => {
                let balances = self.0.balances().await?.into_iter();
                let balances =
                    balances.map(|(account, balance)| Value::pair(Value::text(account), balance));
                Ok(Value::List(balances.collect()))
            }
            _ => Err(not_ours(operation)),
        }
    }
}

#[async_trait]
impl Client for BankClient {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match self.perform(operation).await {
            Ok(value) => Completion::ok(value).at(self.0.version()),
            Err(error) => error.completion(operation, operation.f == "read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use harness::seed::Seed;
    use history::{Process, Time};

    use super::*;

    fn completed(kind: EventKind, f: &str, value: Value) -> Event {
        Event {
            index: 0,
            time: Time(0),
            process: Process::Client(0),
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version: None,
            due: None,
        }
    }

    #[test]
    fn there_are_only_reads_until_one_is_answered_and_then_transfers_between_its_accounts() {
        let params = Params::resolve(&Bank.params(), [("max-transfer", "3")]).unwrap();
        let mut main = Bank.load(&params).main;
        let mut rng = Seed(1).stream("operations");
        let mut ask = |main: &mut Box<dyn Generator>| {
            let next = main.next(&mut Context {
                now: Duration::ZERO,
                free: 1,
                burst: None,
                rng: &mut rng,
            });
            match next {
                Next::Offer(offer) => (offer.f.to_string(), offer.value),
                _ => panic!("it offers whenever it is asked"),
            }
        };
        main.update(&completed(EventKind::Fail, "read", Value::Nil));
        for _ in 0..50 {
            assert_eq!(ask(&mut main), ("read".into(), Value::Nil));
        }
        let accounts = ["a0", "a1", "a2"].map(Value::text);
        let balances = accounts.iter().map(|a| Value::pair(a.clone(), 100));
        let balances = Value::List(balances.collect());
        main.update(&completed(EventKind::Ok, "read", balances));
        let (mut reads, mut seen) = (0, std::collections::BTreeSet::new());
        for _ in 0..1_000 {
            let (f, value) = ask(&mut main);
            if f == "read" {
                reads += 1;
                continue;
            }
            let [from, to, amount] = value.as_list().unwrap() else {
                panic!("{value}");
            };
            assert!(from != to && accounts.contains(from) && accounts.contains(to));
            let amount = amount.as_int().unwrap();
            assert!((1..=3).contains(&amount));
            seen.insert((from.clone(), to.clone(), amount));
        }
        assert!((150..350).contains(&reads), "{reads}");
        assert_eq!(seen.len(), 3 * 2 * 3);
    }

    #[test]
    fn at_the_end_money_moves_between_accounts_that_are_known_and_all_is_read() {
        let Load {
            mut main,
            mut closing,
        } = Bank.load(&Params::resolve(&Bank.params(), []).unwrap());
        assert_eq!((closing.write)(), None);
        let balances = ["a0", "a1"].map(|a| Value::pair(Value::text(a), 100));
        let balances = Value::List(balances.into());
        main.update(&completed(EventKind::Ok, "read", balances));
        let last = (closing.write)().unwrap();
        assert_eq!(role(&last.f, &last.value), Role::writes(Value::Nil));
        let [from, to, amount] = last.value.as_list().unwrap() else {
            panic!("{}", last.value);
        };
        assert!(from != to && *amount == Value::Int(1));
        let reads = (closing.reads)();
        assert_eq!(role(&reads[0].f, &reads[0].value), Role::reads(Value::Nil));
        assert_eq!(reads.len(), 1);
    }
}
