//! A world without machines: nodes whose agents refuse everything, and a client that answers at
//! once. For tests of the engine, and to measure it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use agent::protocol::{Daemon, Envelope, Line, Request};
use async_trait::async_trait;
use history::{Name, Value};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::client::{Client, Completion, Connect, Invocation};
use crate::cluster::{Node, Program};
use crate::control::{Agent, ControlError};
use crate::nemesis::World;
use crate::system::System;

/// `n1` to `nN`, all on loopback. Must be called within a tokio runtime.
pub fn nodes(n: usize) -> Vec<Node> {
    nodes_whose(n, |_| None)
}

/// The same, whose agents answer what `answers` says, and refuse the rest.
pub fn nodes_whose(n: usize, answers: fn(&Request) -> Option<Json>) -> Vec<Node> {
    (1..=n)
        .map(|i| {
            let name = Name::from(format!("n{i}"));
            Node {
                agent: agent(name.clone(), answers),
                name,
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                dir: "/nonexistent".into(),
                machine: None,
            }
        })
        .collect()
}

fn agent(name: Name, answers: fn(&Request) -> Option<Json>) -> Agent {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (from, to) = tokio::io::split(ours);
    tokio::spawn(async move {
        let (from, mut to) = tokio::io::split(theirs);
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let Ok(Envelope { id, request }) = serde_json::from_str(&line) else {
                return;
            };
            let answer = match answers(&request) {
                Some(ok) => Line::Answer { id, ok },
                None => Line::Refusal {
                    id,
                    error: "this node is a dummy".into(),
                },
            };
            let mut text = serde_json::to_vec(&answer).expect("answers have only text keys");
            text.push(b'\n');
            if to.write_all(&text).await.is_err() {
                return;
            }
        }
    });
    Agent::new(name, from, to, mpsc::unbounded_channel().0)
}

/// Every operation succeeds at once; reads find nothing.
pub struct NullConnect;

struct NullClient;

#[async_trait]
impl Connect for NullConnect {
    async fn connect(&self, _node: &Node, _process: u64) -> Box<dyn Client> {
        Box::new(NullClient)
    }
}

#[async_trait]
impl Client for NullClient {
    async fn invoke(&mut self, operation: &Invocation) -> Completion {
        match operation.f.as_str() {
            "read" => Completion::ok(Value::Nil),
            _ => Completion::ok(operation.value.clone()),
        }
    }
}

/// Nodes of a system that is nothing and does nothing.
pub fn world(n: usize) -> World {
    World {
        nodes: nodes(n),
        system: Arc::new(NullSystem),
        daemon: "null".into(),
    }
}

struct NullSystem;

#[async_trait]
impl System for NullSystem {
    fn name(&self) -> &str {
        "null"
    }
    fn programs(&self) -> Vec<Program> {
        Vec::new()
    }
    fn daemon(&self, _: &Node, _: &[Node]) -> Daemon {
        unreachable!("there is nothing to start")
    }
    async fn install(&self, _: &Node, _: &[Node]) -> Result<(), ControlError> {
        Ok(())
    }
    async fn ready(&self, _: &Node) -> Result<(), String> {
        Ok(())
    }
    fn client_port(&self) -> u16 {
        0
    }
    async fn version(&self, _: &Node) -> Result<String, ControlError> {
        Ok("null".into())
    }
}
