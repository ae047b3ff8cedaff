//! Packages: unpacked before the script, importable by it, and nothing but files and directories below their own.

use std::{fs, time::Duration};

use flate2::{Compression, write::GzEncoder};
use rockbot_sandbox::{ConversationError, Ending, LayerDone, SupervisorSettings};
use tar::{Builder, EntryType, Header};
use tokio::time::timeout;
use uuid::Uuid;

use crate::Supervisor;

struct Archive(Builder<GzEncoder<Vec<u8>>>);

impl Archive {
    fn new() -> Self {
        Self(Builder::new(GzEncoder::new(Vec::new(), Compression::fast())))
    }

    fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_entry_type(EntryType::Regular);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    /// An entry as nobody makes it by mistake.
    fn raw(mut self, path: &str, kind: EntryType, size: u64) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..163].copy_from_slice(b"target");
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        self.0.append(&header, std::io::empty()).unwrap();
        self
    }

    /// A file whose path stands in an entry of its own: as GNU's tar writes a long one, or as POSIX says.
    fn renamed(mut self, kind: EntryType, path: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(path.len() as u64);
        header.set_cksum();
        self.0.append(&header, path).unwrap();
        self.file("in", "")
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }
}

async fn install(preload: &[&str], archive: &[u8]) -> (Supervisor, Result<LayerDone, ConversationError>) {
    let settings = SupervisorSettings {
        preload: preload.iter().map(ToString::to_string).collect(),
        ..SupervisorSettings::default()
    };
    let mut supervisor = Supervisor::start(settings).await;
    let done = supervisor.conversation.as_mut().unwrap().install(archive).await;
    (supervisor, done)
}

fn text(ending: &Ending) -> (&str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (text(&ending.stdout), text(&ending.stderr))
}

#[tokio::test]
async fn t16_a_script_imports_what_was_installed() {
    let deep = format!("pure/{}/data.txt", ["long"; 40].join("/"));
    let archive = Archive::new()
        .file("pure/__init__.py", "print('imported')\nvalue = 42")
        .file(&deep, "data")
        .file("json/__init__.py", "raise RuntimeError('shadows the standard library')")
        .raw("empty", EntryType::Directory, 0)
        .finish();
    let script = format!(
        "import os, subprocess, sys, json\nprint('pure' in sys.modules)\nimport pure\nprint(pure.value)\n\
         root = os.path.dirname(os.path.dirname(pure.__file__))\nprint(open(root + '/{deep}').read(), os.listdir(root + '/empty'))\n\
         sys.stdout.flush()\nsubprocess.run([sys.executable, '-c', 'import pure'], check=True)"
    );
    for (preload, expected) in [
        (&["pure", "no_such_module"][..], "True\n42\ndata []\nimported\n"),
        (&[], "False\nimported\n42\ndata []\nimported\n"),
    ] {
        let (supervisor, done) = install(preload, &archive).await;
        assert_eq!(done.unwrap().files, 3);
        let ending = supervisor.run(&script).await;
        assert_eq!((text(&ending), ending.exit.code), ((expected, ""), Some(0)));
        assert!(!ending.exit.truncated);
    }
}

#[tokio::test]
async fn t18_a_module_that_exits_when_it_is_imported_is_left_to_the_script() {
    let archive = Archive::new()
        .file("quits.py", "import sys\nsys.exit('not me')")
        .file("fine.py", "")
        .finish();
    let (supervisor, done) = install(&["quits", "fine"], &archive).await;
    done.unwrap();
    let ending = supervisor
        .run("import sys\nprint('fine' in sys.modules)\nimport quits")
        .await;
    assert_eq!((text(&ending), ending.exit.code), (("True\n", "not me\n"), Some(1)));
}

#[tokio::test]
async fn t18_a_module_that_ends_its_process_when_it_is_imported_is_told_of_at_once() {
    for end in ["os._exit(0)", "os.kill(os.getpid(), 9)"] {
        let archive = Archive::new().file("ends.py", format!("import os\n{end}")).finish();
        let installing = timeout(Duration::from_secs(20), install(&["ends"], &archive)).await;
        let (_supervisor, done) = installing.unwrap();
        let Err(ConversationError::Refused { reason }) = done else {
            panic!("{end}: {done:?}")
        };
        assert!(reason.contains("it ended"), "{end}: {reason}");
    }
}

