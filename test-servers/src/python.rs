//! Python with packages of its own, for tests that hold Rekindle against what others make of its formats.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set to 1, tests that need Python do not run, and say so.
const SKIP: &str = "REKINDLE_SKIP_PYTHON";
const PACKAGES: &[&str] = &["pynacl"];

/// An interpreter in a virtual environment with the packages that tests need.
#[derive(Clone, Debug)]
pub struct Python(PathBuf);

/// The interpreter. Its environment is made once, below the build's folder, and used again.
///
/// `None`, and said so, if the tests that need it are to be left out.
///
/// # Panics
///
/// If there is no Python, or its packages cannot be installed; the message tells what is missing.
#[must_use]
pub fn python() -> Option<Python> {
    if env::var(SKIP).is_ok_and(|skip| skip == "1") {
        // Not by `eprintln`, which a passing test would keep to itself.
        let _ = writeln!(std::io::stderr(), "NOT RUN, since {SKIP}=1: a test that needs Python");
        return None;
    }
    let home = tests_folder().join("python");
    fs::create_dir_all(&home).expect("the build's folder can be written");
    // Several test programs may want it at the same time.
    let lock = File::create(home.join("lock")).expect("the build's folder can be written");
    lock.lock().expect("a file can be locked");
    let (environment, made) = (home.join("environment"), home.join("made"));
    let python = environment.join("bin/python");
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&made).ok().as_deref() != Some(&wanted) || !python.exists() {
        let _ = fs::remove_dir_all(&environment);
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(&python).args(pip).args(PACKAGES));
        fs::write(&made, &wanted).expect("the build's folder can be written");
    }
    Some(Python(python))
}

/// `tmp` in the folder of the target, where Cargo wants tests to have their files.
fn tests_folder() -> PathBuf {
    let program = env::current_exe().expect("a test knows its program");
    // .../debug/deps/program
    program.ancestors().nth(3).expect("a test's program is in the build's folder").join("tmp")
}

fn run(command: &mut Command) {
    let line = format!("{command:?}");
    let how = format!(
        "This test needs python3 with venv and pip, and installs {PACKAGES:?} by it: `apt-get install python3-venv` on \
        Debian and Ubuntu. Or set {SKIP}=1 to leave out the tests that need it."
    );
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = [&output.stdout[..], &output.stderr].concat();
            panic!("{line}: {}\n{}\n{how}", output.status, String::from_utf8_lossy(&said))
        }
        Err(error) => panic!("{line}: {error}\n{how}"),
    }
}

impl Python {
    /// Runs a program with this on its standard input, and gives what it writes to its standard output.
    ///
    /// # Panics
    ///
    /// If it fails; the message is what it says.
    #[must_use]
    pub fn run(&self, program: &Path, input: &str) -> String {
        let mut child = Command::new(&self.0)
            .arg(program)
            // Nothing is to be written beside the program.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        // The program reads all of its input before it writes anything, so neither waits for the other.
        let mut stdin = child.stdin.take().expect("it has a standard input");
        let written = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(
            output.status.success() && written.is_ok(),
            "{}: {}\n{}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("it writes text")
    }
}
