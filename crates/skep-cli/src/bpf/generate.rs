//! `skep gen`: source text made of objects.

use std::fs;

use skep::object::Object;

use super::failure::{Failure, Outcome};
use super::options::Language;
use super::shell::Shell;
use super::words::Words;

/// `gen skeleton FILE [name NAME] [--lang rust|c]`
pub(crate) fn skeleton(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    let file = words.need("the object")?;
    let given = if words.keyword("name") { Some(words.need("the name")?.to_owned()) } else { None };
    words.end()?;
    let language = shell.options.language;
    if shell.options.light {
        return Err(Failure::new("light skeletons are not supported").hint("leave `-L` out"));
    }
    let name = given.unwrap_or_else(|| match language {
        Language::Rust => skep_skel::rust::name_of_file(file),
        Language::C => skep_skel::name_of_file(file),
    });
    if skep_skel::identifier(&name) != name.trim_start_matches("r#") {
        return Err(
            Failure::new(format!("`{name}` is no name in a source")).hint("`name NAME` gives another")
        );
    }
    let bytes = fs::read(file).map_err(|e| Failure::file(file, &e))?;
    let object = Object::read(&bytes, file)?;
    let text = match language {
        Language::Rust => skep_skel::rust::skeleton(&object, &bytes, &name)?,
        Language::C => skep_skel::c::skeleton(&object, &bytes, &name)?,
    };
    shell.json.bytes(text.as_bytes());
    Ok(())
}
