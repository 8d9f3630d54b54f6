//! A Chromium without a window, spoken to by its debugging protocol over pipes.
//! Source: <https://chromedevtools.github.io/devtools-protocol/>.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// One page of a browser of its own.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    complaints: Vec<Value>,
    _profile: TempDir,
}

/// Where a Chromium is, if anywhere.
pub fn found() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path);
    let names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
    places.flat_map(|place| names.map(|name| place.join(name))).find(|file| file.is_file())
}

impl Browser {
    pub fn start(chromium: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // It speaks on the files 3 and 4; a shell makes them of the ones that a child has.
        let mut child = Command::new("/bin/sh")
            .args(["-c", r#"exec 3<&0 4>&1 </dev/null >/dev/null; exec "$@""#, "sh"])
            .arg(chromium)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (session, complaints) = (None, Vec::new());
        let mut browser = Self { child, to, from, session, calls: 0, complaints, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The window's size in its own pixels; a phone's screen has two for each of them.
    pub fn window(&mut self, width: u32, height: u32, dark: bool) {
        let mobile = width < 720;
        let scale = if mobile { 2 } else { 1 };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!({"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }});
        self.call("Emulation.setEmulatedMedia", json!({"features": [scheme]}));
    }

    /// What an expression of the page's script is worth.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Returns once the expression holds.
    pub fn until(&mut self, expression: &str) {
        let look = format!(
            "new Promise((tell) => {{ let left = 1500; const look = () => ({expression}) || !left-- \
             ? tell(left >= 0) : setTimeout(look, 20); look(); }})"
        );
        if self.value(&look) != true {
            panic!("never: {expression}\n{}", self.value("document.body.innerText").as_str().unwrap_or_default());
        }
    }

    /// Writes the page as it is seen when nothing moves, whole where it is longer than the window.
    pub fn photograph(&mut self, file: &Path) {
        self.until("document.getAnimations().length === 0");
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let whole = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", whole)["data"].as_str().unwrap().to_owned();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, base64::engine::general_purpose::STANDARD.decode(picture).unwrap()).unwrap();
    }

    /// Everything that the page's script or policy complained of so far.
    pub fn complaints(&self) -> &[Value] {
        &self.complaints
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{call}\0").as_bytes()).unwrap();
        loop {
            let mut said = Vec::new();
            self.from.read_until(0, &mut said).unwrap();
            assert_eq!(said.pop(), Some(0), "the browser ended");
            let mut said: Value = serde_json::from_slice(&said).unwrap();
            if said["id"] == self.calls {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].take();
            }
            if matches!(said["method"].as_str(), Some("Log.entryAdded" | "Runtime.exceptionThrown")) {
                self.complaints.push(said["params"].take());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
