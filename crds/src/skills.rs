//! `spec.prompts`, `spec.hooks` and `spec.handoffs` of an Agent: what skills do, without code.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::SecretKeyRef;

/// Text that joins the system message of each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// Name of the prompt, for you and for the log.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Order among prompts: the lower comes first, all of them after the instructions.
    #[serde(default = "middle")]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// For whose requests it speaks: `all`, `owner`, `admin`, or a scope that a key of `spec.access` has.
    #[serde(default = "all")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[-_.a-z0-9]+$"))]
    pub scope: String,
    /// The text, as a Jinja template. Its variables are `agent`, `user_id`, `payment_user_id`, `origin_user_id`,
    /// `agent_owner_id`, `request_id`, `scope`, and `values`, which holds what hooks and skills have set. A prompt that
    /// needs a value that nobody has set is left out.
    #[schemars(length(min = 1, max = 65536))]
    pub template: String,
}

/// A webhook that the agent calls at one of the moments of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.event != 'on_chunk'",
        "message": "on_chunk would be a request for every word of an answer; use on_message, or write the hook in Rust",
    },
    {
        "rule": "self.event != 'finalize_connection' || self.failurePolicy != 'Fail'",
        "message": "failurePolicy Fail has nothing to stop at finalize_connection: the request is over",
    },
]))]
pub struct Hook {
    /// Name of the hook, for you, for the log and for errors.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When it is called. What the call carries, and what its answer may change, depends on it.
    pub event: HookEvent,
    /// Order among hooks of the same event, those of skills in Rust included: the higher runs first.
    #[serde(default = "middle")]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// For whose requests it is called: `all`, `owner`, `admin`, or a scope that a key of `spec.access` has.
    #[serde(default = "all")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[-_.a-z0-9]+$"))]
    pub scope: String,
    /// Where it is, `http` or `https`, without credentials.
    #[schemars(
        length(max = 2048),
        regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?$")
    )]
    pub url: String,
    /// Seconds that a call may take. The request waits for it.
    #[serde(default = "hook_timeout")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: i32,
    /// What happens when a call fails: `Ignore` logs it and goes on, `Fail` stops what the hook is about: the request,
    /// the tool call or the handoff.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// Secret of the agent's namespace with the key that signs calls, as Standard Webhooks describes it. Without it they
    /// are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// Moments of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// The request begins.
    OnConnection,
    /// A piece of the answer goes out. For skills in Rust alone.
    OnChunk,
    /// The model has said a whole message.
    OnMessage,
    /// A tool is about to run.
    BeforeToolcall,
    /// The model is about to read the result of a tool.
    AfterToolcall,
    /// A handoff is about to happen.
    BeforeHandoff,
    /// The model is about to read what became of a handoff.
    AfterHandoff,
    /// The request is over, however it ended.
    FinalizeConnection,
}

/// What a failure of a hook means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// It is logged.
    #[default]
    Ignore,
    /// What the hook is about fails.
    Fail,
}

/// Somebody to whom the model can hand a task. The model calls it as it calls a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = handoff_rules()))]
pub struct Handoff {
    /// Name by which the model calls it.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// To whom: another agent, whoever talks to this one, or an HTTP service.
    #[serde(rename = "type")]
    pub type_: HandoffType,
    /// Name of an Agent in this namespace, or URL of a service. Absent for a human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub target: Option<String>,
    /// What it is for, in words for the model, which chooses by it.
    #[schemars(length(min = 1, max = 1024))]
    pub description: String,
    /// For whose requests it is offered and runs: `all`, `owner`, `admin`, or a scope that a key of `spec.access` has.
    #[serde(default = "all")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[-_.a-z0-9]+$"))]
    pub scope: String,
    /// Secret of the agent's namespace with the key that is sent as `Authorization: Bearer KEY`: an API key of the other
    /// agent, or the service's. A changed key counts from then on, without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// Secret of the agent's namespace with the key that signs requests to a service, as Standard Webhooks describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key_ref: Option<SecretKeyRef>,
    /// Seconds that it may take: 300 for an agent, 60 for a service unless you say otherwise. Absent for a human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
}

/// To whom a handoff goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HandoffType {
    /// Another agent of the same namespace. The model reads its answer.
    Agent,
    /// Whoever talks to this agent: the turn ends with a question, and their next message is the answer.
    Human,
    /// An HTTP service. The model reads its answer.
    Service,
}

fn handoff_rules() -> Value {
    json!([
        {
            "rule": "(self.type == 'Human') != has(self.target)",
            "message": "target is required, but for a Human: that is whoever talks to the agent",
        },
        {
            "rule": "self.type != 'Agent' || !has(self.target) || self.target.matches('^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$')",
            "message": "target must be the name of an Agent in this namespace when type is Agent",
        },
        {
            "rule": "self.type != 'Service' || !has(self.target) || self.target.matches('^https?://[^\\\\s/?#@]+(/[^\\\\s?#]*)?([?][^\\\\s#]*)?$')",
            "message": "target must be an http or https URL without credentials when type is Service",
        },
        {
            "rule": "self.type != 'Human' || (!has(self.secretKeyRef) && !has(self.timeoutSeconds))",
            "message": "secretKeyRef and timeoutSeconds must be absent when type is Human: nobody is called",
        },
        {
            "rule": "self.type == 'Service' || !has(self.signingKeyRef)",
            "message": "signingKeyRef must be absent unless type is Service",
        },
    ])
}

fn all() -> String {
    "all".into()
}

fn middle() -> i32 {
    50
}

fn hook_timeout() -> i32 {
    5
}
