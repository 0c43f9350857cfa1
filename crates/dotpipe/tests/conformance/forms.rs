//! The forms in which bytes are written to a stream and read from one: std's in place of .NET's array, span, memory,
//! task and Begin/End forms.

use std::io::{self, BufWriter, IoSlice, IoSliceMut, Read, Write};

use crate::pairs::End;

/// Writes all the bytes.
pub(crate) type WriteForm = (&'static str, fn(&mut dyn End, &[u8]) -> io::Result<()>);

/// Reads what is there, once.
pub(crate) type ReadForm = (&'static str, fn(&mut dyn End, &mut [u8]) -> io::Result<usize>);

pub(crate) const WRITE_FORMS: &[WriteForm] = &[
    ("write", |end, bytes| {
        // One call sends everything, as in .NET.
        let count = end.write(bytes)?;
        assert_eq!(count, bytes.len());
        Ok(())
    }),
    ("write_all", |end, bytes| end.write_all(bytes)),
    ("write_vectored", |end, bytes| {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = end.write_vectored(&[IoSlice::new(&[]), IoSlice::new(rest)])?;
            rest = &rest[count..];
        }
        Ok(())
    }),
    ("write of the shared stream", |end, bytes| end.pipe().write_all(bytes)),
    ("write through a buffer", |end, bytes| {
        let mut buffered = BufWriter::new(end);
        buffered.write_all(bytes)?;
        buffered.flush()
    }),
    ("copy into", |end, bytes| io::copy(&mut &*bytes, end).map(drop)),
];

pub(crate) const READ_FORMS: &[ReadForm] = &[
    ("read", |end, buffer| end.read(buffer)),
    ("read_vectored", |end, buffer| {
        end.read_vectored(&mut [IoSliceMut::new(&mut []), IoSliceMut::new(buffer)])
    }),
    ("read of the shared stream", |end, buffer| end.pipe().read(buffer)),
    ("take", |end, buffer| end.take(u64::MAX).read(buffer)),
];

/// Reads until the buffer is full; a test fails where the stream ends before.
#[track_caller]
pub(crate) fn fill(form: &ReadForm, end: &mut dyn End, buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let count = form.1(end, &mut buffer[filled..]).unwrap();
        assert_ne!(
            count, 0,
            "the stream ended after {filled} bytes, in the form {}",
            form.0
        );
        filled += count;
    }
}
