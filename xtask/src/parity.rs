//! `cargo xtask parity`: docs/parity.md, made from the names of the tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Where tests are.
const FOLDERS: &[&str] = &["tests", "adapters-tests", "backends", "core"];
const PAGE: &str = "docs/parity.md";

/// What AshEvents does.
const PARITY: &[(u8, &str)] = &[
    (1, "Each create, update and destroy is one event, in the order in which they ran."),
    (2, "Event and change are one step: if one cannot be written, neither is."),
    (3, "An event tells record, action, actor, input, what else changed, metadata and time."),
    (4, "Events have a dense number and a UUID of version 7."),
    (5, "Ids of records are UUIDs, integers or text; a replay gives back those that no caller may set."),
    (6, "The data of an event is the input as it was read, and nothing that the action does not know."),
    (7, "What changed beyond the input is stored beside it, foreign keys among it, and never a copy of the input."),
    (8, "An attribute that every update sets is among what changed."),
    (9, "Metadata is any map; nested structs, maps and nulls come back as they were."),
    (10, "Some actions only, or all but some, are recorded; what cannot be meant is an error at the start."),
    (11, "Each action has a version, 1 unless it says otherwise."),
    (12, "An upsert is one event, with the time at which it created or changed the record."),
    (13, "A soft destroy leaves the record with its mark, a hard one does not; archiving is an update."),
    (14, "Bulk actions write one event each, all of them or none, and none at all if they are ignored."),
    (15, "Records can be written without an event."),
    (16, "Sensitive input is stored as null, unless the resource asks for it or the log is encrypted."),
    (17, "An action that fails keeps its message and writes nothing."),
    (18, "An increment is recorded as what came of it."),
    (19, "There are actors of several kinds, each with ids of its own."),
    (20, "Nobody acts in nobody's name unless it is said."),
    (21, "A part of the system acts under a name."),
    (22, "An event has the time of its record, to the digit."),
    (23, "Commits are serialized by a key: a default one, one made of the tenant, or one's own."),
    (24, "A replay takes all events, or those up to an event or to a time."),
    (25, "A replay clears first, also by a function of one's own."),
    (26, "A replay runs no hook; changes that are named may run."),
    (27, "A replay writes no event."),
    (28, "A replay forces what was stored, or runs the action again where that is said."),
    (29, "Old versions are routed to other actions and resources, to one or several."),
    (30, "Related records and joins are rebuilt from their own events, once."),
    (31, "A state machine replays to the state that it was in."),
    (32, "Destroyed, archived and made again in any order, records replay exactly."),
    (33, "An upsert replays as an update if the record is there, and else as a create."),
    (34, "Events are encrypted at rest, and read and replayed with the vault."),
    (35, "Events show no field, some or all to others."),
    (36, "A policy guards the log."),
];

/// What goes past it.
const BEYOND: &[(u8, &str)] = &[
    (
        1,
        "A replay that dies leaves the old records whole; readers see old or new; commits go on and are in the result.",
    ),
    (2, "What a replay cannot apply is an error with its position, and changes nothing."),
    (3, "Nobody's write is lost, and identities are unique."),
    (4, "Replays run in windows and on several workers."),
    (5, "Many callers share one turn at the log."),
    (6, "One suite holds for every backend, one's own among them."),
    (
        7,
        "A replay can be planned, and the records be held against the log; the past can be read without touching them.",
    ),
    (8, "Each subject has a key, which is rotated, and shredded."),
    (9, "What is sensitive is never in clear text, whoever sets it."),
    (10, "What is destroyed is not found, and not destroyed again."),
    (11, "An update that changes nothing is recorded only where it is asked for."),
    (12, "No open unit and no slow hook holds the log."),
    (13, "Of two replays at once the second is refused, or both are right."),
];

/// A test, by the file that it is in.
#[derive(Clone, Debug, PartialEq)]
struct Test {
    file: String,
    name: String,
}

/// Tests by what they show: `p` or `e`, and the number.
type Shown = BTreeMap<(char, u8), Vec<Test>>;

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let check = match args {
        [] => false,
        [option] if option == "--check" => true,
        _ => return Err(format!("unknown options {args:?}; known is --check")),
    };
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().unwrap_or(package);
    let tests = tests(root)?;
    let shown = shown(&tests)?;
    let page = page(&shown);
    let path = root.join(PAGE);
    if check {
        let missing = missing(&shown);
        if !missing.is_empty() {
            return Err(format!("no test shows {}", missing.join(", ")));
        }
        let there = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
        return if there == page { Ok(()) } else { Err(format!("{PAGE} is out of date: run `cargo xtask parity`")) };
    }
    fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))?;
    println!("{PAGE}: {} tests", tests.len());
    match missing(&shown) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(format!("no test shows {}", missing.join(", "))),
    }
}

/// The tests of the repository, by file.
fn tests(root: &Path) -> Result<Vec<Test>, String> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        sources(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut tests = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        tests.extend(names(&text).into_iter().map(|name| Test { file: file.clone(), name: name.to_owned() }));
    }
    Ok(tests)
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The functions and modules of a source that are named after what they show.
fn names(source: &str) -> Vec<&str> {
    let declared = source.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("mod "))?;
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
    });
    declared.filter(|name| numbers(name).next().is_some()).collect()
}

