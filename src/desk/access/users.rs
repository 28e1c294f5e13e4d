//! How many connections each user has, over all shards, where there is a limit.
//!
//! A connection counts while its shard holds its grant, so a shard need not say when one ends: a
//! place whose grant nobody holds any more is free.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use crate::access::{Grant, PerUser};
use crate::mesh::ConnId;

/// Places that may be free before all users are looked through, beyond as many as were taken then.
const LOOKED_THROUGH: usize = 1024;

/// A connection of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The shard.
    pub shard: usize,
    /// Its name for the connection.
    pub connection: ConnId,
}

/// See the module.
#[derive(Debug)]
pub struct Users {
    /// Connections of one user at a time; 0 = no limit, and nothing is kept.
    max: usize,
    beyond: PerUser,
    /// The oldest connection of each first.
    by_name: HashMap<Box<str>, VecDeque<(Place, Weak<Grant>)>>,
    /// Places in the table.
    places: usize,
    /// How many places there may be before those that are free are looked for.
    look_at: usize,
}

/// A user has as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Users {
    /// At most `max` connections of a user; 0 = no limit.
    pub fn new(max: usize, beyond: PerUser) -> Self {
        Self { max, beyond, by_name: HashMap::new(), places: 0, look_at: LOOKED_THROUGH }
    }

    /// Counts a connection for the user of its grant. Says which other one has to go for it.
    pub fn admit(&mut self, place: Place, grant: &Arc<Grant>) -> Result<Option<Place>, TooMany> {
        let Some(user) = grant.identity.user.as_ref().filter(|_| self.max > 0) else {
            return Ok(None);
        };
        self.forget_ended();
        let places = self.by_name.entry(user.clone()).or_default();
        let before = places.len();
        places.retain(|(_, grant)| grant.strong_count() > 0);
        self.places -= before - places.len();
        let full = places.len() >= self.max;
        if full && self.beyond == PerUser::Refuse {
            return Err(TooMany);
        }
        let oldest = if full { places.pop_front().map(|(place, _)| place) } else { None };
        places.push_back((place, Arc::downgrade(grant)));
        self.places += usize::from(!full);
        Ok(oldest)
    }

    /// The connection goes on with another grant of the same user, and keeps its place. One that
    /// was nobody's until now takes one, as in [`admit`](Self::admit).
    pub fn renew(&mut self, place: Place, grant: &Arc<Grant>) -> Result<Option<Place>, TooMany> {
        let places = grant.identity.user.as_ref().and_then(|user| self.by_name.get_mut(user));
        match places.into_iter().flatten().find(|(of, _)| *of == place) {
            Some((_, held)) => {
                *held = Arc::downgrade(grant);
                Ok(None)
            }
            None => self.admit(place, grant),
        }
    }

    /// Now and then, users who have nobody left: so that the table follows connections, at a cost
    /// that each of them has paid for.
    fn forget_ended(&mut self) {
        if self.places < self.look_at {
            return;
        }
        self.by_name.retain(|_, places| {
            places.retain(|(_, grant)| grant.strong_count() > 0);
            !places.is_empty()
        });
        self.places = self.by_name.values().map(VecDeque::len).sum();
        self.look_at = 2 * self.places + LOOKED_THROUGH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Identity;

    fn grant(user: &str) -> Arc<Grant> {
        let identity = Identity { user: Some(user.into()), ..Identity::default() };
        Arc::new(Grant { identity, ..Grant::default() })
    }

    fn place(index: u32) -> Place {
        Place { shard: 0, connection: ConnId { index, generation: 0 } }
    }

    #[test]
    fn beyond_the_limit_the_oldest_goes() {
        let mut users = Users::new(2, PerUser::Replace);
        let grants = [grant("a"), grant("a"), grant("a"), grant("b")];
        let admitted: Vec<_> =
            (0..4).map(|at| users.admit(place(at), &grants[at as usize])).collect();
        assert_eq!(admitted, [Ok(None), Ok(None), Ok(Some(place(0))), Ok(None)]);
    }

    #[test]
    fn or_the_newest_is_refused_until_one_has_gone() {
        let mut users = Users::new(1, PerUser::Refuse);
        let (first, second) = (grant("a"), grant("a"));
        assert_eq!(users.admit(place(0), &first), Ok(None));
        assert_eq!(users.admit(place(1), &second), Err(TooMany));
        drop(first);
        assert_eq!(users.admit(place(1), &second), Ok(None));
    }

    #[test]
    fn who_goes_on_with_another_token_keeps_its_place() {
        let mut users = Users::new(1, PerUser::Refuse);
        let (first, second) = (grant("a"), grant("a"));
        assert_eq!(users.admit(place(0), &first), Ok(None));
        assert_eq!(users.renew(place(0), &second), Ok(None));
        drop(first);
        assert_eq!(users.admit(place(1), &grant("a")), Err(TooMany));
    }

    #[test]
    fn who_comes_as_nobody_and_brings_a_token_later_counts_from_then_on() {
        let grants = [grant("a"), grant("a")];
        let mut users = Users::new(1, PerUser::Refuse);
        assert_eq!(users.renew(place(0), &grants[0]), Ok(None));
        assert_eq!(users.renew(place(1), &grants[1]), Err(TooMany));
        let mut users = Users::new(1, PerUser::Replace);
        assert_eq!(users.renew(place(0), &grants[0]), Ok(None));
        assert_eq!(users.renew(place(1), &grants[1]), Ok(Some(place(0))));
    }

    #[test]
    fn nobody_in_particular_has_no_limit() {
        let mut users = Users::new(1, PerUser::Refuse);
        let nobody = Arc::new(Grant::default());
        assert!((0..9).all(|at| users.admit(place(at), &nobody) == Ok(None)));
        assert!(users.by_name.is_empty());
    }

    #[test]
    fn the_table_follows_connections_and_not_all_users_that_ever_came() {
        let mut users = Users::new(3, PerUser::Replace);
        let kept: Vec<_> = (0..100).map(|at| grant(&format!("kept {at}"))).collect();
        kept.iter().for_each(|grant| assert_eq!(users.admit(place(0), grant), Ok(None)));
        for at in 0..20_000 {
            users.admit(place(at), &grant(&format!("gone {at}"))).unwrap();
        }
        assert!(users.places <= 100 + 2 * LOOKED_THROUGH + 100, "{}", users.places);
        assert!(kept.iter().all(|grant| {
            let user = grant.identity.user.as_ref().unwrap();
            users.by_name[user].len() == 1
        }));
    }
}
