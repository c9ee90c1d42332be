//! The derive macros of Rekindle: [`Resource`](macro@Resource) and [`Action`](macro@Action).
//!
//! Use them through the `rekindle` facade: what they generate names its paths.

use proc_macro::TokenStream;

mod action;
mod errors;
mod keys;
mod name;
mod resource;
mod shape;

/// Makes a struct a resource: a type whose values are records.
///
/// The struct has named fields and no generics, and derives `Serialize` and `Deserialize` too. Its attributes are the
/// members of its JSON, by the names that serde gives them: `rename` and `rename_all` are followed, and skipped fields
/// are none. What would leave the members unknown is refused: `flatten`, `tag`, `transparent`, `into`, `from`, `try_from`,
/// `remote`, and a name that is written and read differently.
///
/// ```
/// # use rekindle::{Action, Destroy, Resource, Timestamp};
/// # use serde::{Deserialize, Serialize};
/// # use uuid::Uuid;
/// #[derive(Serialize, Deserialize, Resource)]
/// #[resource(name = "accounts.user", actions(Close))]
/// struct User {
///     #[resource(id)]
///     id: Uuid,
///     name: String,
///     #[resource(identity)]
///     email: String,
///     #[resource(sensitive)]
///     tax_id: Option<String>,
///     #[resource(created_at)]
///     inserted_at: Timestamp,
///     #[resource(updated_at)]
///     updated_at: Option<Timestamp>,
/// }
/// # #[derive(Serialize, Deserialize, Action)]
/// # #[action(destroy, resource = User)]
/// # struct Close {}
/// # impl Destroy for Close {}
/// assert_eq!(User::ATTRIBUTES.len(), 6);
/// ```
///
/// # On the struct
///
/// | Attribute | What it says |
/// |---|---|
/// | `name = "accounts.user"` | The name under which its records and events are stored. Required. 1 to 200 ASCII letters, digits, `_`, `-`, `.`, starting with a letter. |
/// | `actions(A, B, ..)` | The actions that may be run on it, none by default. Each is an action of this very resource. |
/// | `identities(by_place(shop, shelf), ..)` | What is unique over several fields together: the name, and the fields. An `Option` that is `None` owns nothing. |
/// | `record_unchanged` | An action that leaves its record as it was is recorded all the same. By default it is not. |
/// | `crate = path` | Where the facade is, if not at `::rekindle`. |
///
/// # On a field
///
/// | Attribute | What it says |
/// |---|---|
/// | `id` | It is the id: exactly one field is. Its type implements `Display`, and its text is the id that is stored. |
/// | `identity` | Its value is unique among the records of the resource, under the field's JSON name. Its type implements `Display`, or is an `Option` of such a type (spelled so): `None` owns nothing. |
/// | `sensitive` | Events hold null in its place, or with a vault it is sealed, in records, too. Its type takes null, as an `Option` does, or actions on the resource are refused. Not for the id. |
/// | `sensitive(stored)` | It is sensitive, and events hold it all the same. With a vault it is as `sensitive` is. |
/// | `subject = "shop.customer"` | For the vault: the record is data of the record of that resource with this id. At most one field. Null is the record itself. |
/// | `subject` | The same, of the subject that is named so. |
/// | `created_at` | It is set to the time of the event that creates the record. At most one field; a `Timestamp` or an `Option<Timestamp>`. |
/// | `updated_at` | It is set to the time of each event that creates or changes the record. As above. |
///
/// Several of them may stand in one `#[resource(..)]`, and several `#[resource(..)]` on one item.
#[proc_macro_derive(Resource, attributes(resource))]
pub fn derive_resource(input: TokenStream) -> TokenStream {
    expand(input, resource::expand)
}

/// Makes a struct an action: an input, with what is done with it.
///
/// The struct has named fields (`struct Close {}` if there is no input) and no generics, and derives `Serialize` and
/// `Deserialize` too: it is stored as the JSON object that serde makes of it. The body is an implementation of `Create`,
/// `Update`, `Destroy` or `SoftDestroy`, whichever the attribute names; an upsert implements `Create`, `Update` and `Upsert`.
///
/// ```
/// # use rekindle::{Action, Context, Create, Rejection, Resource};
/// # use serde::{Deserialize, Serialize};
/// # use uuid::Uuid;
/// # #[derive(Serialize, Deserialize, Resource)]
/// # #[resource(name = "accounts.user", actions(Register))]
/// # struct User {
/// #     #[resource(id)]
/// #     id: Uuid,
/// #     name: String,
/// #     email: String,
/// # }
/// #[derive(Serialize, Deserialize, Action)]
/// #[action(create, resource = User, version = 2)]
/// struct Register {
///     name: String,
///     email: String,
/// }
///
/// impl Create for Register {
///     fn create(self, cx: &Context) -> Result<User, Rejection> {
///         Ok(User { id: cx.new_uuid(), name: self.name, email: self.email })
///     }
/// }
/// assert_eq!((Register::NAME, Register::VERSION), ("register", 2));
/// ```
///
/// # On the struct
///
/// | Attribute | What it says |
/// |---|---|
/// | `create`, `upsert`, `update`, `destroy` or `soft_destroy` | What it does to its record. Exactly one is required. |
/// | `resource = User` | The resource that it is run on. Required. |
/// | `name = "register"` | The name under which its events are stored, by the rule of a resource's name. By default the type's name in snake_case: `RenameUser` is `rename_user`. |
/// | `version = 2` | The version of its input, from 1, which is the default. |
/// | `crate = path` | Where the facade is, if not at `::rekindle`. |
///
/// # On a field
///
/// | Attribute | What it says |
/// |---|---|
/// | `sensitive` | Events hold null in its place, or with a vault it is sealed. An input of the name of a sensitive attribute is so without it. |
///
/// Run against a record where it needs none, or without one where it needs one, the action is a `Rejection`.
#[proc_macro_derive(Action, attributes(action))]
pub fn derive_action(input: TokenStream) -> TokenStream {
    expand(input, action::expand)
}

fn expand(input: TokenStream, with: fn(&syn::DeriveInput) -> syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    syn::parse(input).and_then(|input| with(&input)).unwrap_or_else(syn::Error::into_compile_error).into()
}
