//! `skep completion`: what shells complete. Words come from the table of commands; ids, names and tags of objects come from
//! what `skep` lists at that moment.

use std::io::{self, Write};

use clap_complete::Shell;

use crate::manual;

/// Completes objects, behind what is made of the table.
fn objects(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("completion/skep.bash"),
        Shell::Zsh => include_str!("completion/skep.zsh"),
        Shell::Fish => include_str!("completion/skep.fish"),
        _ => "",
    }
}

/// Writes the script for a shell.
pub(crate) fn write(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    // Its generator does not hand errors on.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut manual::whole(), "skep", &mut script);
    script.extend_from_slice(objects(shell).as_bytes());
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::bpf::{FAMILIES, ObjectCommand};

    fn script(shell: Shell) -> String {
        let mut script = Vec::new();
        write(shell, &mut script).expect("memory takes all");
        String::from_utf8(script).expect("scripts are text")
    }

    #[test]
    fn every_command_is_in_every_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for family in FAMILIES {
                assert!(script.contains(family.name), "{shell}: {}", family.name);
                for name in family.commands.iter().flat_map(ObjectCommand::names) {
                    assert!(script.contains(name), "{shell}: {} {name}", family.name);
                }
            }
        }
    }

    #[test]
    fn bash_completes_what_is_listed() {
        let listed = "skep() {\n[[ \"$*\" == *'map list' ]] && printf '7: hash  name counts  flags 0x0\\n\\tkey 4B\\n12: array  name data\\n'\n\
                      [[ \"$*\" == '--runtime user prog list' ]] && echo '9: xdp  name pass  tag 3b185187f1855c4c  gpl'\n}\n";
        for (line, expected) in [
            ("skep map dump id ", "7 12"),
            ("skep map dump id 1", "12"),
            ("skep map dump name c", "counts"),
            ("skep --runtime user prog show tag ", "3b185187f1855c4c"),
            ("skep --runtime user prog show name p", "pass"),
            ("skep prog show id ", ""),
            ("skep map dum", "dump"),
            ("skep map dump pi", "pinned"),
        ] {
            let test = format!(
                "{}\n{listed}COMP_LINE='{line}'; read -ra COMP_WORDS <<<\"$COMP_LINE\"; [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')\n\
                 COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _skep_objects skep \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
                 echo \"${{COMPREPLY[*]}}\"",
                script(Shell::Bash)
            );
            let bash = Command::new("bash")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let mut bash = bash.expect("bash runs");
            // It is longer than an argument may be.
            bash.stdin.take().expect("a pipe").write_all(test.as_bytes()).expect("bash reads");
            let output = bash.wait_with_output().expect("bash ends");
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said.trim(), expected, "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
