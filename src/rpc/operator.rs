//! What operators call (`rr workers`, `rr reset`, deploy scripts), and its answers: JSON, as PHP
//! sends it, Go's gob, as the `rr` binary does, and MSGPACK.

mod brokers;

use std::borrow::Cow;

use serde::Serialize;

use super::Codec;
use super::answer::encode;
use super::call::Call;
use super::error::CallError;
use super::gob::{self, Fields, Shape};
pub use brokers::{BrokerTold, encode_brokers};

/// The plugin that has workers, and can be reset.
pub const PLUGIN: &str = "websockets";
/// What PHP looks for when it asks whether it can broadcast.
pub const PLUGINS: [&str; 2] = ["broadcast", PLUGIN];

/// A worker, as it is told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Its process.
    pub pid: u32,
    /// What it is at.
    pub status: WorkerStatus,
    /// Questions it has answered.
    pub answers: u64,
    /// When it was started: nanoseconds since 1970.
    pub created_ns: i64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Of one CPU, in percent, since its start.
    pub cpu_percent: f64,
    /// What it runs.
    pub command: String,
}

/// What a worker is at; the numbers are RoadRunner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerStatus {
    /// It waits for a question.
    Ready = 1,
    /// It is being asked.
    Working = 2,
    /// It is to end.
    Stopping = 4,
}

impl WorkerStatus {
    /// As operators read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Working => "working",
            Self::Stopping => "stopping",
        }
    }
}

/// The encodings that these calls and answers have.
enum Form {
    Json,
    Msgpack,
    Gob,
}

/// In the words of the Go server.
fn form(call: &Call<'_>) -> Result<Form, CallError<'static>> {
    match call.codec {
        Some(Codec::Json) => Ok(Form::Json),
        Some(Codec::Msgpack) => Ok(Form::Msgpack),
        // Without a codec, Go takes it for this one.
        Some(Codec::Gob) | None => Ok(Form::Gob),
        Some(Codec::Proto) => {
            Err(CallError::Form("goridge_read_request_body: message type is not a proto"))
        }
        Some(Codec::Raw) => Err(CallError::Form("unknown Raw payload type")),
    }
}

/// The plugin that a call names. A body of no bytes is an empty name, as in Go.
pub fn plugin<'a>(call: &Call<'a>) -> Result<Cow<'a, str>, CallError<'static>> {
    let form = form(call)?;
    if call.body.is_empty() {
        return Ok(Cow::Borrowed(""));
    }
    let failed = |codec, reason| CallError::Body { codec, reason };
    match form {
        Form::Json => serde_json::from_slice::<Option<String>>(call.body)
            .map(|name| name.unwrap_or_default().into())
            .map_err(|error| failed(Codec::Json, error.to_string())),
        Form::Msgpack => rmp_serde::from_slice::<Option<String>>(call.body)
            .map(|name| name.unwrap_or_default().into())
            .map_err(|error| failed(Codec::Msgpack, error.to_string())),
        Form::Gob => gob::read_text(call.body)
            .map(String::from_utf8_lossy)
            .map_err(|error| failed(Codec::Gob, error.to_string())),
    }
}

/// Appends an answer that names plugins. What the call says beside its method nobody reads.
pub fn encode_plugins(
    out: &mut Vec<u8>,
    call: &Call<'_>,
    plugins: &[&str],
) -> Result<(), CallError<'static>> {
    let body = match form(call)? {
        Form::Json => json(&plugins),
        Form::Msgpack => msgpack(&plugins),
        Form::Gob => {
            // The number that Go's encoder gives the first type that it meets.
            const LIST: i64 = 64;
            let mut body = Vec::new();
            gob::define(&mut body, LIST, "", Shape::Slice(gob::TEXT));
            let mut value = vec![0];
            gob::uint(&mut value, plugins.len() as u64);
            plugins.iter().for_each(|plugin| gob::text(&mut value, plugin));
            gob::message(&mut body, LIST, &value);
            body
        }
    };
    encode(out, call, 0, &body);
    Ok(())
}

