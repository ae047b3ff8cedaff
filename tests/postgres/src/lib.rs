//! A real PostgreSQL server for tests: in a temporary directory, on the loopback interface, gone when it is dropped.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod certificate;

use std::{
    env,
    fs::{self, Permissions},
    net::TcpListener,
    ops::Range,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use certificate::Certificate;

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
    options: Vec<&'static str>,
    running: Option<Child>,
}

impl Server {
    /// A server that accepts connections.
    ///
    /// # Panics
    /// When there is no PostgreSQL on this machine, or it does not start.
    pub fn start() -> Self {
        let mut server = Self::create();
        server.resume();
        server
    }

    /// A server that has `certificate` and accepts encrypted connections, too.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with_tls(certificate: &Certificate) -> Self {
        let mut server = Self::create();
        let Certificate { certificate, key, .. } = certificate;
        // Where it looks for them unless it is told otherwise.
        for (name, content) in [("server.crt", certificate), ("server.key", key)] {
            let path = server.file(&format!("data/{name}"), content);
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            own(&path);
        }
        server.options.push("ssl=on");
        server.resume();
        server
    }

    /// A server that does not run yet.
    fn create() -> Self {
        let programs = programs();
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let password = directory.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        own(directory.path());
        own(&password);
        let server = Self {
            programs,
            directory,
            port,
            options: vec!["listen_addresses=127.0.0.1", "fsync=off", "unix_socket_directories="],
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
            .args(["-p", &self.port.to_string()])
            .args(self.options.iter().flat_map(|option| ["-c", option]))
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

    /// Ends the server at once, as a crash would: no process of it answers any more when this returns.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // SIGKILL would leave the processes that serve connections, and they would go on for a moment.
            let _ = kill_process(Pid::from_child(&running), Signal::QUIT);
            let _ = running.wait();
        }
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

/// A port that nobody has, below those that the kernel gives to whoever asks for any: nobody else gets it while the server
/// is down.
fn free_port() -> u16 {
    const PORTS: Range<u16> = 10_000..30_000;
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % u32::from(PORTS.end - PORTS.start);
    loop {
        let tried = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + ((first + tried) % u32::from(PORTS.end - PORTS.start)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Gives a file to the user whom the server runs as.
fn own(path: &Path) {
    if is_root() {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
}

fn is_root() -> bool {
    Path::new("/proc/self").exists() && {
        use std::os::unix::fs::MetadataExt;
        fs::metadata("/proc/self").unwrap().uid() == 0
    }
}
