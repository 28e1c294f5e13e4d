//! The HTTP response to who comes with a token that will not do, or with none (RFC 6750 §3).

use super::TokenFault;
use crate::ws::upgrade::refuse_token;

impl TokenFault {
    /// The status of the response: 401; 400 where it is not said which token counts; 503 where
    /// nobody's token can be checked.
    pub fn status(self) -> u16 {
        match self {
            Self::Two => 400,
            Self::NoKeys => 503,
            _ => 401,
        }
    }

    /// The whole response. It says what is wrong and what to do, and holds nothing of the token.
    /// `retry_after_s` is told where trying again helps.
    pub fn response(self, retry_after_s: u64) -> Vec<u8> {
        let why = self.why();
        let headers = match self {
            // RFC 6750 §3.1: who has brought none is not told of an error.
            Self::Missing => "WWW-Authenticate: Bearer\r\n".to_owned(),
            Self::NoKeys => format!("Retry-After: {retry_after_s}\r\n"),
            Self::Two => challenge("invalid_request", why),
            _ => challenge("invalid_token", why),
        };
        let mut text = why.to_owned();
        text[..1].make_ascii_uppercase();
        refuse_token(self.status(), &headers, &format!("{text}. {}", self.remedy()))
    }
}

fn challenge(error: &str, why: &str) -> String {
    format!("WWW-Authenticate: Bearer error=\"{error}\", error_description=\"{why}\"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_wrong_and_what_to_do() {
        let response = String::from_utf8(TokenFault::Expired.response(1)).unwrap();
        assert_eq!(
            response,
            "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\
             WWW-Authenticate: Bearer error=\"invalid_token\", \
             error_description=\"the token has expired\"\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 42\r\n\r\n\
             The token has expired. Ask for a new one.\n"
        );
    }

    #[test]
    fn the_challenge_fits_the_fault() {
        for (fault, status, header) in [
            (TokenFault::Missing, "401 Unauthorized", "WWW-Authenticate: Bearer\r\n"),
            (TokenFault::NoKeys, "503 Service Unavailable", "Retry-After: 7\r\n"),
            (TokenFault::Two, "400 Bad Request", "Bearer error=\"invalid_request\", "),
            (TokenFault::Signature, "401 Unauthorized", "Bearer error=\"invalid_token\", "),
        ] {
            let response = String::from_utf8(fault.response(7)).unwrap();
            assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{response}");
            assert!(response.contains(header), "{response}");
        }
    }

    /// RFC 6750 §3: what an `error_description` may hold.
    #[test]
    fn what_is_wrong_can_stand_in_a_header() {
        for fault in [
            TokenFault::Missing,
            TokenFault::Two,
            TokenFault::TooLong,
            TokenFault::Malformed("the token is encrypted, not only signed"),
            TokenFault::Content("the token's exp is no number"),
            TokenFault::Topic(1000),
            TokenFault::Algorithm,
            TokenFault::UnknownKey,
            TokenFault::NoKeys,
            TokenFault::Signature,
            TokenFault::Expired,
            TokenFault::NotYetValid,
            TokenFault::Audience,
            TokenFault::Issuer,
            TokenFault::TooManyTopics,
        ] {
            let fits = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
            assert!(fault.why().bytes().all(fits), "{}", fault.why());
            assert!(fault.remedy().is_ascii() && fault.remedy().ends_with('.'), "{fault:?}");
        }
    }
}
