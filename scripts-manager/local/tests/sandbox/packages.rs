//! T16: packages that scripts name, from an index on loopback with the pip of this machine.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use rockbot_scripts_api::{Allow, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult, ScriptRunner};
use rockbot_scripts_local::{LocalRunner, PackageSettings};
use tempfile::TempDir;

use crate::request;

struct Index {
    process: Child,
    port: u16,
    cache: TempDir,
}

impl Index {
    fn start() -> Self {
        let mut process = Command::new("python3")
            .args(["-c", include_str!("index.py")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut port)
            .unwrap();
        Self {
            process,
            port: port.trim().parse().unwrap(),
            cache: TempDir::new().unwrap(),
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.rsplit("\r\n").next().unwrap().to_owned()
    }

    fn downloads(&self) -> u32 {
        self.get("/downloads").parse().unwrap()
    }

    fn settings(&self) -> PackageSettings {
        PackageSettings {
            directory: self.cache.path().to_owned(),
            index: Some(format!("http://127.0.0.1:{}/simple", self.port)),
            allow: Allow::Any,
        }
    }

    /// Runs a script in a process that has opened nothing yet.
    async fn run(&self, packages: &[&str], script: &str) -> Result<ScriptResult, ScriptError> {
        run(self.settings(), packages, script).await
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

async fn run(settings: PackageSettings, packages: &[&str], script: &str) -> Result<ScriptResult, ScriptError> {
    let runner = LocalRunner::single_use()?.with_packages(settings);
    let request = ScriptRequest {
        pip_packages: packages.iter().map(|&name| name.to_owned()).collect(),
        ..request(script)
    };
    runner.run(request).await
}

#[tokio::test]
async fn t16_packages_and_what_they_need_are_there_and_fetched_once() {
    let index = Index::start();
    let script = "import needs_pure, also_here, pure; print(needs_pure.version, pure.version)";
    let first = index.run(&["Needs_Pure"], script).await.unwrap();
    assert_eq!((first.stdout.as_str(), first.stderr.as_str()), ("1.5 2.0\n", ""));
    assert_eq!(index.downloads(), 2);
    let again = index.run(&["needs-pure"], script).await.unwrap();
    assert_eq!((again.stdout.as_str(), index.downloads()), ("1.5 2.0\n", 2));
    let pinned = index.run(&["needs-pure", "pure==1.0"], script).await.unwrap();
    assert_eq!(pinned.stdout, "1.5 1.0\n");
    // Who names none has none, and the version that a script sees is what metadata says.
    let without = index.run(&[], "import pure").await.unwrap();
    assert!(without.stderr.contains("No module named 'pure'"), "{}", without.stderr);
    let version = "import importlib.metadata as m; print(m.version('pure'))";
    assert_eq!(index.run(&["pure<2"], version).await.unwrap().stdout, "1.0\n");
}

#[tokio::test]
async fn t16_every_reason_for_which_packages_cannot_be_had_is_told_apart() {
    let index = Index::start();
    let cases: [(&[&str], &str); 12] = [
        (&["missing"], "the index has no package missing; check its name"),
        (
            &["needs-missing"],
            "the index has no package missing (needed by needs-missing)",
        ),
        (
            &["pure>=3"],
            "no version satisfies pure>=3; the index has wheels of 1.0, 2.0",
        ),
        (&["source"], "source has no wheel, only source distributions"),
        (&["names-source"], "source has no wheel, only source distributions"),
        (
            &["names-wheel"],
            "pure comes from an address that another package names",
        ),
        (&["elsewhere"], "elsewhere has no wheel for Python 3."),
        (
            &["wants-old", "wants-new"],
            "the packages exclude each other: wants-new 1 depends on pure>=2; wants-old 1 depends on pure<2",
        ),
        (&["huge"], "too large"),
        (&["many"], "too large"),
        (&["pure", "./here"], "pip_packages[1]: \"./here\" is a path"),
        (&["pure", "-r"], "pip_packages[1]: \"-r\" is an option"),
    ];
    for (packages, expected) in cases {
        let error = index.run(packages, "print('ran')").await.unwrap_err();
        let (code, message) = (error.code, &error.message);
        let refused = [ScriptErrorCode::PackagesRefused, ScriptErrorCode::InvalidRequest];
        assert!(refused.contains(&code) && !error.retryable, "{packages:?}: {error:?}");
        assert!(message.contains(expected), "{packages:?}: {message}");
    }
    let allow = Allow::parse(&["pure"]).unwrap();
    let settings = PackageSettings {
        allow,
        ..index.settings()
    };
    let error = run(settings, &["huge"], "pass").await.unwrap_err();
    assert!(error.message.contains("not allowed: huge;"), "{error}");
}

#[tokio::test]
async fn t16_an_index_that_is_away_is_no_fault_of_the_packages() {
    let index = Index::start();
    let broken = index.run(&["broken"], "pass").await.unwrap_err();
    let nobody = PackageSettings {
        index: Some("http://127.0.0.1:1/simple".into()),
        ..index.settings()
    };
    let away = run(nobody, &["pure"], "pass").await.unwrap_err();
    for (error, expected) in [(broken, "503"), (away, "Connection refused")] {
        assert_eq!(error.code, ScriptErrorCode::PackageIndexUnavailable, "{error:?}");
        assert!(error.retryable && error.message.contains(expected), "{error:?}");
    }
}

#[tokio::test]
async fn t18_what_runs_at_the_start_of_an_interpreter_is_left_out() {
    let index = Index::start();
    let script = "import os, starts; print(sorted(name for name in os.listdir(os.path.dirname(os.path.dirname(starts.__file__)))))";
    let result = index.run(&["starts"], script).await.unwrap();
    assert_eq!(result.stdout, "['starts', 'starts-1.dist-info']\n", "{}", result.stderr);
}

#[tokio::test]
async fn t18_a_file_that_is_another_than_the_locked_one_is_refused() {
    let index = Index::start();
    index.run(&["pure==1.0"], "import pure").await.unwrap();
    // The cache was cleared, but what was in it is known.
    fs::remove_dir_all(index.cache.path().join("archives")).unwrap();
    index.run(&["pure==1.0"], "import pure").await.unwrap();
    fs::remove_dir_all(index.cache.path().join("archives")).unwrap();
    index.get("/change");
    let error = index.run(&["pure==1.0"], "import pure").await.unwrap_err();
    assert_eq!(error.code, ScriptErrorCode::PackagesRefused);
    assert!(
        error.message.contains("another file than before") && error.message.contains("pure==1.0"),
        "{error}"
    );
}
