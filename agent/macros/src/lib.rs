//! `#[skill]` and the attributes inside it: from an `impl` block to an implementation of `rockbot_agent::skills::Skill`.
//!
//! Reads signatures and writes registrations; what they do is in `rockbot_agent::skills`. Whatever can be wrong about a
//! signature is said here, at the place where it is written.

mod function;
mod generate;
mod settings;
mod skill;

use proc_macro::TokenStream;
use quote::quote;

/// Makes an `impl` block a skill; see `rockbot_agent::sdk::skill`.
#[proc_macro_attribute]
pub fn skill(settings: TokenStream, item: TokenStream) -> TokenStream {
    skill::expand(settings.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a function of a skill a tool; see `rockbot_agent::sdk::tool`.
#[proc_macro_attribute]
pub fn tool(_: TokenStream, item: TokenStream) -> TokenStream {
    outside("tool", item)
}

/// Makes a function of a skill a hook; see `rockbot_agent::sdk::hook`.
#[proc_macro_attribute]
pub fn hook(_: TokenStream, item: TokenStream) -> TokenStream {
    outside("hook", item)
}

/// Makes a function of a skill a prompt; see `rockbot_agent::sdk::prompt`.
#[proc_macro_attribute]
pub fn prompt(_: TokenStream, item: TokenStream) -> TokenStream {
    outside("prompt", item)
}

/// Makes a function of a skill a handoff; see `rockbot_agent::sdk::handoff`.
#[proc_macro_attribute]
pub fn handoff(_: TokenStream, item: TokenStream) -> TokenStream {
    outside("handoff", item)
}

/// `#[skill]` takes these attributes away before the compiler comes to them.
fn outside(attribute: &str, item: TokenStream) -> TokenStream {
    let message = format!(
        "#[{attribute}] works on a function of a skill: put #[skill] on the impl block that the function belongs to"
    );
    let item = proc_macro2::TokenStream::from(item);
    quote!(::core::compile_error!(#message); #item).into()
}
