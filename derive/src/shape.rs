//! What both derives ask of the type: a plain struct whose JSON is an object with known members.

use proc_macro2::{Ident, Span};
use serde_derive_internals::ast::{Container, Data, Style};
use serde_derive_internals::attr::TagType;
use serde_derive_internals::{Ctxt, Derive};
use syn::DeriveInput;

use crate::errors::Errors;

/// A field, with the name that serde gives it.
pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a syn::Type,
    pub(crate) attrs: &'a [syn::Attribute],
    /// The name of its member of the JSON; `None` if it is not written.
    pub(crate) member: Option<String>,
}

/// The fields of the struct. All that keeps it from being a plain one is an error.
pub(crate) fn fields<'a>(input: &'a DeriveInput, what: &str, errors: &mut Errors) -> Vec<Field<'a>> {
    if !input.generics.params.is_empty() {
        let message = format!("{what} has no generic parameters: what is stored under its name has one form");
        errors.over(&input.generics, message);
    }
    let fields = match &input.data {
        syn::Data::Struct(data) => &data.fields,
        syn::Data::Enum(data) => {
            let message = format!("{what} is a struct with named fields; an enum has no fixed members");
            errors.at(data.enum_token.span, message);
            return Vec::new();
        }
        syn::Data::Union(data) => {
            errors.at(data.union_token.span, format!("{what} is a struct with named fields, not a union"));
            return Vec::new();
        }
    };
    match fields {
        syn::Fields::Named(_) => {}
        syn::Fields::Unnamed(fields) => {
            errors.over(fields, format!("{what} is a struct with named fields: its JSON is an object"));
            return Vec::new();
        }
        syn::Fields::Unit => {
            let ident = &input.ident;
            let message =
                format!("{what} is written as a JSON object, and a unit struct as null: use `struct {ident} {{}}`");
            errors.over(ident, message);
            return Vec::new();
        }
    }
    by_serde(input, what, errors)
}

fn by_serde<'a>(input: &'a DeriveInput, what: &str, errors: &mut Errors) -> Vec<Field<'a>> {
    let cx = Ctxt::new();
    let private = Ident::new("__private", Span::call_site());
    let container = Container::from_ast(&cx, input, Derive::Serialize, &private);
    // Serde's own derives report what is wrong with serde's attributes.
    drop(cx.check());
    let Some(container) = container else { return Vec::new() };

    let attrs = &container.attrs;
    for (refused, key) in [
        (attrs.transparent(), "transparent"),
        (attrs.type_into().is_some(), "into"),
        (attrs.type_from().is_some(), "from"),
        (attrs.type_try_from().is_some(), "try_from"),
        (attrs.remote().is_some(), "remote"),
        (!matches!(attrs.tag(), TagType::External), "tag"),
    ] {
        if refused {
            let message = format!("{what} is written field by field: `#[serde({key})]` is not supported");
            errors.over(&input.ident, message);
        }
    }

    let Data::Struct(Style::Struct, fields) = container.data else { return Vec::new() };
    fields
        .iter()
        .filter_map(|field| {
            let original = field.original;
            let ident = original.ident.as_ref()?;
            let (written, read) =
                (&field.attrs.name().serialize_name().value, &field.attrs.name().deserialize_name().value);
            if field.attrs.flatten() {
                let message = format!("{what} has members with known names: `#[serde(flatten)]` is not supported");
                errors.over(original, message);
            }
            let both = !field.attrs.skip_serializing() && !field.attrs.skip_deserializing();
            if both && written != read {
                let message =
                    format!("serde writes this field as {written:?} and reads it as {read:?}: it must be one name");
                errors.over(original, message);
            }
            let member = (!field.attrs.skip_serializing()).then(|| written.clone());
            Some(Field { ident, ty: &original.ty, attrs: &original.attrs, member })
        })
        .collect()
}
