//! The settings of an attribute: which there are, and what each may be.

use syn::{
    Attribute, Expr, ExprLit, Ident, Lit, LitInt, LitStr, Meta, Path, Result,
    meta::ParseNestedMeta,
    parse::{Parse, ParseStream},
};

/// What a function of a skill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tool,
    Hook,
    Prompt,
    Handoff,
}

/// The moments of hooks: name, name of the variant of `HookEvent`, variant of `Occasion`, and whether that lends
/// something.
pub(crate) const EVENTS: [Event; 8] = [
    Event::new("on_connection", "OnConnection", "Connection", false),
    Event::new("on_chunk", "OnChunk", "Chunk", true),
    Event::new("on_message", "OnMessage", "Message", true),
    Event::new("before_toolcall", "BeforeToolcall", "BeforeToolcall", true),
    Event::new("after_toolcall", "AfterToolcall", "AfterToolcall", true),
    Event::new("before_handoff", "BeforeHandoff", "BeforeHandoff", true),
    Event::new("after_handoff", "AfterHandoff", "AfterHandoff", true),
    Event::new("finalize_connection", "FinalizeConnection", "Finalize", false),
];

/// A moment of hooks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    /// Variant of `HookEvent`.
    pub(crate) variant: &'static str,
    /// Variant of `Occasion`.
    pub(crate) occasion: &'static str,
    /// Whether the occasion lends something.
    pub(crate) lends: bool,
}

impl Event {
    const fn new(name: &'static str, variant: &'static str, occasion: &'static str, lends: bool) -> Self {
        Self {
            name,
            variant,
            occasion,
            lends,
        }
    }
}

/// What an attribute says; `None` where it says nothing.
pub(crate) struct Settings {
    pub(crate) name: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    pub(crate) scope: Option<Vec<String>>,
    pub(crate) priority: Option<i32>,
    pub(crate) event: Option<Event>,
    pub(crate) must_succeed: Option<bool>,
    /// Variant of `HandoffType`.
    pub(crate) handoff: Option<Ident>,
    pub(crate) timeout_seconds: Option<u64>,
}

impl Kind {
    /// The kind that `attribute` names, by whatever path.
    pub(crate) fn of(attribute: &Attribute) -> Option<Self> {
        match &*attribute.path().segments.last()?.ident.to_string() {
            "tool" => Some(Self::Tool),
            "hook" => Some(Self::Hook),
            "prompt" => Some(Self::Prompt),
            "handoff" => Some(Self::Handoff),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Hook => "hook",
            Self::Prompt => "prompt",
            Self::Handoff => "handoff",
        }
    }

    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Tool => &["name", "description", "scope", "timeout_seconds"],
            Self::Hook => &["priority", "scope", "must_succeed"],
            Self::Prompt => &["priority", "scope"],
            Self::Handoff => &["name", "type", "description", "scope", "timeout_seconds"],
        }
    }
}

impl Settings {
    /// Reads `#[kind]` or `#[kind(…)]`.
    pub(crate) fn read(kind: Kind, attribute: &Attribute) -> Result<Self> {
        let mut settings = Self {
            name: None,
            description: None,
            scope: None,
            priority: None,
            event: None,
            must_succeed: None,
            handoff: None,
            timeout_seconds: None,
        };
        if !matches!(attribute.meta, Meta::Path(_)) {
            attribute.parse_nested_meta(|meta| settings.set(kind, &meta))?;
        }
        if kind == Kind::Hook && settings.event.is_none() {
            let message = format!("a hook names its event first: {}", event_names());
            return Err(syn::Error::new_spanned(attribute, message));
        }
        Ok(settings)
    }

