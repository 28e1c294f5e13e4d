//! How the connections of a broker stand, as one state.

use std::cell::RefCell;
use std::sync::Arc;

use crate::hub::broker::{BrokerState, BrokerStatus};

/// How one connection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not been there yet.
    #[default]
    Connecting,
    /// It is there, and not all topics are subscribed by now.
    Resubscribing,
    Up,
    Down(String),
}

/// See the module.
pub(super) struct Health {
    phases: RefCell<Vec<Phase>>,
    /// Places whose connections have gone.
    free: RefCell<Vec<usize>>,
    status: Arc<BrokerStatus>,
}

impl Health {
    /// Without connections.
    pub(super) fn new(status: Arc<BrokerStatus>) -> Self {
        status.becomes(BrokerState::Connecting, None);
        Self { phases: RefCell::default(), free: RefCell::default(), status }
    }

    /// A further connection: its place.
    pub(super) fn add(&self) -> usize {
        let mut phases = self.phases.borrow_mut();
        if let Some(place) = self.free.borrow_mut().pop() {
            phases[place] = Phase::default();
            return place;
        }
        phases.push(Phase::default());
        phases.len() - 1
    }

    /// A connection is not needed any more.
    pub(super) fn remove(&self, place: usize) {
        self.set(place, Phase::Up);
        self.free.borrow_mut().push(place);
    }

    /// Whether a connection is up.
    pub(super) fn is_up(&self, place: usize) -> bool {
        self.phases.borrow()[place] == Phase::Up
    }

    /// How a connection stands from now on.
    pub(super) fn set(&self, place: usize, phase: Phase) {
        let mut phases = self.phases.borrow_mut();
        let before = std::mem::replace(&mut phases[place], phase.clone());
        // A reason that is said again may not have been said in the log by now.
        if before == phase && !matches!(phase, Phase::Down(_)) {
            return;
        }
        let (state, why) = worst(&phases);
        self.status.becomes(state, why);
    }
}

/// Down, if any connection is; up, if all are.
fn worst(phases: &[Phase]) -> (BrokerState, Option<&str>) {
    let mut state = BrokerState::Up;
    for phase in phases {
        match phase {
            Phase::Down(why) => return (BrokerState::Down, Some(why)),
            Phase::Connecting => state = BrokerState::Connecting,
            Phase::Resubscribing if state == BrokerState::Up => state = BrokerState::Resubscribing,
            Phase::Resubscribing | Phase::Up => {}
        }
    }
    (state, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_up_when_all_its_connections_are() {
        let status = Arc::new(BrokerStatus::new("main"));
        let health = Health::new(status.clone());
        let (first, second) = (health.add(), health.add());
        assert_eq!(status.state(), BrokerState::Connecting);
        health.set(first, Phase::Up);
        assert_eq!(status.state(), BrokerState::Connecting);
        health.set(second, Phase::Resubscribing);
        assert_eq!(status.state(), BrokerState::Resubscribing);
        health.set(second, Phase::Up);
        assert_eq!(status.state(), BrokerState::Up);
        health.set(first, Phase::Down("gone".to_owned()));
        health.set(second, Phase::Resubscribing);
        assert_eq!(status.standing().why.as_deref(), Some("gone"));
        assert_eq!(status.state(), BrokerState::Down);
        health.remove(first);
        assert_eq!(status.state(), BrokerState::Resubscribing);
        assert_eq!(health.add(), first, "its place is used again");
    }
}
