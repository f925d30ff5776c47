//! `schism serve`: a store in the browser. Runs are found by what they are and how they ended,
//! their reports are read, two stand side by side, and what somebody decided of a run is kept with
//! it. A run that goes on is followed, and many are seen as trends.
//!
//! What is in a store may be somebody else's: a name, a value or a log is text and nothing else, a
//! report runs in a sandbox that cannot act in the viewer's name, and no path leaves the store.

mod beside;
mod decision;
mod files;
mod guard;
mod live;
mod night;
mod pages;
mod runs;
mod search;
mod trends;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use clap::Args;
use history::store::Store;
use rand::RngExt;

use crate::exit::Failure;
use crate::flags::StoreArgs;
use crate::terminal;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  schism serve
  schism serve --store nights --listen 127.0.0.1:9000

Only this machine can open it, unless --listen names another address. Then it asks for a token, which is part
of the address that it prints.")]
pub struct ServeArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, default_value = "127.0.0.1:7474", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
}

/// What every page needs.
pub struct Viewer {
    store: Store,
    guard: guard::Guard,
}

type Shared = State<Arc<Viewer>>;

pub fn command(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::infra)?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let wrong = |e| Failure::Usage(format!("cannot listen on {}: {e}", args.listen));
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .map_err(wrong)?;
    let at = listener.local_addr().map_err(Failure::infra)?;
    let token = match at.ip().is_loopback() {
        true => None,
        false => Some(token()),
    };
    let query = token
        .as_ref()
        .map_or(String::new(), |token| format!("?token={token}"));
    terminal::line(format!("http://{at}/{query}"));
    let viewer = Arc::new(Viewer {
        store: Store::new(&args.store.store),
        guard: guard::Guard::new(at, token),
    });
    axum::serve(listener, routes(viewer))
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await
        .map_err(Failure::infra)?;
    Ok(ExitCode::SUCCESS)
}

fn token() -> String {
    let mut rng = rand::rng();
    format!("{:032x}", rng.random::<u128>())
}

fn routes(viewer: Arc<Viewer>) -> Router {
    Router::new()
        .route("/", get(runs::page))
        .route("/run/{run}", get(pages::run))
        .route("/run/{run}/now", get(live::part))
        .route("/run/{run}/decision", post(decision::decide))
        .route("/run/{run}/file/{*path}", get(files::of_run))
        .route("/trends", get(trends::page))
        .route("/night/{night}", get(night::page))
        .route("/night/{night}/{*path}", get(files::of_night))
        .route("/beside", get(beside::page))
        .route("/search", get(search::page))
        .route("/known.toml", get(decision::known))
        .fallback(|| async { pages::missing("There is no such page.") })
        .layer(axum::middleware::from_fn_with_state(
            viewer.clone(),
            guard::check,
        ))
        .with_state(viewer)
}
