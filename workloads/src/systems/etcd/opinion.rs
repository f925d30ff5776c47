//! Who leads, as members of etcd say it.

use history::Name;
use serde::Deserialize;
use serde_json::json;

use super::ask;
use crate::http::Http;
use crate::leader_watch::Opinion;

/// What one member says of itself.
#[derive(Deserialize)]
struct Status {
    header: StatusHeader,
    /// Left out where it knows of none.
    #[serde(default)]
    leader: String,
    #[serde(rename = "raftTerm", default)]
    term: String,
}

#[derive(Deserialize)]
struct StatusHeader {
    #[serde(default)]
    member_id: String,
}

impl Status {
    fn opinion(&self, leader: Option<Name>) -> Opinion {
        Opinion {
            leads: !self.leader.is_empty() && self.leader == self.header.member_id,
            leader,
            term: self.term.parse().ok(),
        }
    }
}

async fn status(http: &mut Http) -> Option<Status> {
    ask(http, "/v3/maintenance/status", &json!({})).await.ok()
}

/// Who leads, in one member's opinion, by the name that it knows the leader by.
pub async fn opinion_of(mut http: Http) -> Option<Opinion> {
    #[derive(Deserialize)]
    struct Members {
        members: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        #[serde(rename = "ID")]
        id: String,
        name: Name,
    }
    let status = status(&mut http).await?;
    if status.leader.is_empty() {
        return Some(status.opinion(None));
    }
    let members: Members = ask(&mut http, "/v3/cluster/member/list", &json!({}))
        .await
        .ok()?;
    let mut members = members.members.into_iter();
    let leader = members.find(|m| m.id == status.leader).map(|m| m.name);
    Some(status.opinion(leader))
}
