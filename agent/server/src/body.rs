//! Reads the bodies of requests, as many of them at the same time as the process has memory for.

use std::{fs, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    http::StatusCode,
};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Largest request body: a long conversation with some images.
const MAX_BODY: usize = 16 << 20;
/// Room where nothing limits the memory of the process.
const AMPLE: usize = 256 << 20;
/// A request is held as it came, as it was understood and as the model is asked, and leaves room for all else.
const SHARE: usize = 4;
/// What the kernel grants a container.
const MEMORY_LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// Room for the requests that are read and answered at the same time, in bytes of their bodies.
#[derive(Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// The room that one request takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken(#[expect(dead_code, reason = "its end is what counts")] OwnedSemaphorePermit);

impl Room {
    /// As much as this process has.
    pub(crate) fn of_process() -> Self {
        let limit = fs::read_to_string(MEMORY_LIMIT).ok();
        let limit = limit.and_then(|text| text.trim().parse::<usize>().ok());
        Self::of(limit.map_or(AMPLE, |bytes| (bytes / SHARE).clamp(MAX_BODY, AMPLE)))
    }

    pub(crate) fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Reads `body`. What has come of it takes room, and what a client promises does not.
    ///
    /// # Errors
    /// When it is too large, or breaks off, or there is no room for it.
    pub(crate) async fn read(&self, body: Body) -> Result<(Vec<u8>, Taken), ApiError> {
        let promised = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if promised > MAX_BODY {
            return Err(too_large());
        }
        let mut taken = self.take(0)?;
        let mut read = Vec::with_capacity(promised);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| broken_off())?;
            if read.len() + piece.len() > MAX_BODY {
                return Err(too_large());
            }
            taken.merge(self.take(piece.len())?);
            read.extend_from_slice(&piece);
        }
        Ok((read, Taken(taken)))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let bytes = u32::try_from(bytes).map_err(|_| too_large())?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| full())
    }
}

fn too_large() -> ApiError {
    let message = format!(
        "the request body is larger than {} MiB, the most that is accepted",
        MAX_BODY >> 20
    );
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn broken_off() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "body_unreadable", "the request body broke off")
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
    use axum::{
        body::to_bytes,
        http::{Request, header::RETRY_AFTER},
    };
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::{Server, router};

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

        let pieces = futures::stream::iter((0..17).map(|_| Ok::<_, std::io::Error>(vec![0; 1 << 20])));
        for larger in [Body::from(vec![0; MAX_BODY + 1]), Body::from_stream(pieces)] {
            assert_eq!(room.read(larger).await.map_err(code).unwrap_err(), "body_too_large");
        }
        assert_eq!(room.0.available_permits(), MAX_BODY + 5, "all of it is given back");
    }

    #[tokio::test]
    async fn a_request_takes_its_room_until_it_is_answered() {
        let mut server = Server::new(None);
        let body = json!({ "stream": true, "messages": [{ "role": "user", "content": "x".repeat(600) }] });
        Arc::get_mut(&mut server).unwrap().room = Room::of(1000);
        let demo = json!({ "name": "a", "model": { "provider": "Demo" } });
        server.set_agents(vec![serde_json::from_value(demo).unwrap()]).unwrap();
        let ask = async || {
            let request = Request::post("/a/chat/completions").body(Body::from(body.to_string()));
            router(Arc::clone(&server)).oneshot(request.unwrap()).await.unwrap()
        };
        let first = ask().await;
        assert_eq!(first.status(), StatusCode::OK);
        let second = ask().await;
        assert_eq!(
            (second.status(), &second.headers()[RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
        );
        let error: Value = serde_json::from_slice(&to_bytes(second.into_body(), 1000).await.unwrap()).unwrap();
        assert_eq!(error["error"]["code"], "server_busy");
        to_bytes(first.into_body(), 1 << 20).await.unwrap();
        assert_eq!(ask().await.status(), StatusCode::OK);
    }
}
