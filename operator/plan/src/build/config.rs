//! The configuration file of an agent's pods.

use std::path::PathBuf;

use rockbot_agent_config::{AgentConfig, Limits, McpServerConfig, ModelConfig, Provider, ScriptsConfig, ToolsConfig};

use super::API_KEY_FILE;
use crate::{
    inputs::{ResolvedServers, Server},
    valid::{Model, Sampling, ValidAgent},
};

/// The configuration of an agent. The file of its key is where a pod has it; who runs the agent elsewhere replaces it.
pub fn agent_config(agent: &ValidAgent, servers: &ResolvedServers) -> AgentConfig {
    AgentConfig {
        name: agent.owner.name.clone(),
        description: agent.description.clone(),
        instructions: agent.instructions.clone(),
        model: model(&agent.model),
        tools: ToolsConfig {
            scripts: agent
                .script_timeout_seconds
                .map(|timeout_seconds| ScriptsConfig { timeout_seconds }),
            mcp: servers.found().map(server).collect(),
        },
        limits: Limits {
            max_tool_rounds: agent.max_tool_rounds,
            request_timeout_seconds: agent.request_timeout_seconds,
        },
    }
}

fn model(model: &Model) -> ModelConfig {
    let (provider, name, base_url, has_key, sampling) = match model {
        Model::OpenAI {
            name,
            base_url,
            api_key,
            sampling,
            ..
        } => (
            Provider::OpenAI,
            name.clone(),
            base_url.clone(),
            api_key.is_some(),
            sampling,
        ),
        Model::Demo { name, sampling } => (Provider::Demo, name.clone().unwrap_or_default(), None, false, sampling),
    };
    let Sampling {
        temperature,
        top_p,
        max_tokens,
        timeout_seconds,
    } = *sampling;
    ModelConfig {
        provider,
        name,
        base_url,
        api_key_file: has_key.then(|| PathBuf::from(API_KEY_FILE)),
        temperature,
        top_p,
        max_tokens,
        timeout_seconds,
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
