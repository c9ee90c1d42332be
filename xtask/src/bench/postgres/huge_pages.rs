//! Huge pages, which PostgreSQL's manual recommends for large buffers: without them the processor spends its time on finding
//! the pages of memory. They are reserved while a benchmark runs.

use std::fs;

const RESERVED: &str = "/proc/sys/vm/nr_hugepages";
/// What x86-64 and ARM have by default.
const BYTES: u64 = 2 << 20;

/// Given back when it is dropped.
pub(super) struct HugePages {
    before: String,
}

impl HugePages {
    /// Reserves so many bytes, and tells if they cannot be had: it takes Linux, root, and memory that is in one piece.
    pub(super) fn reserve(bytes: u64) -> Option<Self> {
        let (before, wanted) = (fs::read_to_string(RESERVED).ok()?, bytes.div_ceil(BYTES));
        let kept = Self { before };
        let reserved = fs::write(RESERVED, wanted.to_string()).and_then(|()| fs::read_to_string(RESERVED));
        if reserved.ok().and_then(|reserved| reserved.trim().parse().ok()) < Some(wanted) {
            println!("without huge pages: {wanted} of 2 MiB cannot be had in {RESERVED}");
            return None;
        }
        println!("with {wanted} huge pages");
        Some(kept)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Err(error) = fs::write(RESERVED, self.before.trim()) {
            println!("{RESERVED} cannot be set to {} again: {error}", self.before.trim());
        }
    }
}
