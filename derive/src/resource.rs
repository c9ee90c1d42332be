//! `#[derive(Resource)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{DeriveInput, GenericArgument, Ident, LitStr, Path, PathArguments, Token, Type};

use crate::errors::Errors;
use crate::keys::{self, Paths};
use crate::shape;

const KEYS: &[&str] = &["name", "actions", "crate"];
const FIELD_KEYS: &[&str] = &["id", "identity", "sensitive", "created_at", "updated_at"];

#[derive(Default)]
struct Given {
    name: Option<LitStr>,
    bad_name: bool,
    actions: Vec<Path>,
    facade: Option<Path>,
}

/// A field that is an attribute of the resource.
struct Attribute<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    name: String,
    marks: Marks,
}

#[derive(Default)]
struct Marks {
    id: bool,
    identity: bool,
    sensitive: bool,
    created_at: bool,
    updated_at: bool,
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let given = read(input, &mut errors);
    if given.name.is_none() && !given.bad_name {
        errors.at(keys::missing(), "a resource has a name: `#[resource(name = \"accounts.user\")]`");
    }
    let fields = shape::fields(input, "a resource", &mut errors);
    let has_fields = matches!(&input.data, syn::Data::Struct(data) if matches!(data.fields, syn::Fields::Named(_)));
    let attributes = attributes(&fields, &mut errors);
    let id = attributes.iter().find(|attribute| attribute.marks.id);
    if id.is_none() && has_fields && !fields.iter().any(|field| is_marked_id(field.attrs)) {
        errors.at(keys::missing(), "a resource has an id: mark its field with `#[resource(id)]`");
    }
    let (name, id) = errors.finish(given.name.as_ref().zip(id))?;
    Ok(implement(&input.ident, name, id, &attributes, &given.actions, &Paths::in_facade(given.facade.as_ref())))
}

fn read(input: &DeriveInput, errors: &mut Errors) -> Given {
    let mut given = Given::default();
    keys::read(&input.attrs, "resource", KEYS, errors, |key, meta, errors| match key {
        "name" => {
            let name = keys::name(meta);
            given.bad_name = name.is_err();
            Some(name.map(|name| given.name = Some(name)))
        }
        "actions" => Some(actions(meta, errors).map(|actions| given.actions = actions)),
        "crate" => Some(keys::facade(meta).map(|path| given.facade = Some(path))),
        _ => None,
    });
    given
}

fn actions(meta: &syn::meta::ParseNestedMeta<'_>, errors: &mut Errors) -> syn::Result<Vec<Path>> {
    let content;
    syn::parenthesized!(content in meta.input);
    let actions = Punctuated::<Path, Token![,]>::parse_terminated(&content)?;
    let mut seen: Vec<String> = Vec::new();
    for action in &actions {
        let text = action.to_token_stream().to_string();
        if seen.contains(&text) {
            errors.over(action, "this action is listed twice");
        }
        seen.push(text);
    }
    Ok(actions.into_iter().collect())
}

fn attributes<'a>(fields: &[shape::Field<'a>], errors: &mut Errors) -> Vec<Attribute<'a>> {
    let mut attributes: Vec<Attribute<'a>> = Vec::new();
    for field in fields {
        let marks = marks(field, errors);
        let Some(name) = field.member.clone() else { continue };
        if attributes.iter().any(|other| other.name == name) {
            errors.over(field.ident, format!("two fields are the attribute {name:?}"));
        }
        for (twice, mark) in [
            (marks.id && attributes.iter().any(|other| other.marks.id), "id"),
            (marks.created_at && attributes.iter().any(|other| other.marks.created_at), "created_at"),
            (marks.updated_at && attributes.iter().any(|other| other.marks.updated_at), "updated_at"),
        ] {
            if twice {
                errors.over(field.ident, format!("only one field is `#[resource({mark})]`"));
            }
        }
        attributes.push(Attribute { ident: field.ident, ty: field.ty, name, marks });
    }
    attributes
}

