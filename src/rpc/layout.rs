//! Where a publish call's body has what: the field numbers of its protobuf messages.

/// Field number of a request's messages, in both layouts.
pub(super) const MESSAGES: u32 = 1;
/// Field number of a message's command, in both layouts.
pub(super) const COMMAND: u32 = 1;

/// Field numbers of a message: the two published layouts clash, so the service decides which one
/// applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `broadcast.*`: a message goes to every broker in use.
    Broadcast,
    /// `websockets.*`: a message names its broker.
    Websockets,
}

impl Layout {
    pub(super) fn broker(self) -> Option<u32> {
        match self {
            Self::Broadcast => None,
            Self::Websockets => Some(2),
        }
    }

    pub(super) fn topics(self) -> u32 {
        match self {
            Self::Broadcast => 2,
            Self::Websockets => 3,
        }
    }

    pub(super) fn payload(self) -> u32 {
        match self {
            Self::Broadcast => 3,
            Self::Websockets => 4,
        }
    }
}
