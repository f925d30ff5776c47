use super::*;
use crate::client::Client;
use crate::dummy;
use crate::generator::{Combine, Shape, from_fn};
use crate::scheduler::Clients;
use async_trait::async_trait;
use history::{History, Outcome, Value};
use tokio::sync::watch;

/// Answers `ok`; hangs on the values it is told to hang on.
struct Hanging(fn(i64) -> bool);

#[async_trait]
impl Connect for Hanging {
    async fn connect(&self, _: &Node, _: u64) -> Box<dyn Client> {
        Box::new(Hanging(self.0))
    }
}

#[async_trait]
impl Client for Hanging {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match operation.value.as_int() {
            Some(n) if (self.0)(n) => std::future::pending().await,
            _ => Completion::ok(operation.value.clone()),
        }
    }
}

/// Answers lists within one another, as deep as it is asked.
struct Deep;

#[async_trait]
impl Connect for Deep {
    async fn connect(&self, _: &Node, _: u64) -> Box<dyn Client> {
        Box::new(Deep)
    }
}

#[async_trait]
impl Client for Deep {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        let levels = operation.value.as_int().unwrap_or_default();
        let nested = (0..levels).fold(Value::Nil, |inner, _| Value::List(vec![inner]));
        Completion::ok(nested)
    }
}

fn counter() -> impl Generator {
    let mut n = 0;
    from_fn(move |_| {
        n += 1;
        ("write", Value::Int(n))
    })
}

/// Counts, and has the wish when it offers the `nth`.
fn wishing(to: watch::Sender<Wish>, wish: Wish, nth: i64) -> impl Generator {
    let mut n = 0;
    from_fn(move |_| {
        n += 1;
        if n == nth {
            to.send_replace(wish);
        }
        ("write", Value::Int(n))
    })
}

const THOUSAND: Pace = Pace {
    per_second: 1000.0,
    shape: Shape::Even,
    clients: Clients::Roaming,
};

async fn run(
    generator: impl Generator + 'static,
    pace: Option<Pace>,
    client: impl Connect + 'static,
    wish: watch::Receiver<Wish>,
    op_timeout: Duration,
) -> History {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let phase = Phase {
        generator: Box::new(generator),
        stream: "operations",
        seed: Seed(1),
        pace,
        end: None,
        workers: 3,
        first_process: 0,
        op_timeout,
    };
    let progress = Progress::default();
    drive(
        phase,
        &dummy::nodes(2),
        Arc::new(client),
        &recorder,
        &progress,
        wish,
    )
    .await
    .unwrap();
    recorder.finish().unwrap();
    let history = history::store::load(&path).unwrap().history;
    let counts = progress.counts();
    assert_eq!(
        (counts.ok + counts.fail + counts.info) as usize,
        history.ops().len()
    );
    history
}

#[tokio::test]
async fn every_offer_is_invoked_and_completed_once() {
    let (_keep, wish) = watch::channel(Wish::GoOn);
    let history = run(
        counter().limit(1000),
        None,
        Hanging(|_| false),
        wish,
        Duration::from_secs(60),
    )
    .await;
    let mut values: Vec<_> = history
        .ops()
        .iter()
        .map(|op| (op.outcome, op.output.as_int().unwrap()))
        .collect();
    values.sort_by_key(|(_, n)| *n);
    assert!(values.iter().all(|(outcome, _)| *outcome == Outcome::Ok));
    assert!(values.iter().map(|(_, n)| *n).eq(1..=1000));
    assert_eq!(history.ops()[0].node.as_deref(), Some("n1"));
}

#[tokio::test]
async fn an_operation_without_answer_is_unknown_and_retires_its_process() {
    let (_keep, wish) = watch::channel(Wish::GoOn);
    let history = run(
        counter().limit(30),
        None,
        Hanging(|n| n == 5),
        wish,
        Duration::from_millis(50),
    )
    .await;
    let hung: Vec<_> = history
        .ops()
        .iter()
        .filter(|op| op.outcome == Outcome::Info)
        .collect();
    assert_eq!(hung.len(), 1);
    assert_eq!(hung[0].input, Value::Int(5));
    assert!(hung[0].error.as_deref().unwrap().starts_with("timeout"));
    assert!(
        history
            .ops()
            .iter()
            .all(|op| op.process != hung[0].process || op.index <= hung[0].index)
    );
}

