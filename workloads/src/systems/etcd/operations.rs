//! What an administrator does to etcd: compacts its history, defragments a member's file, puts
//! another program in its place.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::client::OpError;
use harness::system::{Operated, Operation, Step};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::ask;
use super::programs::UPGRADE;
use crate::http::{Http, Patience};

const COMPACT: &str = "compact";
const DEFRAGMENT: &str = "defragment";

pub const ALL: &[Operation] = &[
    Operation {
        name: COMPACT,
        about: "forgets the history of all keys up to the present revision: who watches from before is told",
        is_undone: false,
        is_checked: true,
        restarts: false,
        takes_node_away: false,
    },
    Operation {
        name: DEFRAGMENT,
        about: "rewrites the member's file, and answers nobody meanwhile",
        is_undone: false,
        is_checked: false,
        restarts: false,
        takes_node_away: false,
    },
    UPGRADE,
];

/// A member may have much to rewrite.
pub const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(30),
};

#[derive(Deserialize)]
struct Range {
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    revision: String,
}

/// Up to which revision the history was compacted.
#[derive(Debug, Default)]
pub struct Compacted(Mutex<i64>);

impl Compacted {
    fn upto(&self) -> MutexGuard<'_, i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub async fn operate(
    mut http: Http,
    operation: &str,
    step: Step,
    compacted: &Compacted,
) -> Operated {
    let done = match (operation, step) {
        (COMPACT, Step::Check) => {
            let last = *compacted.upto() - 1;
            return is_gone(&mut http, last).await;
        }
        (COMPACT, _) => compact(&mut http, compacted).await,
        _ => ask::<Json>(&mut http, "/v3/maintenance/defragment", &json!({}))
            .await
            .map(|_| "its file is rewritten".to_string()),
    };
    match done {
        Ok(told) => Operated { worked: true, told },
        Err(e) => Operated {
            worked: false,
            told: e.detail,
        },
    }
}

async fn compact(http: &mut Http, compacted: &Compacted) -> Result<String, OpError> {
    let any = json!({"key": "AA==", "limit": "1"});
    let range: Range = ask(http, "/v3/kv/range", &any).await?;
    let revision = range.header.revision;
    let request = json!({"revision": revision, "physical": true});
    let asked = ask::<Json>(http, "/v3/kv/compaction", &request).await;
    if let Ok(revision) = revision.parse::<i64>() {
        let mut upto = compacted.upto();
        *upto = revision.max(*upto);
    }
    match asked {
        Ok(_) => Ok(format!("compacted up to revision {revision}")),
        // Another node was asked for the same, and nothing was written between the two.
        Err(e) if is_told(&e) => Ok(format!("revision {revision}: {}", e.detail)),
        Err(e) => Err(e),
    }
}

/// By its text: the code is that of any revision that is out of range.
fn is_told(error: &OpError) -> bool {
    error.detail.contains("has been compacted")
}

/// A revision before the one that was asked for is not there any more.
async fn is_gone(http: &mut Http, revision: i64) -> Operated {
    let range = json!({"key": "AA==", "revision": revision.to_string()});
    match ask::<Json>(http, "/v3/kv/range", &range).await {
        Ok(_) => Operated {
            worked: false,
            told: format!("revision {revision} can be read"),
        },
        Err(e) => Operated {
            worked: is_told(&e),
            told: format!("revision {revision}: {}", e.detail),
        },
    }
}
