//! The only place that refuses what a user wrote.
//!
//! The API server has already refused most of it; what is stored may be older than a rule, and `rockbot dev` reads
//! manifests that no API server has seen. So every rule is here, too.

mod skills;
mod storage;

use std::{collections::BTreeSet, fmt, ops::RangeInclusive};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_core::Resource;
use rockbot_agent_config::FIXED_ROUTES;
use rockbot_crds::{
    Agent, McpServer,
    access::{Access, AnonymousScope},
    agent::Scripts as ScriptsSpec,
    mcp_server::{Egress, Http},
    model::{Fallback, Model as ModelSpec, Provider},
};

use crate::{
    endpoint::Endpoint,
    valid::{Model, Owner, Sampling, Scripts, Transport, ValidAgent, ValidMcpServer},
};

// Where a model is whose spec names no URL.
const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com";
const GEMINI: &str = "https://generativelanguage.googleapis.com";
/// Longest name of a resource: names of its children add a prefix.
const LONGEST_NAME: usize = 50;

/// Everything that is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field.
    pub field: String,
    /// What is wrong with it, and what is allowed.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { field, message }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{field} {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Checks an Agent.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate_agent(agent: &Agent) -> Result<ValidAgent, Invalid> {
    let mut problems = Problems::default();
    let spec = &agent.spec;
    let owner = owner(agent, &mut problems);
    if FIXED_ROUTES.contains(&owner.name.as_str()) {
        problems.add(
            "metadata.name",
            format!("is a fixed route of the agent's server: {}", FIXED_ROUTES.join(", ")),
        );
    }
    let scripts = spec.tools.scripts.as_ref();
    let servers = spec
        .tools
        .mcp
        .as_ref()
        .map(|mcp| mcp.servers.as_slice())
        .unwrap_or_default();
    let mut seen = BTreeSet::new();
    for server in servers.iter().filter(|server| !seen.insert(&server.name)) {
        problems.add(
            "spec.tools.mcp.servers",
            format!("names {:?} twice; name each server once", server.name),
        );
    }
    access(&spec.access, &mut problems);
    let skills = skills::skills(spec, &owner.name, &mut problems);
    let limits = &spec.limits;
    let model = model(&spec.model, &mut problems);
    let (scripts, max_tool_rounds, request_timeout_seconds, max_concurrent_requests) = (
        scripts.map(|scripts| self::scripts(scripts, &mut problems)),
        problems.bounded("spec.limits.maxToolRounds", limits.max_tool_rounds, 1..=100),
        problems.bounded(
            "spec.limits.requestTimeoutSeconds",
            limits.request_timeout_seconds,
            1..=3600,
        ),
        problems.bounded(
            "spec.limits.maxConcurrentRequests",
            limits.max_concurrent_requests,
            1..=100_000,
        ),
    );
    let daily_tokens = storage::daily_tokens(limits.daily_tokens, &mut problems);
    storage::time_zone(&spec.time_zone, &mut problems);
    problems.bounded("spec.replicas", spec.replicas, 0..=100);
    let storage = storage::storage(spec, &mut problems);
    problems.bounded("spec.service.port", spec.service.port, 1..=65535);
    let Some(model) = model else {
        return Err(problems.into_invalid());
    };
    problems.none_or(ValidAgent {
        owner,
        description: spec.description.clone().unwrap_or_default(),
        instructions: spec.instructions.clone().unwrap_or_default(),
        model,
        scripts,
        mcp_servers: servers
            .iter()
            .map(|server| (server.name.clone(), server.allowed_tools.clone()))
            .collect(),
        skills,
        access: spec.access.clone(),
        max_tool_rounds,
        request_timeout_seconds,
        max_concurrent_requests,
        daily_tokens,
        time_zone: spec.time_zone.clone(),
        storage,
        replicas: spec.replicas,
        resources: spec.resources.clone(),
        image: spec.image.clone(),
        service: (spec.service.type_, spec.service.port, spec.service.annotations.clone()),
    })
}

