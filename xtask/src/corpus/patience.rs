//! What a command writes, if it ends in time.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end and answers what it wrote to stdout; it is killed when that takes longer than `patience`.
///
/// What it writes is read only when it has ended, so it must fit into a pipe: some lines do.
pub(super) fn output(command: &mut Command, patience: Duration) -> Result<String, String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let child = child.as_mut().map_err(|e| format!("cannot be run: {e}"))?;
    wait(child, patience)?;
    let mut text = Vec::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_end(&mut text).map_err(|e| format!("cannot be read: {e}"))?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn wait(child: &mut Child, patience: Duration) -> Result<(), String> {
    let until = Instant::now() + patience;
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if Instant::now() > until {
            // It may have ended meanwhile; either way it is reaped.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("still not done after {} s", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_hang_are_ended() {
        let echo = output(Command::new("echo").arg("ok 0"), Duration::from_secs(20));
        assert_eq!(echo.as_deref(), Ok("ok 0\n"));
        let hangs = output(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert!(hangs.is_err_and(|reason| reason.contains("not done")));
        assert!(output(&mut Command::new("/no/such/command"), Duration::ZERO).is_err());
    }
}
