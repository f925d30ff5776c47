//! A machine of libvirt's, asked of `virsh`.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use harness::cluster::Machine;
use tokio::sync::Mutex;

/// Waits until nobody holds its input any more, be it because they let go or because they died, and
/// lets the machine go on: a suspended one cannot do that for itself, as an agent would.
const GUARD: &str = "read -r _; exec virsh --quiet --connect \"$1\" resume \"$2\"";

#[derive(Debug)]
pub struct Domain {
    id: String,
    /// While it is suspended.
    guard: Arc<Mutex<Option<Child>>>,
}

impl Domain {
    /// The machine whose number Vagrant has written here; none, if it is not libvirt's.
    pub fn of(id: &Path) -> Option<Domain> {
        let id = std::fs::read_to_string(id).ok()?;
        Some(Domain {
            id: id.trim().to_string(),
            guard: Arc::default(),
        })
    }

    async fn virsh(&self, command: &'static str) -> Result<String, String> {
        let id = self.id.clone();
        let run = move || {
            let output = Command::new("virsh")
                .args(["--quiet", "--connect", &uri(), command, &id])
                .stdin(Stdio::null())
                .output()
                .map_err(|e| format!("virsh: {e}"))?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_string()),
                false => {
                    let why = String::from_utf8_lossy(&output.stderr).trim().to_string();
                    Err(format!("virsh {command} {id}: {why}"))
                }
            }
        };
        tokio::task::spawn_blocking(run)
            .await
            .expect("it does not panic, and nobody aborts it")
    }
}

fn uri() -> String {
    std::env::var("LIBVIRT_DEFAULT_URI").unwrap_or_else(|_| "qemu:///system".into())
}

#[async_trait]
impl Machine for Domain {
    async fn suspend(&self) -> Result<(), String> {
        let mut guard = self.guard.lock().await;
        if guard.is_none() {
            let child = Command::new("sh")
                .args(["-c", GUARD, "sh", &uri(), &self.id])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                // What a person does to the controller is not done to its guards.
                .process_group(0)
                .spawn()
                .map_err(|e| format!("sh: {e}"))?;
            *guard = Some(child);
        }
        self.virsh("suspend").await.map(|_| ())
    }

    async fn resume(&self) -> Result<(), String> {
        let guard = self.guard.lock().await.take();
        let said = match guard {
            None => String::new(),
            Some(mut guard) => {
                let let_go = move || {
                    drop(guard.stdin.take());
                    let mut said = String::new();
                    if let Some(mut stderr) = guard.stderr.take() {
                        // Whether it worked is asked below.
                        let _ = stderr.read_to_string(&mut said);
                    }
                    let _ = guard.wait();
                    said
                };
                tokio::task::spawn_blocking(let_go)
                    .await
                    .expect("it does not panic, and nobody aborts it")
            }
        };
        match self.state().await?.as_str() {
            "running" => Ok(()),
            "paused" => self.virsh("resume").await.map(|_| ()),
            state => Err(format!("{} is {state}: {}", self.id, said.trim())),
        }
    }

    async fn state(&self) -> Result<String, String> {
        self.virsh("domstate").await
    }

    async fn reset(&self) -> Result<(), String> {
        self.virsh("reset").await.map(|_| ())
    }
}