fn access(access: &Access, problems: &mut Problems) {
    if access.anonymous_scope == AnonymousScope::None && access.api_keys.is_empty() {
        problems.add(
            "spec.access.anonymousScope",
            "is none, which needs spec.access.apiKeys, or nobody could ask".into(),
        );
    }
    let mut seen = BTreeSet::new();
    for key in &access.api_keys {
        if !seen.insert(&key.name) {
            problems.add(
                "spec.access.apiKeys",
                format!("names {:?} twice; name each key once", key.name),
            );
        }
        if !is_scope(&key.scope) {
            let message = format!(
                "is {:?}; allowed are lower-case letters, digits, '-', '_' and '.'",
                key.scope
            );
            problems.add(&format!("spec.access.apiKeys[{}].scope", key.name), message);
        }
    }
}

/// Checks an McpServer.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate_mcp_server(server: &McpServer) -> Result<ValidMcpServer, Invalid> {
    let mut problems = Problems::default();
    let spec = &server.spec;
    let owner = owner(server, &mut problems);
    let transport = match (&spec.http, &spec.remote) {
        (Some(http), None) => Some(in_pods(server, http, &mut problems)),
        (None, Some(remote)) => {
            if spec.egress != Egress::None {
                problems.add(
                    "spec.egress",
                    "is about pods; a remote server has none, so it must be None".into(),
                );
            }
            if spec.resources.is_some() {
                problems.add("spec.resources", "are those of pods; a remote server has none".into());
            }
            let endpoint = problems.parsed("spec.remote.url", Endpoint::parse(&remote.url));
            endpoint.map(|endpoint| Transport::Remote {
                url: remote.url.clone(),
                endpoint,
            })
        }
        _ => {
            problems.add("spec", "must have exactly one of http and remote".into());
            None
        }
    };
    let tool_timeout_seconds = problems.bounded("spec.toolTimeoutSeconds", spec.tool_timeout_seconds, 1..=3600);
    let Some(transport) = transport else {
        return Err(problems.into_invalid());
    };
    problems.none_or(ValidMcpServer {
        owner,
        transport,
        allowed_tools: spec.allowed_tools.clone(),
        tool_timeout_seconds,
    })
}

fn in_pods(server: &McpServer, http: &Http, problems: &mut Problems) -> Transport {
    problems.bounded("spec.http.port", http.port, 1..=65535);
    problems.bounded("spec.replicas", server.spec.replicas, 0..=100);
    if !http.path.starts_with('/') {
        problems.add(
            "spec.http.path",
            format!("is {:?}; it must start with a slash", http.path),
        );
    }
    Transport::Http {
        image: http.image.clone(),
        port: http.port,
        path: http.path.clone(),
        egress: server.spec.egress,
        replicas: server.spec.replicas,
        resources: server.spec.resources.clone(),
    }
}

fn scripts(spec: &ScriptsSpec, problems: &mut Problems) -> Scripts {
    let packages = spec
        .packages
        .as_ref()
        .map(|packages| packages.allow.clone())
        .unwrap_or_default();
    let is_outer = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    let is_inner = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    for (index, name) in packages.iter().enumerate() {
        let ends = is_outer(name.chars().next()) && is_outer(name.chars().next_back());
        if name != "*" && !(ends && name.chars().all(is_inner)) {
            problems.add(
                &format!("spec.tools.scripts.packages.allow[{index}]"),
                format!(
                    "is {name:?}; allowed is the name of a package without a version, as in numpy, or * for every one"
                ),
            );
        }
    }
    Scripts {
        timeout_seconds: problems.bounded("spec.tools.scripts.timeoutSeconds", spec.timeout_seconds, 1..=300),
        packages,
    }
}

fn model(spec: &ModelSpec, problems: &mut Problems) -> Option<Model> {
    for (field, value, most) in [
        ("spec.model.temperature", spec.temperature, 2.0),
        ("spec.model.topP", spec.top_p, 1.0),
    ] {
        if value.is_some_and(|value| !(0.0..=most).contains(&value)) {
            problems.add(field, format!("must be between 0 and {most}"));
        }
    }
    let shared = Sampling {
        temperature: spec.temperature,
        top_p: spec.top_p,
        max_tokens: None,
        timeout_seconds: problems.bounded("spec.model.timeoutSeconds", spec.timeout_seconds, 1..=3600),
    };
    let own = Fallback {
        provider: spec.provider,
        name: spec.name.clone(),
        base_url: spec.base_url.clone(),
        api_key: spec.api_key.clone(),
        max_tokens: spec.max_tokens,
        extra_body: spec.extra_body.clone(),
    };
    let own = one_model("spec.model", &own, &shared, problems);
    let fallbacks: Vec<_> = spec
        .fallbacks
        .iter()
        .enumerate()
        .map(|(index, fallback)| one_model(&format!("spec.model.fallbacks[{index}]"), fallback, &shared, problems))
        .collect();
    let fallbacks = fallbacks.into_iter().collect::<Option<_>>()?;
    Some(Model { fallbacks, ..own? })
}

