//! A terminal as a screen: drawn anew at each look, left as it was found.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::{ORDERS, Order};

/// Another screen than the one with the shell's lines, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME_AND_CLEAR: &str = "\x1b[H\x1b[2J";

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    None,
    Quit,
    Order(Order),
}

/// The terminal, which gives its keys at once and shows none of them.
pub(super) struct Screen {
    found: Termios,
}

impl Screen {
    /// Takes the terminal, if stdin and stdout are one.
    pub(super) fn open() -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let found = tcgetattr(io::stdin()).ok()?;
        let mut raw = found.clone();
        // Ctrl-C comes as a key, too, so that the terminal is put back before we end.
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw).ok()?;
        let screen = Self { found };
        screen.write(ENTER);
        Some(screen)
    }

    /// Waits for a key that means something.
    pub(super) fn wait(&mut self, time: Duration) -> Key {
        let begun = Instant::now();
        loop {
            let left = time.saturating_sub(begun.elapsed());
            let stdin = io::stdin();
            let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Key::None,
                Ok(_) => {}
                Err(_) if !left.is_zero() => continue,
                Err(_) => return Key::None,
            }
            let mut byte = [0];
            match rustix::io::read(&stdin, &mut byte) {
                Ok(1..) => {}
                // The terminal is gone.
                _ => return Key::Quit,
            }
            match key(byte[0]) {
                Key::None => {}
                key => return key,
            }
        }
    }

    /// Draws lines, the first of them marked, as far as they fit.
    pub(super) fn show(&self, lines: &[String], order: Order) {
        let (rows, columns) = tcgetwinsize(io::stdout())
            .map_or((24, 80), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        let help: Vec<String> = ORDERS
            .iter()
            .map(
                |(name, key, of)| {
                    if *of == order { format!("[{key}] {name}*") } else { format!("[{key}] {name}") }
                },
            )
            .collect();
        let mut text = String::from(HOME_AND_CLEAR);
        let cut = |line: &str| line.chars().take(columns).collect::<String>();
        let Some((head, rest)) = lines.split_first() else { return };
        let (body, sums) = rest.split_at(rest.len().saturating_sub(1));
        text.push_str(&format!("\x1b[7m{}\x1b[0m\r\n", cut(head)));
        let room = rows.saturating_sub(4);
        body.iter().take(room).for_each(|line| text.push_str(&format!("{}\r\n", cut(line))));
        sums.iter().for_each(|line| text.push_str(&format!("{}\r\n", cut(line))));
        text.push_str(&cut(&format!("sort: {}   [q] quit", help.join("  "))));
        self.write(&text);
    }

    fn write(&self, text: &str) {
        let mut out = io::stdout().lock();
        // A terminal that is gone is noticed when it is read.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.found);
    }
}

/// What a byte of input means: `q`, Ctrl-C and Ctrl-D end.
fn key(byte: u8) -> Key {
    match byte {
        b'q' | 3 | 4 => Key::Quit,
        byte => {
            let chosen = ORDERS.iter().find(|(_, key, _)| *key == char::from(byte));
            chosen.map_or(Key::None, |(.., order)| Key::Order(*order))
        }
    }
}
