//! The only place that refuses what a user wrote.
//!
//! The API server has already refused most of it; what is stored may be older than a rule, and `rockbot dev` reads
//! manifests that no API server has seen. So fields are held to their definition once more, in `schema`, and every rule
//! between fields is here, too; what an edit may change is the API server's alone.

mod resources;
mod skills;
mod storage;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_core::Resource;
use rockbot_agent_config::FIXED_ROUTES;
use rockbot_crds::{
    Agent, McpServer,
    access::{Access, AnonymousScope},
    agent::Scripts as ScriptsSpec,
    mcp_server::{Egress, Http},
    model::{Fallback, Model as ModelSpec, Provider, SecretKeyRef},
};

use crate::{
    endpoint::Endpoint,
    schema,
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
    let spec = &agent.spec;
    let mut problems = Problems::of_fields(schema::agent(spec))?;
    let owner = owner(agent, &mut problems);
    if FIXED_ROUTES.contains(&owner.name.as_str()) {
        problems.add(
            "metadata.name",
            format!("is a fixed route of the agent's server: {}", FIXED_ROUTES.join(", ")),
        );
    }
    let servers = spec
        .tools
        .mcp
        .as_ref()
        .map(|mcp| mcp.servers.as_slice())
        .unwrap_or_default();
    access(&spec.access, &mut problems);
    let skills = skills::skills(spec, &owner.name, &mut problems);
    let limits = &spec.limits;
    let model = model(&spec.model, &mut problems);
    storage::time_zone(&spec.time_zone, &mut problems);
    let storage = storage::storage(spec, &mut problems);
    resources::resources(spec.resources.as_ref(), &mut problems);
    let Some(model) = model else {
        return Err(problems.into_invalid());
    };
    problems.none_or(ValidAgent {
        owner,
        description: spec.description.clone().unwrap_or_default(),
        instructions: spec.instructions.clone().unwrap_or_default(),
        model,
        scripts: spec.tools.scripts.as_ref().map(scripts),
        mcp_servers: servers
            .iter()
            .map(|server| (server.name.clone(), server.allowed_tools.clone()))
            .collect(),
        skills,
        access: spec.access.clone(),
        max_tool_rounds: count(limits.max_tool_rounds),
        request_timeout_seconds: count(limits.request_timeout_seconds),
        max_concurrent_requests: count(limits.max_concurrent_requests),
        daily_tokens: limits.daily_tokens.and_then(|tokens| tokens.try_into().ok()),
        time_zone: spec.time_zone.clone(),
        storage,
        replicas: spec.replicas,
        resources: spec.resources.clone(),
        image: spec.image.clone(),
        image_pull_secrets: spec.image_pull_secrets.clone(),
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
}

/// Checks an McpServer.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate_mcp_server(server: &McpServer) -> Result<ValidMcpServer, Invalid> {
    let spec = &server.spec;
    let mut problems = Problems::of_fields(schema::mcp_server(spec))?;
    let owner = owner(server, &mut problems);
    let transport = match (&spec.http, &spec.remote) {
        (Some(http), None) => Some(in_pods(server, http)),
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
    resources::resources(spec.resources.as_ref(), &mut problems);
    let Some(transport) = transport else {
        return Err(problems.into_invalid());
    };
    problems.none_or(ValidMcpServer {
        owner,
        transport,
        allowed_tools: spec.allowed_tools.clone(),
        tool_timeout_seconds: count(spec.tool_timeout_seconds),
    })
}

/// Checks a Secret: that an Agent can name it and every key of it.
///
/// # Errors
/// When it cannot. Kubernetes would not take such a Secret either.
pub fn validate_secret<'a>(name: &str, keys: impl IntoIterator<Item = &'a String>) -> Result<(), Invalid> {
    for key in keys {
        let named = SecretKeyRef {
            name: name.to_owned(),
            key: key.clone(),
        };
        let problems = schema::secret_key(&named).into_iter().map(|problem| Problem {
            field: match problem.field.as_str() {
                "name" => "metadata.name".to_owned(),
                _ => format!("key {key:?}"),
            },
            ..problem
        });
        Problems::of_fields(problems.collect())?;
    }
    Ok(())
}

fn in_pods(server: &McpServer, http: &Http) -> Transport {
    Transport::Http {
        image: http.image.clone(),
        image_pull_secrets: http.image_pull_secrets.clone(),
        port: http.port,
        path: http.path.clone(),
        egress: server.spec.egress,
        replicas: server.spec.replicas,
        resources: server.spec.resources.clone(),
    }
}

fn scripts(spec: &ScriptsSpec) -> Scripts {
    let packages = spec.packages.as_ref().map(|packages| packages.allow.clone());
    Scripts {
        timeout_seconds: count(spec.timeout_seconds),
        packages: packages.unwrap_or_default(),
    }
}

fn model(spec: &ModelSpec, problems: &mut Problems) -> Option<Model> {
    let shared = Sampling {
        temperature: spec.temperature,
        top_p: spec.top_p,
        max_tokens: None,
        timeout_seconds: count(spec.timeout_seconds),
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
            max_tokens: max_tokens.map(count),
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

/// A number that is at least 0: the definition says so.
fn count(value: i32) -> u32 {
    value.try_into().unwrap_or_default()
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    /// None yet, if every field by itself is right. As at the API server, rules between fields are asked only then.
    fn of_fields(problems: Vec<Problem>) -> Result<Self, Invalid> {
        if problems.is_empty() {
            Ok(Self::default())
        } else {
            Err(Invalid(problems))
        }
    }

    fn add(&mut self, field: &str, message: String) {
        self.0.push(Problem {
            field: field.to_owned(),
            message,
        });
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

#[cfg(test)]
mod tests;
