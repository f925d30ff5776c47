//! The network that the protocol's model allows: whole messages are lost, late, repeated and
//! overtaken. Connections never do that by themselves, so flags ask for it ([`Hazards`]).
//!
//! Messages meet this network where they arrive. What was sent before its sender died, or before a
//! cut, still comes. Time passes by the kernel's clock, and while the node is stopped too.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use nodekit::clocks::{kernel_monotonic_ns, pause, within};
use nodekit::flags::parse_duration;
use nodekit::random::Random;
use tokio::sync::mpsc;

use crate::core::message::{Message, NodeIndex};
use crate::event::{Event, News};

/// Which nodes the messages to are in danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Where {
    /// Those to every node.
    All,
    /// Those to the first node by name, as if it alone had a bad line.
    First,
}

/// What may happen to messages of other nodes before this node hears them. Nothing by default.
#[derive(Clone, Debug, Args)]
pub struct Hazards {
    /// Of a hundred messages of other nodes so many are lost.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u64).range(..=99))]
    pub peer_loss: u64,
    /// Of a hundred messages of other nodes so many are late, so that others overtake them.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u64).range(..=100))]
    pub peer_late: u64,
    /// Of a hundred messages of other nodes so many come twice, the second time late.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u64).range(..=100))]
    pub peer_repeats: u64,
    /// The longest delay of a message that is late.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    pub peer_delay: Duration,
    /// The nodes that hear the others so.
    #[arg(long, value_name = "NODES", value_enum, default_value_t = Where::All)]
    pub peer_hazards: Where,
}

impl Hazards {
    /// What happens to the next message: after how long each of its copies arrives.
    fn fate(&self, once: bool, random: &mut Random) -> [Option<Duration>; 2] {
        let mut happens = |share| random.below(100) < share;
        let lost = happens(self.peer_loss);
        let late = happens(self.peer_late);
        let repeated = happens(self.peer_repeats) && !once;
        let most = u64::try_from(self.peer_delay.as_nanos()).unwrap_or(u64::MAX);
        let mut delay = || Duration::from_nanos(random.below(most));
        let first = if late { delay() } else { Duration::ZERO };
        [(!lost).then_some(first), repeated.then(delay)]
    }
}

/// The way of messages into the node.
pub struct Network {
    /// None if every message arrives at once.
    rough: Option<Rough>,
    events: mpsc::Sender<Event>,
}

struct Rough {
    hazards: Hazards,
    random: Mutex<Random>,
    late: mpsc::UnboundedSender<(u64, News)>,
}

impl Network {
    /// The way into node `me` with these hazards, drawn from this seed. Late messages have a task.
    pub fn new(
        hazards: &Hazards,
        me: NodeIndex,
        seed: u64,
        events: mpsc::Sender<Event>,
    ) -> Network {
        let shares = [hazards.peer_loss, hazards.peer_late, hazards.peer_repeats];
        let here = hazards.peer_hazards == Where::All || me == 0;
        let rough = (here && shares != [0; 3]).then(|| {
            let (late, queue) = mpsc::unbounded_channel();
            tokio::spawn(deliver_late(queue, events.clone()));
            Rough {
                hazards: hazards.clone(),
                // Nodes that were given one seed have different fates all the same.
                random: Mutex::new(Random(seed ^ (u64::from(me) << 32))),
                late,
            }
        });
        Network { rough, events }
    }

    /// Brings a message of a peer to the node, if it is not lost. Returns whether the node still
    /// runs.
    pub async fn bring(&self, from: NodeIndex, message: Message) -> bool {
        let Some(rough) = &self.rough else {
            return tell(&self.events, News::Message(from, message)).await;
        };
        let fate = {
            let mut random = rough.random.lock().unwrap_or_else(PoisonError::into_inner);
            rough.hazards.fate(message.travels_once(), &mut random)
        };
        for delay in fate.into_iter().flatten() {
            let news = News::Message(from, message.clone());
            if delay.is_zero() {
                if !tell(&self.events, news).await {
                    return false;
                }
            } else {
                let due_ns = kernel_monotonic_ns() + delay.as_nanos() as u64;
                if rough.late.send((due_ns, news)).is_err() {
                    return false;
                }
            }
        }
        true
    }
}

/// Tells the node, and says whether it still runs.
pub async fn tell(events: &mpsc::Sender<Event>, news: News) -> bool {
    events.send(Event::News(news)).await.is_ok()
}