#[tokio::test]
async fn without_packages_a_script_has_no_directory_of_them() {
    let supervisor = Supervisor::start(SupervisorSettings::default()).await;
    let ending = supervisor
        .run("import os, sys; print([p for p in sys.path if 'packages' in p[-9:]], 'PYTHONPATH' in os.environ)")
        .await;
    assert!(
        text(&ending).0.ends_with("False\n") && !text(&ending).0.contains("/packages'"),
        "{ending:?}"
    );
}

#[tokio::test]
async fn t17_an_archive_that_is_not_plain_is_refused() {
    let raw = |path, kind| Archive::new().raw(path, kind, 0).finish();
    let renamed = |kind, path: &[u8]| Archive::new().renamed(kind, path).finish();
    let elsewhere = "a path that leads elsewhere";
    let cases = [
        (raw("link", EntryType::Symlink), "neither a file nor a directory"),
        (raw("link", EntryType::Link), "neither a file nor a directory"),
        (raw("pipe", EntryType::Fifo), "neither a file nor a directory"),
        (raw("device", EntryType::Char), "neither a file nor a directory"),
        (raw("sparse", EntryType::GNUSparse), "neither a file nor a directory"),
        (raw("../out", EntryType::Regular), elsewhere),
        (raw("/tmp/out", EntryType::Regular), elsewhere),
        (raw("a/../../out", EntryType::Directory), elsewhere),
        (renamed(EntryType::GNULongName, b"../out\0"), elsewhere),
        (renamed(EntryType::XHeader, b"15 path=../out\n"), elsewhere),
        (renamed(EntryType::XHeader, b"x path=../out\n"), "damaged"),
        (
            Archive::new().file("a", "1").file("a", "2").finish(),
            "cannot be unpacked: [Errno 17] File exists",
        ),
        (
            Archive::new().file("a", "1").file("a/b", "2").finish(),
            "cannot be unpacked",
        ),
        (
            Archive::new().raw("huge", EntryType::Regular, 181 << 20).finish(),
            "at most 188743680 bytes",
        ),
        (b"not an archive".to_vec(), "damaged"),
        (
            Archive::new().file("a", "x".repeat(100_000)).finish()[..60].to_vec(),
            "damaged",
        ),
    ];
    for (archive, expected) in cases {
        let (supervisor, done) = install(&[], &archive).await;
        let Err(ConversationError::Refused { reason }) = done else {
            panic!("{expected}: {done:?}")
        };
        assert!(reason.contains(expected), "{reason}");
        let mut beside: Vec<_> = fs::read_dir(supervisor.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "packages")
            .collect();
        beside.sort();
        assert_eq!(beside, ["home", "input", "output"], "{expected}");
    }
}

#[tokio::test]
async fn an_archive_that_is_refused_early_is_still_taken_to_its_end() {
    let noise: Vec<u8> = (0..50_000).flat_map(|_| Uuid::new_v4().into_bytes()).collect();
    let archive = Archive::new()
        .raw("link", EntryType::Symlink, 0)
        .file("a", noise)
        .finish();
    assert!(archive.len() > 500_000, "larger than what pipes hold");
    let (_supervisor, done) = install(&[], &archive).await;
    assert!(matches!(done, Err(ConversationError::Refused { .. })), "{done:?}");
}

#[tokio::test]
async fn too_many_entries_are_refused() {
    let mut archive = Archive::new();
    for _ in 0..30_001 {
        archive = archive.raw("d", EntryType::Directory, 0);
    }
    let (_supervisor, done) = install(&[], &archive.finish()).await;
    let Err(ConversationError::Refused { reason }) = done else {
        panic!("{done:?}")
    };
    assert!(reason.contains("at most 30000 entries"), "{reason}");
}
