//! The program itself, as a person runs it: exit codes and output. K5, T18.

use std::{
    fs,
    io::{Read, Write},
    process::{Command, Output, Stdio},
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