/// Hands on what is due, until nobody listens or nothing can come any more.
async fn deliver_late(
    mut queue: mpsc::UnboundedReceiver<(u64, News)>,
    events: mpsc::Sender<Event>,
) {
    let mut waiting: BTreeMap<(u64, u64), News> = BTreeMap::new();
    let mut number = 0;
    loop {
        let now_ns = kernel_monotonic_ns();
        while let Some(first) = waiting
            .first_entry()
            .filter(|first| first.key().0 <= now_ns)
        {
            if !tell(&events, first.remove()).await {
                return;
            }
        }
        let next = waiting
            .first_key_value()
            .map(|((due_ns, _), _)| Duration::from_nanos(due_ns - now_ns));
        let came = match next {
            Some(span) => within(span, queue.recv()).await,
            None => Some(queue.recv().await),
        };
        match (came, next) {
            (Some(Some((due_ns, news))), _) => {
                number += 1;
                waiting.insert((due_ns, number), news);
            }
            (Some(None), Some(span)) => pause(span).await,
            (Some(None), None) => return,
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Hazards = Hazards {
        peer_loss: 0,
        peer_late: 0,
        peer_repeats: 0,
        peer_delay: Duration::from_millis(40),
        peer_hazards: Where::All,
    };
    const MANY: u64 = 2_000;

    /// Heartbeats with these numbers, in the order in which the node hears them, and when it heard
    /// the last.
    fn heard(hazards: &Hazards, messages: impl Iterator<Item = Message>) -> (Vec<u64>, Duration) {
        heard_by(1, hazards, messages)
    }

    fn heard_by(
        me: NodeIndex,
        hazards: &Hazards,
        messages: impl Iterator<Item = Message>,
    ) -> (Vec<u64>, Duration) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().build().unwrap();
        runtime.block_on(async {
            let (sender, mut events) = mpsc::channel(8192);
            let network = Network::new(hazards, me, 7, sender);
            let began = kernel_monotonic_ns();
            for message in messages {
                assert!(network.bring(3, message).await);
            }
            // The task has what is late still, and ends with it.
            drop(network);
            let mut numbers = Vec::new();
            while let Some(event) = events.recv().await {
                match event {
                    Event::News(News::Message(3, Message::Fetch { from: number }))
                    | Event::News(News::Message(3, Message::Forward { id: number, .. })) => {
                        numbers.push(number);
                    }
                    other => panic!("{other:?}"),
                }
            }
            (numbers, Duration::from_nanos(kernel_monotonic_ns() - began))
        })
    }

    fn fetches() -> impl Iterator<Item = Message> {
        (0..MANY).map(|from| Message::Fetch { from })
    }

    /// Whether a count is what a share of all would be expected to give, give or take 5 of 100.
    fn about(count: usize, percent: u64) -> bool {
        (count as u64 * 100).abs_diff(MANY * percent) < MANY * 5
    }

    #[test]
    fn without_hazards_all_arrive_in_their_order() {
        assert!(heard(&CALM, fetches()).0.into_iter().eq(0..MANY));
    }

    #[test]
    fn so_many_are_lost_as_was_asked_and_the_others_keep_their_order() {
        let lossy = Hazards {
            peer_loss: 30,
            ..CALM
        };
        let (numbers, _) = heard(&lossy, fetches());
        assert!(about(numbers.len(), 70), "{}", numbers.len());
        assert!(numbers.is_sorted());
    }

    #[test]
    fn late_ones_arrive_within_the_delay_and_are_overtaken() {
        let slow = Hazards {
            peer_late: 40,
            ..CALM
        };
        let (mut numbers, took) = heard(&slow, fetches());
        assert!(took >= slow.peer_delay / 2, "{took:?}");
        let overtaken = numbers
            .iter()
            .scan(0, |most, &number| {
                let overtaken = number < *most;
                *most = number.max(*most);
                Some(overtaken)
            })
            .filter(|overtaken| *overtaken)
            .count();
        assert!(about(overtaken, 40), "{overtaken}");
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..MANY), "none is lost");
    }

    #[test]
    fn so_many_come_twice_as_was_asked_but_none_of_a_clients_request() {
        let repeating = Hazards {
            peer_repeats: 20,
            ..CALM
        };
        let (mut numbers, _) = heard(&repeating, fetches());
        assert!(about(numbers.len(), 120), "{}", numbers.len());
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.into_iter().eq(0..MANY), "none is lost");
        let forwards = (0..MANY).map(|id| Message::Forward {
            id,
            ask: crate::core::message::Ask::Read(
                crate::core::message::Query::Get { key: "k".into() },
                crate::core::message::ReadMode::Quorum,
            ),
        });
        assert!(heard(&repeating, forwards).0.into_iter().eq(0..MANY));
    }

    #[test]
    fn the_first_node_alone_can_have_a_bad_line() {
        let one = Hazards {
            peer_loss: 50,
            peer_hazards: Where::First,
            ..CALM
        };
        assert!(heard_by(1, &one, fetches()).0.into_iter().eq(0..MANY));
        assert!(about(heard_by(0, &one, fetches()).0.len(), 50));
    }

    #[test]
    fn what_a_seed_draws_it_draws_again() {
        let lossy = Hazards {
            peer_loss: 50,
            ..CALM
        };
        assert_eq!(heard(&lossy, fetches()).0, heard(&lossy, fetches()).0);
    }
}
