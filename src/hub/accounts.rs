//! Accounts: for whom publications wait whose calls have been answered already, and how many bytes
//! more may.
//!
//! An account is a source address, not a connection: publishers such as PHP-FPM connect for one
//! request and go, while a lane may stay full for longer. What they leave waits by itself, so a
//! connection's place is free when its socket ends.
//!
//! Invariants worth naming:
//! - **Their sum is bounded**: by `rpc_async_bytes`, and past it by one publication of each of
//!   [`ACCOUNTS_MAX`] accounts.
//! - **Nobody takes all**: an account may hold twice what it leaves free, so another one always
//!   finds some.
//! - What waits for a `Publish` is not in here: its caller waits itself, and takes nobody's share.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use crate::source_limits::Source;

/// Whom a publication that waits belongs to: all connections of a source address, or all of a Unix
/// socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account(Option<Source>);

impl Account {
    /// Of an address; of the Unix socket where there is none.
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(Source::of))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(source) => source.fmt(f),
            None => f.write_str("the Unix socket"),
        }
    }
}

/// Accounts of which something waits, at most.
pub(super) const ACCOUNTS_MAX: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    bytes: usize,
    /// Only those of which something waits, or is reserved.
    by_account: HashMap<Account, usize>,
}

impl Accounts {
    /// Bytes that wait, of all.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something may wait that takes `bytes` in all, where all together may take
    /// `bytes_max`. Of an account of which nothing waits something always may.
    pub(super) fn admits(&self, account: Account, bytes: usize, bytes_max: usize) -> bool {
        let Some(own) = self.by_account.get(&account) else {
            return self.by_account.len() < ACCOUNTS_MAX || self.bytes + bytes <= bytes_max;
        };
        let free = bytes_max.saturating_sub(self.bytes);
        bytes <= free && own + bytes <= free.saturating_mul(2)
    }

    /// These bytes wait from now on.
    pub(super) fn add(&mut self, account: Account, bytes: usize) {
        self.bytes += bytes;
        *self.by_account.entry(account).or_default() += bytes;
    }

    /// They wait no more.
    pub(super) fn remove(&mut self, account: Account, bytes: usize) {
        self.bytes -= bytes;
        if let Some(own) = self.by_account.get_mut(&account) {
            *own -= bytes;
            if *own == 0 {
                self.by_account.remove(&account);
            }
        }
        if self.by_account.is_empty() {
            // A stall may have made it large.
            self.by_account = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(last: u8) -> Account {
        Account::of(Some([10, 0, 0, last].into()))
    }

    /// Takes as much as it gets, 10 bytes at a time.
    fn fill(accounts: &mut Accounts, account: Account, bytes_max: usize) -> usize {
        let mut taken = 0;
        while accounts.admits(account, 10, bytes_max) {
            accounts.add(account, 10);
            taken += 10;
        }
        taken
    }

    #[test]
    fn connections_of_one_address_are_one_account_and_a_unix_socket_is_one() {
        assert_eq!(account(1), account(1));
        assert_ne!(account(1), account(2));
        assert_eq!(Account::of(None), Account::of(None));
    }

    #[test]
    fn each_account_finds_room_beside_one_that_takes_all_it_gets() {
        let mut accounts = Accounts::default();
        let taken: Vec<usize> = (0..4).map(|n| fill(&mut accounts, account(n), 900)).collect();
        assert_eq!(taken, [600, 200, 70, 20]);
        assert!(accounts.bytes() <= 900);
    }

    #[test]
    fn something_of_an_account_without_any_may_wait_whatever_its_size_and_no_more() {
        let mut accounts = Accounts::default();
        for n in 0..10 {
            assert!(accounts.admits(account(n), 5_000, 100));
            accounts.add(account(n), 5_000);
            assert!(!accounts.admits(account(n), 1, 100));
        }
    }

    #[test]
    fn accounts_are_bounded() {
        let mut accounts = Accounts::default();
        for n in 0..ACCOUNTS_MAX as u32 {
            let account = Account::of(Some(std::net::Ipv4Addr::from_bits(n).into()));
            assert!(accounts.admits(account, 10, 0));
            accounts.add(account, 10);
        }
        assert!(!accounts.admits(Account::of(None), 10, 0));
        accounts.remove(Account::of(Some(std::net::Ipv4Addr::from_bits(0).into())), 10);
        assert!(accounts.admits(Account::of(None), 10, 0));
    }

    #[test]
    fn nothing_is_kept_of_an_account_of_which_nothing_waits() {
        let mut accounts = Accounts::default();
        accounts.add(account(1), 10);
        accounts.add(account(1), 5);
        accounts.remove(account(1), 10);
        assert_eq!((accounts.bytes(), accounts.by_account.len()), (5, 1));
        accounts.remove(account(1), 5);
        assert_eq!((accounts.bytes(), accounts.by_account.capacity()), (0, 0));
    }
}
