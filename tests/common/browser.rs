//! A real browser without a window: Chromium, driven over its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::PATIENCE;

/// A browser with one page; killed when dropped.
pub struct Browser {
    process: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    session: Option<Value>,
    calls: u32,
}

impl Browser {
    /// Opens `url` in a window of this size, in pixels. Chromium must be
    /// [`installed`](super::installed).
    pub fn open(url: &str, width: u32, height: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile =
            format!("{}/chromium-{}-{number}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let profile = PathBuf::from(profile);
        let mut command = Command::new("chromium");
        // The sandbox takes a user other than root; the rest keeps it from asking for servers of
        // its maker.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
        ]);
        command.args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]);
        command
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()));
        let mut process = command.stderr(Stdio::piped()).spawn().expect("chromium starts");
        let mut said = BufReader::new(process.stderr.take().expect("stderr is piped"))
            .lines()
            .map_while(Result::ok);
        let address =
            said.find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        let address = address.expect("chromium says where it listens");
        // It goes on talking, and must not wait for a reader.
        std::thread::spawn(move || said.for_each(drop));
        let host = address
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next())
            .expect("ws://HOST/…");
        let stream = TcpStream::connect(host).expect("chromium listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let (socket, _) = tungstenite::client(address.as_str(), stream).expect("a WebSocket");
        let mut browser = Self { process, profile, socket, session: None, calls: 0 };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        browser.session = Some(browser.call("Target.attachToTarget", attach)["sessionId"].clone());
        let (scale, mobile) = (1, width < 600);
        let window = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile,
        });
        browser.call("Emulation.setDeviceMetricsOverride", window);
        browser.call("Page.navigate", json!({ "url": url }));
        browser
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = session.clone();
        }
        self.socket.send(Message::text(call.to_string())).expect("chromium listens");
        loop {
            let Message::Text(text) = self.socket.read().expect("chromium answers") else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The value of a JavaScript expression in the page; null while it cannot be told.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", asked)["result"]["value"].clone()
    }

    /// Looks again and again until the expression is true.
    #[track_caller]
    pub fn await_true(&mut self, expression: &str) {
        let begin = Instant::now();
        while self.value(expression) != true {
            let page = self.value("document.body.innerText");
            assert!(begin.elapsed() < PATIENCE, "never true: {expression}, in the page:\n{page}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
