//! The `impl` block: finds the functions that belong to the skill, and writes its implementation of `Skill` beside it.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ImplItem, ItemImpl, LitStr, Result, Type, meta, parse::Parser, spanned::Spanned};

use crate::{
    function::{self, Function, last_segment},
    generate,
    settings::Kind,
};

/// What `#[skill(settings)] item` becomes.
pub(crate) fn expand(settings: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut item: ItemImpl =
        syn::parse2(item).map_err(|error| syn::Error::new(error.span(), "#[skill] works on `impl YourType { … }`"))?;
    if let Some((trait_, _)) = &item.trait_ {
        let message = "#[skill] works on `impl YourType { … }`, not on the implementation of a trait";
        return Err(syn::Error::new_spanned(trait_, message));
    }
    let name = match name_in(settings)? {
        Some(name) => name.value(),
        None => default_name(&item.self_ty)?,
    };
    let functions = functions(&item);
    item.items.iter_mut().for_each(|item| {
        if let ImplItem::Fn(item) = item {
            function::strip(item);
        }
    });
    let parts = functions.and_then(|functions| functions.iter().map(generate::part).collect::<Result<Vec<_>>>());
    let parts = match parts {
        Ok(parts) => parts,
        Err(wrong) => {
            // The functions themselves may be right: without them, each call of one would be a further error.
            let wrong = wrong.into_compile_error();
            return Ok(quote!(#item #wrong));
        }
    };
    let (generics, _, bounds) = item.generics.split_for_impl();
    let ty = &item.self_ty;
    Ok(quote! {
        #item

        impl #generics ::rockbot_agent::skills::Skill for #ty #bounds {
            fn name(&self) -> &str {
                #name
            }

            fn parts(self: ::std::sync::Arc<Self>) -> ::rockbot_agent::skills::Parts {
                let mut parts = ::rockbot_agent::skills::Parts::default();
                #(#parts)*
                parts
            }
        }
    })
}

/// All functions with one of the attributes. Says all that is wrong at once.
fn functions(item: &ItemImpl) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    let mut names = HashSet::new();
    let mut wrong: Option<syn::Error> = None;
    let complain = |wrong: &mut Option<syn::Error>, error: syn::Error| match wrong {
        Some(wrong) => wrong.combine(error),
        None => *wrong = Some(error),
    };
    for item in &item.items {
        let ImplItem::Fn(item) = item else { continue };
        match Function::read(item) {
            Ok(None) => {}
            Ok(Some(function)) => {
                let callable = matches!(function.kind, Kind::Tool | Kind::Handoff);
                let name = generate::name(&function);
                if callable && !names.insert(name.value()) {
                    let message = format!("two tools of this skill are named {:?}", name.value());
                    complain(&mut wrong, syn::Error::new_spanned(&name, message));
                }
                functions.push(function);
            }
            Err(error) => complain(&mut wrong, error),
        }
    }
    if functions.is_empty() && wrong.is_none() {
        let message = "a skill has at least one function with #[tool], #[hook], #[prompt] or #[handoff]";
        return Err(syn::Error::new_spanned(&item.self_ty, message));
    }
    wrong.map_or(Ok(functions), Err)
}

fn name_in(settings: TokenStream) -> Result<Option<LitStr>> {
    let mut name: Option<LitStr> = None;
    let parser = meta::parser(|meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("unknown setting: #[skill] takes name"));
        }
        let value: LitStr = meta.value()?.parse()?;
        if value.value().is_empty() {
            return Err(syn::Error::new(
                value.span(),
                "a skill has a name: leave it out, or write one",
            ));
        }
        name = Some(value);
        Ok(())
    });
    parser.parse2(settings)?;
    Ok(name)
}

/// `WeatherReportSkill` is `weather_report`.
fn default_name(ty: &Type) -> Result<String> {
    let ident = last_segment(ty)
        .map(generate::text)
        .ok_or_else(|| syn::Error::new(ty.span(), "name this skill: #[skill(name = \"…\")]"))?;
    let stem = ident
        .strip_suffix("Skill")
        .filter(|stem| !stem.is_empty())
        .unwrap_or(&ident);
    let mut name = String::new();
    for letter in stem.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    Ok(name)
}
