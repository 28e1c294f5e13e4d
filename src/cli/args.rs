//! The command line's words.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

/// WebSocket publish/subscribe server in the place of RoadRunner's websockets and broadcast
/// plugins.
#[derive(Debug, Parser)]
#[command(name = "roadcast", version, propagate_version = true, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Read the configuration and say what would run, without binding anything
    Check(CheckArgs),
    /// Publish a message to topics, over RPC
    Publish(PublishArgs),
    /// Print the messages of topics until Ctrl-C
    Subscribe(SubscribeArgs),
    /// Show the brokers of a server that runs; fails unless all are up
    Brokers(ShowArgs),
    /// Show the PHP workers of a server that runs
    Workers(ShowArgs),
    /// Have a server start new PHP workers in the place of the old ones, so that changed code acts
    Reset(ResetArgs),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file [default: .rr.yaml of the working directory, if there is one]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set a key, over file and environment; repeatable
    #[arg(short = 'o', long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Serve the demo page at / of the WebSocket address
    #[arg(long)]
    pub demo: bool,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Default, Args)]
pub struct CheckArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Connect to the servers of all brokers, and say what they are and whether they let us work
    #[arg(long)]
    pub connect: bool,
    /// Say what would become of a join of this topic, and which rule decides; repeatable
    #[arg(long = "topic", value_name = "TOPIC", value_parser = topic)]
    pub topics: Vec<String>,
    /// As this user, as workers or a callback would name it
    #[arg(long, value_name = "NAME", requires = "topics")]
    pub user: Option<String>,
    /// With this token, which is checked; `-`: read it from standard input, where nobody else can
    /// see it
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    pub token: Option<String>,
}

/// Arguments of `publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// Topics that each message goes to
    #[arg(required = true, value_name = "TOPIC", value_parser = topic)]
    pub topics: Vec<String>,
    /// The message [default: standard input, a message a line, as with `-`]
    #[arg(short, long, value_name = "PAYLOAD", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Where the server takes publications [default: rpc.listen of the configuration]
    #[arg(long = "url", visible_alias = "rpc", value_name = "tcp://HOST:PORT | unix:///PATH")]
    pub url: Option<String>,
    /// Publish to this broker only [default: all]
    #[arg(long, value_name = "NAME")]
    pub broker: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `subscribe`.
#[derive(Clone, Debug, Args)]
pub struct SubscribeArgs {
    /// Topics to join
    #[arg(required = true, value_name = "TOPIC", value_parser = topic)]
    pub topics: Vec<String>,
    /// Where clients connect [default: http.address and websockets.path of the configuration]
    #[arg(long, value_name = "ws://HOST:PORT/PATH")]
    pub url: Option<String>,
    /// Print one JSON object a line, with topic and payload
    #[arg(long)]
    pub json: bool,
    /// Ask to be told where messages may be missing, because the server was cut off from its
    /// broker: prints a line `@gap TOPIC: …` there, with --json an object whose topic is `@gap` and
    /// whose payload is a list of topics
    #[arg(long)]
    pub gaps: bool,
    /// When the connection is lost, or the server is not there, try again, at first soon, then
    /// every 30 s at most
    #[arg(long)]
    pub reconnect: bool,
    /// The `Origin` header to send, where the server has a rule
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,
    /// Join topics of this broker [default: the server's default one, as for a name that it does
    /// not have]
    #[arg(long, value_name = "NAME")]
    pub broker: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Which server is called.
#[derive(Clone, Debug, Args)]
pub struct CallArgs {
    /// Where the server takes calls [default: rpc.listen of the configuration]
    #[arg(long = "url", visible_alias = "rpc", value_name = "tcp://HOST:PORT | unix:///PATH")]
    pub url: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `brokers` and of `workers`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Print what the server answers, one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show them again each second, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// The server.
    #[command(flatten)]
    pub server: CallArgs,
}

/// Arguments of `reset`.
#[derive(Clone, Debug, Args)]
pub struct ResetArgs {
    /// Then go on, and do it again whenever PHP files change, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Directories that are watched, with all below them but hidden ones, `vendor` and
    /// `node_modules` [default: that of the configuration file]
    #[arg(value_name = "DIRECTORY", requires = "watch")]
    pub directories: Vec<PathBuf>,
    /// The server.
    #[command(flatten)]
    pub server: CallArgs,
}

impl ResetArgs {
    /// The directories that are watched.
    pub fn watched(&self) -> Vec<PathBuf> {
        if !self.directories.is_empty() {
            return self.directories.clone();
        }
        // Without `-c` the file is looked for in the working directory.
        let beside = self.server.config.config.as_deref().and_then(Path::parent);
        let named = beside.filter(|path| !path.as_os_str().is_empty());
        vec![named.unwrap_or(Path::new(".")).to_owned()]
    }
}

fn topic(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a topic needs a name") } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_help_of_publish_says_what_is_read_without_a_message() {
        let mut cli = <Cli as clap::CommandFactory>::command();
        let help =
            cli.find_subcommand_mut("publish").expect("publish").render_long_help().to_string();
        assert!(
            help.contains("[default: standard input, a message a line, as with `-`]"),
            "{help}"
        );
    }

    #[test]
    fn publish_takes_topics_a_message_and_either_name_of_the_address() {
        for address in ["--url", "--rpc"] {
            let words = [
                "roadcast",
                "publish",
                "a",
                "b",
                "-m",
                "-",
                address,
                "tcp://h:1",
                "--broker",
                "bus",
            ];
            let Command::Publish(args) = Cli::parse_from(words).command else {
                panic!("not publish")
            };
            assert_eq!(args.topics, ["a", "b"]);
            assert_eq!(
                (args.message.as_deref(), args.url.as_deref()),
                (Some("-"), Some("tcp://h:1"))
            );
        }
        let Command::Publish(args) = Cli::parse_from(["roadcast", "publish", "a", "-"]).command
        else {
            panic!()
        };
        assert_eq!(args.topics, ["a", "-"]);
    }

    #[test]
    fn reset_watches_what_is_named_or_where_the_configuration_is() {
        let watched = |more: &[&str]| {
            let words = [&["roadcast", "reset", "--watch"], more].concat();
            let Command::Reset(args) = Cli::parse_from(words).command else { panic!("not reset") };
            args.watched()
        };
        assert_eq!(watched(&[]), [Path::new(".")]);
        assert_eq!(watched(&["-c", "other.yaml"]), [Path::new(".")]);
        assert_eq!(watched(&["-c", "/srv/site/.rr.yaml"]), [Path::new("/srv/site")]);
        assert_eq!(watched(&["-c", "/srv/.rr.yaml", "a", "b"]), ["a", "b"].map(Path::new));
    }
}