/// The history could not be read again otherwise, and all of it would be lost.
#[tokio::test]
async fn an_answer_too_deep_for_a_history_is_malformed() {
    let (_keep, wish) = watch::channel(Wish::GoOn);
    let history = run(
        counter().limit(200),
        None,
        Deep,
        wish,
        Duration::from_secs(5),
    )
    .await;
    let deepest = history::edn::DEEPEST as i64 + 1;
    assert_eq!(history.ops().len(), 200);
    for op in history.ops() {
        let levels = op.input.as_int().unwrap();
        match op.outcome {
            Outcome::Ok => assert!(levels <= deepest, "{levels}"),
            Outcome::Info => {
                assert!(levels > deepest, "{levels}");
                assert!(op.error.as_deref().unwrap().starts_with("malformed"));
            }
            Outcome::Fail => panic!("{op:?}"),
        }
    }
}

#[tokio::test]
async fn winding_up_ends_an_endless_phase_and_leaves_no_operation_open() {
    let (wish, stop) = watch::channel(Wish::GoOn);
    let history = run(
        wishing(wish, Wish::WindUp, 10),
        Some(THOUSAND),
        Hanging(|n| n == 2),
        stop,
        Duration::from_millis(200),
    )
    .await;
    assert!(history.ops().len() > 1);
    assert!(history.ops().iter().all(|op| op.completion.is_some()));
}

#[tokio::test]
async fn abandoning_ends_at_once_and_says_so_of_what_was_open() {
    let (wish, stop) = watch::channel(Wish::GoOn);
    let history = run(
        wishing(wish, Wish::Abandon, 3).limit(3),
        None,
        Hanging(|_| true),
        stop,
        Duration::from_secs(3600),
    )
    .await;
    assert_eq!(history.ops().len(), 3);
    for op in history.ops() {
        assert_eq!(op.outcome, Outcome::Info);
        assert_eq!(op.error.as_deref(), Some("cut-off"));
    }
}

/// What became of the plan is in the history, and adds up; every planned operation has its time.
#[tokio::test]
async fn the_history_says_what_was_due_and_what_of_it_was_offered() {
    let (_keep, wish) = watch::channel(Wish::GoOn);
    // Three clients, one of which hangs for ever: at a thousand a second some find nobody.
    let history = run(
        counter().limit(500),
        Some(Pace {
            clients: Clients::Sticky,
            ..THOUSAND
        }),
        Hanging(|n| n == 2 || n == 3),
        wish,
        Duration::from_millis(300),
    )
    .await;
    let told = history::mark::offered(&history).unwrap();
    assert_eq!(told.due, 500);
    assert_eq!(told.offered as usize, history.ops().len());
    assert_eq!(told.due, told.offered + told.not_offered());
    assert_eq!((told.workers, told.first_process), (3, 0));
    assert!(
        history
            .ops()
            .iter()
            .all(|op| op.due.is_some_and(|due| due <= op.call))
    );
}

#[tokio::test]
async fn a_roaming_client_asks_several_nodes() {
    let (_keep, wish) = watch::channel(Wish::GoOn);
    let minute = Duration::from_secs(60);
    let history = run(
        counter().limit(100),
        Some(THOUSAND),
        Hanging(|_| false),
        wish,
        minute,
    )
    .await;
    let first = history
        .ops()
        .iter()
        .filter(|op| op.process == Process::Client(0));
    let nodes: std::collections::BTreeSet<_> = first.map(|op| op.node.clone()).collect();
    assert_eq!(nodes.len(), 2);
}

/// The end of the phase moves back while it has not come.
#[tokio::test]
async fn a_run_that_was_moved_back_goes_on_for_as_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let (end, by) = (Duration::from_millis(50), Duration::from_millis(200));
    let lateness = Lateness::of(end);
    let phase = Phase {
        generator: Box::new(counter()),
        stream: "operations",
        seed: Seed(1),
        pace: Some(THOUSAND),
        end: Some((end, lateness.clone())),
        workers: 3,
        first_process: 0,
        op_timeout: Duration::from_secs(60),
    };
    let (_keep, wish) = watch::channel(Wish::GoOn);
    lateness.raise(by);
    let progress = Progress::default();
    let nodes = dummy::nodes(2);
    let client = Arc::new(Hanging(|_| false));
    drive(phase, &nodes, client, &recorder, &progress, wish)
        .await
        .unwrap();
    recorder.finish().unwrap();
    let history = history::store::load(&path).unwrap().history;
    let dues = || history.ops().iter().filter_map(|op| op.due);
    let (first, last) = (dues().min().unwrap(), dues().max().unwrap());
    assert!(
        last.since(first) > Duration::from_millis(150),
        "{:?}",
        last.since(first)
    );
    assert!(last.since(first) < end + by);
}
