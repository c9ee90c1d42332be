//! The members of a JSON object, noted while it is written: so that it need not be read to be taken apart.

use std::cell::Cell;
use std::io;
use std::ops::Range;

use serde::Serialize;
use serde_json::ser::Formatter;

/// Where a member of the outermost object is in the text: its name, between its quotes, and its value.
pub(super) struct Noted {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Writes a value as JSON, as `serde_json::to_writer` does, and notes the members of the outermost object.
pub(super) fn write(to: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<Vec<Noted>> {
    let (at, mut members) = (Cell::new(to.len()), Vec::with_capacity(8));
    let noting = Noting { at: &at, depth: 0, name: 0..0, value: 0, members: &mut members };
    value.serialize(&mut serde_json::Serializer::with_formatter(Counted { to, at: &at }, noting))?;
    Ok(members)
}

/// A text that tells how long it is.
struct Counted<'a> {
    to: &'a mut Vec<u8>,
    at: &'a Cell<usize>,
}

impl io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    // Most of what is written is a byte or two.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.extend_from_slice(bytes);
        self.at.set(self.to.len());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes as `CompactFormatter` does.
struct Noting<'a> {
    at: &'a Cell<usize>,
    /// How many objects are open.
    depth: usize,
    /// The name of the member that is open, with its quotes, and where its value begins.
    name: Range<usize>,
    value: usize,
    members: &'a mut Vec<Noted>,
}

impl Formatter for Noting<'_> {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth == 1 {
            self.name.start = self.at.get();
        }
        Ok(())
    }

    fn end_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        if self.depth == 1 {
            self.name.end = self.at.get();
        }
        Ok(())
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b":")?;
        if self.depth == 1 {
            self.value = self.at.get();
        }
        Ok(())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        if self.depth == 1 {
            let name = self.name.start + 1..self.name.end.saturating_sub(1);
            self.members.push(Noted { name, value: self.value..self.at.get() });
        }
        Ok(())
    }
}
