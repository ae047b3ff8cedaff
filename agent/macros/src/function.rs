//! A function of a skill: its parameters and what it returns, as far as they matter.

use quote::ToTokens;
use syn::{
    Attribute, Expr, FnArg, Ident, ImplItemFn, Lit, LitStr, Meta, Pat, PatType, Receiver, Result, ReturnType, Type,
};

use crate::settings::{Kind, Settings};

/// A function with one of the four attributes.
pub(crate) struct Function {
    pub(crate) kind: Kind,
    pub(crate) settings: Settings,
    pub(crate) ident: Ident,
    /// Its doc comment.
    pub(crate) docs: String,
    /// When it exists.
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) takes_self: bool,
    pub(crate) is_async: bool,
    pub(crate) inputs: Vec<Input>,
    pub(crate) output: ReturnType,
}

/// A parameter besides `self`.
pub(crate) enum Input {
    /// The request.
    Context { by_reference: bool },
    /// Anything else.
    Argument(Box<Argument>),
}

/// A parameter that is no `Context`.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) docs: String,
    pub(crate) default: Option<Expr>,
}

impl Function {
    /// Reads `item`; `None` when it has none of the attributes.
    pub(crate) fn read(item: &ImplItemFn) -> Result<Option<Self>> {
        let mut found = item
            .attrs
            .iter()
            .filter_map(|attribute| Some((attribute, Kind::of(attribute)?)));
        let Some((attribute, kind)) = found.next() else {
            return Ok(None);
        };
        if let Some((second, _)) = found.next() {
            let message = "a function of a skill is one thing: a tool, a hook, a prompt or a handoff";
            return Err(syn::Error::new_spanned(second, message));
        }
        let settings = Settings::read(kind, attribute)?;
        if !item.sig.generics.params.is_empty() {
            let message = "nobody could choose the type parameters of a function that a model calls: write types";
            return Err(syn::Error::new_spanned(&item.sig.generics, message));
        }
        let function = Self {
            kind,
            settings,
            ident: item.sig.ident.clone(),
            docs: docs(&item.attrs),
            cfgs: item
                .attrs
                .iter()
                .filter(|attribute| attribute.path().is_ident("cfg"))
                .cloned()
                .collect(),
            takes_self: item.sig.receiver().is_some(),
            is_async: item.sig.asyncness.is_some(),
            inputs: inputs(kind, &item.sig.inputs)?,
            output: item.sig.output.clone(),
        };
        function.check()?;
        Ok(Some(function))
    }

    /// What the model is told about it.
    pub(crate) fn description(&self) -> String {
        let of_settings = self.settings.description.as_ref().map(LitStr::value);
        of_settings.unwrap_or_else(|| self.docs.clone())
    }