/// What a test shows, by the beginning of its name: `p2_p17_a_failed_action` shows P2 and P17.
fn numbers(name: &str) -> impl Iterator<Item = (char, &str)> {
    name.split('_').map_while(|part| {
        let kind = part.chars().next().filter(|kind| matches!(kind, 'p' | 'e'))?;
        let number = &part[1..];
        (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some((kind, number))
    })
}

fn shown(tests: &[Test]) -> Result<Shown, String> {
    let mut shown = Shown::new();
    for test in tests {
        for (kind, number) in numbers(&test.name) {
            let known = number.parse().ok().filter(|number| all().any(|row| row.0 == (kind, *number)));
            let Some(known) = known else {
                return Err(format!("{}: `{}` shows {kind}{number}, and there is none", test.file, test.name));
            };
            shown.entry((kind, known)).or_default().push(test.clone());
        }
    }
    Ok(shown)
}

/// All rows, and what each is in words.
fn all() -> impl Iterator<Item = ((char, u8), &'static str)> {
    let rows = |kind, rows: &'static [(u8, &'static str)]| {
        rows.iter().map(move |(number, meaning)| ((kind, *number), *meaning))
    };
    rows('p', PARITY).chain(rows('e', BEYOND))
}

fn label((kind, number): (char, u8)) -> String {
    if kind == 'p' { format!("P{number}") } else { format!("+{number}") }
}

/// What has no test.
fn missing(shown: &Shown) -> Vec<String> {
    let due = all().filter(|(key, _)| !shown.contains_key(key));
    due.map(|(key, ..)| label(key)).collect()
}

fn page(shown: &Shown) -> String {
    let mut page = "# What AshEvents does, and what goes past it\n\n\
        Each row is shown by tests whose names begin with its number: `p12_` is P12, and `e7_` is +7. \
        `cargo xtask parity` makes this page from the sources of the tests, and `cargo xtask test` fails if it is not \
        up to date, or if a row has no test.\n"
        .to_owned();
    for (title, kind) in [("What AshEvents does", 'p'), ("Past it", 'e')] {
        // Writing to a String does not fail.
        let _ = write!(page, "\n## {title}\n\n| | What | Shown by |\n|---|---|---|\n");
        for (key, meaning) in all().filter(|(key, ..)| key.0 == kind) {
            let tests = cell(shown.get(&key).map(Vec::as_slice).unwrap_or_default());
            let _ = writeln!(page, "| {} | {meaning} | {tests} |", label(key));
        }
    }
    page
}

/// The tests of a row, file by file.
fn cell(tests: &[Test]) -> String {
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for test in tests {
        files.entry(&test.file).or_default().push(format!("`{}`", test.name));
    }
    let files = files.into_iter().map(|(file, names)| format!("[{file}](../{file}): {}", names.join(", ")));
    let lines: Vec<String> = files.collect();
    if lines.is_empty() { "**none**".to_owned() } else { lines.join("<br>") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str) -> Test {
        Test { file: "tests/a.rs".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn names_are_those_of_functions_and_modules_that_begin_with_a_number() {
        let source = "
            on_each_backend![p1_listed];
            async fn p1_an_event(bed: Bed) {}
              fn p2_p17_both() {}
            mod e7_many { fn memory() {} }
            // fn p3_a_comment() {}
            fn plain() { call(p4_called) }
            fn p() {}
            fn pe5_no() {}
            let x = \"fn p6_text\";";
        assert_eq!(names(source), ["p1_an_event", "p2_p17_both", "e7_many"]);
    }

    #[test]
    fn a_name_shows_every_number_that_it_begins_with() {
        assert_eq!(numbers("p2_p17_a_p3_b").collect::<Vec<_>>(), [('p', "2"), ('p', "17")]);
        let shown = shown(&[test("p28_p5_p22_x"), test("e7_y")]).unwrap();
        assert_eq!(shown.keys().copied().collect::<Vec<_>>(), [('e', 7), ('p', 5), ('p', 22), ('p', 28)]);
    }

    #[test]
    fn a_number_that_is_none_is_an_error() {
        for (name, told) in [("p37_x", "p37"), ("e0_x", "e0"), ("p2_e999_x", "e999")] {
            let error = shown(&[test(name)]).unwrap_err();
            assert_eq!(error, format!("tests/a.rs: `{name}` shows {told}, and there is none"));
        }
    }

    #[test]
    fn what_has_no_test_is_missing() {
        let every: Vec<Test> = (1..=36).map(|n| test(&format!("p{n}_x"))).collect();
        let every = [every, (1..=13).map(|n| test(&format!("e{n}_x"))).collect()].concat();
        assert!(missing(&shown(&every).unwrap()).is_empty());
        let some: Vec<Test> =
            every.iter().filter(|test| !["p4_x", "p34_x", "e9_x"].contains(&test.name.as_str())).cloned().collect();
        assert_eq!(missing(&shown(&some).unwrap()), ["P4", "P34", "+9"]);
        let page = page(&shown(&some).unwrap());
        let row = |label: &str| page.lines().find(|line| line.starts_with(&format!("| {label} |"))).unwrap();
        assert!(row("P4").ends_with("| **none** |"));
        assert!(row("P1").ends_with("| [tests/a.rs](../tests/a.rs): `p1_x` |"), "{}", row("P1"));
    }
}
