//! `#[derive(Action)]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{DeriveInput, LitInt, LitStr, Path, Type};

use crate::errors::Errors;
use crate::keys::{self, Paths};
use crate::{name, shape};

const KEYS: &[&str] = &["create", "update", "destroy", "resource", "name", "version", "crate"];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Create,
    Update,
    Destroy,
}

#[derive(Default)]
struct Given {
    kind: Option<Kind>,
    resource: Option<Type>,
    name: Option<LitStr>,
    bad_name: bool,
    bad_resource: bool,
    version: Option<u32>,
    facade: Option<Path>,
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let given = read(input, &mut errors);
    for field in shape::fields(input, "an action", &mut errors) {
        keys::read(field.attrs, "action", &[], &mut errors, |_, _, _| None);
    }

    let name = given.name.map(|name| name.value()).unwrap_or_else(|| name::snake_case(&input.ident.to_string()));
    if let Err(why) = name::check(&name)
        && !given.bad_name
    {
        errors.over(&input.ident, format!("{why}; give it one: `#[action(name = \"..\")]`"));
    }
    if given.kind.is_none() {
        errors.at(keys::missing(), "an action says what it does: `#[action(create, ..)]`, `update` or `destroy`");
    }
    if given.resource.is_none() && !given.bad_resource {
        errors.at(keys::missing(), "an action names its resource: `#[action(.., resource = User)]`");
    }
    let (kind, resource) = errors.finish(given.kind.zip(given.resource))?;
    let version = given.version.unwrap_or(1);
    Ok(implement(&input.ident, kind, &resource, &name, version, &Paths::in_facade(given.facade.as_ref())))
}

fn read(input: &DeriveInput, errors: &mut Errors) -> Given {
    let mut given = Given::default();
    keys::read(&input.attrs, "action", KEYS, errors, |key, meta, errors| {
        let kind = match key {
            "create" => Kind::Create,
            "update" => Kind::Update,
            "destroy" => Kind::Destroy,
            "resource" => {
                given.bad_resource = true;
                return Some(keys::value(meta).map(|resource| given.resource = Some(resource)));
            }
            "name" => {
                let name = keys::name(meta);
                given.bad_name = name.is_err();
                return Some(name.map(|name| given.name = Some(name)));
            }
            "version" => return Some(version(meta).map(|version| given.version = Some(version))),
            "crate" => return Some(keys::facade(meta).map(|path| given.facade = Some(path))),
            _ => return None,
        };
        if given.kind.replace(kind).is_some() {
            errors.over(&meta.path, "an action does one of `create`, `update` and `destroy`");
        }
        Some(Ok(()))
    });
    given
}

fn version(meta: &syn::meta::ParseNestedMeta<'_>) -> syn::Result<u32> {
    let literal: LitInt = keys::value(meta)?;
    match literal.base10_parse() {
        Ok(version) if version >= 1 => Ok(version),
        _ => Err(syn::Error::new(literal.span(), "a version is a whole number from 1 to 4294967295")),
    }
}

fn implement(ident: &Ident, kind: Kind, resource: &Type, name: &str, version: u32, paths: &Paths) -> TokenStream {
    let Paths { engine, types } = paths;
    let (variant, refusal) = match kind {
        Kind::Create => ("Create", "creates a record, and was run on one that is there"),
        Kind::Update => ("Update", "changes a record, and was run without one"),
        Kind::Destroy => ("Destroy", "destroys a record, and was run without one"),
    };
    let variant = format_ident!("{variant}");
    let refusal = format!("the action {name:?} {refusal}");
    // The body's call is spanned by the type, so that a missing body is reported there; its names are the derive's own,
    // so that the type may come out of a `macro_rules!`.
    let body = match kind {
        Kind::Create => quote_spanned! {ident.span().resolved_at(Span::call_site())=>
            ::core::option::Option::None => {
                ::core::result::Result::map(#engine::Create::create(self, cx), ::core::option::Option::Some)
            }
        },
        Kind::Update => quote_spanned! {ident.span().resolved_at(Span::call_site())=>
            ::core::option::Option::Some(mut record) => {
                #engine::Update::update(self, &mut record, cx)?;
                ::core::result::Result::Ok(::core::option::Option::Some(record))
            }
        },
        Kind::Destroy => quote_spanned! {ident.span().resolved_at(Span::call_site())=>
            ::core::option::Option::Some(record) => {
                #engine::Destroy::destroy(self, &record, cx)?;
                ::core::result::Result::Ok(::core::option::Option::None)
            }
        },
    };
    quote! {
        #[automatically_derived]
        impl #engine::Action for #ident {
            type Resource = #resource;
            const NAME: &'static str = #name;
            const TYPE: #types::ActionType = #types::ActionType::#variant;
            const VERSION: u32 = #version;

            fn apply(
                self,
                before: ::core::option::Option<#resource>,
                cx: &#engine::Context,
            ) -> ::core::result::Result<::core::option::Option<#resource>, #engine::Rejection> {
                match before {
                    #body
                    _ => ::core::result::Result::Err(#engine::Rejection::new(#refusal)),
                }
            }
        }
    }
}
