//! A pool of `worker.php`, and what the log says meanwhile.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roadcast::access::{About, AccessRequest, AskFailed, Judged, context};
use roadcast::desk::access::workers::{Pool, Status, WorkerSettings, WorkerState};

/// For whatever is bound to happen; none of it takes long.
const SOON: Duration = Duration::from_secs(60);

/// Runs a test in the way in which the desk runs a pool; what the log has said. Skipped without
/// PHP.
pub fn with_php<F: Future<Output = ()>>(test: impl FnOnce(Log) -> F) {
    if !super::skip::installed("php") {
        return;
    }
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let end = tokio::time::timeout(2 * SOON, test(log.clone())).await;
        end.unwrap_or_else(|_| panic!("the test hangs; the log: {}", log.text()));
    });
}

/// Lines of the log so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// How many lines have this.
    pub fn count(&self, part: &str) -> usize {
        self.text().lines().filter(|line| line.contains(part)).count()
    }

    /// Waits until a line has this.
    pub async fn says(&self, part: &str) {
        until(&format!("the log says `{part}`"), || self.count(part) > 0, || self.text()).await;
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits until it holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool, state: impl Fn() -> String) {
    let tried = tokio::time::timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(tried.await.is_ok(), "{what}: {}", state());
}

/// One worker of `worker.php`, in the directory of the script.
pub fn settings() -> WorkerSettings {
    WorkerSettings {
        command: words("php worker.php"),
        directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workers"),
        num_workers: 1,
        ..WorkerSettings::default()
    }
}

/// A program and its arguments.
pub fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

/// The same with a variable in its environment.
pub fn with_env(name: &str, value: &str) -> WorkerSettings {
    WorkerSettings { env: vec![(name.to_owned(), value.to_owned())], ..settings() }
}

/// The context of an upgrade whose query says what the worker is to do.
pub fn upgrade(query: &str) -> Vec<u8> {
    let head = format!("GET /ws?do={query} HTTP/1.1\r\nHost: host\r\nCookie: a=b%20c\r\n\r\n");
    let request =
        AccessRequest { head: head.into_bytes().into(), client: "203.0.113.7".parse().ok() };
    context::encode(&request, About::Server, None)
}

/// Asks, and expects a verdict: its status and body.
pub async fn ask(pool: &Pool, query: &str) -> (u16, String) {
    let judged = judged(pool, query).await;
    (judged.status, String::from_utf8(judged.body).unwrap())
}

/// Asks, and expects a verdict.
pub async fn judged(pool: &Pool, query: &str) -> Judged {
    pool.ask(upgrade(query)).await.unwrap_or_else(|failed| panic!("{query}: {failed:?}"))
}

/// Asks, and expects a failure: why.
pub async fn failure(pool: &Pool, query: &str) -> String {
    match pool.ask(upgrade(query)).await {
        Err(AskFailed::Failed(why)) => why,
        other => panic!("{query}: {other:?}"),
    }
}

/// The pid of the worker that answers next.
pub async fn pid(pool: &Pool) -> u32 {
    let (_, body) = ask(pool, "pid").await;
    body.split(' ').next().unwrap().parse().unwrap()
}

/// Waits until so many workers wait for a question.
pub async fn idle(pool: &Pool, workers: usize) -> Vec<WorkerState> {
    let ready = |state: &WorkerState| state.status == Status::Ready;
    let all_ready = || pool.states().iter().filter(|state| ready(state)).count() == workers;
    until("workers are idle", all_ready, || format!("{:?}", pool.states())).await;
    pool.states().into_iter().filter(ready).collect()
}

/// Whether a process is there, a zombie or not.
pub fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until a process has gone and is reaped.
pub async fn gone(pid: u32) {
    until("the process has gone", || !exists(pid), || pid.to_string()).await;
}

/// A path that is free, in the directory for tests.
pub fn free_path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = path.join(format!("workers-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// A pool, which ends with the test.
pub fn start(settings: WorkerSettings) -> Rc<Pool> {
    Pool::start(settings)
}
