//! A bar on a terminal; nothing elsewhere.

use std::io::{IsTerminal, Write};

const WIDTH: u64 = 40;

pub(crate) struct Progress {
    total: u64,
    on: bool,
}

impl Progress {
    pub(crate) fn new(total: u64) -> Progress {
        Progress { total, on: std::io::stderr().is_terminal() }
    }

    /// Draws the bar over what was there.
    pub(crate) fn show(&self, finished: u64, failed: u64) {
        self.write(&format!("\r{}", bar(finished, self.total, failed)));
    }

    /// Makes room for a line of text.
    pub(crate) fn clear(&self) {
        self.write("\r\x1b[K");
    }

    fn write(&self, text: &str) {
        if self.on {
            let mut error = std::io::stderr().lock();
            // A bar that cannot be drawn is no reason to stop.
            let _ = error.write_all(text.as_bytes()).and_then(|()| error.flush());
        }
    }
}

fn bar(finished: u64, total: u64, failed: u64) -> String {
    let full = (finished * WIDTH).checked_div(total).unwrap_or(WIDTH).min(WIDTH);
    let (full, empty) = (full as usize, (WIDTH - full) as usize);
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    format!("[{}{}] {finished} of {total} seeds{failed}", "#".repeat(full), ".".repeat(empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        let check = |finished, failed, hashes: usize, words: &str| {
            let bar = bar(finished, 8, failed);
            assert_eq!(bar.matches('#').count(), hashes);
            assert!(bar.ends_with(words), "{bar}");
        };
        check(0, 0, 0, "0 of 8 seeds");
        check(2, 1, 10, "2 of 8 seeds, 1 failed");
        check(8, 0, 40, "8 of 8 seeds");
    }
}
