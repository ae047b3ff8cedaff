//! Finds other agents: by asking the operator, or in this very server.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use async_trait::async_trait;
use moka::future::Cache;
use rockbot_agent::peers::Directory;
use rockbot_operator_api::{AgentSummary, Client, ClientError, ClientSettings};
use tracing::warn;
use url::Url;

/// How long an answer is good for: pods come and go behind the address that it says.
const LIFETIME: Duration = Duration::from_secs(15);
/// Agents that are remembered.
const REMEMBERED: u64 = 256;

/// The agents of a namespace, as the operator knows them.
pub(crate) struct Discovery {
    client: Client,
    namespace: String,
    found: Cache<String, Url>,
}

impl Discovery {
    pub(crate) fn new(settings: ClientSettings, namespace: String) -> Self {
        Self {
            client: Client::new(settings),
            namespace,
            found: Cache::builder().max_capacity(REMEMBERED).time_to_live(LIFETIME).build(),
        }
    }

    async fn ask(&self, name: &str) -> Result<Url, String> {
        let found = self.client.agent(&self.namespace, name).await.map_err(|error| {
            warn!("the operator did not say where agent {name} is: {error}");
            match error {
                ClientError::Refused { message, .. } => message,
                ClientError::Unreachable(_) => "nobody says where it is at the moment; try again later".to_owned(),
            }
        })?;
        match found {
            None => Err("there is no such agent in this namespace".to_owned()),
            Some(AgentSummary { ready: false, .. }) => Err("it is not ready at the moment; try again later".to_owned()),
            Some(agent) => Url::parse(&agent.url).map_err(|error| format!("its URL is none: {error}")),
        }
    }
}

#[async_trait]
impl Directory for Discovery {
    /// Only what is found is remembered: who is not there may be there a moment later.
    async fn find(&self, name: &str) -> Result<Url, String> {
        let found = self.found.try_get_with_by_ref(name, self.ask(name)).await;
        found.map_err(|reason| (*reason).clone())
    }
}

/// The agents of one server, which hand tasks to each other over the loopback interface. That one is not there is the
/// server's to say.
#[derive(Clone, Debug)]
pub struct Loopback(SocketAddr);

impl Loopback {
    /// The agents of a server that listens on `address`.
    pub fn of(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self(SocketAddr::new(ip, address.port()))
    }
}

#[async_trait]
impl Directory for Loopback {
    async fn find(&self, name: &str) -> Result<Url, String> {
        let no_url = |error: &dyn std::fmt::Display| format!("its URL is none: {error}");
        let mut url = Url::parse(&format!("http://{}", self.0)).map_err(|error| no_url(&error))?;
        // A name is one segment, whatever is in it.
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.clear().push(name)),
            Err(()) => return Err(no_url(&"it has no path")),
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{
        Json, Router,
        extract::Path,
        http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
        response::IntoResponse,
        routing::get,
    };
    use rockbot_telemetry::Span;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// An operator that knows the agents of the namespace `n`, and how often it was asked.
    async fn operator() -> (Discovery, Arc<AtomicUsize>, tempfile::NamedTempFile) {
        let asked = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&asked);
        let one = async move |Path((namespace, name)): Path<(String, String)>, headers: HeaderMap| {
            counter.fetch_add(1, Ordering::SeqCst);
            assert_eq!(headers["traceparent"], PARENT);
            let error = |message: &str| Json(json!({ "error": { "code": "c", "message": message } }));
            if name == "absent" {
                return (StatusCode::NOT_FOUND, error("no such agent")).into_response();
            }
            if name == "foreign" {
                return (StatusCode::FORBIDDEN, error("not yours")).into_response();
            }
            Json(json!({
                "namespace": namespace, "name": name, "description": "", "tools": [],
                "url": format!("http://agent-{name}.{namespace}.svc:8080/{name}"), "ready": name != "starting",
            }))
            .into_response()
        };
        let router = Router::new().route("/v1/agents/{namespace}/{name}", get(one));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let token = tempfile::NamedTempFile::new().unwrap();
        let token_file = token.path().to_owned();
        let discovery = Discovery::new(ClientSettings { url, token_file }, "n".to_owned());
        (discovery, asked, token)
    }

    /// The operator hears of the trace that a request belongs to.
    async fn in_a_trace<T>(asking: impl Future<Output = T>) -> T {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("traceparent"), HeaderValue::from_static(PARENT))]);
        let request = Span::of_request(&headers, || ("", Vec::new()));
        request.context().run(asking).await
    }

    #[tokio::test]
    async fn d4_an_agent_is_found_through_the_operator_and_remembered() {
        let (discovery, asked, _token) = operator().await;
        for _ in 0..3 {
            let url = in_a_trace(discovery.find("b")).await.unwrap();
            assert_eq!(url.as_str(), "http://agent-b.n.svc:8080/b");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        for (name, words) in [
            ("absent", "no such agent in this namespace"),
            ("starting", "not ready"),
            ("foreign", "not yours"),
        ] {
            for _ in 0..2 {
                let error = in_a_trace(discovery.find(name)).await.unwrap_err();
                assert!(error.contains(words), "{name}: {error}");
            }
        }
        assert_eq!(
            asked.load(Ordering::SeqCst),
            7,
            "who cannot answer now may a moment later"
        );
    }

    #[tokio::test]
    async fn no_name_leads_away_from_the_server() {
        let server = Loopback::of("127.0.0.1:81".parse().unwrap());
        for name in ["//host/x", "http://host/x", "../v1/models", "a/b?c#d", ".."] {
            let url = server.find(name).await.unwrap();
            assert_eq!((url.host_str(), url.port()), (Some("127.0.0.1"), Some(81)), "{url}");
            assert_eq!(url.path_segments().unwrap().count(), 1, "{url}");
            assert_eq!((url.query(), url.fragment()), (None, None), "{url}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_reached_over_loopback() {
        for (listen, url) in [
            ("0.0.0.0:81", "http://127.0.0.1:81/b"),
            ("[::]:81", "http://[::1]:81/b"),
            ("127.0.0.2:81", "http://127.0.0.2:81/b"),
        ] {
            let found = Loopback::of(listen.parse().unwrap()).find("b").await.unwrap();
            assert_eq!(found.as_str(), url);
        }
    }
}
