//! A certificate by an authority of its own, made with `openssl`.

use std::{fs, path::Path, process::Command};

/// A server's certificate, and what belongs to it. All of it is PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate of its authority.
    pub authority: String,
    /// Itself.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Certificate {
    /// A certificate for `host`, which is `DNS:` and a name, or `IP:` and an address.
    ///
    /// # Panics
    /// When `openssl` is missing, or fails.
    pub fn of(host: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let run = |arguments: String| openssl(directory.path(), &arguments);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout";
        run(format!(
            "req -x509 {key} ca.key -out ca.crt -days 2 -subj /CN=test-authority"
        ));
        run(format!(
            "req {key} server.key -out request -subj /CN=test-server -addext subjectAltName={host}"
        ));
        run("x509 -req -in request -copy_extensions copy -CA ca.crt -CAkey ca.key -out server.crt -days 2".to_owned());
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        Self {
            authority: read("ca.crt"),
            certificate: read("server.crt"),
            key: read("server.key"),
        }
    }
}

fn openssl(directory: &Path, arguments: &str) {
    let mut openssl = Command::new("openssl");
    let ended = openssl.args(arguments.split(' ')).current_dir(directory).output();
    let ended = ended.unwrap_or_else(|error| panic!("openssl does not start; apt-get install openssl: {error}"));
    assert!(
        ended.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
