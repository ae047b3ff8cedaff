//! Who is told what when a script's way to its sandbox ends early. The sandboxes' other sides are the tests' own.

use std::{sync::Arc, time::Duration};

use clap::Parser;
use futures::{SinkExt, StreamExt};
use rockbot_sandbox::Run;
use rockbot_scripts_api::{ScriptErrorCode, ScriptResult};
use rockbot_scripts_packages::{Layer, LayerId};
use rockbot_telemetry::TraceContext;
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    desk::Lack,
    findings::{Findings, Known},
    metrics::Metrics,
    pod::{Pods, Sandbox},
    pool::{Answer, Pool, Stages, Work},
    tests::caller,
};

const READY: &str = r#"{"protocol": 2, "python": "3.12.0", "walls": [], "missing": [], "canary": "unknown"}"#;
/// Whatever should happen at once happens in this time.
const SOON: Duration = Duration::from_secs(10);

type Supervisor = WebSocketStream<DuplexStream>;

fn pool() -> (Arc<Pool>, CancellationToken) {
    let stages = Stages::default();
    (pool_until(stages.clone()), stages.stop)
}

/// A pool that runs one script at a time, on a cluster that is not there.
fn pool_until(stages: Stages) -> Arc<Pool> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let args = Args::parse_from(["manager", "--pod-name=me", "--max-concurrent=1"]);
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let client = kube::Client::try_from(nowhere).unwrap();
    let metrics = Arc::new(Metrics::new(&args));
    let pods = Pods::new(client, &args, Arc::new(Findings::default()), Arc::clone(&metrics));
    Pool::new(&args, pods, metrics, stages)
}

/// A sandbox and its supervisor, which has said that it is ready.
async fn sandbox(pool: &Pool) -> (Sandbox, Supervisor) {
    let (ours, theirs) = duplex(1 << 20);
    let client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let mut supervisor = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    let greeting = async {
        supervisor.next().await.unwrap().unwrap();
        let length = u32::try_from(READY.len()).unwrap().to_be_bytes();
        let frame = [&[1][..], &length, &[0x81], READY.as_bytes()].concat();
        supervisor.send(Message::binary(frame)).await.unwrap();
    };
    let (sandbox, ()) = tokio::join!(pool.pods.sandbox_over(client), greeting);
    (sandbox, supervisor)
}

/// Asks for a script and returns when it waits.
async fn ask(pool: &Arc<Pool>, layer: Option<Arc<Layer>>) -> JoinHandle<Answer> {
    let caller = caller("a");
    let work = Work {
        run: Run {
            script: "1".into(),
            input: None,
            timeout_ms: 1000,
            max_output_bytes: 1,
            max_files_bytes: 1,
        },
        layer,
        packages: Vec::new(),
        output: None,
        idempotent: false,
        trace: TraceContext::default(),
    };
    let (waiting, pool) = (pool.counts().waiting, Arc::clone(pool));
    let asking = Arc::clone(&pool);
    let asked = tokio::spawn(async move { asking.run(&caller, work).await });
    while pool.counts().waiting == waiting {
        tokio::task::yield_now().await;
    }
    asked
}

/// Packages that take for ever: nobody says that they are in place.
fn layer() -> Arc<Layer> {
    Arc::new(Layer {
        id: LayerId::new(&[], "cp312", "1"),
        path: "/dev/null".into(),
        modules: Vec::new(),
        bytes: 0,
    })
}

fn code(answer: Answer) -> ScriptErrorCode {
    answer.map(|ScriptResult { .. }| ()).unwrap_err().code
}

