//! `roadcast check`: what would run, and whether this machine can run it. Binds nothing.

use std::process::ExitCode;

use super::args::CheckArgs;
use super::out;
use crate::access::Identity;
use crate::config::{Config, Examined, Problems};
use crate::preflight;

/// Prints what would run. All that is wrong with the configuration or the machine is told on
/// stderr, exit code 1.
pub fn run(args: &CheckArgs) -> ExitCode {
    let Examined { mut config, notices, problems } = Config::examine(&super::options(&args.config));
    let refused = Problems::none(problems);
    // What the kernel allows is as true of a configuration that will not do; the number of open
    // files is not.
    let machine = if refused.is_ok() {
        preflight::check(&mut config)
    } else {
        preflight::check_kernel(config.backend, config.shards)
    };
    let mut lines = Vec::new();
    if refused.is_ok() {
        let backend = machine.as_ref().ok().map(|machine| &machine.backend);
        lines.push(config.summary(backend).to_string());
    }
    if let Ok(machine) = &machine {
        let (kernel, descriptors) = (&machine.kernel, machine.descriptors);
        if refused.is_err() {
            lines.push(format!("backend        {}", machine.backend));
        }
        lines.push(format!("machine        Linux {kernel}, {descriptors} open files"));
    }
    // What is guarded was understood as far as rules go; otherwise defaults would be judged.
    if !args.topics.is_empty() && (refused.is_ok() || config.access.guarded()) {
        let identity = args
            .user
            .as_deref()
            .map(|user| Identity { user: Some(user.into()), ..Identity::default() });
        lines.push(config.access.told_join(identity.as_ref(), &args.topics));
    }
    lines.extend(notices.iter().map(ToString::to_string));
    if !lines.is_empty()
        && let Err(error) = out::print(lines.join("\n"))
    {
        return super::cannot_print(error);
    }
    let refused = refused.map_err(super::fail);
    let machine = machine.map_err(super::fail);
    refused.and(machine.map(|_| ExitCode::SUCCESS)).unwrap_or_else(|code| code)
}
