//! The command line's words.

use clap::Args;

/// Arguments of `publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// Topics that each message goes to
    #[arg(required = true)]
    pub topics: Vec<String>,
    /// The message; `-` reads standard input, a message a line
    #[arg(short, long, allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Where the server takes publications
    #[arg(long = "url", visible_alias = "rpc")]
    pub url: Option<String>,
    /// Publish to this broker only
    #[arg(long)]
    pub broker: Option<String>,
}

/// Arguments of `subscribe`.
#[derive(Clone, Debug, Args)]
pub struct SubscribeArgs {
    /// Topics to join
    #[arg(required = true)]
    pub topics: Vec<String>,
    /// Where clients connect
    #[arg(long)]
    pub url: Option<String>,
    /// Print one JSON object a line, with topic and payload
    #[arg(long)]
    pub json: bool,
    /// The `Origin` header to send, where the server has a rule
    #[arg(long)]
    pub origin: Option<String>,
    /// Join topics of this broker
    #[arg(long)]
    pub broker: Option<String>,
}
