//! Signatures as Standard Webhooks describes them, so that receivers can check them with any of its libraries.

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// What keys begin with that are written as the standard wants them: base64 follows. Any other key is taken as it is.
const PREFIX: &str = "whsec_";

/// The value of `webhook-signature` for a message.
///
/// # Errors
/// In words, when the key is none.
pub(super) fn sign(key: &SecretString, id: &str, timestamp: u64, body: &[u8]) -> Result<String, String> {
    let wrong = || format!("its signing key is no key: after {PREFIX} comes base64");
    let key = match key.expose_secret().strip_prefix(PREFIX) {
        Some(encoded) => BASE64.decode(encoded).map_err(|_| wrong())?,
        None => key.expose_secret().as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| wrong())?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the standard's own libraries are tested with.
    #[test]
    fn a_message_is_signed_as_the_standard_wants_it() {
        let sign = |key: &str| {
            let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
            sign(&SecretString::from(key), id, 1_614_265_330, body.as_bytes())
        };
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").as_deref(), Ok(expected));
        assert_ne!(sign("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").as_deref(), Ok(expected));
        let error = sign("whsec_!").unwrap_err();
        assert!(error.contains("base64") && !error.contains('!'), "{error}");
    }
}
