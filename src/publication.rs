//! Publications: a message as every subscriber of a topic reads it, encoded once for all of them.

use std::sync::Arc;

/// The encoded frame of a publication would be larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the publication takes {bytes} bytes as encoded for clients")]
pub struct TooLarge {
    /// Bytes of the whole frame.
    pub bytes: usize,
}

/// The whole text frame, `{"topic":"foo","payload":"hello"}`.
pub fn encode(topic: &str, payload: &[u8], bytes_max: usize) -> Result<Arc<[u8]>, TooLarge> {
    let topic = serde_json::Value::from(topic);
    let payload = serde_json::Value::from(String::from_utf8_lossy(payload));
    let text = format!(r#"{{"topic":{topic},"payload":{payload}}}"#);
    let mut out = vec![0x81];
    match text.len() {
        length @ 0..126 => out.push(length as u8),
        length @ 126..65_536 => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(text.into_bytes());
    if out.len() > bytes_max { Err(TooLarge { bytes: out.len() }) } else { Ok(out.into()) }
}
