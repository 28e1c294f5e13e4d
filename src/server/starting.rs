//! How a thread says that it serves, or why it cannot begin to.

use std::io;
use std::sync::mpsc::{Receiver, Sender};

use crate::backend::BackendName;
use crate::preflight::StartError;

/// A thread's name, and what came of its start.
pub type Start = (String, io::Result<()>);

/// Runs what a thread serves by. `serve` calls what it is given once it serves; whoever listens to
/// `starts` hears that, or why it never came to it. Fails with what ended it afterwards.
pub fn run(
    starts: &Sender<Start>,
    name: &str,
    serve: impl FnOnce(&mut dyn FnMut()) -> io::Result<()>,
) -> io::Result<()> {
    // Whoever listens is gone only if another thread has failed to start.
    let say = |start| drop(starts.send((name.to_owned(), start)));
    let mut serving = false;
    let served = serve(&mut || {
        serving = true;
        say(Ok(()));
    });
    match served {
        Err(error) if !serving => {
            say(Err(error));
            Ok(())
        }
        served => served,
    }
}

/// Waits until so many threads serve, or one says that it cannot.
pub fn wait(
    starts: &Receiver<Start>,
    threads: usize,
    backend: BackendName,
) -> Result<(), StartError> {
    for _ in 0..threads {
        let ended = |_| ("a thread".to_owned(), Err(io::Error::other("it has ended")));
        let (name, start) = starts.recv().unwrap_or_else(ended);
        start.map_err(|source| StartError::System {
            what: refusal(&name, backend, &source),
            source,
        })?;
    }
    Ok(())
}

fn refusal(name: &str, backend: BackendName, error: &io::Error) -> String {
    let hint = match (backend, error.raw_os_error()) {
        (BackendName::IoUring, Some(libc::ENOMEM)) => {
            " (kernels may count rings as locked memory: raise `ulimit -l`, `LimitMEMLOCK=` in a systemd unit, \
             or set roadcast.backend: epoll)"
        }
        _ => "",
    };
    format!("{name} cannot start on {backend}{hint}")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn failure() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOMEM))
    }

    #[test]
    fn what_fails_before_it_serves_is_told_to_whoever_waits_for_the_start() {
        let (starts, heard) = channel();
        assert!(run(&starts, "shard 3", |_| failure()).is_ok());
        let told = wait(&heard, 1, BackendName::IoUring).unwrap_err().to_string();
        assert!(told.starts_with("shard 3 cannot start on io_uring ("), "{told}");
        assert!(told.contains("LimitMEMLOCK=") && told.contains("os error 12"), "{told}");
    }

    #[test]
    fn what_fails_while_serving_is_not_taken_for_a_start_that_somebody_will_hear_of() {
        let (starts, heard) = channel();
        // The receiver is still there, and nobody will read from it again.
        let failed = run(&starts, "the hub", |serving| {
            serving();
            failure()
        });
        assert!(failed.is_err(), "the thread itself says why it ends");
        assert!(wait(&heard, 1, BackendName::Epoll).is_ok());
        assert!(heard.try_recv().is_err(), "a start is told once");
    }

    #[test]
    fn a_thread_that_ends_without_a_word_did_not_start() {
        let (starts, heard) = channel();
        drop(starts);
        let told = wait(&heard, 1, BackendName::Epoll).unwrap_err().to_string();
        assert_eq!(told, "a thread cannot start on epoll: it has ended");
    }
}
