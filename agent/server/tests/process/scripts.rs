//! Stands for the scripts manager: notes the headers of what it is asked, and says that the script printed `42`.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use rockbot_scripts_api::ScriptResult;
use tokio::net::TcpListener;

#[derive(Clone, Default)]
pub(crate) struct Scripts {
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Scripts {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let scripts = Self::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/scripts", post(run))
            .with_state(scripts.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (scripts, address)
    }

    /// The `traceparent` of each request.
    pub(crate) fn traceparents(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let text = |headers: &HeaderMap| headers["traceparent"].to_str().unwrap().to_owned();
        seen.iter().map(text).collect()
    }
}

async fn run(State(scripts): State<Scripts>, headers: HeaderMap) -> Json<ScriptResult> {
    scripts.seen.lock().unwrap().push(headers);
    Json(ScriptResult {
        stdout: "42\n".to_owned(),
        script_id: "script-1".to_owned(),
        ..ScriptResult::default()
    })
}
