//! What a server says of itself.

use serde::Deserialize;

/// Servers of a cluster that are heeded.
const URLS_MAX: usize = 64;
/// What a server takes that does not say it.
const PAYLOAD_BYTES_DEFAULT: usize = 1024 * 1024;

/// `INFO`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Info {
    /// For example `2.9.10`.
    pub version: String,
    /// Bytes of a payload that it takes; see [`Info::payload_bytes_max`].
    max_payload: Option<i64>,
    /// It wants to know who we are.
    pub auth_required: bool,
    /// It goes on over TLS alone.
    pub tls_required: bool,
    /// It goes on over TLS if we like.
    pub tls_available: bool,
    /// To be signed.
    pub nonce: String,
    /// `host:port` of it and of others of its cluster.
    connect_urls: Vec<String>,
    /// It is about to end: a lame duck.
    pub ldm: bool,
}

impl Info {
    /// Reads the JSON behind `INFO`.
    pub fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Bytes of a payload that it takes.
    pub fn payload_bytes_max(&self) -> usize {
        match self.max_payload {
            None => PAYLOAD_BYTES_DEFAULT,
            // By the account's limits: none.
            Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// `host:port` of servers of its cluster.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.connect_urls.iter().map(String::as_str).take(URLS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_info_is_read_and_what_is_unknown_is_passed_over() {
        let json = br#"{"server_id":"NAAA","server_name":"n1","version":"2.9.10","proto":1,
            "git_commit":"n/a","go":"go1.19.4","host":"0.0.0.0","port":4222,"headers":true,
            "auth_required":true,"max_payload":1048576,"client_id":5,"nonce":"PXo",
            "connect_urls":["10.0.0.1:4222","[::1]:4223"],"ldm":true,"xkey":null}"#;
        let info = Info::parse(json).unwrap();
        assert_eq!((info.version.as_str(), info.nonce.as_str()), ("2.9.10", "PXo"));
        assert!(info.auth_required && info.ldm && !info.tls_required);
        assert_eq!(info.payload_bytes_max(), 1_048_576);
        assert_eq!(info.urls().collect::<Vec<_>>(), ["10.0.0.1:4222", "[::1]:4223"]);
    }

    #[test]
    fn what_is_no_info_is_none() {
        for json in ["", "x", "[1]", r#"{"max_payload":"x"}"#, r#"{"connect_urls":{}}"#] {
            assert_eq!(Info::parse(json.as_bytes()), None, "{json}");
        }
        assert_eq!(Info::parse(b"{}").unwrap().payload_bytes_max(), PAYLOAD_BYTES_DEFAULT);
        let unlimited = Info::parse(br#"{"max_payload":-1}"#).unwrap();
        assert_eq!(unlimited.payload_bytes_max(), usize::MAX);
    }
}
