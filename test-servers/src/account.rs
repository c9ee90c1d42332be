//! The user that a server runs as: PostgreSQL refuses to run as root.

use std::path::Path;
use std::process::Command;

/// An ordinary user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// The user of this name if this process is root's; `None` if it is an ordinary user's, which servers then run as.
    pub(crate) fn instead_of_root(name: &str) -> Option<Self> {
        if id(&["-u"]) != Some(0) {
            return None;
        }
        let both = |name: &str| Some(Self { uid: id(&["-u", name])?, gid: id(&["-g", name])? });
        Some(both(name).or_else(|| both("nobody")).expect("this process is root's, and there is no user `nobody`"))
    }

    /// Gives a folder to the user.
    pub(crate) fn own(self, folder: &Path) {
        std::os::unix::fs::chown(folder, Some(self.uid), Some(self.gid))
            .unwrap_or_else(|error| panic!("{} cannot be given to the user {}: {error}", folder.display(), self.uid));
    }
}

fn id(args: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(args).output().expect("the command `id` can be run");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok()).flatten()
}
