//! Bytes that show every loss, doubling and exchange: each side makes them itself and compares what comes.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::LazyLock;

/// Prime, so that a lost or doubled block of any usual size shows. The peers have the same pattern.
const LENGTH: usize = 65_521;

/// The pattern twice, so that a piece from anywhere in it is one slice.
static TWICE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |index: usize| (index * 167 + (index >> 8) * 13) as u8;
    (0..2 * LENGTH).map(|index| byte(index % LENGTH)).collect()
});

/// The first `count` bytes of the endless pattern.
pub fn bytes(count: usize) -> Vec<u8> {
    TWICE[..LENGTH].iter().copied().cycle().take(count).collect()
}

/// Writes `count` bytes of the pattern.
///
/// # Errors
/// As the writer.
pub fn push(mut writer: impl Write, count: u64) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        let length = LENGTH.min(usize::try_from(left).unwrap_or(LENGTH));
        writer.write_all(&TWICE[..length])?;
        left -= length as u64;
    }
    writer.flush()
}

/// Reads exactly `count` bytes and compares them with the pattern.
///
/// # Errors
/// As the reader; `UnexpectedEof` when it ends before, `InvalidData` at the first piece that differs.
pub fn pull(mut reader: impl Read, count: u64) -> io::Result<()> {
    // More than the pattern would not fit into TWICE from its last byte.
    let mut buffer = vec![0; LENGTH];
    let mut total = 0;
    while total < count {
        let length = LENGTH.min(usize::try_from(count - total).unwrap_or(LENGTH));
        let got = reader.read(&mut buffer[..length])?;
        if got == 0 {
            let text = format!("the stream ended after {total} of {count} bytes");
            return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
        }
        let at = (total % LENGTH as u64) as usize;
        if buffer[..got] != TWICE[at..at + got] {
            let text = format!("the bytes from {total} to {} are wrong", total + got as u64);
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        total += got as u64;
    }
    Ok(())
}

/// Reads until the end, which must come without another byte.
///
/// # Errors
/// As the reader; `InvalidData` when there is a byte.
pub fn end(mut reader: impl Read) -> io::Result<()> {
    match reader.read(&mut [0; 16])? {
        0 => Ok(()),
        count => Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("{count} bytes came instead of the end"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_pulled() {
        let mut bytes = Vec::new();
        push(&mut bytes, 200_000).unwrap();
        assert_eq!(bytes, super::bytes(200_000));
        let mut reader = &bytes[..];
        pull(&mut reader, 200_000).unwrap();
        end(reader).unwrap();
    }

    #[test]
    fn faults_show() {
        let good = bytes(200_000);
        assert_eq!(pull(&good[..], 200_001).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(end(&good[..]).unwrap_err().kind(), ErrorKind::InvalidData);
        for lost in [1, 4096, 65_536] {
            let mut bytes = good.clone();
            bytes.drain(70_000..70_000 + lost);
            assert_eq!(
                pull(&bytes[..], 100_000).unwrap_err().kind(),
                ErrorKind::InvalidData,
                "{lost} bytes lost"
            );
        }
    }
}
