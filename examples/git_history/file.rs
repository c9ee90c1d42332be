//! The resource: a file of the repository, and what a commit does to it.

use rekindle::{Action, Context, Create, Destroy, Rejection, Resource, Timestamp, Update};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A file as git's tree lists it. It keeps its id over renames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Resource)]
#[resource(name = "git.file", actions(Add, Modify, Rename, Delete))]
pub(crate) struct File {
    #[resource(id)]
    pub id: Uuid,
    /// The path, with `%` and the bytes that are no UTF-8 written as `%` and two hexadecimal digits.
    #[resource(identity)]
    pub path: String,
    /// `100644`, `100755`, `120000` for a symbolic link, `160000` for a submodule.
    pub mode: String,
    pub blob: String,
    /// In bytes; a submodule has none.
    pub size: Option<u64>,
    #[resource(created_at)]
    pub added_at: Timestamp,
    #[resource(updated_at)]
    pub changed_at: Timestamp,
}

#[derive(Serialize, Deserialize, Action)]
#[action(create, resource = File)]
pub(crate) struct Add {
    pub path: String,
    pub mode: String,
    pub blob: String,
    pub size: Option<u64>,
}

impl Create for Add {
    fn create(self, cx: &Context) -> Result<File, Rejection> {
        let Self { path, mode, blob, size } = self;
        Ok(File { id: cx.new_uuid(), path, mode, blob, size, added_at: cx.now(), changed_at: cx.now() })
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = File)]
pub(crate) struct Modify {
    pub mode: String,
    pub blob: String,
    pub size: Option<u64>,
}

impl Update for Modify {
    fn update(self, file: &mut File, _: &Context) -> Result<(), Rejection> {
        (file.mode, file.blob, file.size) = (self.mode, self.blob, self.size);
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(update, resource = File)]
pub(crate) struct Rename {
    pub path: String,
    pub mode: String,
    pub blob: String,
    pub size: Option<u64>,
}

impl Update for Rename {
    fn update(self, file: &mut File, _: &Context) -> Result<(), Rejection> {
        (file.path, file.mode, file.blob, file.size) = (self.path, self.mode, self.blob, self.size);
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Action)]
#[action(destroy, resource = File)]
pub(crate) struct Delete {}

impl Destroy for Delete {}

/// The text form of a path: reversible, whatever its bytes are.
pub(crate) fn path_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}
