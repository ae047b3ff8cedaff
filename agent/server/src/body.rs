//! Reads the bodies of requests, as many of them at the same time as the process has memory for.

use std::{fs, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody},
    http::StatusCode,
};
use futures::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{error::ApiError, limits};

/// Largest request body: a long conversation with some images.
const MAX_BODY: usize = 16 << 20;
/// How long a body may take to come, however it comes: the largest one over 2 Mbit/s. What has come of it takes room.
const DEADLINE: Duration = Duration::from_secs(60);
/// Room where nothing limits the memory of the process.
const AMPLE: usize = 256 << 20;
/// A request is held as it came, as it was understood and as the model is asked, and leaves room for all else.
const SHARE: usize = 4;
/// What one value of a body takes in memory, beside its text, each time that the request is held: 50 to 266 bytes by
/// measurement. Most for lists and objects that hold one value each.
const VALUE: usize = 272;
/// What is kept has no room before its size is known, and may be as large as a store takes; so many are fetched at the
/// same time.
const FETCHES: usize = 2;
/// Longest wait for one's turn to fetch.
const TURN: Duration = Duration::from_secs(10);
/// What the kernel grants a container.
const MEMORY_LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// Room for the requests that are read and answered at the same time: for the bytes of their bodies, and for the values
/// that those become. A list of lists is a hundred times as large in memory as it is written.
#[derive(Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    all: usize,
    fetches: Arc<Semaphore>,
}

/// The room that one request takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: OwnedSemaphorePermit,
    fetches: Arc<Semaphore>,
}

impl Room {
    /// As much as this process has.
    pub(crate) fn of_process() -> Self {
        let limit = fs::read_to_string(MEMORY_LIMIT).ok();
        let limit = limit.and_then(|text| text.trim().parse::<usize>().ok());
        Self::of(limit.map_or(AMPLE, |bytes| (bytes / SHARE).clamp(MAX_BODY, AMPLE)))
    }

    pub(crate) fn of(bytes: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(bytes)),
            all: bytes,
            fetches: Arc::new(Semaphore::new(FETCHES)),
        }
    }

    /// Reads `body`, and takes room for it and for what will be made of it.
    ///
    /// # Errors
    /// When it is too large, or late, or breaks off, or there is no room for it.
    pub(crate) async fn read(&self, body: Body) -> Result<(Vec<u8>, Taken), ApiError> {
        let (read, mut taken) = timeout(DEADLINE, self.receive(body)).await.map_err(|_| late())??;
        let values = limits::count_values(&read)? * VALUE;
        if read.len() + values > self.all {
            return Err(too_much());
        }
        taken.merge(take(&self.free, values)?);
        Ok((read, self.taken(taken)))
    }

    /// Room for a request that brings nothing, and may find something.
    pub(crate) fn enter(&self) -> Result<Taken, ApiError> {
        take(&self.free, 0).map(|room| self.taken(room))
    }

    fn taken(&self, room: OwnedSemaphorePermit) -> Taken {
        let fetches = Arc::clone(&self.fetches);
        Taken { room, fetches }
    }

    /// What has come of `body` takes room, and what a client promises does not.
    async fn receive(&self, body: Body) -> Result<(Vec<u8>, OwnedSemaphorePermit), ApiError> {
        let promised = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if promised > MAX_BODY {
            return Err(too_large());
        }
        let mut taken = take(&self.free, 0)?;
        let mut read = Vec::with_capacity(promised);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| broken_off())?;
            if read.len() + piece.len() > MAX_BODY {
                return Err(too_large());
            }
            taken.merge(take(&self.free, piece.len())?);
            read.extend_from_slice(&piece);
        }
        Ok((read, taken))
    }
}

impl Taken {
    /// Takes room for `json` as well, which was kept and is part of the request, and for what will be made of it.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn add(&mut self, json: &[u8]) -> Result<(), ApiError> {
        let bytes = json.len() + limits::values(json) * VALUE;
        self.room.merge(take(self.room.semaphore(), bytes)?);
        Ok(())
    }

    /// Waits until the request may fetch what was kept, and holds on to that until it has been added.
    ///
    /// # Errors
    /// When others fetch for too long.
    pub(crate) async fn turn_to_fetch(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let turn = timeout(TURN, Arc::clone(&self.fetches).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(slow_storage)
    }
}

fn take(free: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let bytes = u32::try_from(bytes).map_err(|_| too_large())?;
    Arc::clone(free).try_acquire_many_owned(bytes).map_err(|_| full())
}

fn too_large() -> ApiError {
    let message = format!(
        "the request body is larger than {} MiB, the most that is accepted",
        MAX_BODY >> 20
    );
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn too_much() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!(
            "the request body takes more memory, {VALUE} bytes for each of its values included, than this agent has for \
             all requests together (a quarter of resources.limits.memory)"
        ),
    )
}

fn late() -> ApiError {
    let message = format!("the request body did not come within {} s", DEADLINE.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

fn broken_off() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "body_unreadable", "the request body broke off")
}

fn slow_storage() -> ApiError {
    ApiError {
        retry_after_seconds: Some(1),
        ..ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "storage_unavailable",
            "the agent's storage is slow, and other requests wait for it already; try again later",
        )
    }
}

