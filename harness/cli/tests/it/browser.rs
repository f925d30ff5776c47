//! Chromium without a window, driven over a pipe by the DevTools protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>): messages are JSON, each ended by a zero
//! byte.
//!
//! It ends with its pipe, so nothing of it is left however a test ends. Every request of a page is
//! stopped and noted, except for the page's own file and what its own site has.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// Longer than any answer takes on a very busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What keeps it from talking to anybody, and from needing what a container lacks.
const FLAGS: [&str; 14] = [
    "--headless",
    "--remote-debugging-pipe",
    // Root has no other way, and no page but ours is opened.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--no-first-run",
    "--no-pings",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const LOADED: &str = "location.protocol !== 'about:' && document.readyState === 'complete'";

pub struct Browser {
    child: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Json>,
    last: u64,
    session: Option<String>,
    /// The file that may be asked for.
    page: String,
    /// Below this address a page may ask for more; empty if nowhere.
    pub site: String,
    /// Addresses that a page asked for beside its own and those of its site.
    pub requests: Vec<String>,
    /// What went wrong in a page, in its own words.
    pub errors: Vec<String>,
    profile: TempDir,
}

/// How a page is looked at.
#[derive(Clone, Copy)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

pub const DESK: Screen = Screen {
    width: 1300,
    height: 900,
    dark: false,
};

impl Browser {
    pub fn start() -> Browser {
        let profile = tempfile::tempdir().expect("the temporary folder is writable");
        // The protocol wants the descriptors 3 and 4, which a shell can give.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null",
                "sh",
            ])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .env("XDG_CONFIG_HOME", profile.path())
            .env("XDG_CACHE_HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().expect("a shell starts");
        let output = child.stdout.take().expect("it is a pipe");
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("messages are JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            input: child.stdin.take(),
            child,
            messages,
            last: 0,
            session: None,
            page: String::new(),
            site: String::new(),
            requests: Vec::new(),
            errors: Vec::new(),
            profile,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", target);
        self.session = attached["sessionId"].as_str().map(str::to_string);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        self.call("Fetch.enable", json!({"patterns": [{"urlPattern": "*"}]}));
    }

    /// Asks for something and waits for the answer.
    pub fn call(&mut self, method: &str, params: Json) -> Json {
        let id = self.send(method, params);
        loop {
            let message = self.receive(method);
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    fn send(&mut self, method: &str, params: Json) -> u64 {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let input = self.input.as_mut().expect("it is open");
        let sent = input.write_all(format!("{message}\0").as_bytes());
        sent.expect("chromium runs: `make setup-test` installs it");
        self.last
    }

    fn receive(&mut self, what: &str) -> Json {
        let message = self.messages.recv_timeout(PATIENCE);
        let message = message.unwrap_or_else(|e| {
            panic!("{what}: chromium does not answer ({e}); `make setup-test` installs it")
        });
        self.note(&message);
        message
    }

    /// Lets the page's file through, and nothing else; keeps what went wrong.
    fn note(&mut self, message: &Json) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Fetch.requestPaused") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                let of_page = url.split('#').next() == Some(self.page.as_str());
                let id = json!({"requestId": params["requestId"], "errorReason": "Aborted"});
                let of_site = !self.site.is_empty() && url.starts_with(&self.site);
                if of_page || of_site {
                    let id = json!({"requestId": params["requestId"]});
                    self.send("Fetch.continueRequest", id);
                } else {
                    self.requests.push(url.to_string());
                    self.send("Fetch.failRequest", id);
                }
            }
            Some("Runtime.exceptionThrown") => {
                self.errors.push(params["exceptionDetails"].to_string())
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.errors.push(params["args"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.errors.push(params["entry"].to_string());
            }
            _ => {}
        }
    }

    /// Where it keeps what it writes.
    pub fn profile(&self) -> &Path {
        self.profile.path()
    }

    /// Opens a file, and waits for nothing but the file.
    pub fn open_plain(&mut self, file: &Path, screen: Screen) {
        self.go(file, "", screen);
        while self.eval(LOADED) != true {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn go(&mut self, file: &Path, hash: &str, screen: Screen) {
        self.go_to(&format!("file://{}", file.display()), hash, screen);
    }

    fn go_to(&mut self, page: &str, hash: &str, screen: Screen) {
        self.size(screen);
        self.page = page.to_string();
        // Another part of the same page would not be loaded again.
        self.call("Page.navigate", json!({"url": "about:blank"}));
        let url = format!("{}{hash}", self.page);
        let gone = self.call("Page.navigate", json!({"url": url}));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
    }

    /// Opens a file, with what stands behind its `#`, and waits until its operations are unpacked.
    pub fn open(&mut self, file: &Path, hash: &str, screen: Screen) {
        self.open_at(&format!("file://{}", file.display()), hash, screen);
    }

    /// The same of an address.
    pub fn open_at(&mut self, page: &str, hash: &str, screen: Screen) {
        self.go_to(page, hash, screen);
        self.wait(LOADED);
        self.wait(
            "!document.getElementById('packed') || document.documentElement.dataset.unpacked",
        );
        self.settle();
    }

    pub fn size(&mut self, screen: Screen) {
        let Screen {
            width,
            height,
            dark,
        } = screen;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// What an expression comes to, after its promise is kept.
    pub fn eval(&mut self, expression: &str) -> Json {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true, by the page's own frames.
    pub fn wait(&mut self, expression: &str) {
        let frames = format!(
            "(async () => {{ while (!({expression})) await new Promise((go) => setTimeout(go, 5)); return true; }})()"
        );
        assert_eq!(self.eval(&frames), true, "{expression}");
    }

    /// Lets what was asked for be drawn.
    pub fn settle(&mut self) {
        self.eval(
            "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => go(1))))",
        );
    }

    /// A key, as the keyboard gives it.
    pub fn key(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let params =
                json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", params);
        }
        self.settle();
    }

    /// The pointer does something at a place of the window.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64, more: Json) {
        let mut params = json!({"type": kind, "x": x, "y": y});
        if let (Some(params), Some(more)) = (params.as_object_mut(), more.as_object()) {
            params.extend(more.clone());
        }
        self.call("Input.dispatchMouseEvent", params);
        self.settle();
    }

    pub fn click(&mut self, x: f64, y: f64) {
        let left = json!({"button": "left", "clickCount": 1});
        self.mouse("mousePressed", x, y, left.clone());
        self.mouse("mouseReleased", x, y, left);
    }

    /// How many pages a printed document has, by the words that each begins with.
    pub fn pages_of_pdf(&self, printed: &Json) -> usize {
        let bytes = STANDARD.decode(printed["data"].as_str().expect("a document"));
        let text = String::from_utf8_lossy(&bytes.expect("base64")).replace("/Type /Pages", "");
        text.matches("/Type /Page").count()
    }

    /// The place of an element in the page, with some room around it: from the left and the top,
    /// and how wide and high.
    pub fn place(&mut self, selector: &str) -> [f64; 4] {
        let place = self.eval(&format!(
            "(() => {{ const box = document.querySelector('{selector}').getBoundingClientRect(); \
             return [box.x + scrollX - 6, box.y + scrollY - 6, box.width + 12, box.height + 12]; }})()"
        ));
        serde_json::from_value(place).expect("four numbers")
    }

    /// A picture of what is in the window, or of a part of the page.
    pub fn picture(&mut self, to: &Path, part: Option<[f64; 4]>) {
        let mut params = json!({"format": "png"});
        if let Some([x, y, width, height]) = part {
            params["clip"] = json!({"x": x, "y": y, "width": width, "height": height, "scale": 1});
            params["captureBeyondViewport"] = true.into();
        }
        let answer = self.call("Page.captureScreenshot", params);
        let bytes = STANDARD.decode(answer["data"].as_str().expect("a picture"));
        std::fs::write(to, bytes.expect("base64")).expect("the folder is writable");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.input = None;
        let group = rustix::process::Pid::from_child(&self.child);
        // It may be over already.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
