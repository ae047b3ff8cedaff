//! From a function to the registration of it, as one statement that adds to `parts`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Ident, LitStr, Result, ext::IdentExt, spanned::Spanned};

use crate::{
    function::{Argument, Function, Input, last_segment},
    settings::{Kind, Settings, tool_name},
};

const DEFAULT_PRIORITY: i32 = 50;
const DEFAULT_TIMEOUT_SECONDS: u64 = 60;

/// The name under which a model calls a function.
pub(crate) fn name(function: &Function) -> LitStr {
    let of_function = || LitStr::new(&text(&function.ident), function.ident.span());
    function.settings.name.clone().unwrap_or_else(of_function)
}

/// A name as it is written elsewhere than in Rust: `r#type` is `type`.
pub(crate) fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// The statement that registers `function`.
pub(crate) fn part(function: &Function) -> Result<TokenStream> {
    let part = match function.kind {
        Kind::Tool | Kind::Handoff => tool(function)?,
        Kind::Hook => hook(function),
        Kind::Prompt => prompt(function),
    };
    let cfgs = &function.cfgs;
    Ok(quote!(#(#cfgs)* { #part }))
}

fn tool(function: &Function) -> Result<TokenStream> {
    let Settings {
        timeout_seconds,
        handoff,
        ..
    } = &function.settings;
    let name = tool_name(name(function))?;
    let description = function.description();
    let scope = scope(function);
    let timeout = timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let parameters = function.arguments().map(parameter);
    let handoff = match function.kind {
        Kind::Handoff => {
            let to = handoff.clone().unwrap_or_else(|| format_ident!("Agent"));
            quote!(::core::option::Option::Some(::rockbot_agent::skills::HandoffType::#to))
        }
        _ => quote!(::core::option::Option::None),
    };
    let arguments = function.arguments().enumerate().map(argument);
    let mutability = function.arguments().next().map(|_| quote!(mut));
    let (this, again, call) = (this(function), again(function), call(function));
    let answer = match function.kind {
        Kind::Handoff => {
            let into = quote_spanned!(function.output.span()=> ::core::convert::Into::into(__answer));
            quote!(::core::result::Result::Ok(::rockbot_agent::skills::function::Output::Handoff(#into)))
        }
        _ => quote_spanned!(function.output.span()=> ::rockbot_agent::skills::function::text(__answer)),
    };
    let answer = if function.is_fallible() {
        quote! {
            match #call {
                ::core::result::Result::Ok(__answer) => #answer,
                ::core::result::Result::Err(__error) =>
                    ::core::result::Result::Err(::rockbot_agent::skills::function::Failure::execution(__error)),
            }
        }
    } else {
        quote! {{
            let __answer = #call;
            #answer
        }}
    };
    Ok(quote! {
        #this
        let registration = ::rockbot_agent::tools::ToolRegistration {
            name: #name.to_owned(),
            description: #description.to_owned(),
            parameters_schema: ::rockbot_agent::skills::function::Parameters::default()#(#parameters)*.schema(),
            source: ::std::string::String::new(),
            scope: #scope,
        };
        let executor = ::rockbot_agent::skills::function::Function {
            run: move |
                __context: ::rockbot_agent::Context,
                #mutability __arguments: ::rockbot_agent::skills::function::Arguments,
            | -> ::rockbot_agent::skills::function::Answer {
                #again
                ::std::boxed::Box::pin(async move {
                    #(#arguments)*
                    #answer
                })
            },
            deadline: ::core::time::Duration::from_secs(#timeout),
            handoff: #handoff,
        };
        parts.tools.push((registration, ::std::sync::Arc::new(executor)));
    })
}

fn hook(function: &Function) -> TokenStream {
    let settings = &function.settings;
    let name = text(&function.ident);
    let priority = settings.priority.unwrap_or(DEFAULT_PRIORITY);
    let scope = scope(function);
    let (this, again, call) = (this(function), again(function), call(function));
    let event = settings.event.unwrap_or(crate::settings::EVENTS[0]);
    let (variant, occasion) = (format_ident!("{}", event.variant), format_ident!("{}", event.occasion));
    let must_succeed = settings.must_succeed.unwrap_or_default();
    let ran = if function.is_fallible() {
        let refused = quote!(::rockbot_agent::skills::HookFailure::Refused);
        quote!(#call.map_err(|error| #refused(::std::format!("{error:#}"))))
    } else {
        quote!({ #call; ::core::result::Result::Ok(()) })
    };
    let run = match function.arguments().next() {
        None => quote!(#ran),
        Some(_) => quote! {
            match __occasion {
                ::rockbot_agent::skills::Occasion::#occasion(__argument0) => #ran,
                _ => ::core::result::Result::Ok(()),
            }
        },
    };
    quote! {
        #this
        parts.hooks.push(::rockbot_agent::skills::Hook {
            name: #name.to_owned(),
            skill: ::std::string::String::new(),
            event: ::rockbot_agent::skills::HookEvent::#variant,
            priority: #priority,
            scope: #scope,
            must_succeed: #must_succeed,
            run: ::rockbot_agent::skills::function::hook(move |__context, __occasion| {
                #again
                ::std::boxed::Box::pin(async move { #run })
            }),
        });
    }
}

fn prompt(function: &Function) -> TokenStream {
    let name = text(&function.ident);
    let priority = function.settings.priority.unwrap_or(DEFAULT_PRIORITY);
    let scope = scope(function);
    let (this, again, call) = (this(function), again(function), call(function));
    let written = if function.is_fallible() {
        let text = quote_spanned!(function.output.span()=> ::std::string::ToString::to_string(&__text));
        quote!(#call.map(|__text| #text).map_err(|error| ::std::format!("{error:#}")))
    } else {
        let text = quote_spanned!(function.output.span()=> ::std::string::ToString::to_string(&#call));
        quote!(::core::result::Result::Ok(#text))
    };
    quote! {
        #this
        parts.prompts.push(::rockbot_agent::skills::Prompt {
            name: #name.to_owned(),
            skill: ::std::string::String::new(),
            priority: #priority,
            scope: #scope,
            write: ::rockbot_agent::skills::function::prompt(move |__context| {
                #again
                ::std::boxed::Box::pin(async move { #written })
            }),
        });
    }
}

fn scope(function: &Function) -> TokenStream {
    match &function.settings.scope {
        None => quote!(::core::default::Default::default()),
        Some(names) => quote!(::rockbot_agent::scope::Scope::any_of([#(#names),*])),
    }
}

fn parameter(argument: &Argument) -> TokenStream {
    let Argument {
        ident,
        ty,
        docs,
        default,
    } = argument;
    let name = text(ident);
    let may_be_absent = last_segment(ty).is_some_and(|name| name == "Option");
    match default {
        Some(default) => {
            let default = quote_spanned!(default.span()=> &#default);
            quote_spanned!(ty.span()=> .defaulted::<#ty>(#name, #docs, #default))
        }
        None if may_be_absent => quote_spanned!(ty.span()=> .optional::<#ty>(#name, #docs)),
        None => quote_spanned!(ty.span()=> .required::<#ty>(#name, #docs)),
    }
}

fn argument((position, argument): (usize, &Argument)) -> TokenStream {
    let (ty, name) = (&argument.ty, text(&argument.ident));
    let local = format_ident!("__argument{position}");
    match &argument.default {
        Some(default) => quote_spanned! {ty.span()=>
            let #local = __arguments.take_or::<#ty>(#name, || #default)?;
        },
        None => quote_spanned!(ty.span()=> let #local = __arguments.take::<#ty>(#name)?;),
    }
}

/// The skill, for a closure that is kept.
fn this(function: &Function) -> Option<TokenStream> {
    let clone = || quote!(let __this = ::std::sync::Arc::clone(&self););
    function.takes_self.then(clone)
}

/// The skill, for one call of that closure.
fn again(function: &Function) -> Option<TokenStream> {
    let clone = || quote!(let __this = ::std::sync::Arc::clone(&__this););
    function.takes_self.then(clone)
}

fn call(function: &Function) -> TokenStream {
    let this = function.takes_self.then(|| quote!(&__this,));
    let mut position = 0;
    let inputs = function.inputs.iter().map(|input| match input {
        Input::Context { by_reference: true } => quote!(&__context),
        Input::Context { by_reference: false } => quote!(::core::clone::Clone::clone(&__context)),
        Input::Argument(argument) => {
            let local = format_ident!("__argument{position}", span = argument.ident.span());
            position += 1;
            quote!(#local)
        }
    });
    let ident = &function.ident;
    let wait = function.is_async.then(|| quote!(.await));
    quote!(Self::#ident(#this #(#inputs),*)#wait)
}