    /// The parameters that are no `Context`.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Context { .. } => None,
            Input::Argument(argument) => Some(&**argument),
        })
    }

    /// Whether it returns a `Result`, under whatever path.
    pub(crate) fn is_fallible(&self) -> bool {
        let ReturnType::Type(_, ty) = &self.output else {
            return false;
        };
        last_segment(ty).is_some_and(|name| name == "Result")
    }

    /// What its kind does not allow.
    fn check(&self) -> Result<()> {
        let refuse = |at: &dyn ToTokens, message: String| Err(syn::Error::new_spanned(at, message));
        let mut arguments = self.arguments();
        match self.kind {
            Kind::Tool | Kind::Handoff => {
                if self.description().trim().is_empty() {
                    let message =
                        "the model chooses by what a tool is for: write a doc comment, or description = \"…\"";
                    return refuse(&self.ident, message.to_owned());
                }
            }
            Kind::Prompt => {
                if let Some(argument) = arguments.next() {
                    return refuse(&argument.ty, "a prompt takes a Context or nothing".to_owned());
                }
                if matches!(self.output, ReturnType::Default) {
                    return refuse(&self.ident, "a prompt returns its text, such as a String".to_owned());
                }
            }
            Kind::Hook => {
                let event = self.settings.event.map_or("", |event| event.name);
                let lends = self.settings.event.is_some_and(|event| event.lends);
                if let Some(argument) = arguments.nth(usize::from(lends)) {
                    let what = if lends {
                        "a Context and what the event is about"
                    } else {
                        "a Context"
                    };
                    return refuse(
                        &argument.ty,
                        format!("a hook on {event} takes {what}, and nothing else"),
                    );
                }
                if !self.is_fallible() && self.settings.must_succeed == Some(true) {
                    let message = "a hook that must succeed returns a Result<(), _>: its error refuses what is about to \
                                   happen";
                    return refuse(&self.ident, message.to_owned());
                }
                if !self.is_fallible() && !matches!(self.output, ReturnType::Default) {
                    let message = "a hook changes what it is lent in place and returns nothing, or a Result<(), _>";
                    return refuse(&self.output, message.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// Takes from `item` what only a skill understands, so that the compiler does not come to it.
pub(crate) fn strip(item: &mut ImplItemFn) {
    let Some(kind) = item.attrs.iter().find_map(Kind::of) else {
        return;
    };
    item.attrs.retain(|attribute| Kind::of(attribute).is_none());
    for input in &mut item.sig.inputs {
        if let FnArg::Typed(input) = input {
            input
                .attrs
                .retain(|attribute| !attribute.path().is_ident("doc") && !is_default(kind, attribute));
        }
    }
}

/// `#[default(…)]`
fn is_default(kind: Kind, attribute: &Attribute) -> bool {
    matches!(kind, Kind::Tool | Kind::Handoff) && attribute.path().is_ident("default")
}

fn inputs<'a>(kind: Kind, all: impl IntoIterator<Item = &'a FnArg>) -> Result<Vec<Input>> {
    let mut inputs: Vec<Input> = Vec::new();
    for input in all {
        let input = match input {
            FnArg::Receiver(receiver) => {
                check_receiver(receiver)?;
                continue;
            }
            FnArg::Typed(input) => input,
        };
        let read = read_input(kind, input)?;
        let context = |input: &Input| matches!(input, Input::Context { .. });
        if context(&read) && inputs.iter().any(context) {
            let message = "a second Context: it would be the same request again; remove it";
            return Err(syn::Error::new_spanned(&input.ty, message));
        }
        inputs.push(read);
    }
    Ok(inputs)
}

fn read_input(kind: Kind, input: &PatType) -> Result<Input> {
    let (by_reference, inner) = match &*input.ty {
        Type::Reference(reference) => (true, &*reference.elem),
        other => (false, other),
    };
    if last_segment(inner).is_some_and(|name| name == "Context") {
        return Ok(Input::Context { by_reference });
    }
    let Pat::Ident(pattern) = &*input.pat else {
        let message = "a name is wanted here, not a pattern: it is what the model calls the argument";
        return Err(syn::Error::new_spanned(&input.pat, message));
    };
    let reads_json = matches!(kind, Kind::Tool | Kind::Handoff);
    if reads_json && (by_reference || matches!(inner, Type::ImplTrait(_))) {
        let message = "an argument is read from JSON, so its type must be owned and known, such as String, i64, Vec<_> \
                       or a type of yours that is Deserialize and JsonSchema";
        return Err(syn::Error::new_spanned(&input.ty, message));
    }
    let default = input.attrs.iter().find(|attribute| is_default(kind, attribute));
    Ok(Input::Argument(Box::new(Argument {
        ident: pattern.ident.clone(),
        ty: (*input.ty).clone(),
        docs: docs(&input.attrs),
        default: default.map(Attribute::parse_args).transpose()?,
    })))
}

fn check_receiver(receiver: &Receiver) -> Result<()> {
    let text = receiver.to_token_stream().to_string().replace(' ', "");
    if text == "&self" {
        return Ok(());
    }
    let message = "a skill serves many requests at once: its functions take &self, or no self at all";
    Err(syn::Error::new_spanned(receiver, message))
}

/// Name of a type, without its path and parameters.
pub(crate) fn last_segment(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

/// The text of doc comments: lines of a paragraph joined, paragraphs kept.
fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(value) => match &value.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let lines: Vec<_> = paragraph
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join(" ")
    });
    let paragraphs: Vec<_> = paragraphs.filter(|paragraph| !paragraph.is_empty()).collect();
    paragraphs.join("\n\n")
}
