//! What a script on this machine is kept from: services that listen, and files of the user who runs it.

use std::{
    fs,
    io::Write,
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::MetadataExt,
            net::{SocketAddr, UnixDatagram, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use rockbot_attacks::Attack;
use rockbot_scripts_api::{ScriptRequest, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// An ordinary process reaches all of it; what it could not reach would prove nothing.
const CONTROL: &str = "
import json, os, socket, sys
t = json.load(sys.stdin)
socket.create_connection(t['tcp']['loopback'], 5)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', tuple(t['udp']['loopback']))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', tuple(t['dns']))
socket.socket(socket.AF_UNIX).connect(t['unix'])
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', t['unix_datagram'])
socket.socket(socket.AF_UNIX).connect('\\0' + t['abstract'])
assert open(t['files'][0]).read()
os.kill(t['pid'], 0)
os.close(os.open(t['directories'][0] + '/control', os.O_CREAT | os.O_WRONLY))
";
const CONTACTS_OF_CONTROL: u32 = 6;

pub(crate) struct Stage {
    runtime: Runtime,
    targets: Value,
    contacts: Arc<AtomicU32>,
    secret: PathBuf,
    untouched: State,
}

/// All that there is to see of a file.
#[derive(Debug, PartialEq, Eq)]
struct State {
    content: String,
    mode: u32,
    owner: (u32, u32),
    modified: i64,
    links: u64,
    beside: Vec<PathBuf>,
}

impl Stage {
    pub(crate) fn set_up(directory: &Path) -> Result<Self> {
        let user = directory.join("user");
        fs::create_dir_all(&user)?;
        let secret = user.join("secret");
        fs::write(&secret, "the user's secret")?;
        let contacts = Arc::default();
        let (unix, unix_datagram) = (user.join("socket"), user.join("datagrams"));
        let name = format!("rockbot-attacks-{}", process::id());
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let (udp, dns) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let targets = json!({
            "tcp": { "loopback": address(tcp.local_addr()?) },
            "udp": { "loopback": address(udp.local_addr()?) },
            "dns": address(dns.local_addr()?),
            "unix": unix,
            "unix_datagram": unix_datagram,
            "abstract": name,
            "pid": process::id(),
            "files": [secret],
            "directories": [user, directory.join("scripts")],
        });
        count(&contacts, move || tcp.accept().is_ok());
        let stream = UnixListener::bind(unix)?;
        count(&contacts, move || stream.accept().is_ok());
        let named = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        count(&contacts, move || named.accept().is_ok());
        let datagrams = UnixDatagram::bind(unix_datagram)?;
        count(&contacts, move || datagrams.recv(&mut [0; 64]).is_ok());
        for socket in [udp, dns] {
            count(&contacts, move || socket.recv(&mut [0; 64]).is_ok());
        }
        control(&targets)?;
        let stage = Self {
            runtime: Runtime::new()?,
            targets,
            contacts,
            untouched: State::of(&secret)?,
            secret,
        };
        stage.await_contacts()?;
        Ok(stage)
    }

    /// Runs an attack, judges what came of it, looks at what it must not have touched, and runs an ordinary script.
    pub(crate) fn run(&self, attack: &Attack) -> Result<()> {
        for _ in 0..attack.times {
            attack.judge(&self.answer(&attack.script, attack.timeout_seconds)?)?;
            let contacts = self.contacts.load(Ordering::SeqCst) - CONTACTS_OF_CONTROL;
            ensure!(contacts == 0, "a canary was reached, by this attack or one beside it");
            let state = State::of(&self.secret)?;
            ensure!(
                state == self.untouched,
                "the user's file was {:?} and is {state:?}",
                self.untouched
            );
            let next = self.answer("print(42)", 20)?;
            ensure!(next["stdout"] == "42\n", "the next script: {next}");
        }
        Ok(())
    }

    fn answer(&self, script: &str, timeout_seconds: u32) -> Result<Value> {
        let request = ScriptRequest {
            script: script.to_owned(),
            input_data: Some(self.targets.clone()),
            timeout_seconds,
            ..ScriptRequest::default()
        };
        Ok(match self.runtime.block_on(LocalRunner::single_use()?.run(request)) {
            Ok(result) => serde_json::to_value(result)?,
            Err(error) => json!({ "error": { "code": error.code, "message": error.message } }),
        })
    }

    fn await_contacts(&self) -> Result<()> {
        let seen = || self.contacts.load(Ordering::SeqCst) == CONTACTS_OF_CONTROL;
        let waited = (0..100).any(|_| {
            thread::park_timeout(std::time::Duration::from_millis(20));
            seen()
        });
        ensure!(waited, "an ordinary process does not reach every canary");
        Ok(())
    }
}

impl State {
    fn of(file: &Path) -> Result<Self> {
        let metadata = fs::metadata(file)?;
        let directory = file.parent().context("a file without a directory")?;
        let mut beside = fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        beside.sort();
        Ok(Self {
            content: fs::read_to_string(file)?,
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: metadata.mtime(),
            links: metadata.nlink(),
            beside,
        })
    }
}

fn control(targets: &Value) -> Result<()> {
    let mut child = Command::new("python3")
        .args(["-c", CONTROL])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start python3")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(targets.to_string().as_bytes())?;
    drop(stdin);
    ensure!(
        child.wait()?.success(),
        "an ordinary process cannot do what attacks try"
    );
    Ok(())
}

/// Counts what `contact` waits for, until the process ends.
fn count(contacts: &Arc<AtomicU32>, contact: impl Fn() -> bool + Send + 'static) {
    let contacts = Arc::clone(contacts);
    thread::spawn(move || {
        while contact() {
            contacts.fetch_add(1, Ordering::SeqCst);
        }
    });
}

fn address(address: std::net::SocketAddr) -> Value {
    json!([address.ip(), address.port()])
}
