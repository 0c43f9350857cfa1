//! The owned halves of a connected stream.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::connection::{Connection, Way};
use crate::error::Result;
use crate::stream::PipeStream;

/// The reading half of a split stream. Both halves together keep the stream; the last to go drops it.
#[derive(Debug)]
pub struct ReadHalf<S> {
    stream: Arc<S>,
    connection: Arc<Connection>,
}

/// The writing half of a split stream. Both halves together keep the stream; the last to go drops it.
#[derive(Debug)]
pub struct WriteHalf<S> {
    stream: Arc<S>,
    connection: Arc<Connection>,
}

pub(super) fn split<S: AsRef<PipeStream>>(stream: S) -> Result<(ReadHalf<S>, WriteHalf<S>)> {
    let connection = stream.as_ref().connection()?;
    let stream = Arc::new(stream);
    let read = ReadHalf {
        stream: Arc::clone(&stream),
        connection: Arc::clone(&connection),
    };
    Ok((read, WriteHalf { stream, connection }))
}

impl<S> ReadHalf<S> {
    /// The stream, for its properties and for ending it. Its own reading and writing would compete with the halves'.
    #[must_use]
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Puts the halves of one stream together again.
    ///
    /// # Errors
    ///
    /// Gives the halves back if they are not of one stream.
    pub fn reunite(self, write: WriteHalf<S>) -> std::result::Result<S, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.stream, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        drop(write);
        drop(self.connection);
        Ok(Arc::into_inner(self.stream).expect("nobody but the two halves holds the stream"))
    }
}

impl<S> WriteHalf<S> {
    /// The stream, for its properties and for ending it. Its own reading and writing would compete with the halves'.
    #[must_use]
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Waits until the other end has read everything; see [`PipeStream::wait_for_pipe_drain`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait_for_pipe_drain(&self) -> Result<()> {
        self.connection.check_direction(Way::Writing)?;
        self.connection.drain()
    }
}

impl<S> Read for ReadHalf<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.connection.read(buffer)?)
    }
}

impl<S: AsRef<PipeStream>> Write for WriteHalf<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.connection.write(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        (*self.stream).as_ref().check_flush()
    }
}

/// Halves of two different streams, which cannot be put together.
pub struct ReuniteError<S>(pub ReadHalf<S>, pub WriteHalf<S>);

impl<S> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuniteError").finish_non_exhaustive()
    }
}

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The halves belong to different streams.")
    }
}

impl<S> std::error::Error for ReuniteError<S> {}
