//! A real PostgreSQL server for tests: in a temporary directory, on the loopback interface, gone when it is dropped.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    env, fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// `nobody`: PostgreSQL refuses to run as root.
const USER: u32 = 65534;
/// The password of its user `rockbot`, which no URL can carry as it is.
pub const PASSWORD: &str = "p@ss/word?";

/// A server that stops when it is dropped.
pub struct Server {
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// A server that accepts connections.
    ///
    /// # Panics
    /// When there is no PostgreSQL on this machine, or it does not start.
    pub fn start() -> Self {
        let programs = programs();
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let password = directory.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        if is_root() {
            chown(directory.path(), Some(USER), Some(USER)).unwrap();
            chown(&password, Some(USER), Some(USER)).unwrap();
        }
        let mut server = Self {
            programs,
            directory,
            port,
            running: None,
        };
        let made = server
            .program("initdb")
            .args([
                "--no-sync",
                "--auth=scram-sha-256",
                "--username=rockbot",
                "--encoding=UTF8",
                "--pwfile",
            ])
            .arg(&password)
            .arg("--pgdata")
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.resume();
        server
    }

    /// The port that it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server again after [`stop`](Self::stop).
    ///
    /// # Panics
    /// When it does not start.
    pub fn resume(&mut self) {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let running = self
            .program("postgres")
            .arg("-D")
            .arg(self.data())
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-p", &self.port.to_string()])
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(running);
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("ready to accept connections") {
            let ended = self.running.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none() && Instant::now() < deadline, "{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Ends the server at once, as a power cut would.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// The URL of its database, with the name of a host that does not exist.
    pub fn url(&self) -> String {
        let password: String = url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
        format!("postgres://rockbot:{password}@nowhere.invalid/postgres?sslmode=disable")
    }

    /// A file beside its data, which goes with it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .current_dir(self.directory.path());
        if is_root() {
            command.uid(USER).gid(USER);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where PostgreSQL's programs are: on the path, or where Debian puts them.
fn programs() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let mut folders = env::split_paths(&path).chain(debian);
    let has_both = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let found = folders.find(has_both);
    found.unwrap_or_else(|| panic!("there is no PostgreSQL here; tests/tools postgres installs it"))
}

fn is_root() -> bool {
    Path::new("/proc/self").exists() && {
        use std::os::unix::fs::MetadataExt;
        fs::metadata("/proc/self").unwrap().uid() == 0
    }
}
