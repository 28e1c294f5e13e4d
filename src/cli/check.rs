//! `roadcast check`: what would run, and whether this machine can run it; with `--connect` also
//! whether the brokers' servers will do. Binds nothing.

use std::io::{self, Read as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::task::LocalSet;

use super::args::CheckArgs;
use super::out;
use crate::access::{AccessSettings, Identity, token};
use crate::config::{BrokerConfig, Config, Examined, Problems};
use crate::{escape, hub, preflight};

/// Past 10 years a token counts milliseconds, most likely.
const LONG_S: u64 = 3650 * 86_400;

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
    // A server tries again for ever, as the program may come later; whoever checks wants to know.
    let program = match &machine {
        Ok(_) if refused.is_ok() => preflight::check_program(&config.access),
        _ => Ok(()),
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
    let mut let_in = true;
    let asked = !args.topics.is_empty() || args.token.is_some();
    if asked && (refused.is_ok() || config.access.guarded()) {
        match session(args, &config.access) {
            Ok((identity, told)) => {
                lines.extend(told);
                if !args.topics.is_empty() {
                    lines.push(config.access.told_join(identity.as_ref(), &args.topics));
                }
            }
            Err(told) => {
                lines.push(told);
                let_in = false;
            }
        }
    }
    let mut problems = Vec::new();
    if args.connect && refused.is_ok() {
        match connect(&config) {
            Ok(found) => {
                lines.extend(found.0);
                problems = found.1;
            }
            Err(error) => problems.push(format!("a thread for connections: {error}")),
        }
    }
    lines.extend(notices.iter().map(ToString::to_string));
    if !lines.is_empty()
        && let Err(error) = out::print(lines.join("\n"))
    {
        return super::cannot_print(error);
    }
    let refused = refused.map_err(super::fail);
    let machine = machine.map_err(super::fail);
    let program = program.map_err(super::fail);
    for problem in &problems {
        super::fail(problem);
    }
    let well = let_in && problems.is_empty();
    let code = if well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    refused.and(machine.map(drop)).and(program).map_or_else(|failed| failed, |()| code)
}

/// What the servers of brokers are, and what is wrong with them.
fn connect(config: &Config) -> io::Result<(Vec<String>, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for broker @ BrokerConfig { name, driver, .. } in &config.brokers {
        let probed = LocalSet::new().block_on(&runtime, hub::probe(driver));
        let told = probed.found.iter();
        lines.extend(told.map(|found| format!("broker         {name}: {}", escape::line(found))));
        problems.extend(
            probed.problems.into_iter().map(|why| format!("{}: {why}", broker.place_of(&why))),
        );
    }
    Ok((lines, problems))
}

/// Who joins, by these arguments, and what is to be said of its token. An error: it would not
/// connect with it, or there is none.
fn session(
    args: &CheckArgs,
    access: &AccessSettings,
) -> Result<(Option<Identity>, Option<String>), String> {
    let user = |user: &String| Identity { user: Some(user.as_str().into()), ..Identity::default() };
    let Some(given) = &args.token else { return Ok((args.user.as_ref().map(user), None)) };
    let told = |text: &str| format!("token          {text}");
    let mut text = given.clone();
    if given == "-" {
        text.clear();
        // One byte more than a token may have tells that there is too much.
        let most = token::TOKEN_BYTES_MAX as u64 + 1;
        if let Err(error) = std::io::stdin().take(most).read_to_string(&mut text) {
            return Err(told(&format!("cannot be read: {error}")));
        }
    }
    if text.trim().is_empty() {
        let from = if given == "-" { "standard input is empty" } else { "the text is empty" };
        return Err(told(&format!("is missing: {from}")));
    }
    let Some(settings) = &access.tokens else {
        return Ok((None, Some(told("is not looked at: roadcast.access.jwt is not set"))));
    };
    let key = match settings.key() {
        Some(Ok(key)) => key,
        Some(Err(error)) => return Err(told(&error.to_string())),
        None => {
            let why = "cannot be checked here: its keys are fetched by a server that runs";
            return Ok((None, Some(told(why))));
        }
    };
    let demands = settings.demands(&access.rules);
    match token::check(text.trim().as_bytes(), &[key], &demands, SystemTime::now()) {
        Ok(accepted) => {
            let lasts = lasts(accepted.expires_in);
            Ok((Some(accepted.identity), Some(told(&format!("is accepted, and {lasts}")))))
        }
        Err(fault) => {
            let entry = fault.entry().map_or_else(String::new, |entry| format!(" ({entry})"));
            let (status, why) = (fault.status(), format!("{}{entry}", fault.why()));
            Err(told(&format!("would not connect: {status}, {why}. {}", fault.remedy())))
        }
    }
}

/// For how long a token is good, with `leeway`.
fn lasts(expires_in: Option<Duration>) -> String {
    let Some(left) = expires_in else { return "never expires: it has no exp".to_owned() };
    let seconds = left.as_secs();
    match seconds {
        ..120 => format!("expires in {seconds} s"),
        120..7200 => format!("expires in {} min", seconds / 60),
        7200..172_800 => format!("expires in {} h", seconds / 3600),
        172_800..LONG_S => format!("expires in {} days", seconds / 86_400),
        _ => "expires in more than 10 years: exp counts seconds, and not milliseconds".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_token_is_good_is_told_and_milliseconds_are_suspected() {
        let told = |seconds| lasts(Some(Duration::from_secs(seconds)));
        assert_eq!(told(59), "expires in 59 s");
        assert_eq!(told(3610), "expires in 60 min");
        assert_eq!(told(86_400), "expires in 24 h");
        assert_eq!(told(LONG_S - 1), "expires in 3649 days");
        assert!(told(LONG_S).contains("more than 10 years: exp counts seconds"));
        assert!(lasts(None).starts_with("never expires"));
    }
}
