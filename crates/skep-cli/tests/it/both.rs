//! The same object gives the same records of the same command in both runtimes.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// Rows of the table of records, with process ids numbered as they appear; or what was said instead. The command writes
/// nothing, because its output would come between.
fn records(runtime: &str, tool: &str, command: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["--runtime", runtime, "run"])
        .arg(root.join("tools").join(tool))
        .arg("--")
        .args(command)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .expect("skep can be executed");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let table = text.lines().take_while(|line| !line.is_empty()).skip(1);
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut number = |word: &str| {
        let next = ids.len();
        let is_id = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_digit());
        if is_id { format!("#{}", ids.entry(word.to_owned()).or_insert(next)) } else { word.to_owned() }
    };
    Ok(table.map(|line| line.split_ascii_whitespace().map(&mut number).collect()).collect())
}

fn check(tool: &str, command: &[&str]) {
    let user = records("user", tool, command).expect("the user runtime runs everywhere that ptrace does");
    assert!(!user.is_empty());
    match records("kernel", tool, command) {
        Ok(kernel) => assert_eq!(kernel, user, "{tool}"),
        Err(reason) if reason.contains("CAP_") || reason.contains("tracefs") => {
            eprintln!("skipped: {reason}");
        }
        Err(reason) => panic!("{reason}"),
    }
}

#[test]
fn files_that_a_command_opens() {
    check("opensnoop.bpf.o", &["sh", "-c", "cat /etc/passwd /no/such/file > /dev/null 2>&1; true"]);
}

#[test]
fn programs_that_a_command_executes() {
    check("execsnoop.bpf.o", &["sh", "-c", "/bin/true; /bin/true x y; exec /bin/true last"]);
}
