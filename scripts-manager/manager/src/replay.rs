//! `Idempotency-Key`: whoever asks again gets what the first request gets, and its script is not run again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::HeaderMap;
use rockbot_identity::Caller;
use rockbot_scripts_api::{ScriptError, ScriptErrorCode, ScriptResult};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::pool::lost;

const HEADER: &str = "idempotency-key";
/// Longest key.
const MAX_KEY: usize = 128;
/// How long a result is kept, from the moment that it is there.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Most requests that are remembered: more than any node runs scripts in that time.
const MAX_ENTRIES: usize = 8192;
/// Most bytes of results. Of those beyond only the fact is remembered that they were.
const MAX_BYTES: usize = 32 << 20;
/// How long a script runs on whose client went away: the same client may come back and ask again.
const GRACE: Duration = Duration::from_secs(5);

/// What the first request came to, for everybody who asked.
pub(crate) type Outcome = Result<Arc<ScriptResult>, ScriptError>;
/// Where it will be.
pub(crate) type Pending = watch::Receiver<Option<Outcome>>;

/// The requests that bore a key lately.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    book: Mutex<Book>,
}

/// What a key turned out to be.
pub(crate) enum Entry {
    /// The first of its kind: somebody has to run the script.
    First(First),
    /// One that is running or has run.
    Again(Pending),
}

/// The duty to run a script and to tell everybody. Dropped without having done so, it tells them that.
pub(crate) struct First {
    replays: Arc<Replays>,
    id: Id,
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Id {
    caller: Caller,
    key: String,
}

#[derive(Debug, Default)]
struct Book {
    entries: HashMap<Id, Kept>,
    /// Those that have an outcome, and since when. What is running is not forgotten.
    order: VecDeque<(Instant, Id)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    fingerprint: [u8; 32],
    bytes: usize,
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

/// The key that a request bears, if any.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, ScriptError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key)
            if values.next().is_none()
                && (1..=MAX_KEY).contains(&key.len())
                && key.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(Some(key.to_owned()))
        }
        _ => Err(ScriptError::invalid(format!(
            "Idempotency-Key: one of 1 to {MAX_KEY} visible ASCII characters is allowed, for example a UUID"
        ))),
    }
}

impl Replays {
    /// Looks a request up, and remembers it. `fingerprint` tells its body from others'; None is one of another body.
    pub(crate) fn enter(
        self: &Arc<Self>,
        caller: &Caller,
        key: String,
        fingerprint: [u8; 32],
        now: Instant,
    ) -> Option<Entry> {
        let id = Id {
            caller: caller.clone(),
            key,
        };
        let mut book = self.book();
        book.forget(now);
        if let Some(kept) = book.entries.get(&id) {
            let same = kept.fingerprint == fingerprint;
            return same.then(|| Entry::Again(kept.sender.subscribe()));
        }
        let sender = Arc::new(watch::Sender::new(None));
        let kept = Kept {
            fingerprint,
            bytes: 0,
            sender: Arc::clone(&sender),
        };
        book.entries.insert(id.clone(), kept);
        Some(Entry::First(First {
            replays: Arc::clone(self),
            id,
            sender,
        }))
    }

