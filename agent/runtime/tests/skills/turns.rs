//! Tools in a turn: how many run at once, in which order the model reads them, and that they end with their client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use rockbot_agent::{
    TurnEvent,
    sdk::{json, skill},
};

use crate::site::{Site, asked, call, say};

/// Counts the calls that run.
#[derive(Clone, Default)]
struct Workers {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// One that runs, until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[skill]
impl Workers {
    /// Works for as long as it is told.
    #[tool]
    async fn work(&self, milliseconds: u64) -> u64 {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(Arc::clone(&self.running));
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        milliseconds
    }

    /// Fails.
    #[tool]
    fn fail(&self) -> Result<(), String> {
        Err("as ever".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn eight_tools_run_at_once_and_keep_their_order() {
    let workers = Workers::default();
    // The first to be called is the last to end.
    let calls: Vec<_> = (1..=20)
        .rev()
        .map(|tens| ("work", json!({ "milliseconds": tens * 10 })))
        .collect();
    let site = Site::new(vec![Arc::new(workers.clone())], [call(&calls), say("done")]);
    site.ask().await;
    let expected: Vec<_> = (1..=20).rev().map(|tens| (tens * 10).to_string()).collect();
    assert_eq!(site.results(), expected);
    assert_eq!(workers.most.load(Ordering::SeqCst), 8);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_tools_that_run_for_it() {
    let workers = Workers::default();
    let calls = [1, 2].map(|_| ("work", json!({ "milliseconds": 60_000 })));
    let site = Site::new(vec![Arc::new(workers.clone())], [call(&calls)]);
    let request = serde_json::from_value(json!({ "messages": [{ "role": "user", "content": "go" }] })).unwrap();
    let mut turn = Box::pin(site.agent.turn(request, asked("all")).unwrap());
    let mut told = 0;
    while told < 2 {
        told += usize::from(matches!(turn.next().await, Some(Ok(TurnEvent::ToolCall(_)))));
    }
    let waiting = tokio::time::timeout(Duration::from_millis(50), turn.next()).await;
    assert!(waiting.is_err(), "both run: {waiting:?}");
    assert_eq!(workers.running.load(Ordering::SeqCst), 2);
    drop(turn);
    assert_eq!(workers.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_model_is_told_that_it_repeats_a_call_that_fails() {
    let again = || call(&[("fail", json!({}))]);
    let site = Site::new(
        vec![Arc::new(Workers::default())],
        [again(), again(), again(), say("I give up.")],
    );
    assert_eq!(site.ask().await, "I give up.");
    let results = site.results();
    assert!(
        results[1].contains("as ever") && results[2].contains("already failed 2 times"),
        "{results:?}"
    );
}
