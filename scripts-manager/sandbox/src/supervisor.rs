//! How the supervisor is started.

use std::net::SocketAddr;

/// The supervisor's source, in the order in which it happens.
const SOURCE: &str = concat!(
    include_str!("../python/settings.py"),
    include_str!("../python/canary.py"),
    include_str!("../python/walls.py"),
    include_str!("../python/script.py"),
    include_str!("../python/layer.py"),
    include_str!("../python/files.py"),
    include_str!("../python/memory.py"),
    include_str!("../python/wire.py"),
    include_str!("../python/process.py"),
    include_str!("../python/supervisor.py"),
    include_str!("../python/main.py"),
);

/// Directory that a script in a pod may write to. It holds the script's working directory, its input and its output.
pub const WORK_DIR: &str = "/work";
/// Directory in a pod where packages are unpacked.
pub const PACKAGES_DIR: &str = "/packages";

/// Where a supervisor runs; some walls differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In a pod of its own.
    #[default]
    Pod,
    /// As a child process beside everything else that runs on this machine.
    Local,
}

/// What a supervisor does about a wall that is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Walls {
    /// Refuses to run anything.
    #[default]
    Strict,
    /// Says so, and goes without.
    Baseline,
}

/// Whether the supervisor puts up its seccomp filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// Always, except in a test of the other walls.
    #[default]
    On,
    /// Only to see what the other walls hold by themselves.
    Off,
}

/// What a supervisor is told when it starts, and nobody can change later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupervisorSettings {
    /// Where it runs.
    pub place: Place,
    /// What it does about a wall that is missing.
    pub walls: Walls,
    /// Whether it puts up its filter.
    pub seccomp: Seccomp,
    /// An address that it tries to reach before it walls itself in: the walls around it should stop it.
    pub canary: Option<SocketAddr>,
    /// Modules that the script's process imports as soon as packages were unpacked, before it gets its script.
    pub preload: Vec<String>,
}

/// The command line of a supervisor, for an image or machine that has nothing but `python3`.
///
/// Isolated, without site packages (the script's process adds them itself) and unbuffered: half the start-up time.
pub fn supervisor_command(settings: &SupervisorSettings) -> Vec<String> {
    let SupervisorSettings {
        place,
        walls,
        seccomp,
        canary,
        preload,
    } = settings;
    let place = match place {
        Place::Pod => "pod",
        Place::Local => "local",
    };
    let walls = match walls {
        Walls::Strict => "walls=strict",
        Walls::Baseline => "walls=baseline",
    };
    let mut command: Vec<_> = ["python3", "-I", "-S", "-u", "-c", SOURCE, place, walls]
        .map(str::to_owned)
        .into();
    command.extend((*seccomp == Seccomp::Off).then(|| "seccomp=off".to_owned()));
    command.extend(canary.map(|address| format!("canary={address}")));
    command.extend((!preload.is_empty()).then(|| format!("preload={}", preload.join(","))));
    command
}