    fn settle(&self, id: &Id, outcome: Outcome) {
        let mut book = self.book();
        let Some(kept) = book.entries.get_mut(id) else {
            return;
        };
        let sender = Arc::clone(&kept.sender);
        match &outcome {
            // Not a byte of the script was sent: asking again is a new attempt.
            Err(error) if !is_final(error) => {
                book.entries.remove(id);
            }
            outcome => {
                kept.bytes = outcome.as_ref().map_or(0, |result| size_of_result(result));
                book.bytes += kept.bytes;
                book.order.push_back((Instant::now(), id.clone()));
                book.make_room();
            }
        }
        drop(book);
        sender.send_replace(Some(outcome));
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl First {
    /// Where the outcome will be.
    pub(crate) fn pending(&self) -> Pending {
        self.sender.subscribe()
    }

    /// Runs the script, and tells everybody. It is given up when nobody has waited for it for a while.
    pub(crate) async fn run(self, run: impl Future<Output = Outcome>) {
        let outcome = tokio::select! {
            biased;
            outcome = run => outcome,
            () = self.abandoned() => Err(lost("its client went away and did not come back")),
        };
        self.replays.settle(&self.id, outcome);
    }

    async fn abandoned(&self) {
        loop {
            self.sender.closed().await;
            sleep(GRACE).await;
            if self.sender.is_closed() {
                return;
            }
        }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if self.sender.borrow().is_none() {
            let error = lost("the scripts manager stopped before the script's end");
            self.replays.settle(&self.id, Err(error));
        }
    }
}

/// Waits for an outcome.
pub(crate) async fn outcome(mut pending: Pending) -> Outcome {
    match pending.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(outcome)) => outcome.clone(),
        _ => Err(lost("the scripts manager stopped before the script's end")),
    }
}

impl Book {
    /// Drops what is too old, or the oldest when there are too many.
    fn forget(&mut self, now: Instant) {
        while let Some((since, id)) = self.order.pop_front() {
            if now - since < KEPT_FOR && self.entries.len() < MAX_ENTRIES {
                self.order.push_front((since, id));
                return;
            }
            if let Some(kept) = self.entries.remove(&id) {
                self.bytes -= kept.bytes;
            }
        }
    }

    /// Drops the oldest results, but not the fact that they were: their scripts have run.
    fn make_room(&mut self) {
        for (_, id) in &self.order {
            if self.bytes <= MAX_BYTES {
                return;
            }
            if let Some(kept) = self.entries.get_mut(id)
                && kept.bytes > 0
            {
                self.bytes -= std::mem::take(&mut kept.bytes);
                kept.sender = Arc::new(watch::Sender::new(Some(Err(lost(
                    "the script has run, but its result is not kept any more: too much was written since",
                )))));
            }
        }
    }
}

/// Whether the script may have run: then asking again must not run it again.
fn is_final(error: &ScriptError) -> bool {
    matches!(error.code, ScriptErrorCode::SandboxLost | ScriptErrorCode::Internal) && !error.retryable
}

