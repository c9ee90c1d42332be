//! `#[derive(Action)]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{DeriveInput, LitInt, LitStr, Path, Type};

use crate::errors::Errors;
use crate::keys::{self, Paths};
use crate::{name, shape};

const KEYS: &[&str] =
    &["create", "upsert", "update", "destroy", "soft_destroy", "resource", "name", "version", "crate"];
const FIELD_KEYS: &[&str] = &["sensitive"];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Create,
    Upsert,
    Update,
    Destroy,
    SoftDestroy,
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
    let mut sensitive = Vec::new();
    for field in shape::fields(input, "an action", &mut errors) {
        keys::read(field.attrs, "action", FIELD_KEYS, &mut errors, |key, meta, errors| match (key, &field.member) {
            ("sensitive", Some(member)) => {
                sensitive.push(member.clone());
                Some(Ok(()))
            }
            ("sensitive", None) => {
                errors.over(&meta.path, "serde skips this field, so no event holds it");
                Some(Ok(()))
            }
            _ => None,
        });
    }

    let name = given.name.map(|name| name.value()).unwrap_or_else(|| name::snake_case(&input.ident.to_string()));
    if let Err(why) = name::check(&name)
        && !given.bad_name
    {
        errors.over(&input.ident, format!("{why}; give it one: `#[action(name = \"..\")]`"));
    }
    if given.kind.is_none() {
        errors.at(
            keys::missing(),
            "an action says what it does: `#[action(create, ..)]`, `upsert`, `update`, `destroy` or `soft_destroy`",
        );
    }
    if given.resource.is_none() && !given.bad_resource {
        errors.at(keys::missing(), "an action names its resource: `#[action(.., resource = User)]`");
    }
    let (kind, resource) = errors.finish(given.kind.zip(given.resource))?;
    let version = given.version.unwrap_or(1);
    let action = Implemented { ident: &input.ident, kind, resource: &resource, name: &name, version, sensitive };
    Ok(implement(&action, &Paths::in_facade(given.facade.as_ref())))
}

fn read(input: &DeriveInput, errors: &mut Errors) -> Given {
    let mut given = Given::default();
    keys::read(&input.attrs, "action", KEYS, errors, |key, meta, errors| {
        let kind = match key {
            "create" => Kind::Create,
            "upsert" => Kind::Upsert,
            "update" => Kind::Update,
            "destroy" => Kind::Destroy,
            "soft_destroy" => Kind::SoftDestroy,
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
            errors.over(&meta.path, "an action does one of `create`, `upsert`, `update`, `destroy` and `soft_destroy`");
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

/// What is known of the action.
struct Implemented<'a> {
    ident: &'a Ident,
    kind: Kind,
    resource: &'a Type,
    name: &'a str,
    version: u32,
    sensitive: Vec<String>,
}

fn implement(action: &Implemented<'_>, paths: &Paths) -> TokenStream {
    let Implemented { ident, kind, resource, name, version, sensitive } = action;
    let Paths { engine, .. } = paths;
    let (variant, refusal) = match kind {
        Kind::Create => ("Create", "creates a record, and was run on one that is there"),
        Kind::Upsert => ("Upsert", ""),
        Kind::Update => ("Update", "changes a record, and was run without one"),
        Kind::Destroy => ("Destroy", "destroys a record, and was run without one"),
        Kind::SoftDestroy => ("SoftDestroy", "destroys a record, and was run without one"),
    };
    let variant = format_ident!("{variant}");
    let refusal = format!("the action {name:?} {refusal}");
    // The body's call is spanned by the type, so that a missing body is reported there; its names are the derive's own,
    // so that the type may come out of a `macro_rules!`.
    let span = ident.span().resolved_at(Span::call_site());
    let create = quote_spanned! {span=>
        ::core::option::Option::None => {
            ::core::result::Result::map(#engine::Create::create(self, cx), ::core::option::Option::Some)
        }
    };
    let change = |body: TokenStream| {
        quote_spanned! {span=>
            ::core::option::Option::Some(mut record) => {
                #body(self, &mut record, cx)?;
                ::core::result::Result::Ok(::core::option::Option::Some(record))
            }
        }
    };
    let refuse = quote!(_ => ::core::result::Result::Err(#engine::Rejection::new(#refusal)),);
    let arms = match kind {
        Kind::Create => quote!(#create #refuse),
        Kind::Upsert => {
            let update = change(quote_spanned!(span=> #engine::Update::update));
            quote!(#create #update)
        }
        Kind::Update => {
            let update = change(quote_spanned!(span=> #engine::Update::update));
            quote!(#update #refuse)
        }
        Kind::SoftDestroy => {
            let destroy = change(quote_spanned!(span=> #engine::SoftDestroy::destroy));
            quote!(#destroy #refuse)
        }
        Kind::Destroy => quote_spanned! {span=>
            ::core::option::Option::Some(record) => {
                #engine::Destroy::destroy(self, &record, cx)?;
                ::core::result::Result::Ok(::core::option::Option::None)
            }
            #refuse
        },
    };
    let looks_for = (*kind == Kind::Upsert).then(|| {
        quote_spanned! {span=>
            fn looks_for(&self) -> ::core::option::Option<(&'static str, ::std::string::String)> {
                ::core::option::Option::Some(#engine::Upsert::identity(self))
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #engine::Action for #ident {
            type Resource = #resource;
            const NAME: &'static str = #name;
            const KIND: #engine::ActionKind = #engine::ActionKind::#variant;
            const SENSITIVE: &'static [&'static str] = &[#(#sensitive),*];
            const VERSION: u32 = #version;

            #looks_for

            fn apply(
                self,
                before: ::core::option::Option<#resource>,
                cx: &#engine::Context,
            ) -> ::core::result::Result<::core::option::Option<#resource>, #engine::Rejection> {
                match before {
                    #arms
                }
            }
        }
    }
}
