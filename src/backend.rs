//! What the shards and the hub run on, by name: as the operator asks for it (`roadcast.backend`),
//! and as it is chosen once the machine has been asked.

use std::fmt;

/// A backend, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendName {
    /// io_uring: a batch of sends is one system call.
    IoUring,
    /// epoll: where io_uring is denied, or the kernel is too old for it.
    Epoll,
}

impl BackendName {
    /// The name, as in the configuration, the log and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `roadcast.backend` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendWish {
    /// io_uring where it can be used, otherwise epoll.
    #[default]
    Auto,
    /// This one, or no start.
    Only(BackendName),
}

impl BackendWish {
    /// The words of the key.
    pub const WORDS: &[&str] = &["auto", "io_uring", "epoll"];

    /// What one of the words asks for.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "io_uring" => Some(Self::Only(BackendName::IoUring)),
            "epoll" => Some(Self::Only(BackendName::Epoll)),
            _ => None,
        }
    }

    /// Chooses. `io_uring` says whether that can be used, or why not; it is asked only where that
    /// matters. Fails where io_uring is denied and nothing else will do.
    pub fn choose<E: fmt::Display>(
        self,
        io_uring: impl FnOnce() -> Result<(), E>,
    ) -> Result<ChosenBackend, E> {
        let chosen = |name, fallback| ChosenBackend { name, fallback };
        match self {
            Self::Only(BackendName::Epoll) => Ok(chosen(BackendName::Epoll, None)),
            Self::Only(BackendName::IoUring) => {
                io_uring().map(|()| chosen(BackendName::IoUring, None))
            }
            Self::Auto => Ok(match io_uring() {
                Ok(()) => chosen(BackendName::IoUring, None),
                Err(why) => chosen(BackendName::Epoll, Some(why.to_string())),
            }),
        }
    }
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenBackend {
    /// Which one.
    pub name: BackendName,
    /// Why it is not io_uring, where nobody asked for another.
    pub fallback: Option<String>,
}

impl fmt::Display for ChosenBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fallback {
            None => self.name.fmt(f),
            Some(why) => write!(f, "{}, usually at more CPU: {why}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(word: &str, io_uring: Result<(), &'static str>) -> Result<String, &'static str> {
        BackendWish::of(word).unwrap().choose(|| io_uring).map(|chosen| chosen.to_string())
    }

    #[test]
    fn auto_takes_io_uring_where_it_can_and_says_why_where_it_cannot() {
        assert_eq!(chosen("auto", Ok(())), Ok("io_uring".to_owned()));
        let told = Ok("epoll, usually at more CPU: it is denied".to_owned());
        assert_eq!(chosen("auto", Err("it is denied")), told);
    }

    #[test]
    fn a_backend_that_is_asked_for_by_name_is_taken_or_nothing_starts() {
        assert_eq!(chosen("io_uring", Ok(())), Ok("io_uring".to_owned()));
        assert_eq!(chosen("io_uring", Err("it is denied")), Err("it is denied"));
        assert_eq!(chosen("epoll", Err("never asked")), Ok("epoll".to_owned()));
        assert_eq!(chosen("epoll", Ok(())), Ok("epoll".to_owned()));
    }

    #[test]
    fn every_word_of_the_key_asks_for_what_it_says() {
        for word in BackendWish::WORDS {
            match BackendWish::of(word) {
                Some(BackendWish::Auto) => assert_eq!(*word, "auto"),
                Some(BackendWish::Only(name)) => assert_eq!(*word, name.name()),
                None => panic!("{word} asks for nothing"),
            }
        }
        assert_eq!(BackendWish::of("kqueue"), None);
    }
}
