//! The examples, as programs: `git_history` on repositories that git makes here, and `quickstart`.

#![cfg(all(unix, feature = "sled", feature = "derive"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "git_history/repo.rs"]
mod repo;

use std::collections::HashMap;
use std::path::Path;

use futures::TryStreamExt;
use rekindle::{Event, EventQuery, Rekindle};
use repo::{Ran, Repo, example, lines};
use tempfile::TempDir;

fn git_history(repo: &Path, data: &Path) -> Ran {
    example("git_history", [repo.as_os_str(), "--data".as_ref(), data.as_os_str()])
}

fn record_only(repo: &Path, data: &Path) -> Ran {
    example("git_history", [repo.as_os_str(), "--data".as_ref(), data.as_os_str(), "--record-only".as_ref()])
}

async fn events(data: &Path) -> Vec<Event> {
    let log = Rekindle::open(format!("sled:{}", data.display())).log("git").start().await.unwrap();
    let events = log.stream(EventQuery::new()).try_collect().await.unwrap();
    log.shutdown().await.unwrap();
    events
}

fn member(event: &Event, name: &str) -> String {
    let metadata: HashMap<String, String> = event.metadata.json().unwrap().to_value().unwrap();
    metadata[name].clone()
}

/// The names of the actions of each commit, in the order of the log.
fn actions(events: &[Event]) -> Vec<(String, Vec<&str>)> {
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    for event in events {
        let (commit, action) = (member(event, "commit"), event.action.as_str());
        match all.last_mut() {
            Some((last, actions)) if *last == commit => actions.push(action),
            _ => all.push((commit, vec![action])),
        }
    }
    all
}

