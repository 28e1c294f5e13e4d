//! What the servers of a broker are and let us do, for whoever checks a configuration.

use tokio::time::timeout;

use super::session::{LoadedTls, NoSession, Session, dial};
use super::settings::NatsSettings;
use crate::hub::broker::Probed;
use crate::nats::{self, LINE_BYTES_MAX, PING, Said};

/// Of messages that come meanwhile; there are none of interest.
const PAYLOAD_BYTES_MAX: usize = 1024;

/// See [`crate::hub::probe()`].
pub(in crate::hub) async fn probe_nats(settings: &NatsSettings, probed: &mut Probed) {
    let tls = LoadedTls::new();
    for server in &settings.servers {
        let address = &server.address;
        let dialled = dial(settings, &tls, server, "roadcast check", PAYLOAD_BYTES_MAX).await;
        let problem = match dialled {
            Err(NoSession::Hopeless(why) | NoSession::Away(why)) => Err(why),
            Ok(mut session) => {
                let info = &session.info;
                let lame = if info.ldm { ", about to end (lame duck)" } else { "" };
                probed.found.push(format!(
                    "{address}: nats {}, max_payload {} bytes{lame}",
                    info.version,
                    info.payload_bytes_max()
                ));
                let asked = permissions(&mut session, &settings.prefix);
                let limit = settings.dial_timeout;
                let asked = timeout(limit, asked).await;
                asked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
            }
        };
        match problem {
            Ok(refused) => probed.problems.extend(
                refused.into_iter().map(|why| format!("{address}: the user's permissions: {why}")),
            ),
            Err(why) => probed.problems.push(format!("{address}: {why}")),
        }
    }
}

/// Subscribes and publishes; says what the server refuses of that.
async fn permissions(session: &mut Session, prefix: &str) -> Result<Vec<String>, String> {
    let subject = nats::subject(prefix, "__roadcast:check").map_err(|_| "`prefix` is too long")?;
    session.link.out().queue(|out| {
        nats::subscribe(out, &subject, 1);
        nats::publish(out, &subject, b"");
        out.extend_from_slice(PING);
    });
    let mut refused = Vec::new();
    loop {
        let next = session.decoder.next(session.link.bytes());
        let (bytes, said) = next.map_err(|error| error.to_string())?;
        match said {
            Some(Said::Pong) => return Ok(refused),
            Some(Said::Error(text)) => refused.push(text.to_owned()),
            _ => {}
        }
        session.link.consume(bytes);
        if bytes == 0 {
            let read = session.link.read(LINE_BYTES_MAX).await;
            read.map_err(|error| error.to_string())?;
        }
    }
}
