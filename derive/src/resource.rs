//! `#[derive(Resource)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{DeriveInput, GenericArgument, Ident, LitStr, Path, PathArguments, Token, Type};

use crate::errors::Errors;
use crate::keys::{self, Paths};
use crate::shape;

const KEYS: &[&str] = &["name", "actions", "identities", "record_unchanged", "crate"];
const FIELD_KEYS: &[&str] = &["id", "identity", "sensitive", "subject", "created_at", "updated_at"];

#[derive(Default)]
struct Given {
    name: Option<LitStr>,
    bad_name: bool,
    actions: Vec<Path>,
    identities: Vec<Compound>,
    record_unchanged: bool,
    facade: Option<Path>,
}

/// An identity over several fields: `by_place(shop, shelf)`.
struct Compound {
    name: Ident,
    fields: Vec<Ident>,
}

impl Parse for Compound {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        let content;
        syn::parenthesized!(content in input);
        let fields = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?;
        Ok(Self { name, fields: fields.into_iter().collect() })
    }
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
    /// Sensitive, and in events all the same.
    stored: bool,
    /// It says whose data the record is.
    subject: bool,
    /// The resource whose record that is.
    subject_of: Option<LitStr>,
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
    for identity in &given.identities {
        check_compound(identity, &attributes, &mut errors);
    }
    let (name, id) = errors.finish(given.name.as_ref().zip(id))?;
    Ok(implement(&input.ident, name, id, &attributes, &given))
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
        "identities" => Some(compounds(meta).map(|identities| given.identities = identities)),
        "record_unchanged" => {
            given.record_unchanged = true;
            Some(Ok(()))
        }
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

fn compounds(meta: &syn::meta::ParseNestedMeta<'_>) -> syn::Result<Vec<Compound>> {
    let content;
    syn::parenthesized!(content in meta.input);
    Ok(Punctuated::<Compound, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

fn check_compound(identity: &Compound, attributes: &[Attribute<'_>], errors: &mut Errors) {
    if attributes.iter().any(|attribute| attribute.marks.identity && identity.name == attribute.name) {
        errors.over(&identity.name, "a field is an identity of this name already");
    }
    if identity.fields.len() < 2 {
        errors.over(&identity.name, "an identity over one field is `#[resource(identity)]` on the field");
    }
    for field in &identity.fields {
        if !attributes.iter().any(|attribute| attribute.ident == field) {
            errors.over(field, "no attribute of the resource is a field of this name");
        }
    }
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
            (marks.subject && attributes.iter().any(|other| other.marks.subject), "subject"),
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
            "sensitive" => {
                if meta.input.peek(syn::token::Paren) {
                    let stored = meta.parse_nested_meta(|inner| match inner.path.is_ident("stored") {
                        true => Ok(()),
                        false => Err(inner.error("`sensitive` takes `stored`, or nothing")),
                    });
                    marks.stored = errors.keep(stored).is_some();
                }
                &mut marks.sensitive
            }
            "subject" => {
                if meta.input.peek(Token![=]) {
                    marks.subject_of = errors.keep(keys::name(meta));
                }
                &mut marks.subject
            }
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
    given: &Given,
) -> TokenStream {
    let Paths { engine, types } = Paths::in_facade(given.facade.as_ref());
    let Given { actions, record_unchanged, .. } = given;
    let Attribute { ident: id, ty: id_type, .. } = id;
    let listed = attributes.iter().map(|Attribute { name, marks: Marks { id, sensitive, stored, .. }, .. }| {
        quote!(#engine::Attribute { name: #name, id: #id, sensitive: #sensitive, stored: #stored })
    });
    let subject =
        attributes.iter().find(|attribute| attribute.marks.subject).map(|Attribute { name, marks, .. }| {
            let of = match &marks.subject_of {
                Some(of) => quote!(::core::option::Option::Some(#of)),
                None => quote!(::core::option::Option::None),
            };
            quote! {
                const SUBJECT: ::core::option::Option<#engine::SubjectSpec> =
                    ::core::option::Option::Some(#engine::SubjectSpec { attribute: #name, of: #of });
            }
        });
    let specs = actions.iter().map(|action| quote_spanned!(action.span()=> spec::<#action>()));
    let single = attributes.iter().filter(|attribute| attribute.marks.identity);
    let identity_specs = single
        .clone()
        .map(|Attribute { name, .. }| quote!(#engine::IdentitySpec { name: #name, attributes: &[#name] }));
    let compound_specs = given.identities.iter().map(|identity| {
        let name = identity.name.to_string();
        let of = members(identity, attributes).map(|attribute| &attribute.name);
        quote!(#engine::IdentitySpec { name: #name, attributes: &[#(#of),*] })
    });
    let identity_specs = identity_specs.chain(compound_specs);
    let compounds = given.identities.iter().map(|identity| compound(identity, attributes, &engine));
    let identities = single.map(identity).chain(compounds);
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
            const IDENTITIES: &'static [#engine::IdentitySpec] = &[#(#identity_specs),*];
            const RECORD_UNCHANGED: bool = #record_unchanged;
            #subject

            fn actions() -> ::std::vec::Vec<#engine::ActionSpec> {
                #[allow(dead_code, reason = "a resource may list no action")]
                fn spec<A: #engine::Action<Resource = #ident>>() -> #engine::ActionSpec {
                    #engine::ActionSpec::of::<A>()
                }
                ::std::vec![#(#specs),*]
            }

            fn id(&self) -> ::std::string::String {
                ::std::string::ToString::to_string(&self.#id)
            }

            fn identities(&self) -> ::std::vec::Vec<(&'static str, ::std::string::String)> {
                #[allow(unused_mut, reason = "a resource may have no identity")]
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

/// The attributes of an identity over several fields, in its order.
fn members<'a>(identity: &'a Compound, attributes: &'a [Attribute<'a>]) -> impl Iterator<Item = &'a Attribute<'a>> {
    identity.fields.iter().filter_map(|field| attributes.iter().find(|attribute| attribute.ident == field))
}

/// Adds the value of an identity over several fields, unless one of them is an `Option` without one.
fn compound(identity: &Compound, attributes: &[Attribute<'_>], engine: &TokenStream) -> TokenStream {
    let name = identity.name.to_string();
    let parts = members(identity, attributes).map(|Attribute { ident, ty, .. }| {
        let span = ty.span().resolved_at(Span::call_site());
        if is_option(ty) {
            quote_spanned!(span=> self.#ident.as_ref().map(::std::string::ToString::to_string))
        } else {
            quote_spanned!(span=> ::core::option::Option::Some(::std::string::ToString::to_string(&self.#ident)))
        }
    });
    quote! {
        if let ::core::option::Option::Some(parts) =
            [#(#parts),*].into_iter().collect::<::core::option::Option<::std::vec::Vec<::std::string::String>>>()
        {
            identities.push((#name, #engine::compound(parts)));
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