/// The commits, each with the actions that are expected of it.
#[derive(Default)]
struct Expected(Vec<(String, Vec<&'static str>)>);

impl Expected {
    fn then<const N: usize>(&mut self, commit: String, mut actions: [&'static str; N]) {
        actions.sort_unstable();
        self.0.push((commit, actions.to_vec()));
    }

    fn check(&self, events: &[Event]) {
        let mut actual = actions(events);
        actual.iter_mut().for_each(|(_, actions)| actions.sort_unstable());
        assert_eq!(actual, self.0);
    }
}

#[tokio::test]
async fn each_kind_of_change_is_recorded_as_what_it_is_and_verifies() {
    let (repo, data) = (Repo::new(), TempDir::new().unwrap());
    let mut expected = Expected::default();
    for name in ["a", "b", "dir/c", "gone", "old", "plain"] {
        repo.write(name, lines(name));
    }
    expected.then(repo.commit("adds"), ["add"; 6]);
    repo.write("a", lines("a") + "more\n");
    expected.then(repo.commit("modifies"), ["modify"]);
    repo.rename("b", "bee");
    expected.then(repo.commit("renames"), ["rename"]);
    repo.rename("dir/c", "dir/d");
    repo.write("dir/d", lines("dir/c") + "more\n");
    expected.then(repo.commit("renames with an edit"), ["rename"]);
    repo.rename("a", "between");
    repo.rename("bee", "a");
    repo.rename("between", "bee");
    expected.then(repo.commit("swaps names: for git, both are modified"), ["modify", "modify"]);
    repo.rename("old", "gone");
    expected.then(repo.commit("onto a path that goes in the same commit"), ["delete", "modify"]);
    repo.rename("a", "next");
    repo.rename("bee", "a");
    // For git, a path that is there before and after is changed, wherever its content came from.
    expected.then(repo.commit("a chain of renames"), ["add", "delete", "modify"]);
    repo.rename("next", "dir/deep/next");
    expected.then(repo.commit("into a folder"), ["rename"]);
    repo.rename("plain", "between");
    repo.rename("between", "plain/plain");
    expected.then(repo.commit("into a folder of its own name"), ["rename"]);
    repo.executable("a");
    expected.then(repo.commit("644 to 755"), ["modify"]);
    repo.link("link", "a");
    expected.then(repo.commit("a link"), ["add"]);
    repo.rename("link", "dir/link");
    expected.then(repo.commit("a link is renamed"), ["rename"]);
    repo.remove("dir/d");
    repo.link("dir/d", "../a");
    expected.then(repo.commit("a file becomes a link"), ["modify"]);
    repo.submodule("sub", '1');
    expected.then(repo.commit("a submodule"), ["add"]);
    repo.submodule("sub", '2');
    expected.then(repo.commit("a submodule moves on"), ["modify"]);
    repo.remove("dir/d");
    repo.submodule("dir/d", '3');
    expected.then(repo.commit("a link becomes a submodule"), ["modify"]);
    repo.remove("sub");
    repo.write("sub", "a file\n");
    expected.then(repo.commit("a submodule becomes a file"), ["modify"]);
    repo.remove("gone");
    expected.then(repo.commit("removes"), ["delete"]);
    repo.remove("a");
    repo.write("a/in", "something else\n");
    expected.then(repo.commit("a file gives way to a folder"), ["add", "delete"]);
    repo.remove("a");
    repo.write("a", lines("a file again"));
    expected.then(repo.commit("a folder gives way to a file"), ["add", "delete"]);
    repo.write("gone", lines("back"));
    repo.write("empty", "");
    expected.then(repo.commit("a path comes back, and an empty file"), ["add", "add"]);
    repo.commit("nothing");
    git_history(repo.path(), data.path()).expect_verified();
    expected.check(&events(data.path()).await);
}

#[tokio::test]
async fn a_merge_is_one_commit_against_its_first_parent() {
    let (repo, data) = (Repo::new(), TempDir::new().unwrap());
    let mut expected = Expected::default();
    repo.write("a", lines("a"));
    expected.then(repo.commit("first"), ["add"]);
    repo.branch("side", &["s", "t"]);
    repo.rename("a", "b");
    expected.then(repo.commit("meanwhile"), ["rename"]);
    expected.then(repo.merge(&["side"], "two parents"), ["add", "add"]);
    repo.branch("left", &["l"]);
    repo.branch("right", &["r"]);
    repo.branch("middle", &["m"]);
    expected.then(repo.merge(&["left", "right", "middle"], "an octopus"), ["add"; 3]);
    repo.git(["merge", "-q", "-s", "ours", "--allow-unrelated-histories", "-m", "ours", "left"]);
    git_history(repo.path(), data.path()).expect_verified();
    expected.check(&events(data.path()).await);
}

const NAMES: [&[u8]; 16] = [
    b"with space",
    b" ",
    b"\"quoted\"",
    b"it's",
    b"new\nline",
    b"\n",
    b"tab\tbed",
    b"100%",
    b"%FF",
    b"\x02leads",
    b"\x02",
    b":100644 100644 M",
    b"\xFF\xFEbytes",
    b"half \xF0\x9F",
    "\u{1F980} crab/\u{1F980}".as_bytes(),
    b"back\\slash",
];

#[tokio::test]
async fn names_of_any_bytes_are_kept_apart() {
    let (repo, data) = (Repo::new(), TempDir::new().unwrap());
    let mut expected = Expected::default();
    let about = |name: &[u8], what: &str| lines(&format!("{name:?} {what}"));
    NAMES.iter().for_each(|name| repo.write(name, about(name, "at first")));
    expected.then(repo.commit("adds"), ["add"; NAMES.len()]);
    NAMES.iter().for_each(|name| repo.write(name, about(name, "at first") + "more\n"));
    expected.then(repo.commit("modifies"), ["modify"; NAMES.len()]);
    NAMES.iter().for_each(|name| repo.rename(name, [b"\x02".as_slice(), name, b"\x80"].concat()));
    expected.then(repo.commit("renames"), ["rename"; NAMES.len()]);
    NAMES.iter().for_each(|name| repo.remove([b"\x02".as_slice(), name, b"\x80"].concat()));
    repo.write(":", "the only file\n");
    let mut last = ["delete"; NAMES.len() + 1];
    last[0] = "add";
    expected.then(repo.commit("removes"), last);
    git_history(repo.path(), data.path()).expect_verified();
    expected.check(&events(data.path()).await);
}

#[tokio::test]
async fn authors_and_messages_of_any_bytes_are_recorded() {
    let (repo, data) = (Repo::new(), TempDir::new().unwrap());
    repo.write("a", "0");
    repo.commit("first");
    let long = "word ".repeat(30_000);
    let cases: [(&[u8], &[u8], &str, &str); 9] = [
        (b"Ada <a@b>", b"a subject\n\na body\n:100644 100644\n\n", "Ada <a@b>", "a subject\n\na body\n:100644 100644"),
        (b"Ada <a@b>", b":leads\n", "Ada <a@b>", ":leads"),
        (b"Ada <a@b>", b"\x02leads\n\x02again", "Ada <a@b>", "\u{2}leads\n\u{2}again"),
        (b"Ada <a@b>", b"", "Ada <a@b>", ""),
        (b"Ada <a@b>", b"\n\n\n", "Ada <a@b>", ""),
        (b"J\xFCrgen <j@b>", b"gr\xFC\xDFe", "J\u{FFFD}rgen <j@b>", "gr\u{FFFD}\u{FFFD}e"),
        (b" <nameless@b>", b"no name", " <nameless@b>", "no name"),
        (b" <>", b"nobody", " <>", "nobody"),
        (b"Ada <a@b>", long.as_bytes(), "Ada <a@b>", long.trim_end()),
    ];
    for (n, (author, message, ..)) in cases.iter().enumerate() {
        repo.write("a", format!("{}", n + 1));
        repo.commit_raw(author, message);
    }
    git_history(repo.path(), data.path()).expect_verified();
    let events = events(data.path()).await;
    assert_eq!(events.len(), 1 + cases.len());
    for (event, (_, _, author, message)) in events[1..].iter().zip(cases) {
        assert_eq!(event.actor.as_ref().unwrap().id(), author);
        assert_eq!(member(event, "message"), message);
    }
}

#[tokio::test]
async fn the_settings_of_a_repository_do_not_change_what_is_recorded() {
    let (repo, plain, set) = (Repo::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
    repo.write("a", lines("a"));
    repo.write("dir/b", lines("b"));
    repo.write(".gitmodules", "[submodule \"sub\"]\npath = sub\nurl = ./x\nignore = all\n");
    repo.submodule("sub", '1');
    repo.commit("first, with a gr\u{FC}\u{DF}");
    repo.submodule("sub", '2');
    repo.rename("a", "dir/a");
    repo.commit("second");
    repo.write("copy", lines("a"));
    repo.write("dir/a", lines("a") + "more\n");
    repo.commit("third");
    repo.branch("side", &["side"]);
    repo.merge(&["side"], "a merge");
    git_history(repo.path(), plain.path()).expect_verified();
    let settings = [
        ("log.showRoot", "false"),
        ("log.showSignature", "true"),
        ("log.follow", "true"),
        ("log.diffMerges", "off"),
        ("diff.renames", "copies"),
        ("diff.renameLimit", "1"),
        ("diff.ignoreSubmodules", "all"),
        ("submodule.sub.ignore", "all"),
        ("diff.relative", "true"),
        ("color.ui", "always"),
        ("format.pretty", "oneline"),
        ("i18n.logOutputEncoding", "ISO-8859-1"),
        ("core.abbrev", "4"),
    ];
    for (name, value) in settings {
        repo.git(["config", name, value]);
    }
    git_history(&repo.path().join("dir"), set.path()).expect_verified();
    let (plain, set) = (events(plain.path()).await, events(set.path()).await);
    assert_eq!(actions(&set), actions(&plain));
    for (set, plain) in set.iter().zip(&plain) {
        assert_eq!(member(set, "message"), member(plain, "message"));
    }
}

#[test]
fn a_second_run_goes_on_behind_the_first() {
    let (repo, data) = (Repo::new(), TempDir::new().unwrap());
    repo.write("a", lines("a"));
    let first = repo.commit("first");
    git_history(repo.path(), data.path()).expect_verified();
    repo.rename("a", "b");
    repo.write("c", "c");
    let second = repo.commit("second");
    repo.commit("nothing");
    let ran = git_history(repo.path(), data.path());
    ran.expect_verified();
    assert!(ran.stdout.contains(&format!("going on behind commit {first}\n")), "{}", ran.stdout);
    assert!(ran.stdout.contains("recorded 2 commits, 2 events"), "{}", ran.stdout);
    let ran = git_history(repo.path(), data.path());
    ran.expect_verified();
    assert!(ran.stdout.contains(&format!("going on behind commit {second}\n")), "{}", ran.stdout);
    assert!(ran.stdout.contains("recorded 1 commits, 0 events"), "{}", ran.stdout);
}

#[test]
fn a_rewritten_history_is_refused() {
    let (repo, data) = (Repo::new(), TempDir::new().unwrap());
    repo.write("a", "a");
    let first = repo.commit("first");
    git_history(repo.path(), data.path()).expect_verified();
    repo.git(["commit", "-q", "--amend", "-m", "rewritten"]);
    let message = format!("the data tells of commit {first}, which is not in this history");
    git_history(repo.path(), data.path()).expect_failure(&message);
}

#[test]
fn records_that_are_not_what_git_lists_are_a_failure() {
    // git is told, after the recording, that the tree at the recorded head is another one.
    type Change = fn(&Repo);
    let cases: [(Change, &str); 4] = [
        (|repo| repo.write("a", "changed"), "\"a\" is Entry"),
        (|repo| repo.executable("a"), "\"a\" is Entry"),
        (|repo| repo.write("more", "more"), "\"more\" is missing"),
        (|repo| repo.remove("a"), "\"a\" is there, and git lists no such file"),
    ];
    for (change, message) in cases {
        let (repo, data) = (Repo::new(), TempDir::new().unwrap());
        repo.write("a", "a");
        repo.write("b", "b");
        let head = repo.commit("first");
        let ran = record_only(repo.path(), data.path());
        assert!(ran.success && !ran.stdout.contains("verified"), "{}\n{}", ran.stdout, ran.stderr);
        change(&repo);
        let other = repo.commit_raw(b"Ada <a@b>", b"first");
        repo.git(["update-ref", "refs/heads/main", &head]);
        repo.git(["replace", "--graft", &other]);
        let rootless = repo.git(["rev-parse", &format!("refs/replace/{other}")]);
        repo.git(["replace", &head, &rootless]);
        git_history(repo.path(), data.path()).expect_failure(message);
    }
}

#[test]
fn a_folder_without_a_repository_is_refused() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    git_history(folder.path(), data.path()).expect_failure("is no git repository with a commit in it");
    let empty = Repo::new();
    git_history(empty.path(), data.path()).expect_failure("is no git repository with a commit in it");
    git_history(&folder.path().join("absent"), data.path()).expect_failure("is no git repository");
    example("git_history", ["--unknown"]).expect_failure("unknown option --unknown");
    example("git_history", ["--data"]).expect_failure("--data takes a folder");
}

#[test]
fn the_quickstart_runs() {
    let ran = example("quickstart", [] as [&str; 0]);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    let starts = ["refused, and not recorded: ", "1 open ", "3 deposit ", "records dropped: 1", "events replayed: 4"];
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{}", ran.stdout);
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?}");
    }
}

/// The main job on a server: the same program, with a URL in the place of a folder.
#[cfg(any(feature = "postgres", feature = "redis"))]
async fn a_repository_is_recorded_replayed_and_verified_at(
    url: &str,
    open: impl AsyncFnOnce(&str) -> rekindle::Builder,
) {
    let repo = Repo::new();
    let mut expected = Expected::default();
    for name in ["a", "b", "gone"] {
        repo.write(name, lines(name));
    }
    expected.then(repo.commit("adds"), ["add"; 3]);
    repo.rename("b", "bee");
    repo.remove("gone");
    expected.then(repo.commit("renames and deletes"), ["delete", "rename"]);
    git_history(repo.path(), url.as_ref()).expect_verified();
    let log = open(url).await.log("git").start().await.unwrap();
    let events: Vec<Event> = log.stream(EventQuery::new()).try_collect().await.unwrap();
    log.shutdown().await.unwrap();
    expected.check(&events);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_repository_is_recorded_replayed_and_verified_on_postgres() {
    use rekindle::postgres::{PostgresBackend, PostgresConfig};
    if rekindle_test_servers::postgres().is_none() {
        return;
    }
    // A server of its own: the program works in the default schema.
    let server = rekindle_test_servers::Postgres::start(rekindle_test_servers::Fsync::Off);
    a_repository_is_recorded_replayed_and_verified_at(server.url(), async |url| {
        Rekindle::on(PostgresBackend::connect_with(url, PostgresConfig::new()).await.unwrap())
    })
    .await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_repository_is_recorded_replayed_and_verified_on_redis() {
    use rekindle::redis::{RedisBackend, RedisConfig};
    if rekindle_test_servers::redis().is_none() {
        return;
    }
    // A server of its own: the program works under the default prefix.
    let server = rekindle_test_servers::Redis::start(rekindle_test_servers::Aof::Always);
    a_repository_is_recorded_replayed_and_verified_at(server.url(), async |url| {
        Rekindle::on(RedisBackend::connect_with(url, RedisConfig::new()).await.unwrap())
    })
    .await;
}
