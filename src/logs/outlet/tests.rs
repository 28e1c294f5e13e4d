//! What is written, what is lost and what is said of it, with a writer that the test holds still.

use std::sync::mpsc;

use super::*;

/// Long enough for anything that does happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what is written.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe that takes nothing before it is opened, and says when somebody waits for it.
struct Shut {
    waits: mpsc::Sender<()>,
    opened: mpsc::Receiver<()>,
    sink: Sink,
}

impl Write for Shut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.waits.send(());
        // Open for good once its other end is dropped.
        let _ = self.opened.recv();
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn missing(lost: u64) -> String {
    format!("{lost} lost\n")
}

/// An outlet whose writer stands still, with one line under way; what opens it, and what it has
/// written.
fn stalled(bytes_max: usize) -> (Outlet, mpsc::Sender<()>, Sink) {
    let (waits, waiting) = mpsc::channel();
    let (open, opened) = mpsc::channel();
    let sink = Sink::default();
    let outlet =
        Outlet::start("log", bytes_max, Shut { waits, opened, sink: sink.clone() }, missing)
            .unwrap();
    outlet.push("first\n".to_owned());
    waiting.recv_timeout(PATIENCE).expect("the writer is at work");
    (outlet, open, sink)
}

#[test]
fn whoever_speaks_does_not_wait_for_a_reader_that_stands_still() {
    let (outlet, _open, sink) = stalled(4096);
    let (done, end) = mpsc::channel();
    let speaker = outlet.clone();
    std::thread::spawn(move || {
        for number in 0..10_000 {
            speaker.push(format!("line {number}\n"));
        }
        let _ = done.send(());
    });
    assert_eq!(end.recv_timeout(PATIENCE), Ok(()), "it waits for the reader");
    assert_eq!(sink.text(), "");
    assert!(!outlet.has_room());
    assert!(outlet.losses().lines() > 9_980, "{}", outlet.losses().lines());
    // Nor does the end.
    outlet.flush();
}

#[test]
fn what_was_lost_is_said_in_its_place_once_there_is_room() {
    let (outlet, open, sink) = stalled(3 * (LINE_COST + 20));
    for line in ["second\n", "third\n", "lost\n", "lost\n"] {
        outlet.push(line.to_owned());
    }
    assert_eq!(outlet.losses().lines(), 2);
    drop(open);
    outlet.flush();
    assert_eq!(sink.text(), "first\nsecond\nthird\n2 lost\n");
    outlet.push("fourth\n".to_owned());
    outlet.flush();
    assert_eq!(sink.text(), "first\nsecond\nthird\n2 lost\nfourth\n", "said once");
}

#[test]
fn a_queue_never_costs_more_than_its_bound() {
    let (outlet, _open, _sink) = stalled(4096);
    outlet.push("x".repeat(4096));
    assert_eq!(outlet.losses().lines(), 1, "one that is too long by itself");
    (0..100).for_each(|length| outlet.push("x".repeat(length)));
    let bytes = outlet.shared.bytes.load(Ordering::Relaxed);
    assert!((2048..=4096).contains(&bytes), "{bytes}");
}

/// A disk of which the test says how many bytes are left.
struct Disk {
    left: Arc<AtomicUsize>,
    sink: Sink,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.left.load(Ordering::Relaxed));
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left.fetch_sub(taken, Ordering::Relaxed);
        self.sink.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_costs_lines_but_tears_none_that_come_later() {
    let (left, sink) = (Arc::new(AtomicUsize::new(8)), Sink::default());
    let disk = Disk { left: left.clone(), sink: sink.clone() };
    let outlet = Outlet::start("log", 4096, disk, missing).unwrap();
    for line in ["whole\n", "half\n", "none\n"] {
        outlet.push(line.to_owned());
        outlet.flush();
    }
    assert_eq!((sink.text().as_str(), outlet.losses().lines()), ("whole\nha", 2));
    left.store(100, Ordering::Relaxed);
    outlet.push("after\n".to_owned());
    outlet.flush();
    assert_eq!(sink.text(), "whole\nha\n2 lost\nafter\n");
}
