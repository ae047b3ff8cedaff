//! Declared handoffs: to another agent, to whoever talks to this one, or to a service.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rockbot_agent_config::{HandoffConfig, HandoffTarget};
use serde_json::json;
use url::Url;

use super::{Wrong, url};
use crate::{
    Context,
    outbound::{Outbound, Post},
    peers::{Peers, Task},
    scope::Scope,
    skills::{
        HandoffResult, HandoffType,
        function::{Answer, Arguments, Function, Output, Parameters},
    },
    tools::{ToolExecutor, ToolRegistration},
};

/// A declared handoff.
pub(super) struct Declared {
    config: HandoffConfig,
    to: To,
}

/// Who takes over.
#[derive(Clone)]
enum To {
    Agent(Arc<OtherAgent>),
    Human,
    Service(Arc<Service>),
}

struct OtherAgent {
    peers: Arc<Peers>,
    name: String,
    key_file: Option<PathBuf>,
}

struct Service {
    outbound: Arc<Outbound>,
    handoff: String,
    url: Url,
    key_file: Option<PathBuf>,
    signing_key_file: Option<PathBuf>,
}

impl Declared {
    pub(super) fn new(config: &HandoffConfig, outbound: &Arc<Outbound>, peers: &Arc<Peers>) -> Result<Self, Wrong> {
        let to = match &config.to {
            HandoffTarget::Agent { name, key_file } => To::Agent(Arc::new(OtherAgent {
                peers: Arc::clone(peers),
                name: name.clone(),
                key_file: key_file.clone(),
            })),
            HandoffTarget::Human => To::Human,
            HandoffTarget::Service {
                url: text,
                key_file,
                signing_key_file,
            } => To::Service(Arc::new(Service {
                outbound: Arc::clone(outbound),
                handoff: config.name.clone(),
                url: url(|| format!("handoffs[{}].to.url", config.name), text)?,
                key_file: key_file.clone(),
                signing_key_file: signing_key_file.clone(),
            })),
        };
        Ok(Self {
            config: config.clone(),
            to,
        })
    }

    pub(super) fn tool(&self) -> (ToolRegistration, Arc<dyn ToolExecutor>) {
        let registration = ToolRegistration {
            name: self.config.name.clone(),
            description: self.config.description.clone(),
            parameters_schema: self.to.parameters().schema(),
            source: String::new(),
            scope: Scope::any_of([&self.config.scope]),
        };
        let to = self.to.clone();
        let executor = Function {
            handoff: Some(to.kind()),
            deadline: Duration::from_secs(self.config.timeout_seconds.into()),
            run: move |context: Context, arguments: Arguments| to.clone().run(context, arguments),
        };
        (registration, Arc::new(executor))
    }
}

impl To {
    fn kind(&self) -> HandoffType {
        match self {
            Self::Agent(_) => HandoffType::Agent,
            Self::Human => HandoffType::Human,
            Self::Service(_) => HandoffType::Service,
        }
    }

    fn parameters(&self) -> Parameters {
        let parameters = Parameters::default();
        match self {
            Self::Agent(_) => parameters
                .required::<String>(
                    "task",
                    "What it is to do or to answer, with everything that it needs to know for that.",
                )
                .defaulted::<bool>("with_conversation", "Whether it reads this conversation, too.", &false),
            Self::Human => parameters.required::<String>("question", "What to ask, in words for the person."),
            Self::Service(_) => parameters.required::<String>(
                "task",
                "What it is to do, with everything that it needs to know for that.",
            ),
        }
    }

    fn run(self, context: Context, mut arguments: Arguments) -> Answer {
        Box::pin(async move {
            let result = match self {
                Self::Agent(agent) => {
                    let task = Task {
                        agent: &agent.name,
                        text: &arguments.take::<String>("task")?,
                        with_conversation: arguments.take_or("with_conversation", || false)?,
                        key_file: agent.key_file.as_deref(),
                    };
                    agent.peers.ask(&context, &task).await
                }
                Self::Human => HandoffResult::done(arguments.take::<String>("question")?),
                Self::Service(service) => service.ask(&context, arguments.take("task")?).await,
            };
            Ok(Output::Handoff(result))
        })
    }
}

impl Service {
    async fn ask(&self, context: &Context, task: String) -> HandoffResult {
        let body = json!({
            "type": "handoff",
            "context": context.variables(),
            "data": { "handoff": self.handoff, "arguments": { "task": task } },
        });
        let post = Post {
            url: &self.url,
            body: &body,
            key_file: self.key_file.as_deref(),
            signing_key_file: self.signing_key_file.as_deref(),
        };
        match self.outbound.post(context, post).await {
            Ok(reply) if reply.status.is_success() => HandoffResult::done(reply.text()),
            Ok(reply) => HandoffResult::failed(format!("the service: {}", reply.words())),
            Err(why) => HandoffResult::failed(format!("the service: {why}")),
        }
    }
}
