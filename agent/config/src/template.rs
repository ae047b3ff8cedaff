//! The language of prompts' templates: Jinja, with the request's variables and nothing else.
//!
//! Who checks a manifest and who runs an agent read templates with the same code, so that what passes the one works in
//! the other.

use std::fmt;

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};
use serde_json::{Map, Value};

/// Variables of a template. `values` is an object: what hooks and skills remember for the request.
pub const VARIABLES: [&str; 8] = [
    "agent",
    "agent_owner_id",
    "origin_user_id",
    "payment_user_id",
    "request_id",
    "scope",
    "user_id",
    "values",
];

/// The only template of its environment.
const NAME: &str = "template";

/// A template without mistakes that could be found before it is rendered.
pub struct Template(Environment<'static>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// In words, when it is no template or names a variable that does not exist.
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // It becomes a part of a prompt, not of a web page.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| words(&error))?;
        let template = environment.get_template(NAME).map_err(|error| words(&error))?;
        let known = |name: &String| {
            VARIABLES.contains(&name.as_str()) || environment.globals().any(|(global, _)| global == name)
        };
        let mut unknown: Vec<_> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| !known(name))
            .collect();
        unknown.sort();
        if unknown.is_empty() {
            Ok(Self(environment))
        } else {
            Err(format!(
                "has the unknown variable {}; there are {}",
                unknown.join(", "),
                VARIABLES.join(", ")
            ))
        }
    }

    /// The text for `variables`, which are those of [`VARIABLES`].
    ///
    /// # Errors
    /// In words, when it needs what a request does not have, such as a value that nobody has set.
    pub fn render(&self, variables: &Map<String, Value>) -> Result<String, String> {
        self.0
            .get_template(NAME)
            .and_then(|template| template.render(minijinja::value::Serde(variables)))
            .map_err(|error| words(&error))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Template").finish_non_exhaustive()
    }
}

fn words(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("line {line}: {detail}"),
        None => detail,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str) -> Result<String, String> {
        let variables = json!({ "user_id": "<ada>", "scope": "owner", "values": { "tier": "gold" } });
        Template::parse(source)?.render(variables.as_object().unwrap())
    }

    #[test]
    fn d3_a_template_reads_the_request() {
        for (source, text) in [
            ("You serve {{ user_id }}.", "You serve <ada>."),
            ("{% if scope == 'owner' %}Be frank.{% endif %}", "Be frank."),
            ("{{ values.tier | upper }}", "GOLD"),
            ("{{ values.city | default('nowhere') }}", "nowhere"),
            ("{% for n in range(3) %}{{ n }}{% endfor %}", "012"),
            ("{% set x = 1 %}{{ x }}", "1"),
        ] {
            assert_eq!(render(source).as_deref(), Ok(text), "{source}");
        }
    }

    #[test]
    fn d3_what_is_wrong_with_a_template_is_said() {
        for (source, words) in [
            (
                "Hello {{ usr_id }}",
                "unknown variable usr_id; there are agent, agent_owner_id",
            ),
            ("one\n{% if %}", "line 2"),
            ("{{ user_id | shout }}", "shout"),
            ("{{ values.city }}", "undefined"),
        ] {
            let error = render(source).unwrap_err();
            assert!(error.contains(words), "{source}: {error}");
        }
    }
}
