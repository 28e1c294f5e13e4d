//! Commands: what a client asks for, one JSON object a message (RFC 8259), read as Go reads it
//! (`json_reader`).
//!
//! Field names are matched without regard to (ASCII) case, of a field given twice the last counts,
//! `null` is an empty string, fields of other names are skipped whatever they hold. So is a
//! `broker` or `payload` that is no string, and `gaps` that is neither true nor false: RoadRunner
//! skips the first always, and has no use for the others.

mod long;
mod recovery;

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::json_reader::{JsonError, JsonReader, Kind};
use crate::position::Since;

pub use self::recovery::Recovery;
pub use crate::json_reader::DEPTH_MAX;

/// The topics of a command, in the order asked. Most commands name few.
pub type Topics<'a> = SmallVec<[Cow<'a, str>; 4]>;

/// What a client asks for. The strings lie in the message, where they can stand as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Subscribe to these topics.
    Join {
        /// A broker's name; empty: the default one.
        broker: Cow<'a, str>,
        /// May be empty, and may name a topic twice. `None`: the field is missing or `null`, which
        /// the reply repeats.
        topics: Option<Topics<'a>>,
        /// The client wants to be told when it may have missed something of them. RoadRunner has no
        /// such field.
        gaps: bool,
        /// The client counts what it reads, and may have missed some. RoadRunner has no such
        /// fields.
        recovery: Option<Box<Recovery<'a>>>,
    },
    /// Give these topics up.
    Leave {
        /// A broker's name; empty: the default one.
        broker: Cow<'a, str>,
        /// As in a join.
        topics: Option<Topics<'a>>,
    },
    /// Accepted, without effect.
    Headers,
    /// Go on with this token. RoadRunner has no such command.
    Token {
        /// As sent; empty if there is none.
        token: Cow<'a, str>,
    },
    /// Not known here.
    Other {
        /// As sent, however long; empty if the field is missing.
        name: Cow<'a, str>,
    },
}

/// Why a message is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The text is not JSON.
    #[error("not valid JSON")]
    NotJson,
    /// Arrays and objects lie within each other more than [`DEPTH_MAX`] deep.
    #[error("nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// JSON, but not an object.
    #[error("not an object")]
    NotAnObject,
    /// The command has to be a string.
    #[error("`command` is not a string")]
    CommandNotString,
    /// The topics have to be an array of strings.
    #[error("`topics` is not an array of strings")]
    TopicsNotStrings,
}

impl From<JsonError> for Malformed {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax => Self::NotJson,
            JsonError::TooDeep => Self::TooDeep,
        }
    }
}

/// What a command's fields hold, each the last of its name.
#[derive(Default)]
struct Fields<'a> {
    command: Cow<'a, str>,
    broker: Cow<'a, str>,
    topics: Option<Topics<'a>>,
    payload: Cow<'a, str>,
    gaps: bool,
    recover: bool,
    since: Option<Vec<(Cow<'a, str>, Since)>>,
    history: Option<u64>,
}

impl<'a> From<Fields<'a>> for Command<'a> {
    fn from(fields: Fields<'a>) -> Self {
        let Fields { command, broker, topics, payload, gaps, recover, since, history: last } =
            fields;
        match &*command {
            "join" => {
                let recovers = recover || since.is_some() || last.is_some();
                let recovery = || Box::new(Recovery { since: since.unwrap_or_default(), last });
                Self::Join { broker, topics, gaps, recovery: recovers.then(recovery) }
            }
            "leave" => Self::Leave { broker, topics },
            "headers" => Self::Headers,
            "token" => Self::Token { token: payload },
            _ => Self::Other { name: command },
        }
    }
}

/// Parses a message. The strings lie in it, or, if it is long, in `scratch`. What it holds of a
/// short one at most is the topics, 24 bytes for each, and a copy of those that cannot stand as
/// they are.
pub fn parse<'a>(message: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Command<'a>, Malformed> {
    if message.len() >= long::FROM {
        scratch.clear();
        scratch.extend_from_slice(message);
        if let Some(command) = long::parse(scratch) {
            return Ok(command);
        }
    }
    let mut json = JsonReader::new(message);
    if json.kind() != Kind::Object {
        json.skip()?;
        json.end()?;
        return Err(Malformed::NotAnObject);
    }
    json.enter()?;

    let mut fields = Fields::default();
    let mut first = true;
    while let Some(name) = json.next_field(std::mem::take(&mut first))? {
        if name.eq_ignore_ascii_case("command") {
            fields.command = string(&mut json)?.ok_or(Malformed::CommandNotString)?;
        } else if name.eq_ignore_ascii_case("broker") {
            fields.broker = string(&mut json)?.unwrap_or_default();
        } else if name.eq_ignore_ascii_case("topics") {
            fields.topics = strings(&mut json)?;
        } else if name.eq_ignore_ascii_case("payload") {
            fields.payload = string(&mut json)?.unwrap_or_default();
        } else if name.eq_ignore_ascii_case("since") {
            fields.since = Some(recovery::since(&mut json)?);
        } else if name.eq_ignore_ascii_case("history") {
            fields.history = json.unsigned()?;
        } else {
            if name.eq_ignore_ascii_case("gaps") {
                fields.gaps = json.kind() == Kind::True;
            } else if name.eq_ignore_ascii_case("recover") {
                fields.recover = json.kind() == Kind::True;
            }
            json.skip()?;
        }
    }
    json.end()?;
    Ok(fields.into())
}

/// The string that comes next, empty if it is `null`; `None` if it is something else.
fn string<'a>(json: &mut JsonReader<'a>) -> Result<Option<Cow<'a, str>>, Malformed> {
    let kind = json.kind();
    if kind == Kind::String {
        return Ok(Some(json.string()?));
    }
    json.skip()?;
    Ok((kind == Kind::Null).then(Cow::default))
}

/// The strings that come next, `None` if it is `null`.
fn strings<'a>(json: &mut JsonReader<'a>) -> Result<Option<Topics<'a>>, Malformed> {
    let kind = json.kind();
    if kind != Kind::Array {
        json.skip()?;
        return if kind == Kind::Null { Ok(None) } else { Err(Malformed::TopicsNotStrings) };
    }
    json.enter()?;
    let mut topics = Topics::new();
    while json.next_item(topics.is_empty())? {
        topics.push(string(json)?.ok_or(Malformed::TopicsNotStrings)?);
    }
    Ok(Some(topics))
}

#[cfg(test)]
mod tests;
