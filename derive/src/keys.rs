//! The keys of `#[resource(..)]` and `#[action(..)]`.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parse;
use syn::{Attribute, LitStr, Path, Token};

use crate::errors::Errors;
use crate::name;

/// Reads every key of the attributes of this name. `read` answers `None` to a key that it does not know; one that is given
/// twice is an error, and so is an attribute without a list.
pub(crate) fn read(
    attrs: &[Attribute],
    attribute: &str,
    known: &[&str],
    errors: &mut Errors,
    mut read: impl FnMut(&str, &ParseNestedMeta<'_>, &mut Errors) -> Option<syn::Result<()>>,
) {
    let mut seen: Vec<String> = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(attribute)) {
        let parsed = attr.parse_nested_meta(|meta| {
            let key = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
            if seen.contains(&key) {
                errors.push(meta.error(format!("`{key}` is given twice")));
                return skip(&meta);
            }
            match read(&key, &meta, errors) {
                Some(Ok(())) => seen.push(key),
                Some(Err(error)) => {
                    seen.push(key);
                    errors.push(error);
                    return skip(&meta);
                }
                None if known.is_empty() => {
                    errors.push(
                        meta.error(format!("`#[{attribute}(..)]` has no meaning here: it belongs on the struct")),
                    );
                    return skip(&meta);
                }
                None => {
                    let known = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
                    errors.push(
                        meta.error(format!("unknown key in `#[{attribute}(..)]`; the known ones here are {known}")),
                    );
                    return skip(&meta);
                }
            }
            Ok(())
        });
        errors.keep(parsed);
    }
}

/// Goes on behind the value of a key that was wrong, so that the other keys are read too.
fn skip(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    while !meta.input.is_empty() && !meta.input.peek(Token![,]) {
        meta.input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// `key = value`.
pub(crate) fn value<T: Parse>(meta: &ParseNestedMeta<'_>) -> syn::Result<T> {
    meta.value()?.parse()
}

/// `name = ".."`, by the rule of names.
pub(crate) fn name(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    let text: LitStr = value(meta)?;
    match name::check(&text.value()) {
        Ok(()) => Ok(text),
        Err(why) => Err(syn::Error::new(text.span(), why)),
    }
}

/// `crate = path`.
pub(crate) fn facade(meta: &ParseNestedMeta<'_>) -> syn::Result<Path> {
    meta.value()?.call(Path::parse_mod_style)
}

/// The modules that generated code names.
pub(crate) struct Paths {
    pub(crate) engine: TokenStream,
    pub(crate) types: TokenStream,
}

impl Paths {
    pub(crate) fn in_facade(facade: Option<&Path>) -> Self {
        let facade = facade.map_or_else(|| quote!(::rekindle), |path| quote!(#path));
        Self { engine: quote!(#facade::__private::engine), types: quote!(#facade::__private::types) }
    }
}

/// The span of the derive itself, for what is missing.
pub(crate) fn missing() -> Span {
    Span::call_site()
}