#[tokio::test]
async fn t16_a_client_that_leaves_while_its_packages_are_unpacked_makes_room_for_the_next_script() {
    let (pool, _stop) = pool();
    let (mut one, _supervisor) = sandbox(&pool).await;
    let (mut two, _other) = sandbox(&pool).await;
    let leaving = ask(&pool, Some(layer())).await;
    let job = pool.park(&mut one).await.unwrap();
    let _waiting = ask(&pool, None).await;
    let parked = Arc::clone(&pool);
    let next = tokio::spawn(async move { parked.park(&mut two).await.is_some() });
    let preparing = async {
        sleep(Duration::from_millis(50)).await;
        assert_eq!((pool.counts().running, pool.counts().waiting), (1, 1));
        leaving.abort();
    };
    timeout(SOON, async { tokio::join!(pool.use_up(&mut one, job), preparing) })
        .await
        .unwrap();
    assert!(timeout(SOON, next).await.unwrap().unwrap(), "it still waits");
    let metrics = pool.metrics.text(&pool, &Known::default()).unwrap();
    assert!(
        metrics.contains("rockbot_scripts_runs_total{outcome=\"cancelled\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn parked_sandboxes_are_let_go_when_no_script_can_come_any_more() {
    let stages = Stages::default();
    let pool = pool_until(stages.clone());
    let (mut one, _supervisor) = sandbox(&pool).await;
    let parked = Arc::clone(&pool);
    let parked = tokio::spawn(async move { parked.park(&mut one).await.is_some() });
    let full = tokio::spawn(Arc::clone(&pool).keep_full());
    stages.draining.cancel();
    sleep(Duration::from_millis(50)).await;
    assert!(!parked.is_finished(), "a script may still come");
    stages.closed.cancel();
    assert!(!timeout(SOON, parked).await.unwrap().unwrap());
    stages.stop.cancel();
    full.await.unwrap();
}

#[tokio::test]
async fn t16_sandboxes_that_had_ended_already_are_no_attempts() {
    let (pool, _stop) = pool();
    let asked = ask(&pool, None).await;
    for _ in 0..5 {
        let (mut dead, supervisor) = sandbox(&pool).await;
        let job = timeout(SOON, pool.park(&mut dead)).await.unwrap().unwrap();
        drop(supervisor);
        pool.use_up(&mut dead, job).await;
    }
    assert!(!asked.is_finished());
    assert_eq!((pool.counts().running, pool.counts().waiting), (0, 1));
}

#[tokio::test]
async fn t18_a_script_whose_sandbox_is_not_ready_at_the_end_is_answered() {
    let (pool, stop) = pool();
    let (mut sandbox, _supervisor) = sandbox(&pool).await;
    let asked = ask(&pool, Some(layer())).await;
    let job = pool.park(&mut sandbox).await.unwrap();
    stop.cancel();
    timeout(SOON, pool.use_up(&mut sandbox, job)).await.unwrap();
    let answer = timeout(SOON, asked).await.unwrap().unwrap();
    assert_eq!(code(answer), ScriptErrorCode::SandboxUnavailable);
}

#[tokio::test(start_paused = true)]
async fn t18_at_the_end_nobody_waits_for_the_cause_of_another_end() {
    let (pool, stop) = pool();
    let (mut sandbox, mut supervisor) = sandbox(&pool).await;
    let asked = ask(&pool, None).await;
    let job = pool.park(&mut sandbox).await.unwrap();
    let begin = Instant::now();
    let losing = async {
        // Gone with the script; Kubernetes says nothing of it.
        supervisor.next().await.unwrap().unwrap();
        drop(supervisor);
        sleep(Duration::from_millis(10)).await;
        stop.cancel();
    };
    tokio::join!(pool.use_up(&mut sandbox, job), losing);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(code(asked.await.unwrap()), ScriptErrorCode::SandboxLost);
}

#[tokio::test]
async fn t18_a_start_that_fails_with_packages_holds_back_nobody_elses() {
    let (pool, _stop) = pool();
    for _ in 0..3 {
        Arc::clone(&pool).live(Some(layer()), false).await;
    }
    let begin = Instant::now();
    assert!(pool.pace().when(Lack::Urgent, begin).unwrap() <= begin);
    Arc::clone(&pool).live(None, false).await;
    let begin = Instant::now();
    assert!(pool.pace().when(Lack::Urgent, begin).unwrap() > begin);
    // One that was parked ends.
    let (pool, _stop) = self::pool();
    let (mut sandbox, supervisor) = sandbox(&pool).await;
    drop(supervisor);
    assert!(pool.park(&mut sandbox).await.is_none());
    assert!(pool.problem().is_some());
}