/// Bytes that a result takes.
pub(crate) fn size_of_result(result: &ScriptResult) -> usize {
    let base64 = [&result.stdout_base64, &result.stderr_base64];
    let texts = result.stdout.len() + result.stderr.len() + result.script_id.len();
    let files: usize = result.files.iter().map(|file| file.name.len() + file.data.len()).sum();
    let dropped: usize = result
        .files_dropped
        .iter()
        .map(|file| file.name.len() + file.reason.len())
        .sum();
    texts + base64.into_iter().flatten().map(String::len).sum::<usize>() + files + dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::caller;

    fn result(bytes: usize) -> Outcome {
        Ok(Arc::new(ScriptResult {
            stdout: "x".repeat(bytes),
            ..ScriptResult::default()
        }))
    }

    fn first(replays: &Arc<Replays>, key: &str, now: Instant) -> First {
        match replays.enter(&caller("a"), key.into(), [1; 32], now) {
            Some(Entry::First(first)) => first,
            _ => panic!("{key} is not the first"),
        }
    }

    fn again(replays: &Arc<Replays>, key: &str, now: Instant) -> Pending {
        match replays.enter(&caller("a"), key.into(), [1; 32], now) {
            Some(Entry::Again(pending)) => pending,
            _ => panic!("{key} is not known"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_key_is_the_same_run_for_ten_minutes() {
        let replays = Arc::new(Replays::default());
        let one = first(&replays, "k", Instant::now());
        let joined = again(&replays, "k", Instant::now());
        let other_body = replays.enter(&caller("a"), "k".into(), [2; 32], Instant::now());
        assert!(other_body.is_none());
        let other_caller = replays.enter(&caller("b"), "k".into(), [2; 32], Instant::now());
        assert!(matches!(other_caller, Some(Entry::First(_))));
        // However long it runs: the time begins with its result.
        let running = one.run(async {
            sleep(2 * KEPT_FOR).await;
            result(3)
        });
        let asking = async {
            sleep(KEPT_FOR + Duration::from_secs(1)).await;
            again(&replays, "k", Instant::now())
        };
        let ((), still) = tokio::join!(running, asking);
        assert_eq!(outcome(still).await, result(3));
        assert_eq!(outcome(joined).await, result(3));
        tokio::time::advance(KEPT_FOR - Duration::from_secs(1)).await;
        assert_eq!(outcome(again(&replays, "k", Instant::now())).await, result(3));
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(first(&replays, "k", Instant::now()));
        assert_eq!(replays.book().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_certainly_did_not_run_is_tried_again_and_what_may_have_run_is_not() {
        let replays = Arc::new(Replays::default());
        let overloaded = ScriptError::new(ScriptErrorCode::Overloaded, "").retryable(Some(1));
        first(&replays, "k", Instant::now())
            .run(async { Err(overloaded) })
            .await;
        first(&replays, "k", Instant::now())
            .run(async { Err(lost("eviction")) })
            .await;
        assert_eq!(
            outcome(again(&replays, "k", Instant::now())).await,
            Err(lost("eviction"))
        );
        drop(first(&replays, "dropped", Instant::now()));
        let dropped = outcome(again(&replays, "dropped", Instant::now())).await;
        assert_eq!(dropped.unwrap_err().code, ScriptErrorCode::SandboxLost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_come_back_for_a_while() {
        let replays = Arc::new(Replays::default());
        let one = first(&replays, "k", Instant::now());
        let gone = one.pending();
        let slow = tokio::spawn(one.run(async {
            sleep(2 * GRACE).await;
            result(1)
        }));
        drop(gone);
        sleep(GRACE / 2).await;
        assert_eq!(outcome(again(&replays, "k", Instant::now())).await, result(1));
        slow.await.unwrap();
        let never_wanted = first(&replays, "l", Instant::now());
        never_wanted.run(std::future::pending()).await;
        let error = outcome(again(&replays, "l", Instant::now())).await.unwrap_err();
        assert!(error.message.contains("went away"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn results_are_bounded_in_bytes_and_number() {
        let replays = Arc::new(Replays::default());
        for key in ["1", "2", "3"] {
            first(&replays, key, Instant::now())
                .run(async { result(MAX_BYTES / 2) })
                .await;
        }
        assert!(replays.book().bytes <= MAX_BYTES);
        let forgotten = outcome(again(&replays, "1", Instant::now())).await.unwrap_err();
        assert_eq!(
            forgotten.code,
            ScriptErrorCode::SandboxLost,
            "it is not run again either"
        );
        assert_eq!(
            outcome(again(&replays, "3", Instant::now())).await,
            result(MAX_BYTES / 2)
        );
        for number in 0..MAX_ENTRIES {
            drop(first(&replays, &format!("n{number}"), Instant::now()));
        }
        let book = replays.book();
        assert!(book.entries.len() <= MAX_ENTRIES && book.order.len() <= MAX_ENTRIES && book.bytes == 0);
    }

    #[test]
    fn a_key_is_visible_ascii() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, value.parse().unwrap());
            }
            key(&headers)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["0e6c-4f"]), Ok(Some("0e6c-4f".into())));
        for wrong in [&[""][..], &["a b"], &["a", "b"], &["ä"], &["x".repeat(129).as_str()]] {
            assert_eq!(
                of(wrong).unwrap_err().code,
                ScriptErrorCode::InvalidRequest,
                "{wrong:?}"
            );
        }
    }
}
