use std::net::Ipv4Addr;

use serde_json::Value as Json;

use super::*;
use crate::fake::{Act, Fake};
use crate::params::Params;

/// A node that has so many blocks, and this one where it gives answers from; it is asked for it as
/// one of all, then for itself, and then for what the others have.
fn node(blocks: i64, deep: &str) -> Vec<Act> {
    let answer = |result: Json| {
        let reply = json!({"result": result, "error": null, "id": 1});
        Act::Answer(200, reply.to_string())
    };
    let info = || answer(json!({"blocks": blocks, "bestblockhash": "best"}));
    let hash = || answer(json!(deep));
    vec![info(), hash(), info(), hash(), hash(), hash()]
}

async fn first_is_settled(first: Vec<Act>, second: Vec<Act>) -> bool {
    let mut nodes = harness::dummy::nodes(2);
    let (here, beside) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let first = Fake::start(first).await;
    let rpc = first.address.port();
    let _second = Fake::start_at((beside, rpc).into(), second).await;
    nodes[0].address = here.into();
    nodes[1].address = beside.into();
    let setup = Setup {
        params: Params::resolve(PARAMS, []).unwrap(),
        ..Setup::default()
    };
    let system = Litecoind::new("/nonexistent".into(), setup, Ports { rpc, peer: 0 });
    system.network.settled(&nodes[0], &nodes).await.is_ok()
}

#[tokio::test]
async fn a_node_that_lags_by_one_block_has_not_caught_up() {
    assert!(first_is_settled(node(20, "a"), node(20, "a")).await);
    // The other lags: that is for the other to mend.
    assert!(first_is_settled(node(21, "a"), node(20, "a")).await);
    // Its reads would lack the block that makes the other's answers one deeper.
    assert!(!first_is_settled(node(20, "a"), node(21, "a")).await);
    assert!(!first_is_settled(node(20, "a"), node(20, "b")).await);
}
