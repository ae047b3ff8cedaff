//! How the supervisor is started.

/// The supervisor's source, in three rooms.
const SOURCE: &str = concat!(
    include_str!("../python/walls.py"),
    include_str!("../python/script.py"),
    include_str!("../python/supervisor.py"),
);

/// Directory that a script in a pod may write to; its working directory, home and place for temporary files.
pub const WORK_DIR: &str = "/work";

/// Where a supervisor runs; some walls differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a pod of its own.
    Pod,
    /// As a child process beside everything else that runs on this machine.
    Local,
}

/// Whether the supervisor puts up its seccomp filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// Always, except in a test of the other walls.
    On,
    /// Only to see what the other walls hold by themselves.
    Off,
}

/// The command line of a supervisor, for an image or machine that has nothing but `python3`.
///
/// Isolated, without site packages (the script's process adds them itself) and unbuffered: half the start-up time.
pub fn supervisor_command(place: Place, seccomp: Seccomp) -> Vec<String> {
    let place = match place {
        Place::Pod => "pod",
        Place::Local => "local",
    };
    let mut command: Vec<_> = ["python3", "-I", "-S", "-u", "-c", SOURCE, place]
        .map(str::to_owned)
        .into();
    if seccomp == Seccomp::Off {
        command.push("no-seccomp".to_owned());
    }
    command
}