fn full() -> ApiError {
    ApiError {
        retry_after_seconds: Some(1),
        ..ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_busy",
            "the requests that are being answered take all the memory that this agent has for them \
             (resources.limits.memory); try again later",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use axum::{
        body::to_bytes,
        http::{Request, header::RETRY_AFTER},
    };
    use futures::{future::join_all, stream};
    use rstest::rstest;
    use serde_json::{Value, json};
    use tokio::time::{Instant, sleep};
    use tower::ServiceExt;

    use super::*;
    use crate::{Server, router};

    /// A server with the agent `a` and room for so many bytes.
    fn server(room: usize) -> Arc<Server> {
        let mut server = Server::new(None);
        Arc::get_mut(&mut server).unwrap().room = Room::of(room);
        let demo = json!({ "name": "a", "model": { "provider": "Demo" } });
        server.set_agents(vec![serde_json::from_value(demo).unwrap()]).unwrap();
        server
    }

    async fn ask(server: &Arc<Server>, body: impl Into<Body>) -> axum::response::Response {
        ask_at(server, "/a/chat/completions", body).await
    }

    async fn ask_at(server: &Arc<Server>, path: &str, body: impl Into<Body>) -> axum::response::Response {
        let request = Request::post(path).body(body.into()).unwrap();
        router(Arc::clone(server)).oneshot(request).await.unwrap()
    }

    async fn error(response: axum::response::Response) -> Value {
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["error"].take()
    }

    /// As many lists of one number, the values that are largest for what is written, in a field that nobody reads.
    fn lists(count: usize) -> String {
        let lists = vec!["[0]"; count].join(",");
        format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"hi"}}],"x":[{lists}]}}"#)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_fetched_in_turns() {
        let room = Room::of(MAX_BODY);
        let taken: Vec<_> = (0..=FETCHES).map(|_| room.enter().unwrap()).collect();
        let (last, first) = taken.split_last().unwrap();
        let turns: Vec<_> = join_all(first.iter().map(Taken::turn_to_fetch)).await;
        assert!(turns.iter().all(Result::is_ok));
        assert_eq!(last.turn_to_fetch().await.unwrap_err().code, "storage_unavailable");
        drop(turns);
        assert!(last.turn_to_fetch().await.is_ok());
    }

    #[tokio::test]
    async fn bodies_are_bounded_one_by_one_and_all_together() {
        let room = Room::of(MAX_BODY + 5);
        let code = |error: ApiError| error.code;
        let largest = room.read(Body::from(vec![b'x'; MAX_BODY])).await.unwrap();
        assert_eq!(largest.0.len(), MAX_BODY);
        assert_eq!(
            room.read(Body::from("123456")).await.map_err(code).unwrap_err(),
            "server_busy"
        );
        room.read(Body::from("12345")).await.unwrap();
        drop(largest);
        room.read(Body::from("123456")).await.unwrap();

        let pieces = stream::iter((0..17).map(|_| Ok::<_, Infallible>(vec![0; 1 << 20])));
        for larger in [Body::from(vec![0; MAX_BODY + 1]), Body::from_stream(pieces)] {
            assert_eq!(room.read(larger).await.map_err(code).unwrap_err(), "body_too_large");
        }
        assert_eq!(room.free.available_permits(), MAX_BODY + 5, "all of it is given back");
    }

    #[rstest]
    #[case::by_its_text(json!({ "stream": true, "messages": [{ "role": "user", "content": "x".repeat(600_000) }] }).to_string())]
    #[case::by_its_values(lists(1_000))]
    #[tokio::test]
    async fn a_request_takes_its_room_until_it_is_answered(#[case] body: String) {
        let server = server(1_000_000);
        let first = ask(&server, body.clone()).await;
        assert_eq!(first.status(), StatusCode::OK);
        let second = ask(&server, body.clone()).await;
        assert_eq!(
            (second.status(), &second.headers()[RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
        );
        assert_eq!(error(second).await["code"], "server_busy");
        assert_eq!(ask(&server, lists(1)).await.status(), StatusCode::OK, "an ordinary one");
        to_bytes(first.into_body(), 1 << 20).await.unwrap();
        assert_eq!(ask(&server, body).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_stored_conversation_takes_room_as_one_that_comes_does() {
        let server = server(1_000_000);
        let said = json!({ "input": "x".repeat(200_000) });
        let stored = ask_at(&server, "/a/responses", said.to_string()).await;
        let stored = to_bytes(stored.into_body(), 1 << 20).await.unwrap();
        let id = serde_json::from_slice::<Value>(&stored).unwrap()["id"].take();
        let follow_up = json!({ "stream": true, "input": "hi", "previous_response_id": id }).to_string();
        let first = ask_at(&server, "/a/responses", follow_up.clone()).await;
        assert_eq!(first.status(), StatusCode::OK);
        let second = ask_at(&server, "/a/responses", follow_up.clone()).await;
        assert_eq!(error(second).await["code"], "server_busy");
        to_bytes(first.into_body(), 1 << 20).await.unwrap();
        let third = ask_at(&server, "/a/responses", follow_up).await;
        assert_eq!(third.status(), StatusCode::OK);
        drop(third);
        assert_eq!(
            server.room.free.available_permits(),
            1_000_000,
            "all of it is given back"
        );
    }

    #[tokio::test]
    async fn what_would_never_have_room_is_too_large() {
        let server = server(1_000_000);
        let refused = ask(&server, lists(5_000)).await;
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(error(refused).await["code"], "body_too_large");
        assert_eq!(server.room.free.available_permits(), 1_000_000);
        assert_eq!(ask(&server, lists(1)).await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_let_go() {
        let server = server(1_000_000);
        let drops = stream::unfold((), |()| async {
            sleep(Duration::from_secs(29)).await;
            Some((Ok::<_, io::Error>("x"), ()))
        });
        let begin = Instant::now();
        let refused = ask(&server, Body::from_stream(drops)).await;
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(error(refused).await["code"], "body_timeout");
        assert!(begin.elapsed() < DEADLINE + Duration::from_secs(1));
        assert_eq!(server.room.free.available_permits(), 1_000_000);
    }
}
