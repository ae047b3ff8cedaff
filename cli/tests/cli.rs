//! The program itself, as a person runs it: exit codes and output. K5, T18.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Output, Stdio},
    thread,
};

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/examples/quickstart.yaml");
const ROCKBOT: &str = env!("CARGO_BIN_EXE_rockbot");

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn rockbot(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(ROCKBOT)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_script_s_output_and_exit_code_are_the_program_s() {
    let script = "import os, sys\nprint(os.environ['ROCKBOT_INPUT'])\nprint('oops', file=sys.stderr)\nsys.exit(3)";
    let output = rockbot(&["script", "run", "--input", r#"{"n": 3}"#, "-"], script);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(text(&output.stdout), "{\"n\":3}\n");
    assert_eq!(text(&output.stderr), "oops\n");
}

#[test]
fn a_timeout_is_exit_code_124_and_json_says_so() {
    let output = rockbot(
        &["script", "run", "--timeout", "1", "--output", "json", "-"],
        "while True: pass",
    );
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["timed_out"], true);
}

#[test]
fn what_cannot_be_run_is_exit_code_125_with_a_reason() {
    for (arguments, input, reason) in [
        (&["script", "run", "no-such-file.py"][..], "", "no-such-file.py"),
        (&["script", "run", "-"][..], "  ", "script: must not be empty"),
        (
            &["script", "run", "--timeout", "301", "-"][..],
            "pass",
            "allowed is 1 to 300",
        ),
        (
            &["script", "run", "--input", "text", "-"][..],
            "pass",
            "--input: not JSON",
        ),
        (
            &["script", "run", "--input", "@no-such.json", "-"][..],
            "pass",
            "cannot read no-such.json",
        ),
        (
            &["script", "run", "--package", "../x", "-"][..],
            "pass",
            "pip_packages[0]",
        ),
        (
            &[
                "script",
                "run",
                "--url",
                "http://127.0.0.1:9",
                "--token-file",
                "/dev/null",
                "-",
            ][..],
            "pass",
            "cannot be reached",
        ),
    ] {
        let output = rockbot(arguments, input);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}: {output:?}");
        assert!(
            text(&output.stderr).contains(reason),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn output_comes_while_the_script_runs() {
    let script = "import sys\nprint('first', flush=True)\nimport time\ntime.sleep(20)";
    let mut child = Command::new(ROCKBOT)
        .args(["script", "run", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let mut first = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    assert!(child.try_wait().unwrap().is_none(), "the script is still running");
    // Told to end, it ends the script and says so in its exit code.
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn what_is_not_text_is_the_very_bytes() {
    let script = "import sys, time\nfor part in b'caf\\xc3\\xa9', b'\\xff\\x00', b'end':\n    \
                  sys.stdout.buffer.write(part); sys.stdout.flush(); time.sleep(.05)";
    let output = rockbot(&["script", "run", "-"], script);
    assert_eq!(output.stdout, b"caf\xc3\xa9\xff\x00end", "{output:?}");
}

#[test]
fn input_comes_from_a_file_and_files_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("data.json");
    fs::write(&input, r#"{"n": 3}"#).unwrap();
    let kept = directory.path().join("kept");
    let script = "import os\nos.chdir(os.environ['ROCKBOT_OUTPUT_DIR'])\nos.mkdir('plots')\n\
                  open('plots/a.png', 'w').write(open(os.environ['ROCKBOT_INPUT_FILE']).read())";
    let input = format!("@{}", input.display());
    let arguments = [
        "script",
        "run",
        "--input",
        &input,
        "--output-dir",
        kept.to_str().unwrap(),
        "-",
    ];
    let output = rockbot(&arguments, script);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(fs::read_to_string(kept.join("plots/a.png")).unwrap(), r#"{"n":3}"#);

    let output = rockbot(&["script", "run", "--input", "0", "-"], script);
    assert!(
        text(&output.stderr).contains("--output-dir keeps: plots/a.png (1 B)"),
        "{output:?}"
    );
}

#[test]
fn the_doctor_knows_every_wall_that_the_sandbox_has() {
    let output = rockbot(&["script", "doctor", "--output", "json"], "");
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let walls = findings["walls"].as_array().unwrap();
    assert!(walls.len() >= 7, "{findings}");
    for wall in walls {
        assert_ne!(wall["stops"], "", "no words about {wall}");
        assert_eq!(wall["holds"], wall["remedy"].is_null(), "{wall}");
    }
    assert_eq!(output.status.success(), walls.iter().all(|wall| wall["holds"] == true));
    assert_eq!(findings["strict"], output.status.success());
    assert!(text(&rockbot(&["script", "doctor"], "").stdout).contains("seccomp"));
}

#[test]
fn a_bench_loses_nothing_and_leaves_nothing() {
    let output = rockbot(&["script", "bench", "-n", "6", "--output", "json"], "");
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["runs"], &report["errors"]), (&6.into(), &0.into()), "{report}");
    assert_eq!(report["left_behind"], serde_json::json!([]));
    assert_eq!(report["alone"]["n"], 6);
    assert!(output.stderr.is_empty(), "progress is for terminals: {output:?}");
}

#[test]
fn completions_name_the_commands() {
    let output = rockbot(&["completions", "bash"], "");
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("script"));
}

#[test]
fn a_manifest_that_cannot_be_served_ends_the_program_with_the_field() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.yaml");
    fs::write(
        &file,
        fs::read_to_string(QUICKSTART)
            .unwrap()
            .replace("name: assistant", "name: health"),
    )
    .unwrap();
    let mut child = Command::new(ROCKBOT)
        .args(["dev", "-f"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(stderr.contains("metadata.name"), "{stderr}");
}

#[test]
fn chat_keeps_the_files_that_a_tool_made() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        // The whole question: its body ends with the last brace.
        let mut asked = String::new();
        while !asked.ends_with("true}") {
            let mut piece = [0; 4096];
            let length = connection.read(&mut piece).unwrap();
            asked.push_str(text(&piece[..length]));
        }
        let result = r#"{"choices":[],"rockbot":{"tool_result":{"content":"done","files":[{"name":"plot.png","media_type":"image/png","data":"aGk="}]}}}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: {result}\n\ndata: [DONE]\n\n");
        connection.write_all(answer.as_bytes()).unwrap();
        asked
    });
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("plots");
    let arguments = ["chat", "a", "--url", &url, "--output-dir", kept.to_str().unwrap()];
    let output = rockbot(&arguments, "plot it\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(kept.join("plot.png")).unwrap(), "hi");
    assert!(text(&output.stderr).contains("plot.png (2 B)"), "{output:?}");
    assert!(server.join().unwrap().contains("x-rockbot-tool-events: true"));
}
