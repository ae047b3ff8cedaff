//! What a script writes comes back: all of it up to the cap, byte for byte, and while it runs.

use std::{fs, path::PathBuf, time::Duration};

use rockbot_scripts_api::{OutputChunk, OutputStream, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{request, run};

#[tokio::test]
async fn output_beyond_the_cap_is_dropped_and_said_so() {
    let result =
        run("import sys\nfor _ in range(300): sys.stdout.write('x' * 100_000)\nsys.stderr.write('lost')\nexit(5)")
            .await;
    assert_eq!(
        (result.stdout.len(), result.stderr.as_str(), result.exit_code),
        (1 << 20, "", 5)
    );
    assert!(result.truncated);
    let exact = run("import sys\nsys.stdout.write('x' * 2**20)").await;
    assert!(!exact.truncated && exact.stdout.len() == 1 << 20);
}

#[tokio::test]
async fn binary_output_and_forged_frames_are_just_output() {
    let result = run("import os, struct\nos.write(1, b'\\xff\\x00ok')").await;
    assert_eq!(result.stdout, "\u{fffd}\0ok");
    assert_eq!(result.stdout_base64.as_deref(), Some("/wBvaw=="));
    let forged =
        run("import os, struct\np = b'{\"code\": 0}'\nos.write(1, struct.pack('>IB', len(p), 0x85) + p)\nexit(9)")
            .await;
    assert_eq!(forged.exit_code, 9);
    assert!(forged.stdout.ends_with("{\"code\": 0}"));
}

const WAIT_FOR_GO: &str = "\nimport time\nwhile not os.path.exists('go'): time.sleep(0.01)\n";

/// The directory that a script printed first.
async fn directory(receiver: &mut mpsc::Receiver<OutputChunk>) -> PathBuf {
    let mut text = String::new();
    while !text.contains('\n') {
        text += &receiver.recv().await.unwrap().text;
    }
    text.lines().next().unwrap().into()
}

#[tokio::test]
async fn t16_output_arrives_while_the_script_runs() {
    let (sender, mut receiver) = mpsc::channel(4);
    let script = format!("import os, sys\nprint(os.getcwd()){WAIT_FOR_GO}print('late', file=sys.stderr)\nprint('🦀')");
    let running = tokio::spawn(async move {
        let runner = LocalRunner::single_use().unwrap();
        runner.run_streaming(request(script), sender).await.unwrap()
    });
    // The script ends only once we have seen what it wrote.
    let directory = directory(&mut receiver).await;
    fs::write(directory.join("go"), "").unwrap();
    let mut rest = Vec::new();
    while let Some(OutputChunk { stream, text }) = receiver.recv().await {
        rest.push((stream, text));
    }
    rest.sort_by_key(|(stream, _)| *stream == OutputStream::Stderr);
    let expected = [(OutputStream::Stdout, "🦀\n"), (OutputStream::Stderr, "late\n")];
    assert_eq!(rest, expected.map(|(stream, text)| (stream, text.to_owned())));
    let result = running.await.unwrap();
    assert_eq!(result.stdout, format!("{}\n🦀\n", directory.display()));
    assert_eq!(result.stderr, "late\n");
}

#[tokio::test]
async fn t16_a_slow_receiver_does_not_hold_the_script_up_and_gets_all_of_it() {
    let (sender, mut receiver) = mpsc::channel(1);
    let script = "import os, sys\nprint(os.getcwd(), flush=True)\n\
                  sys.stdout.write('x' * 1_000_000)\nsys.stdout.flush()\nopen('written', 'w')\n\
                  import time\nwhile not os.path.exists('go'): time.sleep(0.01)";
    let running = tokio::spawn(async move {
        let runner = LocalRunner::single_use().unwrap();
        runner.run_streaming(request(script), sender).await.unwrap()
    });
    let mut text = String::new();
    while !text.contains('\n') {
        text += &receiver.recv().await.unwrap().text;
    }
    let directory = PathBuf::from(text.lines().next().unwrap());
    let written = async {
        while !directory.join("written").exists() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(Duration::from_secs(20), written).await;
    assert!(waited.is_ok(), "the script waits for somebody who reads");
    fs::write(directory.join("go"), "").unwrap();
    while let Some(chunk) = receiver.recv().await {
        text += &chunk.text;
    }
    let result = running.await.unwrap();
    assert!(result.stdout == text && !result.truncated && text.len() > 1_000_000);
}

#[tokio::test]
async fn what_a_run_cost_is_told() {
    let result = run("data = bytearray(64 << 20)\nfor n in range(3_000_000): pass").await;
    assert!((64 << 20..1 << 30).contains(&result.peak_memory_bytes), "{result:?}");
    assert!(
        result.cpu_ms > 0 && result.cpu_ms <= result.duration_ms + 20,
        "{result:?}"
    );
    assert!(!result.oom_killed && result.signal.is_none());
    let killed = run("import os; os.kill(os.getpid(), 9)").await;
    assert_eq!(
        (killed.signal, killed.exit_code, killed.timed_out),
        (Some(9), 137, false)
    );
}
