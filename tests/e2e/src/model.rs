//! The scripted model provider, from a test: what it is to say, and what came to it.

use std::net::SocketAddr;

use anyhow::Result;
use reqwest::Client;
use serde_json::{Value, json};

use crate::chat::DEADLINE;

/// A scripted model provider.
#[derive(Clone, Debug)]
pub struct Model {
    http: Client,
    base: String,
}

impl Model {
    /// The provider that listens on `address`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn at(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            http: Client::builder().no_proxy().timeout(DEADLINE).build()?,
            base: format!("http://{address}"),
        })
    }

    /// Sets the steps of a scenario.
    ///
    /// # Errors
    /// When they are none.
    pub async fn script(&self, scenario: &str, steps: &Value) -> Result<()> {
        let upload = self.http.post(format!("{}/script", self.base));
        let upload = upload.json(&json!({ "name": scenario, "steps": steps }));
        upload.send().await?.error_for_status()?;
        Ok(())
    }

    /// The requests that came to a scenario: `headers` and `body` of each.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn requests(&self, scenario: &str) -> Result<Vec<Value>> {
        let requests = self.http.get(format!("{}/{scenario}/requests", self.base));
        Ok(requests.send().await?.error_for_status()?.json().await?)
    }
}
