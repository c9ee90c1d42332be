//! A repository of git in a temporary folder, made step by step; and the example that is run on it.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub(crate) struct Repo {
    folder: TempDir,
    /// Seconds since 1970: each commit is a minute after the one before.
    clock: Cell<i64>,
}

impl Repo {
    pub(crate) fn new() -> Self {
        let repo = Self { folder: TempDir::new().unwrap(), clock: Cell::new(1_700_000_000) };
        repo.git(["init", "-q", "-b", "main"]);
        repo
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn git<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        self.run(args, b"")
    }

    fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &[u8]) -> String {
        let date = format!("{} +0000", self.clock.get());
        let mut git = Command::new("git");
        git.arg("-C").arg(self.path()).args(args).env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
        without_settings(&mut git).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = git.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{git:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// Writes a file, with the folders that it needs.
    pub(crate) fn write(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        let to = self.file(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.file(from), to).unwrap();
    }

    pub(crate) fn remove(&self, name: impl AsRef<[u8]>) {
        let path = self.file(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    pub(crate) fn executable(&self, name: &str) {
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn link(&self, name: &str, target: &str) {
        symlink(target, self.file(name)).unwrap();
    }

    /// Puts a submodule at this commit in the index.
    pub(crate) fn submodule(&self, name: &str, digit: char) {
        fs::create_dir_all(self.file(name)).unwrap();
        let commit = digit.to_string().repeat(40);
        self.git(["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{name}")]);
    }

    fn file(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.path().join(OsStr::from_bytes(name.as_ref()))
    }

    /// Commits all that is in the folder, or nothing.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(["add", "-A"]);
        self.clock.set(self.clock.get() + 60);
        self.git(["commit", "-q", "--allow-empty", "--cleanup=verbatim", "-m", message]);
        self.head()
    }

    /// Commits what is in the folder as the very bytes of this author and this message, whatever git thinks of them.
    pub(crate) fn commit_raw(&self, author: &[u8], message: &[u8]) -> String {
        self.git(["add", "-A"]);
        self.clock.set(self.clock.get() + 60);
        let head = format!("tree {}\nparent {}\nauthor ", self.git(["write-tree"]), self.head());
        let at = format!("{} +0000\n", self.clock.get());
        let (middle, end) = (format!(" {at}committer Ada <ada@example.org> {at}"), b"\n");
        let commit = [head.as_bytes(), author, middle.as_bytes(), end, message].concat();
        let id = self.run(["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], &commit);
        self.git(["update-ref", "refs/heads/main", &id]);
        id
    }

    /// A branch at the head with one commit on it, which adds these files.
    pub(crate) fn branch(&self, name: &str, files: &[&str]) {
        self.git(["checkout", "-q", "-b", name]);
        files.iter().for_each(|file| self.write(file, lines(file)));
        self.commit(&format!("on the branch {name}"));
        self.git(["checkout", "-q", "main"]);
    }

    pub(crate) fn merge(&self, branches: &[&str], message: &str) -> String {
        self.clock.set(self.clock.get() + 60);
        self.git([&["merge", "-q", "--no-ff", "-m", message], branches].concat());
        self.head()
    }

    pub(crate) fn head(&self) -> String {
        self.git(["rev-parse", "HEAD"])
    }
}

/// Content that resembles no other: twenty lines about a subject.
pub(crate) fn lines(about: &str) -> String {
    (0..20).map(|n| format!("line {n} about {about}, {about} and {about}\n")).collect()
}

fn without_settings(command: &mut Command) -> &mut Command {
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C.UTF-8")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an example did.
pub(crate) struct Ran {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// It ended well, and `verified` was its last word.
    pub(crate) fn expect_verified(&self) {
        assert!(self.success, "{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.stdout.lines().last(), Some("verified"), "{}", self.stdout);
    }

    pub(crate) fn expect_failure(&self, message: &str) {
        assert!(!self.success, "it ended well:\n{}", self.stdout);
        assert!(self.stderr.contains(message), "{message:?} is not in {:?}", self.stderr);
        assert!(!self.stdout.contains("verified"), "{}", self.stdout);
    }
}

/// Runs an example: `cargo test` builds it beside the tests.
pub(crate) fn example<A: Into<OsString>>(name: &str, args: impl IntoIterator<Item = A>) -> Ran {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --examples` first", path.display());
    let mut command = Command::new(path);
    command.args(args.into_iter().map(Into::into));
    let Output { status, stdout, stderr } = without_settings(&mut command).output().unwrap();
    Ran { success: status.success(), stdout: text(&stdout), stderr: text(&stderr) }
}
