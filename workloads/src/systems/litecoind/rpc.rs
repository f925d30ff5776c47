//! litecoind's JSON-RPC, as Bitcoin Core speaks it: one request, one answer, over HTTP.

use harness::client::{MALFORMED, OVERLOADED, OpError};
use hyper::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::http::Http;
use crate::systems::parse;

/// One connection to one node.
pub(super) struct Rpc(pub Http);

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RpcError {
    /// The node answered, and said no.
    Said { code: i64, message: String },
    /// There was no answer, or none that can be read.
    Lost(OpError),
}

impl RpcError {
    pub fn describe(&self) -> String {
        match self {
            RpcError::Said { code, message } => format!("{message} ({code})"),
            RpcError::Lost(error) => error.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct Reply {
    result: Json,
    error: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    code: i64,
    message: String,
}

impl Rpc {
    pub async fn call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: Json,
    ) -> Result<T, RpcError> {
        let request = json!({"method": method, "params": params, "id": 0});
        let reply: Reply = self.ask(method, &request).await?;
        reply.read(method)
    }

    /// The same for many parameters, in one request: the results up to the first that is an error.
    pub async fn call_all<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl IntoIterator<Item = Json>,
    ) -> Result<Vec<T>, RpcError> {
        let calls = params.into_iter().zip(0..);
        let request: Vec<Json> = calls
            .map(|(params, id)| json!({"method": method, "params": params, "id": id}))
            .collect();
        // An empty list of calls is an error.
        if request.is_empty() {
            return Ok(Vec::new());
        }
        // The answers come in the order of the calls (JSONRPCExecBatch in rpc/server.cpp of 0.21).
        let replies: Vec<Reply> = self.ask(method, &Json::Array(request)).await?;
        Ok(replies
            .into_iter()
            .map_while(|reply| reply.read(method).ok())
            .collect())
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        request: &Json,
    ) -> Result<T, RpcError> {
        let body = request.to_string().into_bytes();
        let answer = self.0.post("/", body).await.map_err(RpcError::Lost)?;
        // Said in plain text, before the request is looked at.
        if answer.status == StatusCode::SERVICE_UNAVAILABLE
            || answer.body.starts_with(b"Work queue")
        {
            let what = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(RpcError::Lost(OpError::new(OVERLOADED, what)));
        }
        parse(&answer.body).map_err(|e| {
            let detail = format!("{method}: status {}: {}", answer.status, e.detail);
            RpcError::Lost(OpError::new(e.code, detail))
        })
    }
}

impl Reply {
    fn read<T: DeserializeOwned>(self, method: &str) -> Result<T, RpcError> {
        if let Some(Said { code, message }) = self.error {
            return Err(RpcError::Said { code, message });
        }
        serde_json::from_value(self.result)
            .map_err(|e| RpcError::Lost(OpError::new(MALFORMED, format!("{method}: {e}"))))
    }
}
