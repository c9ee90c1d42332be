//! Huge pages, which PostgreSQL's manual recommends for large buffers. They are reserved while a benchmark runs.

use std::fs;

const RESERVED: &str = "/proc/sys/vm/nr_hugepages";
/// What x86-64 and ARM have by default.
const BYTES: u64 = 2 << 20;

/// Given back when it is dropped.
pub(super) struct HugePages {
    before: u64,
}

impl HugePages {
    /// Reserves so many bytes, and tells if they cannot be had: it takes Linux, root, and twice as much memory that is free.
    pub(super) fn reserve(bytes: u64) -> Option<Self> {
        match Self::reserved(bytes) {
            Ok(kept) => {
                println!(
                    "with huge pages; if this is killed, `sysctl vm.nr_hugepages={}` gives them back",
                    kept.before
                );
                Some(kept)
            }
            Err(why) => {
                println!("without huge pages: {why}");
                None
            }
        }
    }

    fn reserved(bytes: u64) -> Result<Self, String> {
        let available = available()?;
        if available < 2 * bytes {
            return Err(format!("{bytes} bytes are too many where {available} are free"));
        }
        let before = pages()?;
        let wanted = before + bytes.div_ceil(BYTES);
        fs::write(RESERVED, wanted.to_string()).map_err(|error| format!("{RESERVED}: {error}"))?;
        let kept = Self { before };
        let reserved = pages()?;
        if reserved < wanted { Err(format!("{reserved} of {wanted} can be had")) } else { Ok(kept) }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Err(error) = fs::write(RESERVED, self.before.to_string()) {
            println!("{RESERVED} cannot be set to {} again: {error}", self.before);
        }
    }
}

fn pages() -> Result<u64, String> {
    let text = fs::read_to_string(RESERVED).map_err(|error| format!("{RESERVED}: {error}"))?;
    text.trim().parse().map_err(|error| format!("{RESERVED}: {error}"))
}

fn available() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/meminfo").map_err(|error| format!("/proc/meminfo: {error}"))?;
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().split(' ').next()?.parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes << 10).ok_or_else(|| "/proc/meminfo has no MemAvailable".into())
}