fn marks(field: &shape::Field<'_>, errors: &mut Errors) -> Marks {
    let mut marks = Marks::default();
    let written = field.member.is_some();
    keys::read(field.attrs, "resource", FIELD_KEYS, errors, |key, meta, errors| {
        *match key {
            "id" => &mut marks.id,
            "identity" => &mut marks.identity,
            "sensitive" => &mut marks.sensitive,
            "created_at" => &mut marks.created_at,
            "updated_at" => &mut marks.updated_at,
            _ => return None,
        } = true;
        if !written {
            errors.over(&meta.path, "serde skips this field, so no record holds it");
        }
        Some(Ok(()))
    });
    if marks.id && (marks.sensitive || marks.created_at || marks.updated_at) {
        errors.over(
            field.ident,
            "the id is on every event as it is: it is neither sensitive nor a timestamp that is set",
        );
    }
    marks
}

fn is_marked_id(attrs: &[syn::Attribute]) -> bool {
    let mut marked = false;
    keys::read(attrs, "resource", FIELD_KEYS, &mut Errors::default(), |key, _, _| {
        marked |= key == "id";
        Some(Ok(()))
    });
    marked
}

fn implement(
    ident: &Ident,
    name: &LitStr,
    id: &Attribute<'_>,
    attributes: &[Attribute<'_>],
    actions: &[Path],
    paths: &Paths,
) -> TokenStream {
    let Paths { engine, types } = paths;
    let Attribute { ident: id, ty: id_type, .. } = id;
    let listed = attributes.iter().map(|Attribute { name, marks: Marks { id, sensitive, .. }, .. }| {
        quote!(#engine::Attribute { name: #name, id: #id, sensitive: #sensitive })
    });
    let specs = actions.iter().map(|action| quote_spanned!(action.span()=> spec::<#action>()));
    let identities = attributes.iter().filter(|attribute| attribute.marks.identity).map(identity);
    let at = |attribute: &Attribute<'_>| {
        let Attribute { ident, ty, .. } = attribute;
        quote_spanned!(ty.span().resolved_at(Span::call_site())=> self.#ident = ::core::convert::Into::into(at);)
    };
    let created = attributes.iter().filter(|attribute| attribute.marks.created_at).map(at);
    let updated = attributes.iter().filter(|attribute| attribute.marks.updated_at).map(at);
    quote! {
        #[automatically_derived]
        impl #engine::Resource for #ident {
            type Id = #id_type;
            const NAME: &'static str = #name;
            const ATTRIBUTES: &'static [#engine::Attribute] = &[#(#listed),*];

            fn actions() -> ::std::vec::Vec<#engine::ActionSpec> {
                #[allow(dead_code)]
                fn spec<A: #engine::Action<Resource = #ident>>() -> #engine::ActionSpec {
                    #engine::ActionSpec::of::<A>()
                }
                ::std::vec![#(#specs),*]
            }

            fn id(&self) -> ::std::string::String {
                ::std::string::ToString::to_string(&self.#id)
            }

            fn identities(&self) -> ::std::vec::Vec<(&'static str, ::std::string::String)> {
                #[allow(unused_mut)]
                let mut identities = ::std::vec::Vec::new();
                #(#identities)*
                identities
            }

            fn stamp(&mut self, created: bool, at: #types::Timestamp) {
                let _ = at;
                if created {
                    #(#created)*
                }
                #(#updated)*
            }
        }
    }
}

/// Adds the value of an identity, unless it is an `Option` without one.
fn identity(attribute: &Attribute<'_>) -> TokenStream {
    let Attribute { ident, ty, name, .. } = attribute;
    if is_option(ty) {
        quote_spanned! {ty.span().resolved_at(Span::call_site())=>
            if let ::core::option::Option::Some(value) = &self.#ident {
                identities.push((#name, ::std::string::ToString::to_string(value)));
            }
        }
    } else {
        quote_spanned!(ty.span().resolved_at(Span::call_site())=> identities.push((#name, ::std::string::ToString::to_string(&self.#ident)));)
    }
}

/// Whether the type is spelled as an `Option`, by any path.
fn is_option(ty: &Type) -> bool {
    let ty = match ty {
        Type::Group(group) => &*group.elem,
        ty => ty,
    };
    let Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|segment| {
        segment.ident == "Option"
            && matches!(&segment.arguments, PathArguments::AngleBracketed(arguments)
                if matches!(arguments.args.first(), Some(GenericArgument::Type(_))))
    })
}
