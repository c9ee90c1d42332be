//! Rekindle's code on the server: one library of functions, or one script.
//!
//! The library's name ends with a hash of its code. So two versions of Rekindle have two libraries, side by side, and none
//! ever replaces another.

use std::sync::LazyLock;

use redis::{Cmd, cmd};

const FILES: &[&str] = &[
    include_str!("lua/prelude.lua"),
    include_str!("lua/keys.lua"),
    include_str!("lua/batch.lua"),
    include_str!("lua/decide.lua"),
    include_str!("lua/commit.lua"),
    include_str!("lua/read.lua"),
    include_str!("lua/rebuild.lua"),
    include_str!("lua/lock.lua"),
];

/// A function, by its name in the Lua code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    name: &'static str,
    flags: &'static str,
}

/// Declares the functions, and the list of them all.
macro_rules! functions {
    ($($constant:ident = $name:literal, $flags:literal;)*) => {
        $(pub(crate) const $constant: Function = Function { name: $name, flags: $flags };)*
        const ALL: &[Function] = &[$($constant),*];
    };
}

functions! {
    COMMIT = "commit", "";
    GET = "get", "'no-writes'";
    LIST = "list", "'no-writes'";
    FIND = "find", "'no-writes'";
    EVENT = "event", "'no-writes'";
    HISTORY = "history", "'no-writes'";
    BEGIN = "begin_rebuild", "";
    LOADED = "loaded", "'no-writes'";
    LOAD = "load", "";
    FINISH = "finish_rebuild", "";
    ABANDON = "abandon_rebuild", "'allow-oom'";
    CLEAR = "clear", "'allow-oom'";
    SWEEP = "sweep", "'allow-oom'";
    ENTER_LOG = "enter_log", "";
    ENTERED = "entered", "";
    FENCE_LOCK = "fence_lock", "";
    FENCE_LOG = "fence_log", "";
    RENEW = "renew", "'allow-oom'";
}

/// How the server runs the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Functions,
    Scripts,
}

static BODY: LazyLock<String> = LazyLock::new(|| FILES.concat());
/// The name of the library, which every function's name begins with.
static LIBRARY: LazyLock<String> = LazyLock::new(|| format!("rekindle_1_{:016x}", fnv1a(BODY.as_bytes())));
static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| ALL.iter().map(|function| format!("{}_{}", *LIBRARY, function.name)).collect());

/// The command that loads the library.
pub(crate) fn load_library() -> Cmd {
    let mut code = format!("#!lua name={}\n{}", *LIBRARY, *BODY);
    for (function, name) in ALL.iter().zip(NAMES.iter()) {
        let Function { name: callback, flags } = function;
        code.push_str(&format!(
            "redis.register_function{{ function_name = '{name}', flags = {{ {flags} }}, \
             callback = function(keys, args) ready() return {callback}(keys, args) end }}\n"
        ));
    }
    let mut load = cmd("FUNCTION");
    load.arg("LOAD").arg(code);
    load
}

/// The script, which takes the name of the function as its last argument.
static SCRIPT: LazyLock<(String, redis::Script)> = LazyLock::new(|| {
    let all: Vec<_> = ALL.iter().map(|function| format!("{0} = {0}", function.name)).collect();
    let code = format!(
        "{}local functions = {{ {} }}\nlocal name = table.remove(ARGV)\nready()\nreturn functions[name](KEYS, ARGV)\n",
        *BODY,
        all.join(", ")
    );
    let script = redis::Script::new(&code);
    (code, script)
});

/// The command that loads the script.
pub(crate) fn load_script() -> Cmd {
    let mut load = cmd("SCRIPT");
    load.arg("LOAD").arg(&SCRIPT.0);
    load
}

/// A call, with its keys; the arguments follow, and then [`end`].
pub(crate) fn call(way: Way, function: Function, keys: &[String]) -> Cmd {
    let mut call = match way {
        Way::Functions => {
            let name = ALL.iter().position(|other| *other == function).and_then(|at| NAMES.get(at));
            let mut call = cmd(if function.flags.contains("no-writes") { "FCALL_RO" } else { "FCALL" });
            call.arg(name.map_or("", String::as_str));
            call
        }
        Way::Scripts => {
            let mut call = cmd("EVALSHA");
            call.arg(SCRIPT.1.get_hash());
            call
        }
    };
    call.arg(keys.len()).arg(keys);
    call
}

/// Ends the arguments of a call.
pub(crate) fn end(way: Way, function: Function, call: &mut Cmd) {
    if way == Way::Scripts {
        call.arg(function.name);
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
