//! What the configuration means to each thread: to the shards, the hub and the desk.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::counters::Counters;
use crate::access::Asked;
use crate::backend::BackendName;
use crate::config::summary::Summary;
use crate::config::{Config, PublishTo, RpcListen};
use crate::demo;
use crate::desk::access::workers::WorkerSettings;
use crate::desk::access::{AccessCounters, AccessPlan};
use crate::desk::http::{Progress, ShardTelemetry, Telemetry};
use crate::http::head::Bounds;
use crate::http::origin::OriginRule;
use crate::hub::{BrokerRules, HubConfig, HubCounters, RpcListener, Runtime};
use crate::logs::Outlet;
use crate::mesh::desk::DeskEnd;
use crate::mesh::operators::{self, Inbox};
use crate::mesh::{BrokerId, HubEnd};
use crate::preflight::StartError;
use crate::shard::{AccessConfig, Page, ShardConfig};
use crate::ws::upgrade::Rules;

/// Part of the grace that is kept for the end itself, after the last connection has been told to
/// go.
const LAST_MOMENTS: Duration = Duration::from_millis(500);

/// What each shard is told.
pub fn shard(config: &Config, summary: &Summary<'_>) -> ShardConfig {
    ShardConfig {
        limits: config.limits.clone(),
        policies: config.policies.clone(),
        on_gap: config.on_gap,
        rules: Rules {
            path: config.path.clone(),
            echo_path: config.echo_path.clone(),
            origin: OriginRule::any_of(&config.origins),
            health_path: config.health_path.clone(),
            demo: config.demo,
            subprotocols: config.subprotocols.clone(),
            tokens: config.access.tokens.as_ref().is_some_and(|tokens| tokens.subprotocol),
            bounds: Bounds { bytes: config.limits.head_bytes, headers: config.limits.headers },
        },
        access: config.access.guarded().then(|| AccessConfig {
            asks_to_connect: config.access.asks(),
            takes_tokens: config.access.tokens.is_some(),
            rules: config.access.rules.clone(),
        }),
        proxies: config.proxies.clone(),
        brokers: config.brokers.iter().map(|broker| broker.name.clone()).collect(),
        default_broker: default_broker(config),
        demo_page: config.demo.then(|| Page::new(demo::page(&summary.rpc, &config.path))),
        drain: config.drain,
        drain_accept: config.drain_accept,
        shutdown_grace: config
            .shutdown_grace
            .saturating_sub(LAST_MOMENTS.min(config.shutdown_grace / 4)),
    }
}

/// What the desk is to ask, and whom.
pub fn access(
    config: &Config,
    rpc: &RpcListen,
    counters: Arc<AccessCounters>,
    end: DeskEnd,
) -> Result<AccessPlan, StartError> {
    let workers = match &config.access.asked {
        Asked::Workers(workers) => {
            Some(WorkerSettings::of(workers, Some(&reachable(rpc)), &config.path))
        }
        Asked::Nobody | Asked::Callback(_) => None,
    };
    let refused = |why| StartError::System {
        what: "the workers of server.command".to_owned(),
        source: io::Error::other(why),
    };
    Ok(AccessPlan {
        settings: config.access.clone(),
        workers: workers.transpose().map_err(|why: String| refused(why))?,
        remember_bytes: config.limits.remember_bytes,
        connections_per_user: config.limits.connections_per_user,
        counters,
        end,
    })
}

/// Has the hub pass on to the desk what operators order.
pub fn orders(config: &Config, hub: &mut HubEnd) -> Inbox {
    let allocate_timeout = match &config.access.asked {
        Asked::Workers(workers) => workers.pool.allocate_timeout,
        Asked::Nobody | Asked::Callback(_) => Duration::ZERO,
    };
    operators::open(hub, allocate_timeout)
}

/// An RPC address as a process on this machine reaches it, in the one form that PHP's client takes:
/// IPv4.
fn reachable(rpc: &RpcListen) -> String {
    match rpc {
        RpcListen::Tcp(address) if address.ip().is_unspecified() => {
            format!("tcp://127.0.0.1:{}", address.port())
        }
        rpc => rpc.to_string(),
    }
}

/// What the hub is told.
pub fn hub(
    config: &Config,
    backend: BackendName,
    rpc: RpcListener,
    counters: Arc<HubCounters>,
) -> HubConfig {
    HubConfig {
        runtime: match backend {
            BackendName::IoUring => Runtime::Uring,
            BackendName::Epoll => Runtime::Plain,
        },
        rpc: Some(rpc),
        brokers: config
            .brokers
            .iter()
            .map(|broker| (broker.name.clone(), broker.driver.clone()))
            .collect(),
        default_broker: default_broker(config),
        broker_rules: BrokerRules {
            publish_to: Some(publish_to(config)),
            wait: config.broker_wait,
            buffer_bytes: config.broker_buffer,
        },
        policies: config.policies.clone(),
        limits: config.limits.clone(),
        counters,
        drain: config.drain,
        shutdown_grace: config.shutdown_grace,
    }
}

/// The brokers that a message goes to which names none. Of those that share their channels one: it
/// comes to all of them.
fn publish_to(config: &Config) -> Vec<usize> {
    match config.publish_to {
        PublishTo::Default => vec![config.default_broker],
        PublishTo::All => {
            let all = config.brokers.iter().enumerate();
            all.filter(|(_, broker)| broker.shares.is_none()).map(|(place, _)| place).collect()
        }
    }
}

/// What the desk shows of the threads.
pub fn telemetry(
    config: &Config,
    backend: BackendName,
    counters: &Counters,
    hub: &HubEnd,
    progress: &Arc<Progress>,
    log: &Outlet,
) -> Arc<Telemetry> {
    let shards = counters.shards.iter().zip(&counters.loops).zip(&hub.down).enumerate();
    let shards = shards.map(|(index, ((counts, around), lane))| ShardTelemetry {
        name: index.to_string(),
        counts: counts.clone(),
        around: around.clone(),
        lane: lane.depth(),
        wake: lane.consumer(),
    });
    Arc::new(Telemetry {
        progress: progress.clone(),
        log: log.losses().clone(),
        hub: counters.hub.clone(),
        hub_wake: hub.wake.clone(),
        backend,
        ready_without: config
            .brokers
            .iter()
            .filter(|broker| !broker.needed)
            .map(|broker| broker.name.clone())
            .collect(),
        shards: shards.collect(),
        access: config.access.asks().then(|| counters.access.clone()),
        workers: OnceLock::new(),
        callback: OnceLock::new(),
        keys: OnceLock::new(),
    })
}

fn default_broker(config: &Config) -> BrokerId {
    BrokerId(config.default_broker as u16)
}
