//! Tokens: where one stands in a request, and whether it will do.

use std::time::SystemTime;

use crate::access::token::{self, Accepted, Demands, Key, KeyError, Places, TokenFault};
use crate::access::{AccessRequest, AccessSettings, TokenSettings};
use crate::http::Head;
use crate::http::head::Room;

/// How tokens are checked.
pub struct Tokens {
    keys: Vec<Key>,
    demands: Demands,
    places: Places,
    required: bool,
    /// Whether who has one need not be asked about any more to connect.
    pub suffices: bool,
}

impl Tokens {
    /// As the operator has set it; `None`: no tokens.
    pub fn new(access: &AccessSettings) -> Result<Option<Self>, KeyError> {
        let Some(settings) = &access.tokens else { return Ok(None) };
        let TokenSettings { query, cookie, subprotocol, required, suffices, .. } = settings;
        let name = |name: &Option<String>| name.as_deref().map(Box::from);
        Ok(Some(Self {
            keys: settings.key().transpose()?.into_iter().collect(),
            demands: settings.demands(&access.rules),
            places: Places { query: name(query), cookie: name(cookie), subprotocol: *subprotocol },
            required: *required,
            suffices: *suffices,
        }))
    }

    /// What the token of a request says; `None`: it has none, and needs none.
    pub fn of_request(&self, request: &AccessRequest) -> Result<Option<Accepted>, TokenFault> {
        let mut room = Room::new();
        let Ok(head) = Head::parse(&request.head, &mut room) else {
            return Err(TokenFault::Missing);
        };
        match token::find(&head, &self.places)? {
            Some(found) => self.check(&found.token).map(Some),
            None if self.required => Err(TokenFault::Missing),
            None => Ok(None),
        }
    }

    /// What a token says, if it will do.
    pub fn check(&self, token: &[u8]) -> Result<Accepted, TokenFault> {
        token::check(token, &self.keys, &self.demands, SystemTime::now())
    }

    /// In how many seconds who is refused for [`TokenFault::NoKeys`] may come back.
    pub fn retry_after_s(&self) -> u64 {
        1
    }
}
