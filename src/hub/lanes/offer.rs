//! How a publication is offered to lanes, and what becomes of it.

use tokio::sync::oneshot;

use crate::hub::accounts::Account;

/// Who waits where a publication has to.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// The caller.
    Caller,
    /// Nobody, if this account may have it where all together may have so many bytes: it waits by
    /// itself. Otherwise the caller.
    Account(Account, usize),
    /// Nobody: room for it is reserved on this account.
    Reserved(Account),
}

/// What became of a publication.
#[derive(Debug)]
pub(in crate::hub) enum Offer {
    /// Every interested lane holds it.
    Pushed,
    /// It waits for room, and so does its caller. An error means that it was refused and reached no
    /// lane in this form.
    Waits(oneshot::Receiver<()>),
    /// It waits for room by itself, with so many bytes on its account.
    Left(usize),
}