/// Appends an answer that says that it is done.
pub fn encode_done(out: &mut Vec<u8>, call: &Call<'_>) -> Result<(), CallError<'static>> {
    let body: &[u8] = match form(call)? {
        Form::Json => b"true",
        Form::Msgpack => b"\xc3",
        Form::Gob => b"\x03\x02\x00\x01",
    };
    encode(out, call, 0, body);
    Ok(())
}

/// Appends the answer that there are no jobs: that is another plugin's.
pub fn encode_no_jobs(out: &mut Vec<u8>, call: &Call<'_>) -> Result<(), CallError<'static>> {
    let body = match form(call)? {
        Form::Json => b"[]".to_vec(),
        Form::Msgpack => b"\x90".to_vec(),
        Form::Gob => {
            const JOB: i64 = 65;
            const LIST: i64 = 66;
            let fields = [
                ("Pipeline", gob::TEXT),
                ("Driver", gob::TEXT),
                ("Queue", gob::TEXT),
                ("Active", gob::INT),
                ("Delayed", gob::INT),
                ("Reserved", gob::INT),
                ("Ready", gob::BOOL),
            ];
            let mut body = Vec::new();
            gob::define(&mut body, LIST, "", Shape::Slice(JOB));
            gob::define(&mut body, JOB, "", Shape::Struct(&fields));
            gob::message(&mut body, LIST, &[0, 0]);
            body
        }
    };
    encode(out, call, 0, &body);
    Ok(())
}

/// Appends the answer that tells of the workers of a plugin; `None`: no plugin of that name has
/// any.
pub fn encode_workers(
    out: &mut Vec<u8>,
    call: &Call<'_>,
    workers: Option<&[Worker]>,
) -> Result<(), CallError<'static>> {
    let body = match form(call)? {
        Form::Json => {
            let workers = workers.map(|all| all.iter().map(InJson::of).collect());
            json(&JsonList { workers })
        }
        Form::Msgpack => {
            let workers = workers.map(|all| all.iter().map(InMsgpack::of).collect());
            msgpack(&MsgpackList { workers })
        }
        Form::Gob => workers_in_gob(workers.unwrap_or_default()),
    };
    encode(out, call, 0, &body);
    Ok(())
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("lists, numbers and texts can be written as JSON")
}

fn msgpack(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("lists, numbers and texts can be written as MSGPACK")
}

#[derive(Serialize)]
struct JsonList<'a> {
    workers: Option<Vec<InJson<'a>>>,
}

/// As RoadRunner 2.11.2 and later has it, and with the names that PHP's `WorkerPool` reads.
#[derive(Serialize)]
struct InJson<'a> {
    pid: u32,
    status: u8,
    #[serde(rename = "numExecs")]
    executions: u64,
    created: i64,
    #[serde(rename = "memoryUsage")]
    memory_bytes: u64,
    #[serde(rename = "CPUPercent")]
    cpu_percent: f64,
    #[serde(rename = "Command")]
    command: &'a str,
    #[serde(rename = "StatusStr")]
    status_text: &'static str,
    #[serde(rename = "command")]
    command_again: &'a str,
    #[serde(rename = "statusStr")]
    status_text_again: &'static str,
}

impl<'a> InJson<'a> {
    fn of(worker: &'a Worker) -> Self {
        let (command, status_text) = (&*worker.command, worker.status.name());
        Self {
            pid: worker.pid,
            status: worker.status as u8,
            executions: worker.answers,
            created: worker.created_ns,
            memory_bytes: worker.memory_bytes,
            cpu_percent: worker.cpu_percent,
            command,
            status_text,
            command_again: command,
            status_text_again: status_text,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MsgpackList<'a> {
    workers: Option<Vec<InMsgpack<'a>>>,
}

/// Go's field names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InMsgpack<'a> {
    pid: u32,
    status: u8,
    num_execs: u64,
    created: i64,
    memory_usage: u64,
    #[serde(rename = "CPUPercent")]
    cpu_percent: f64,
    command: &'a str,
    status_str: &'static str,
}

impl<'a> InMsgpack<'a> {
    fn of(worker: &'a Worker) -> Self {
        Self {
            pid: worker.pid,
            status: worker.status as u8,
            num_execs: worker.answers,
            created: worker.created_ns,
            memory_usage: worker.memory_bytes,
            cpu_percent: worker.cpu_percent,
            command: &worker.command,
            status_str: worker.status.name(),
        }
    }
}

/// Go finds fields by their names. `Status` is left out: it is a text in older binaries and a
/// number in newer ones, and either refuses the other's; both do without it. `NumJobs` is the older
/// name of `NumExecs`.
fn workers_in_gob(workers: &[Worker]) -> Vec<u8> {
    // The numbers that Go's encoder gives them, where the types of jobs came before.
    const LIST: i64 = 67;
    const WORKER: i64 = 68;
    const WORKERS: i64 = 69;
    let fields = [
        ("Pid", gob::INT),
        ("NumJobs", gob::UINT),
        ("NumExecs", gob::UINT),
        ("Created", gob::INT),
        ("MemoryUsage", gob::UINT),
        ("CPUPercent", gob::FLOAT),
        ("Command", gob::TEXT),
        ("StatusStr", gob::TEXT),
    ];
    let mut body = Vec::new();
    gob::define(&mut body, LIST, "WorkerList", Shape::Struct(&[("Workers", WORKERS)]));
    gob::define(&mut body, WORKERS, "[]*process.State", Shape::Slice(WORKER));
    gob::define(&mut body, WORKER, "", Shape::Struct(&fields));
    let mut value = Vec::new();
    let mut list = Fields::of(&mut value);
    if !workers.is_empty() {
        let value = list.value(1);
        gob::uint(value, workers.len() as u64);
        for worker in workers {
            let mut fields = Fields::of(value);
            fields.int(1, worker.pid.into());
            fields.uint(2, worker.answers);
            fields.uint(3, worker.answers);
            fields.int(4, worker.created_ns);
            fields.uint(5, worker.memory_bytes);
            fields.float(6, worker.cpu_percent);
            fields.text(7, &worker.command);
            fields.text(8, worker.status.name());
            fields.end();
        }
    }
    list.end();
    gob::message(&mut body, LIST, &value);
    body
}

#[cfg(test)]
mod tests;
