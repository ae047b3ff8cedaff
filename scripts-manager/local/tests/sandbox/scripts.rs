//! A script runs as Python runs it, finds its input, and sees nothing of anybody else.

use rockbot_scripts_api::{MAX_INPUT_VARIABLE_BYTES, ScriptRequest, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use serde_json::{Value, json};

use crate::{eventually_gone, request, run, run_request};

#[tokio::test]
async fn t16_a_script_ends_as_python_ends_it() {
    let cases = [
        ("print(6*7)", "42\n", "", 0),
        (
            "import sys; print('out'); print('err', file=sys.stderr)",
            "out\n",
            "err\n",
            0,
        ),
        ("import sys; sys.stdout.write('no newline')", "no newline", "", 0),
        ("import sys; sys.exit()", "", "", 0),
        ("import sys; sys.exit(3)", "", "", 3),
        ("import sys; sys.exit(-1)", "", "", 255),
        ("import sys; sys.exit('told why')", "", "told why\n", 1),
        ("exit(4)", "", "", 4),
        ("import os; print('kept'); os._exit(7)", "kept\n", "", 7),
        (
            "import atexit; atexit.register(print, 'last'); print('first')",
            "first\nlast\n",
            "",
            0,
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "", "", 137),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "", "", 143),
        ("if __name__ == '__main__': print('main')", "main\n", "", 0),
        ("import sys; print(sys.stdin.read() == '')", "True\n", "", 0),
        (
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.2), print('joined'))).start()",
            "joined\n",
            "",
            0,
        ),
    ];
    for (script, stdout, stderr, exit_code) in cases {
        let result = run(script).await;
        assert_eq!(
            (result.stdout.as_str(), result.stderr.as_str(), result.exit_code),
            (stdout, stderr, exit_code),
            "{script}"
        );
        assert!(!result.timed_out && !result.truncated, "{script}");
    }
}

#[tokio::test]
async fn t16_an_exception_shows_the_scripts_own_lines_and_nothing_of_ours() {
    let result = run("def half(n):\n    return 1 / n\n\nhalf(0)\n").await;
    assert_eq!(result.exit_code, 1);
    assert!(
        result
            .stderr
            .starts_with("Traceback (most recent call last):\n  File \"<script>\", line 4, in <module>")
    );
    assert!(
        result.stderr.contains("    return 1 / n\n")
            && result.stderr.ends_with("ZeroDivisionError: division by zero\n")
    );
    assert_eq!(result.stderr.matches("File \"").count(), 2, "{}", result.stderr);
    let result = run("print('never')\nif True print(1)").await;
    assert_eq!((result.stdout.as_str(), result.exit_code), ("", 1));
    assert!(result.stderr.starts_with("  File \"<script>\", line 2") && result.stderr.contains("SyntaxError"));
    assert_eq!(run("a\0b").await.exit_code, 1);
}

const SHOW_INPUT: &str = "import os\n\
    variable = os.environ.get('ROCKBOT_INPUT')\n\
    with open(os.environ['ROCKBOT_INPUT_FILE'], newline='') as file: text = file.read()\n\
    print(variable is not None, len(text), variable in (None, text), text[:40], sep='|')";

async fn run_with(input_data: Option<Value>, script: &str) -> String {
    let request = ScriptRequest {
        input_data,
        ..request(script)
    };
    let result = run_request(request).await.unwrap();
    assert_eq!(result.exit_code, 0, "{}", result.stderr);
    result.stdout
}

#[tokio::test]
async fn t16_input_arrives_as_a_file_and_as_a_variable_while_it_fits() {
    let longest = "x".repeat(MAX_INPUT_VARIABLE_BYTES);
    let inputs = [
        (None, "False|0|True|".to_owned()),
        (Some(json!("as it is")), "True|8|True|as it is".into()),
        (Some(json!("")), "True|0|True|".into()),
        (Some(json!("né🦀\r\n")), "True|5|True|né🦀\r\n".into()),
        // No variable holds this character.
        (Some(json!("a\0b")), "False|3|True|a\0b".into()),
        (Some(json!({ "a": [1, null] })), "True|14|True|{\"a\":[1,null]}".into()),
        (
            Some(json!(longest)),
            format!("True|{}|True|{}", longest.len(), "x".repeat(40)),
        ),
        (
            Some(json!(format!("{longest}x"))),
            format!("False|{}|True|{}", longest.len() + 1, "x".repeat(40)),
        ),
        (
            Some(json!("y".repeat(8 << 20))),
            format!("False|{}|True|{}", 8 << 20, "y".repeat(40)),
        ),
    ];
    for (input_data, expected) in inputs {
        assert_eq!(run_with(input_data, SHOW_INPUT).await, format!("{expected}\n"));
    }
    let child = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import os; print(os.environ[\"ROCKBOT_INPUT\"])'])";
    assert_eq!(run_with(Some(json!("passed on")), child).await, "passed on\n");
}

#[tokio::test]
async fn what_scripts_need_works() {
    let result = run(include_str!("needs.py")).await;
    assert_eq!(
        (result.stdout.as_str(), result.exit_code),
        ("all works\n", 0),
        "{}",
        result.stderr
    );
}

#[tokio::test]
async fn a_script_sees_no_environment_and_no_residue() {
    let runner = LocalRunner::new(1).unwrap();
    let script = "import os, json, sys\nold = open('/proc/self/environ').read()\n\
                  print(json.dumps([os.getcwd(), os.listdir('.') + os.listdir(os.environ['ROCKBOT_OUTPUT_DIR']), \
                  sorted(os.environ), 'CARGO' in old, hasattr(json, 'mark')]))\n\
                  json.mark = True\nopen('mark', 'w').write('x')";
    let mut directories = Vec::new();
    for _ in 0..3 {
        let result = runner.run(request(script)).await.unwrap();
        let (cwd, files, names, leaked, marked): (String, Vec<String>, Vec<String>, bool, bool) =
            serde_json::from_str(&result.stdout).unwrap_or_else(|_| panic!("{result:?}"));
        assert!(files.is_empty() && !leaked && !marked);
        let expected = [
            "HOME",
            "LANG",
            "PATH",
            "PWD",
            "ROCKBOT_INPUT_FILE",
            "ROCKBOT_OUTPUT_DIR",
            "TMPDIR",
        ];
        assert_eq!(names, expected);
        directories.push(cwd);
    }
    directories.dedup();
    assert_eq!(directories.len(), 3);
    for directory in &directories {
        eventually_gone(directory).await;
    }
}

#[tokio::test]
async fn on_one_machine_processes_share_pipes_alone() {
    let result = run(include_str!("processes.py")).await;
    // All else is in /dev/shm or behind a socket with a name, where everybody else's is, too.
    let missing = "lock queue pool executor memory array manager\n";
    assert_eq!(result.stdout, missing, "{}", result.stderr);
}
