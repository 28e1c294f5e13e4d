//! What operators call and are answered, as Go's gob was recorded to write it: byte for byte. The
//! recorder has read each answer with the types of older and newer `rr` binaries, too.

use rand::prelude::*;
use roadcast::rpc::{self, Call, CallError, Codec, Decoded, Worker, WorkerStatus};
use serde_json::Value;

use crate::goridge_vectors::bytes;

#[derive(serde::Deserialize)]
struct Vector {
    of: String,
    value: Value,
    gob: String,
}

fn vectors() -> Vec<Vector> {
    let lines = include_str!("operators.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn call(body: &[u8]) -> Call<'_> {
    Call { sequence: 1, method: b"informer.Workers", codec: Some(Codec::Gob), body }
}

fn body(encode: impl FnOnce(&mut Vec<u8>, &Call<'_>) -> Result<(), CallError<'static>>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, &call(b"")).unwrap();
    let Ok(Decoded::Whole { value, .. }) = rpc::decode_answer(&out, 1 << 20) else { panic!() };
    value.body.to_vec()
}

fn worker(value: &Value) -> Worker {
    assert_eq!(value["NumJobs"], value["NumExecs"]);
    Worker {
        pid: value["Pid"].as_u64().unwrap() as u32,
        status: match value["StatusStr"].as_str().unwrap() {
            "ready" => WorkerStatus::Ready,
            "working" => WorkerStatus::Working,
            other => panic!("{other}"),
        },
        answers: value["NumExecs"].as_u64().unwrap(),
        created_ns: value["Created"].as_i64().unwrap(),
        memory_bytes: value["MemoryUsage"].as_u64().unwrap(),
        cpu_percent: value["CPUPercent"].as_f64().unwrap(),
        command: value["Command"].as_str().unwrap().to_owned(),
    }
}

#[test]
fn answers_are_written_as_go_writes_them() {
    let mut seen = 0;
    for Vector { of, value, gob } in vectors() {
        let written = match of.as_str() {
            "strings" => {
                let names: Vec<&str> =
                    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                body(|out, call| rpc::encode_plugins(out, call, &names))
            }
            "bool" if value == true => body(rpc::encode_done),
            "jobs" => body(rpc::encode_no_jobs),
            "workers" => {
                let workers = value["Workers"].as_array();
                let workers = workers.map(|all| all.iter().map(worker).collect::<Vec<_>>());
                body(|out, call| rpc::encode_workers(out, call, workers.as_deref()))
            }
            _ => continue,
        };
        assert_eq!(written, bytes(&gob), "{of} {value}");
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn names_are_read_as_go_writes_them_and_refused_where_they_are_cut_short() {
    for Vector { of, value, gob } in vectors() {
        let gob = bytes(&gob);
        let read = rpc::plugin(&call(&gob));
        if of != "string" {
            assert!(read.is_err(), "{of} {value}");
            continue;
        }
        assert_eq!(read.unwrap(), value.as_str().unwrap());
        for length in 1..gob.len() {
            assert!(rpc::plugin(&call(&gob[..length])).is_err(), "{value} {length}");
        }
    }
}

/// Whatever a caller sends is a name or an error, and takes no memory beyond what was sent.
#[test]
fn garbage_is_a_name_or_an_error() {
    let mut random = StdRng::seed_from_u64(0x676f62);
    let good: Vec<Vec<u8>> = vectors().iter().map(|vector| bytes(&vector.gob)).collect();
    let (mut names, mut errors) = (0, 0);
    for _ in 0..50_000 {
        let mut body = good.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..4) {
            *body.choose_mut(&mut random).unwrap() = random.random();
        }
        body.truncate(random.random_range(0..=body.len()));
        for codec in [Codec::Gob, Codec::Json, Codec::Msgpack] {
            match rpc::plugin(&Call { codec: Some(codec), ..call(&body) }) {
                Ok(name) => {
                    assert!(name.len() <= 3 * body.len(), "no byte becomes more than U+FFFD");
                    names += 1;
                }
                Err(error) => {
                    assert!(error.to_string().len() < 2048);
                    errors += 1;
                }
            }
        }
    }
    assert!(names > 100 && errors > 100, "{names} {errors}");
}
