//! `docs/helpers.md` says of every helper whether it is served in user space: it is made from the tables here.
//! `SKEP_BLESS=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use skep_isa::helper::ALL;
use skep_vm::helper::is_served;

fn document() -> String {
    let served = ALL.iter().filter(|helper| is_served(helper.id).is_ok()).count();
    let mut text = format!(
        "# Helpers in user space\n\n\
         Of the {} helpers of Linux 6.18 the user runtime serves {served}. A program that calls another one is refused when it \
         is loaded, by\nthe helper's name and with what it needs, unless the verifier finds that no run comes there. Which \
         program types may call\nwhich helper is the verifier's to say, as in Linux.\n\n\
         This table is made by a test (`SKEP_BLESS=1 cargo test -p skep-vm helper_table`).\n\n\
         | number | helper | licence | in user space |\n|---:|---|---|---|\n",
        ALL.len()
    );
    for helper in ALL {
        let licence = if helper.gpl_only { "GPL" } else { "" };
        let answer =
            is_served(helper.id).map_or_else(|why| format!("no: it needs {}", why.needs), |()| "yes".into());
        let _ = writeln!(text, "| {} | `{}` | {licence} | {answer} |", helper.id, helper.name);
    }
    text
}

#[test]
fn the_table_of_helpers_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/helpers.md");
    let text = document();
    if std::env::var_os("SKEP_BLESS").is_some() {
        fs::write(&path, &text).expect("the document can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "`docs/helpers.md` is not as the code is: `SKEP_BLESS=1` writes it anew");
}
