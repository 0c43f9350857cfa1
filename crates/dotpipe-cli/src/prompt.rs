//! Asking a person, or a script, for a line.

use std::fmt;
use std::io::{self, IsTerminal, Stdin};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::failure::{Attempt, Failure, Result};
use crate::lines::Lines;
use crate::signals::{Kept, interrupt, keep};
use crate::text::say;

/// Where the answers come from.
pub(crate) enum Prompt {
    /// A person at a terminal, who can edit the line and go back to earlier ones.
    Terminal {
        editor: Box<DefaultEditor>,
        _settings: Kept<Termios>,
    },
    /// Anything else: plain lines.
    Plain(Lines<Stdin>),
}

impl Prompt {
    pub(crate) fn new() -> Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Plain(Lines::new(io::stdin())));
        }
        // A signal may come while the terminal is in the editor's mode.
        let settings = keep(
            || tcgetattr(io::stdin()),
            |settings| {
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, settings);
                None
            },
        )
        .attempt(|| "cannot read the settings of the terminal".into())?;
        let config = rustyline::Config::builder()
            .auto_add_history(true)
            // Nothing is switched on that would have to be switched off when a signal comes.
            .bracketed_paste(false)
            .build();
        let editor = DefaultEditor::with_config(config).attempt(|| "cannot set up the terminal".into())?;
        Ok(Self::Terminal {
            editor: Box::new(editor),
            _settings: settings,
        })
    }

    /// The line that is typed after `prompt`, or `None` at the end of the input.
    pub(crate) fn ask(&mut self, prompt: &str) -> Result<Option<String>> {
        let failed = || "cannot read a line from standard input".into();
        match self {
            Self::Terminal { editor, .. } => match editor.readline(prompt) {
                Ok(line) => Ok(Some(line)),
                Err(ReadlineError::Eof) => Ok(None),
                // The editor takes Ctrl-C as a key. Everywhere else in the program it is a signal.
                Err(ReadlineError::Interrupted) => interrupt(),
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    Err(Failure::of_stdout(error))
                }
                Err(error) => Err(error).attempt(failed),
            },
            Self::Plain(lines) => {
                say(prompt)?;
                let line = lines.next().attempt(failed)?;
                if line.is_none() {
                    // Nothing was typed behind the prompt that would end its line.
                    say("\n")?;
                }
                Ok(line)
            }
        }
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminal { .. } => "Terminal",
            Self::Plain(_) => "Plain",
        })
    }
}