/// Checks what a model has in common with those that stand in for it.
fn one_model(path: &str, spec: &Fallback, shared: &Sampling, problems: &mut Problems) -> Option<Model> {
    let Fallback {
        provider,
        name,
        base_url,
        api_key,
        max_tokens,
        extra_body,
    } = spec;
    let is_demo = *provider == Provider::Demo;
    for (field, given) in [
        ("baseUrl", base_url.is_some()),
        ("apiKey", api_key.is_some()),
        ("extraBody", !extra_body.is_empty()),
    ] {
        if is_demo && given {
            problems.add(
                &format!("{path}.{field}"),
                "must be absent when provider is Demo".into(),
            );
        }
    }
    if name.is_none() && !is_demo {
        problems.add(&format!("{path}.name"), "is required unless provider is Demo".into());
    }
    let max_tokens = max_tokens.map(|tokens| problems.bounded(&format!("{path}.maxTokens"), tokens, 1..=10_000_000));
    let url = base_url.as_deref().or(match provider {
        Provider::OpenAI => Some(OPENAI),
        Provider::Anthropic => Some(ANTHROPIC),
        Provider::Gemini => Some(GEMINI),
        Provider::Ollama | Provider::Demo => None,
    });
    let field = format!("{path}.baseUrl");
    let endpoint = match url {
        _ if is_demo => None,
        Some(url) => Some(problems.parsed(&field, Endpoint::parse(url))?),
        None => {
            problems.add(
                &field,
                "is required when provider is Ollama: there is no public one".into(),
            );
            return None;
        }
    };
    Some(Model {
        provider: *provider,
        name: name.clone().unwrap_or_default(),
        base_url: base_url.clone(),
        endpoint,
        api_key: api_key.as_ref().map(|key| key.secret_key_ref.clone()),
        sampling: Sampling {
            max_tokens,
            ..shared.clone()
        },
        extra_body: extra_body.clone(),
        fallbacks: Vec::new(),
    })
}

fn owner<K: Resource<DynamicType = ()>>(object: &K, problems: &mut Problems) -> Owner {
    let ObjectMeta {
        name, namespace, uid, ..
    } = object.meta().clone();
    let name = name.unwrap_or_default();
    if !is_label(&name, LONGEST_NAME) {
        let allowed = "at most 50 lower-case letters, digits and hyphens, starting and ending with a letter or digit";
        problems.add("metadata.name", format!("is {name:?}; allowed are {allowed}"));
    }
    let reference = OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: name.clone(),
        uid: uid.unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Owner {
        namespace: namespace.unwrap_or_else(|| "default".into()),
        name,
        reference,
    }
}

/// Whether a name can be a part of the names of Kubernetes objects.
fn is_label(name: &str, longest: usize) -> bool {
    let is_edge = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let fits = matches!(name.as_bytes(), [first, .., last] if is_edge(*first) && is_edge(*last))
        || matches!(name.as_bytes(), [only] if is_edge(*only));
    fits && name.len() <= longest && name.bytes().all(|letter| is_edge(letter) || letter == b'-')
}

fn is_scope(name: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter);
    !name.is_empty() && name.chars().all(allowed)
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, message: String) {
        self.0.push(Problem {
            field: field.to_owned(),
            message,
        });
    }

    fn bounded(&mut self, field: &str, value: i32, range: RangeInclusive<i32>) -> u32 {
        if !range.contains(&value) {
            self.add(
                field,
                format!("is {value}; it must be between {} and {}", range.start(), range.end()),
            );
        }
        u32::try_from(value).unwrap_or_default()
    }

    fn parsed<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(field, message)).ok()
    }

    fn into_invalid(self) -> Invalid {
        Invalid(self.0)
    }

    fn none_or<T>(self, valid: T) -> Result<T, Invalid> {
        if self.0.is_empty() {
            Ok(valid)
        } else {
            Err(self.into_invalid())
        }
    }
}
