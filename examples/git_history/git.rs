//! What git says: the first-parent history with what each commit changed, and the tree at a commit.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::file::path_text;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A git repository.
pub(crate) struct Repository {
    path: PathBuf,
}

/// A commit of the first-parent history, against its first parent.
pub(crate) struct Commit {
    pub id: String,
    /// Seconds since 1970, of the committer.
    pub time: i64,
    pub author: String,
    pub message: String,
    pub changes: Vec<Change>,
}

/// What a commit did to a path.
pub(crate) enum Change {
    Add { path: String, entry: Entry },
    Modify { path: String, entry: Entry },
    Rename { from: String, path: String, entry: Entry },
    Delete { path: String },
}

/// A line of a tree. The size is filled in by [`Sizes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub mode: String,
    pub blob: String,
    pub size: Option<u64>,
}

impl Repository {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let repository = Self { path: path.to_owned() };
        if repository.run(&["rev-parse", "HEAD"]).is_err() {
            return Err(format!("{} is no git repository with a commit in it", path.display()).into());
        }
        if repository.run(&["rev-parse", "--is-shallow-repository"])?.starts_with(b"true") {
            eprintln!("note: this is a shallow clone; its history begins where the clone was cut off");
        }
        Ok(repository)
    }

    /// The ids of the first-parent history, the oldest first.
    pub(crate) fn first_parents(&self) -> Result<Vec<String>> {
        let list = self.run(&["rev-list", "--first-parent", "--reverse", "HEAD"])?;
        Ok(String::from_utf8(list)?.lines().map(str::to_owned).collect())
    }

    /// The commits of the first-parent history behind `after`, the oldest first.
    pub(crate) fn history(&self, after: Option<&str>) -> Result<History> {
        let range = after.map_or_else(|| "HEAD".to_owned(), |after| format!("{after}..HEAD"));
        // What a user has set for their own eyes must not change what is recorded.
        let settings =
            ["log.showSignature=false", "log.showRoot=true", "log.follow=false", "i18n.logOutputEncoding=UTF-8"];
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        let log = [
            "log",
            "--first-parent",
            "--reverse",
            "--diff-merges=first-parent",
            "--raw",
            "--no-abbrev",
            "-M",
            "-z",
            "--ignore-submodules=none",
            "--no-relative",
            "--no-color",
            "-l1000",
        ];
        let format = "--format=tformat:%x02%H%x00%ct%x00%an <%ae>%x00%B";
        let mut child = self.git().args(settings).args(log).args([format, &range]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("git log has no output")?;
        Ok(History { child, tokens: BufReader::with_capacity(1 << 16, stdout), next: None })
    }

    /// The tree at a commit, by path.
    pub(crate) fn tree(&self, commit: &str) -> Result<BTreeMap<String, Entry>> {
        let list = self.run(&["ls-tree", "-r", "-z", "-l", "--full-tree", commit])?;
        let lines = list.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let tab = line.iter().position(|byte| *byte == b'\t').ok_or("git ls-tree gave a line without a tab")?;
                let fields = std::str::from_utf8(&line[..tab])?.split_ascii_whitespace().collect::<Vec<_>>();
                let [mode, _, blob, size] = fields[..] else {
                    return Err("git ls-tree gave a line of another form".into());
                };
                let entry = Entry { mode: mode.to_owned(), blob: blob.to_owned(), size: size.parse().ok() };
                Ok((path_text(&line[tab + 1..]), entry))
            })
            .collect()
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.path);
        git
    }

    fn run(&self, args: &[&str]) -> Result<Vec<u8>> {
        let output = self.git().args(args).output()?;
        if !output.status.success() {
            return Err(format!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        Ok(output.stdout)
    }

    pub(crate) fn sizes(&self) -> Result<Sizes> {
        let mut child = self
            .git()
            .args(["cat-file", "--batch-check=%(objectname) %(objectsize)"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("git cat-file takes no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("git cat-file has no output")?);
        Ok(Sizes { child, input: Some(input), output, known: HashMap::new() })
    }
}

/// The output of `git log -z`: a header of NUL-ended fields for each commit, then its raw changes.
pub(crate) struct History {
    child: Child,
    tokens: BufReader<ChildStdout>,
    next: Option<Vec<u8>>,
}

impl History {
    pub(crate) fn next(&mut self) -> Result<Option<Commit>> {
        let Some(header) = self.token()? else {
            return if self.child.wait()?.success() { Ok(None) } else { Err("git log failed".into()) };
        };
        let header = String::from_utf8(header)?;
        let id = header.strip_prefix('\u{2}').ok_or("git log gave a header of another form")?.to_owned();
        let time = String::from_utf8(self.field()?)?.parse()?;
        let author = String::from_utf8_lossy(&self.field()?).into_owned();
        let message = String::from_utf8_lossy(&self.field()?).trim_end().to_owned();
        let mut changes = Vec::new();
        while let Some(token) = self.token()? {
            if token.starts_with(b"\x02") {
                self.next = Some(token);
                break;
            }
            let line = String::from_utf8(token)?;
            if let Some(line) = line.trim_start().strip_prefix(':') {
                changes.push(self.change(line)?);
            }
        }
        Ok(Some(Commit { id, time, author, message, changes }))
    }

    fn change(&mut self, line: &str) -> Result<Change> {
        let [_, mode, _, blob, status] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("git log gave a change of another form: {line:?}").into());
        };
        let entry = Entry { mode: mode.to_owned(), blob: blob.to_owned(), size: None };
        let path = path_text(&self.field()?);
        Ok(match status.as_bytes().first() {
            Some(b'A') => Change::Add { path, entry },
            Some(b'M' | b'T') => Change::Modify { path, entry },
            Some(b'D') => Change::Delete { path },
            Some(b'R') => Change::Rename { from: path, path: path_text(&self.field()?), entry },
            _ => return Err(format!("git log gave an unknown status {status:?} for {path:?}").into()),
        })
    }

    fn field(&mut self) -> Result<Vec<u8>> {
        self.token()?.ok_or_else(|| "the output of git log is cut off".into())
    }

    fn token(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(token) = self.next.take() {
            return Ok(Some(token));
        }
        let mut token = Vec::new();
        if self.tokens.read_until(0, &mut token)? == 0 {
            return Ok(None);
        }
        token.pop_if(|last| *last == 0);
        Ok(Some(token))
    }
}

impl Drop for History {
    fn drop(&mut self) {
        // Where it was not read to its end, git would wait for a reader for ever.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks git for the sizes of blobs.
pub(crate) struct Sizes {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    known: HashMap<String, u64>,
}

impl Sizes {
    /// Fills in the sizes of a commit's blobs.
    pub(crate) fn fill(&mut self, commit: &mut Commit) -> Result<()> {
        let entries = commit.changes.iter_mut().filter_map(|change| match change {
            Change::Add { entry, .. } | Change::Modify { entry, .. } | Change::Rename { entry, .. } => Some(entry),
            Change::Delete { .. } => None,
        });
        let mut entries: Vec<&mut Entry> = entries.filter(|entry| entry.mode != "160000").collect();
        let input = self.input.as_mut().ok_or("git cat-file has ended")?;
        // So few at a time that neither pipe fills up.
        for entries in entries.chunks_mut(200) {
            let asked: Vec<_> = entries.iter_mut().filter(|entry| !self.known.contains_key(&entry.blob)).collect();
            let request: String = asked.iter().map(|entry| format!("{}\n", entry.blob)).collect();
            input.write_all(request.as_bytes())?;
            input.flush()?;
            let mut line = String::new();
            for entry in asked {
                line.clear();
                self.output.read_line(&mut line)?;
                let size = line.trim_end().strip_prefix(entry.blob.as_str()).and_then(|size| size.trim().parse().ok());
                self.known.insert(entry.blob.clone(), size.ok_or_else(|| format!("git has no object {}", entry.blob))?);
            }
            for entry in entries.iter_mut() {
                entry.size = self.known.get(&entry.blob).copied();
            }
        }
        Ok(())
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.output.read_to_end(&mut Vec::new());
        let _ = self.child.wait();
    }
}
