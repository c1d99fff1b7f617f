//! `skep gen`: source text made of objects.

use std::fs;

use skep::object::Object;

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;

/// `gen skeleton FILE [name NAME]`
pub(crate) fn skeleton(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = words.need("the object")?;
    let name = if words.keyword("name") {
        words.need("the name")?.to_owned()
    } else {
        skep_skel::name_of_file(file)
    };
    words.end()?;
    if shell.options.light {
        return Err(Failure::new("light skeletons are not supported").hint("leave `-L` out"));
    }
    if name != skep_skel::identifier(&name) {
        return Err(Failure::new(format!("`{name}` is no name in C")).hint("`name NAME` gives another"));
    }
    let bytes = fs::read(file).map_err(|e| Failure::file(file, &e))?;
    let object = Object::read(&bytes, file)?;
    let text = skep_skel::c::skeleton(&object, &bytes, &name)?;
    shell.json.bytes(text.as_bytes());
    Ok(())
}
