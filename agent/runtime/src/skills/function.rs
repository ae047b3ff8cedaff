//! Rust functions as tools: parameters as a JSON Schema, arguments from JSON, results as text.
//!
//! What `#[skill]` generates is written in terms of this module.

use std::{fmt::Display, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{HandoffResult, HandoffType, HookFailure, HookFn, Occasion, PromptFn};
use crate::{
    Context,
    tools::{ToolError, ToolErrorCode, ToolExecutor, ToolInvokeRequest, ToolInvokeResponse},
};

/// Parameters of a function, as they become known.
pub struct Parameters {
    generator: SchemaGenerator,
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl Default for Parameters {
    /// Types are written out where they are used: many models do not follow references.
    fn default() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        Self {
            generator: settings.into_generator(),
            properties: Map::new(),
            required: Vec::new(),
        }
    }
}

impl Parameters {
    /// A parameter that must be given.
    #[must_use]
    pub fn required<T: JsonSchema>(mut self, name: &str, description: &str) -> Self {
        self.required.push(name.to_owned());
        self.add::<T>(name, description, None)
    }

    /// A parameter that may be left out.
    #[must_use]
    pub fn optional<T: JsonSchema>(self, name: &str, description: &str) -> Self {
        self.add::<T>(name, description, None)
    }

    /// A parameter that is `default` when it is left out.
    #[must_use]
    pub fn defaulted<T: JsonSchema + Serialize>(self, name: &str, description: &str, default: &T) -> Self {
        self.add::<T>(name, description, serde_json::to_value(default).ok())
    }

    fn add<T: JsonSchema>(mut self, name: &str, description: &str, default: Option<Value>) -> Self {
        let mut schema = self.generator.subschema_for::<T>();
        // That of a type which may be anything is `true`.
        let property = schema.ensure_object();
        if !description.is_empty() {
            property.insert("description".to_owned(), description.into());
        }
        property.extend(default.map(|default| ("default".to_owned(), default)));
        self.properties.insert(name.to_owned(), schema.to_value());
        self
    }

    /// The schema of all of them.
    pub fn schema(mut self) -> Value {
        let mut schema = json!({ "type": "object", "properties": self.properties, "additionalProperties": false });
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        // Types that contain themselves cannot be written out.
        let definitions = self.generator.take_definitions(true);
        if !definitions.is_empty() {
            schema["$defs"] = Value::Object(definitions);
        }
        schema
    }
}

/// Arguments of a call. They are valid by the schema.
#[derive(Debug)]
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// Takes the argument `name`; one that is left out is null.
    ///
    /// # Errors
    /// When it is no `T`, where the schema could not tell.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Failure> {
        let argument = self.0.remove(name).unwrap_or_default();
        serde_json::from_value(argument).map_err(|error| Failure::Arguments(format!("{name}: {error}")))
    }

    /// Takes the argument `name`, or `default` when it is left out.
    ///
    /// # Errors
    /// When it is no `T`, where the schema could not tell.
    pub fn take_or<T: DeserializeOwned>(&mut self, name: &str, default: impl FnOnce() -> T) -> Result<T, Failure> {
        match self.0.contains_key(name) {
            true => self.take(name),
            false => Ok(default()),
        }
    }
}

/// What a function answers.
#[derive(Debug)]
pub enum Output {
    /// Text for the model.
    Text(String),
    /// What became of a handoff.
    Handoff(HandoffResult),
}

/// Why a function answers nothing.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are not what it takes.
    Arguments(String),
    /// It could not do its work.
    Execution(String),
}

impl Failure {
    /// The function failed with `error`; of an error with causes the model reads all.
    pub fn execution(error: impl Display) -> Self {
        Self::Execution(format!("{error:#}"))
    }
}

/// What a function that runs as a tool returns.
pub type Answer = BoxFuture<'static, Result<Output, Failure>>;

/// `run` as a hook. It names the lifetimes, which closures cannot.
pub fn hook<F>(run: F) -> HookFn
where
    F: for<'a> Fn(Context, Occasion<'a>) -> BoxFuture<'a, Result<(), HookFailure>> + Send + Sync + 'static,
{
    Arc::new(run)
}

/// `write` as a prompt.
pub fn prompt<F>(write: F) -> PromptFn
where
    F: Fn(Context) -> BoxFuture<'static, Result<String, String>> + Send + Sync + 'static,
{
    Arc::new(write)
}

/// What the model reads of `value`: a text as it is, nothing for `()`, JSON for anything else.
///
/// # Errors
/// When it cannot be JSON.
pub fn text(value: impl Serialize) -> Result<Output, Failure> {
    let text = match serde_json::to_value(value).map_err(Failure::execution)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Ok(Output::Text(text))
}

/// A function that runs as a tool.
pub struct Function<F> {
    /// Reads the arguments and runs it.
    pub run: F,
    /// How long a call may take.
    pub deadline: Duration,
    /// To whom it hands off, when it does.
    pub handoff: Option<HandoffType>,
}

#[async_trait]
impl<F> ToolExecutor for Function<F>
where
    F: Fn(Context, Arguments) -> Answer + Send + Sync,
{
    async fn execute(
        &self,
        request: &ToolInvokeRequest,
        arguments: Map<String, Value>,
    ) -> Result<ToolInvokeResponse, ToolError> {
        match (self.run)(request.context.clone(), Arguments(arguments)).await {
            Ok(Output::Text(text)) => Ok(request.response(text)),
            Ok(Output::Handoff(result)) => Ok(request.handoff(result)),
            Err(Failure::Arguments(message)) => Err(request.error(ToolErrorCode::InvalidArguments, message)),
            Err(Failure::Execution(message)) => Err(request.error(ToolErrorCode::ExecutionFailed, message)),
        }
    }

    fn deadline(&self, _: &Map<String, Value>) -> Duration {
        self.deadline
    }

    fn handoff(&self) -> Option<HandoffType> {
        self.handoff
    }
}
