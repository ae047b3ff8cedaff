//! How far a measurement is, on a terminal.

use std::{
    cell::Cell,
    io::{IsTerminal, Write},
};

/// Counts up to a number that is known beforehand.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    done: Cell<usize>,
    all: usize,
}

impl Progress {
    /// Nothing is done yet.
    pub(crate) fn new(what: &'static str, all: usize) -> Self {
        eprintln!("measuring: {what}");
        Self {
            what,
            done: Cell::new(0),
            all,
        }
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        self.done.set(self.done.get() + 1);
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[K{} of {} {}", self.done.get(), self.all, self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
