//! Who may ask. On the loopback whoever is on this machine may, through a browser that was sent
//! here by name; elsewhere only who has the token. Another site's page may not act through a
//! browser.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Viewer;

pub struct Guard {
    hosts: Vec<String>,
    token: Option<String>,
}

const COOKIE_NAME: &str = "schism";

/// Nothing but what the page itself brings.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

impl Guard {
    pub fn new(at: SocketAddr, token: Option<String>) -> Guard {
        let port = at.port();
        let mut hosts = vec![at.to_string()];
        if at.ip().is_loopback() {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}")));
        }
        Guard { hosts, token }
    }

    /// A name that leads here without being ours is somebody else's page, which was given this
    /// address.
    fn knows(&self, host: Option<&str>) -> bool {
        // With a token there is no saying by which name people reach this machine.
        self.token.is_some() || host.is_some_and(|host| self.hosts.iter().any(|h| h == host))
    }

    fn admits(&self, uri_query: &str, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = uri_query
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="));
        let cookies = headers.get(COOKIE).and_then(|value| value.to_str().ok());
        let kept = cookies.unwrap_or_default().split("; ");
        let kept = kept.filter_map(|pair| pair.split_once('='));
        let mut kept = kept.filter(|(name, _)| *name == COOKIE_NAME);
        given.is_some_and(|given| same(given, token)) || kept.any(|(_, value)| same(value, token))
    }
}

/// In a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b));
    a.len() == b.len() && differ == 0
}

fn text<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub async fn check(
    State(viewer): State<Arc<Viewer>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let guard = &viewer.guard;
    let host = text(request.headers(), &HOST).map(str::to_string);
    if !guard.knows(host.as_deref()) {
        return (
            StatusCode::MISDIRECTED_REQUEST,
            "this is no name of this viewer",
        )
            .into_response();
    }
    let query = request.uri().query().unwrap_or_default().to_string();
    if !guard.admits(&query, request.headers()) {
        return (StatusCode::UNAUTHORIZED, "the token is missing or wrong").into_response();
    }
    if request.method() == Method::POST {
        // Browsers say of every form where its page is from.
        let origin = text(request.headers(), &ORIGIN);
        let own = host.map(|host| format!("http://{host}"));
        if origin.is_none() || origin != own.as_deref() {
            return (StatusCode::FORBIDDEN, "this form is not of this viewer").into_response();
        }
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(token) = guard.token.as_ref().filter(|_| query.contains("token=")) {
        let cookie = format!("{COOKIE_NAME}={token}; HttpOnly; SameSite=Strict; Path=/");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.insert(SET_COOKIE, cookie);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elsewhere_only_who_has_the_token_is_let_in() {
        let guard = Guard::new(([10, 0, 0, 1], 7474).into(), Some("0123".into()));
        let kept = |cookie: &'static str| {
            let cookie = HeaderValue::from_static(cookie);
            HeaderMap::from_iter([(COOKIE, cookie)])
        };
        for (query, headers, is_in) in [
            ("", HeaderMap::new(), false),
            ("token=0124", HeaderMap::new(), false),
            ("token=012", HeaderMap::new(), false),
            ("q=x&token=0123", HeaderMap::new(), true),
            ("", kept("schism=0123"), true),
            ("", kept("a=b; schism=0123"), true),
            ("", kept("other=0123"), false),
            ("token=", kept("schism="), false),
        ] {
            assert_eq!(guard.admits(query, &headers), is_in, "{query} {headers:?}");
        }
    }

    #[test]
    fn on_the_loopback_a_strange_name_is_turned_away() {
        let guard = Guard::new(([127, 0, 0, 1], 7474).into(), None);
        for (host, known) in [
            (Some("localhost:7474"), true),
            (Some("127.0.0.1:7474"), true),
            (Some("127.0.0.1:80"), false),
            (Some("evil.example:7474"), false),
            (None, false),
        ] {
            assert_eq!(guard.knows(host), known, "{host:?}");
        }
    }
}
