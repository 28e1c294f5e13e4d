//! `roadcast.Brokers`: how the brokers are. Ours alone, so there is no client of RoadRunner's to
//! answer in gob.

use serde::Serialize;

use super::{Form, form, json, msgpack};
use crate::rpc::answer::encode;
use crate::rpc::call::Call;
use crate::rpc::error::CallError;

/// A broker, as it is told of.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerTold {
    /// Its name in the configuration.
    pub name: String,
    /// `memory`, `redis` or `nats`.
    pub driver: &'static str,
    /// Whether it is the one that is meant where none is named.
    pub default: bool,
    /// `up`, `connecting`, `resubscribing` or `down`.
    pub state: &'static str,
    /// Since when: seconds since 1970.
    pub since: u64,
    /// Why, where it is not up.
    pub why: Option<String>,
    /// What went wrong last, also when it is up again.
    pub last_error: Option<String>,
    /// Where it was reached last.
    pub address: Option<String>,
    /// Which server that is, and its version.
    pub server: Option<String>,
    /// Topics that are subscribed, or about to be.
    pub channels: u64,
    /// Publications that came from it.
    pub received: u64,
    /// Bytes of their payloads.
    pub received_bytes: u64,
    /// Publications by RPC that it has taken.
    pub published: u64,
    /// Bytes of payloads that it was given.
    pub published_bytes: u64,
    /// Publications that it did not take, or not for sure.
    pub publish_errors: u64,
    /// Connections to it that were made anew.
    pub reconnects: u64,
    /// Topics of which something may have been missed, each time.
    pub gaps: u64,
    /// From publishing to receiving, as the last probe had it; `null`: none has come
    /// back since it was up.
    pub lag_seconds: Option<f64>,
}

#[derive(Serialize)]
struct List<'a> {
    brokers: &'a [BrokerTold],
}

/// Appends the answer that tells of brokers. What the call says beside its method nobody reads.
pub fn encode_brokers(
    out: &mut Vec<u8>,
    call: &Call<'_>,
    brokers: &[BrokerTold],
) -> Result<(), CallError<'static>> {
    let list = List { brokers };
    let body = match form(call)? {
        Form::Json => json(&list),
        Form::Msgpack => msgpack(&list),
        Form::Gob => {
            return Err(CallError::Form("roadcast.Brokers answers in JSON and MSGPACK"));
        }
    };
    encode(out, call, 0, &body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Codec, Decoded, decode_answer};

    fn told(codec: Codec) -> Result<Vec<u8>, String> {
        let call = Call { sequence: 3, method: b"roadcast.Brokers", codec: Some(codec), body: b"" };
        let broker = BrokerTold {
            name: "bus".into(),
            driver: "redis",
            state: "down",
            since: 1_700_000_000,
            why: Some("refused".into()),
            publish_errors: 2,
            lag_seconds: Some(0.25),
            ..BrokerTold::default()
        };
        let mut out = Vec::new();
        encode_brokers(&mut out, &call, &[broker]).map_err(|error| error.to_string())?;
        let Ok(Decoded::Whole { value, .. }) = decode_answer(&out, 1 << 20) else { panic!() };
        Ok(value.body.to_vec())
    }

    #[test]
    fn brokers_are_told_in_json_and_msgpack_with_the_same_names() {
        let json: serde_json::Value = serde_json::from_slice(&told(Codec::Json).unwrap()).unwrap();
        let broker = &json["brokers"][0];
        assert_eq!((&broker["name"], &broker["state"]), (&"bus".into(), &"down".into()));
        assert_eq!(
            (&broker["publishErrors"], &broker["since"]),
            (&2.into(), &1_700_000_000.into())
        );
        assert_eq!((&broker["lagSeconds"], &broker["lastError"]), (&0.25.into(), &().into()));
        let packed: serde_json::Value =
            rmp_serde::from_slice(&told(Codec::Msgpack).unwrap()).unwrap();
        assert_eq!(packed, json);
    }

    #[test]
    fn other_forms_are_refused() {
        assert!(told(Codec::Gob).unwrap_err().contains("JSON and MSGPACK"));
        assert!(told(Codec::Proto).is_err());
    }
}
