//! Who adds entries, by the wallet of the node that is asked, and reads them from its chain.

use std::time::Duration;

use async_trait::async_trait;
use harness::client::{OpError, REJECTED, UNAVAILABLE, UNKNOWN};
use history::Value;
use serde::Deserialize;
use serde_json::json;

use super::rpc::{Rpc, RpcError};
use super::{Info, Wallet, ancestry};
use crate::image::hex;
use crate::interface::Ledger;

/// Entries are what transactions of the node's own wallet carry in an output that cannot be spent.
pub(super) struct Client {
    pub(super) rpc: Rpc,
    pub(super) wallet: Wallet,
    pub(super) confirmations: i64,
    pub(super) version: Option<Value>,
}

/// In front of an entry, so that nothing else is taken for one.
const MARK: &str = "schism:";

/// As many bytes, the mark included, can be pushed with a length in front and no other opcode.
const MOST_BYTES: usize = 75;

/// Blocks that are read at once.
const PAGE: usize = 100;

/// Between two questions whether a transaction is deep enough.
const POLL: Duration = Duration::from_millis(200);

/// The wallet refused before it made a transaction: something is wrong with it, or it lacks coins.
/// `CommitTransaction` is the last thing that `send` does (wallet/rpcwallet.cpp of 0.21).
const BEFORE_COMMIT: &[i64] = &[-4, -6];

impl Client {
    /// Where the transaction is, once it is deep enough.
    async fn settled(&mut self, txid: &str) -> Result<Value, RpcError> {
        #[derive(Deserialize)]
        struct Found {
            /// Negative: a transaction that it excludes has so many.
            confirmations: i64,
            blockhash: Option<String>,
            blockheight: Option<i64>,
            blockindex: Option<i64>,
        }
        loop {
            let found: Found = self.rpc.call("gettransaction", json!([txid])).await?;
            let place = (found.blockheight, found.blockindex, found.blockhash);
            if let (Some(height), Some(position), Some(block)) = place
                && found.confirmations >= self.confirmations
            {
                return Ok(Value::List(vec![
                    height.into(),
                    position.into(),
                    Value::text(block),
                    Value::text(txid),
                ]));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// From the block that is deep enough down to genesis.
    async fn collect(&mut self) -> Result<Vec<Value>, RpcError> {
        let info: Info = self.rpc.call("getblockchaininfo", json!([])).await?;
        let height = (info.blocks - self.confirmations + 1).max(0);
        let mut next: Option<String> = Some(self.rpc.call("getblockhash", json!([height])).await?);
        let mut entries = Vec::new();
        while let Some(tip) = next {
            let blocks = ancestry(&mut self.rpc, &tip, PAGE).await?;
            let transactions = blocks.iter().flat_map(|block| block.tx.iter().rev());
            let outputs = transactions.flat_map(|tx| &tx.vout);
            entries.extend(outputs.filter_map(|output| entry_in(&output.script.hex)));
            next = blocks
                .last()
                .and_then(|last| last.previousblockhash.clone());
        }
        entries.reverse();
        Ok(entries)
    }
}

#[async_trait]
impl Ledger for Client {
    async fn add(&mut self, entry: &Value) -> Result<(), OpError> {
        #[derive(Deserialize)]
        struct Sent {
            txid: String,
        }
        self.version = None;
        let text = format!("{MARK}{entry}");
        if text.len() > MOST_BYTES {
            let what = format!("an entry of {} bytes: {MOST_BYTES} fit", text.len());
            return Err(OpError::new(REJECTED, what));
        }
        let outputs = json!([{"data": hex(text.as_bytes())}]);
        let wallet = self.wallet.lock().await;
        let sent = self.rpc.call("send", json!([outputs])).await;
        drop(wallet);
        let sent: Sent = match sent {
            Ok(sent) => sent,
            Err(RpcError::Lost(error)) => return Err(error),
            Err(said @ RpcError::Said { code, .. }) => {
                let code = match BEFORE_COMMIT.contains(&code) {
                    true => UNAVAILABLE,
                    false => UNKNOWN,
                };
                return Err(OpError::new(code, said.describe()));
            }
        };
        // Whatever happens from here on, the wallet has the transaction and will not let go of it.
        match self.settled(&sent.txid).await {
            Ok(place) => {
                self.version = Some(place);
                Ok(())
            }
            Err(error) => Err(OpError::new(UNKNOWN, error.describe())),
        }
    }

    async fn entries(&mut self) -> Result<Vec<Value>, OpError> {
        self.version = None;
        let collected = self.collect().await;
        collected.map_err(|error| match error {
            RpcError::Lost(error) => error,
            said => OpError::new(UNKNOWN, said.describe()),
        })
    }

    fn version(&mut self) -> Option<Value> {
        self.version.take()
    }
}

/// The entry that an output carries, if it carries one: OP_RETURN, a length, and the marked text.
fn entry_in(script: &str) -> Option<Value> {
    let data = script.strip_prefix("6a")?;
    let bytes: Option<Vec<u8>> = (0..data.len() / 2)
        .map(|i| u8::from_str_radix(data.get(2 * i..2 * i + 2)?, 16).ok())
        .collect();
    let bytes = bytes?;
    let (length, text) = bytes.split_first()?;
    let text = std::str::from_utf8(text).ok()?;
    let entry = text.strip_prefix(MARK)?;
    let whole = usize::from(*length) == text.len();
    whole.then(|| serde_json::from_str(entry).ok())?
}
