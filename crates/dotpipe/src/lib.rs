//! Named and anonymous pipes.