    fn set(&mut self, kind: Kind, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
        if kind == Kind::Hook && !meta.input.peek(syn::Token![=]) {
            return self.set_event(&meta.path, &name);
        }
        if !kind.settings().contains(&&*name) {
            let message = format!(
                "unknown setting `{name}`: #[{}] takes {}",
                kind.name(),
                kind.settings().join(", ")
            );
            return Err(syn::Error::new_spanned(&meta.path, message));
        }
        let value = meta.value()?;
        match &*name {
            "name" => self.name = Some(tool_name(value.parse()?)?),
            "description" => self.description = Some(value.parse()?),
            "scope" => self.scope = Some(value.parse::<Scope>()?.0),
            "priority" => self.priority = Some(priority(&value.parse()?)?),
            "must_succeed" => self.must_succeed = Some(yes_or_no(&value.parse()?)?),
            "type" => self.handoff = Some(handoff_type(&value.parse()?)?),
            _ => self.timeout_seconds = Some(timeout_seconds(&value.parse()?)?),
        }
        Ok(())
    }

    fn set_event(&mut self, path: &Path, name: &str) -> Result<()> {
        let known = EVENTS.iter().find(|event| event.name == name).copied();
        let Some(event) = known else {
            let message = format!("unknown event `{name}`: there are {}", event_names());
            return Err(syn::Error::new_spanned(path, message));
        };
        match self.event.replace(event) {
            None => Ok(()),
            Some(_) => Err(syn::Error::new_spanned(
                path,
                "a hook has one event: write another function for another event",
            )),
        }
    }
}

/// `"owner"` or `["owner", "billing"]`.
struct Scope(Vec<String>);

impl Parse for Scope {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let value: Expr = input.parse()?;
        let names = match &value {
            Expr::Array(list) => list.elems.iter().map(scope_name).collect::<Result<Vec<_>>>()?,
            one => vec![scope_name(one)?],
        };
        if names.is_empty() {
            let message = "an empty list of scopes admits nobody: name at least one, such as \"owner\"";
            return Err(syn::Error::new_spanned(&value, message));
        }
        Ok(Self(names))
    }
}

fn scope_name(value: &Expr) -> Result<String> {
    let name = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(name), ..
        }) => name.value(),
        _ => String::new(),
    };
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter);
    if name.is_empty() || !name.chars().all(allowed) {
        let message = "no scope: write \"all\", \"owner\", \"admin\", or a name of your own in lower-case letters, digits, \
                       '-', '_' and '.'; or a list of them, such as [\"owner\", \"billing\"]";
        return Err(syn::Error::new_spanned(value, message));
    }
    Ok(name)
}

/// OpenAI's rule for names of functions.
pub(crate) fn tool_name(name: LitStr) -> Result<LitStr> {
    let text = name.value();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(name);
    }
    let message = "a model can call names of 1 to 64 letters, digits, '_' and '-' only";
    Err(syn::Error::new_spanned(&name, message))
}

fn priority(value: &Expr) -> Result<i32> {
    let text = quote::quote!(#value).to_string().replace(' ', "");
    text.parse()
        .map_err(|_| syn::Error::new_spanned(value, "a priority is a whole number, such as 50"))
}

fn yes_or_no(value: &Expr) -> Result<bool> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Bool(value), ..
        }) => Ok(value.value),
        _ => Err(syn::Error::new_spanned(value, "write true or false")),
    }
}

fn handoff_type(value: &LitStr) -> Result<Ident> {
    let variant = match &*value.value() {
        "agent" => "Agent",
        "human" => "Human",
        "service" => "Service",
        _ => {
            let message = "unknown type of handoff: there are \"agent\", \"human\" and \"service\"";
            return Err(syn::Error::new_spanned(value, message));
        }
    };
    Ok(Ident::new(variant, value.span()))
}

fn timeout_seconds(value: &LitInt) -> Result<u64> {
    let seconds = value.base10_parse().unwrap_or_default();
    if seconds == 0 {
        return Err(syn::Error::new_spanned(value, "a timeout is at least one second"));
    }
    Ok(seconds)
}

fn event_names() -> String {
    EVENTS.map(|event| event.name).join(", ")
}
