//! The configuration file of an agent's pods.

use std::path::PathBuf;

use rockbot_agent_config::{
    AccessConfig, AccessKey, AgentConfig, Limits, McpServerConfig, ModelConfig, Provider, ScriptsConfig, StorageConfig,
    ToolsConfig,
};
use rockbot_crds::{
    access::{self, AnonymousScope},
    model::{self, SecretKeyRef},
};

use super::skills;
use crate::{
    inputs::{References, Server},
    valid::{Model, Sampling, Storage, ValidAgent},
};

/// Whose key a file holds.
#[derive(Clone, Copy, Debug)]
pub enum KeyOf<'a> {
    /// A model's, by its position in [`ValidAgent::models`].
    Model(usize),
    /// The URL of its database.
    Database,
    /// The certificates of those who sign that of its database.
    DatabaseCa,
    /// That of those who ask the agent, by the name that the agent gives it.
    Caller(&'a str),
    /// The one that signs calls of a hook.
    Hook(&'a str),
    /// The one that is sent with a handoff.
    Handoff(&'a str),
    /// The one that signs requests of a handoff.
    HandoffSigning(&'a str),
}

/// Every key that an agent needs, and where it is.
pub fn keys(agent: &ValidAgent) -> Vec<(KeyOf<'_>, &SecretKeyRef)> {
    let models = agent.models().enumerate();
    let models = models.filter_map(|(position, model)| Some((KeyOf::Model(position), model.api_key.as_ref()?)));
    let callers = agent.access.api_keys.iter();
    let callers = callers.map(|key| (KeyOf::Caller(&key.name), &key.secret_key_ref));
    let database = match &agent.storage {
        Storage::Postgres { url, ca, .. } => {
            let ca = ca.as_ref().map(|ca| (KeyOf::DatabaseCa, ca));
            [Some((KeyOf::Database, url)), ca]
        }
        Storage::Ephemeral | Storage::Volume { .. } => [None, None],
    };
    models
        .chain(database.into_iter().flatten())
        .chain(callers)
        .chain(skills::keys(&agent.skills))
        .collect()
}

/// The configuration of an agent. `key_file` says where a key is, `volume` where its volume is if it has one.
pub fn agent_config(
    agent: &ValidAgent,
    named: &References,
    key_file: impl Fn(KeyOf<'_>, &SecretKeyRef) -> PathBuf,
    volume: PathBuf,
) -> AgentConfig {
    let config = |position, model: &Model| {
        one_model(
            model,
            model.api_key.as_ref().map(|key| key_file(KeyOf::Model(position), key)),
        )
    };
    let fallbacks = agent.model.fallbacks.iter().enumerate();
    let model = ModelConfig {
        fallbacks: fallbacks.map(|(index, fallback)| config(index + 1, fallback)).collect(),
        ..config(0, &agent.model)
    };
    AgentConfig {
        name: agent.owner.name.clone(),
        description: agent.description.clone(),
        instructions: agent.instructions.clone(),
        model,
        tools: ToolsConfig {
            scripts: agent.scripts.as_ref().map(|scripts| ScriptsConfig {
                timeout_seconds: scripts.timeout_seconds,
                packages: scripts.packages.clone(),
            }),
            mcp: named.found().map(server).collect(),
        },
        prompts: skills::prompts(&agent.skills),
        hooks: skills::hooks(&agent.skills, &key_file),
        handoffs: skills::handoffs(&agent.skills, &key_file),
        access: AccessConfig {
            anonymous: agent.access.anonymous_scope == AnonymousScope::All,
            api_keys: agent
                .access
                .api_keys
                .iter()
                .map(|key| access_key(key, &key_file))
                .collect(),
        },
        limits: Limits {
            max_tool_rounds: agent.max_tool_rounds,
            request_timeout_seconds: agent.request_timeout_seconds,
            max_concurrent_requests: agent.max_concurrent_requests,
            daily_tokens: agent.daily_tokens,
        },
        time_zone: agent.time_zone.clone(),
        storage: storage(agent, key_file, volume),
    }
}

fn storage(
    agent: &ValidAgent,
    key_file: impl Fn(KeyOf<'_>, &SecretKeyRef) -> PathBuf,
    volume: PathBuf,
) -> StorageConfig {
    match &agent.storage {
        Storage::Ephemeral => StorageConfig::Ephemeral,
        Storage::Volume { .. } => StorageConfig::Volume { directory: volume },
        Storage::Postgres {
            url, ca, host, port, ..
        } => StorageConfig::Postgres {
            url_file: key_file(KeyOf::Database, url),
            ca_file: ca.as_ref().map(|ca| key_file(KeyOf::DatabaseCa, ca)),
            host: host.clone(),
            port: *port,
            namespace: agent.owner.namespace.clone(),
        },
    }
}

fn access_key(key: &access::AccessKey, key_file: impl Fn(KeyOf<'_>, &SecretKeyRef) -> PathBuf) -> AccessKey {
    AccessKey {
        name: key.name.clone(),
        scope: key.scope.clone(),
        file: key_file(KeyOf::Caller(&key.name), &key.secret_key_ref),
    }
}

fn one_model(model: &Model, api_key_file: Option<PathBuf>) -> ModelConfig {
    let Sampling {
        temperature,
        top_p,
        max_tokens,
        timeout_seconds,
    } = model.sampling;
    ModelConfig {
        provider: match model.provider {
            model::Provider::OpenAI => Provider::OpenAI,
            model::Provider::Anthropic => Provider::Anthropic,
            model::Provider::Gemini => Provider::Gemini,
            model::Provider::Ollama => Provider::Ollama,
            model::Provider::Demo => Provider::Demo,
        },
        name: model.name.clone(),
        base_url: model.base_url.clone(),
        api_key_file,
        temperature,
        top_p,
        max_tokens,
        timeout_seconds,
        extra_body: model.extra_body.clone(),
        fallbacks: Vec::new(),
    }
}

fn server(server: &Server) -> McpServerConfig {
    McpServerConfig {
        name: server.name.clone(),
        url: server.url.clone(),
        allowed_tools: server.allowed_tools.clone(),
        tool_timeout_seconds: server.tool_timeout_seconds,
    }
}
