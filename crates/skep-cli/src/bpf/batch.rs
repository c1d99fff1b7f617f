//! `batch file FILE`: command lines from a file or stdin, until one fails.

use std::io::Read as _;

use super::failure::{Failure, Outcome};
use super::shell::Shell;
use super::words::Words;

/// Runs the lines of a file; `-` is stdin. `#` begins a comment, a backslash at its end continues a line, and quotes keep
/// blanks in a word.
pub(crate) fn batch(shell: &mut Shell, words: &mut Words<'_>) -> Outcome {
    if shell.options.help {
        if !shell.is_json() {
            shell.json.text(format_args!(
                "Run command lines from a file, one a line; `-` is stdin.\n\n  skep batch file FILE\n"
            ));
        }
        return Ok(());
    }
    if !words.keyword("file") {
        return Err(Failure::new("expected `file`").hint("`skep batch file FILE`, or `-` for stdin"));
    }
    let file = words.need("the file")?;
    words.end()?;
    let text = read(file)?;
    if shell.is_json() {
        shell.json.begin_array();
    }
    // A line that fails is the last item, and the array is closed behind it when the command ends.
    let count = run_lines(shell, &text)?;
    if shell.is_json() {
        shell.json.end_array();
    }
    if !shell.is_json() {
        shell.json.text(format_args!("processed {count} commands\n"));
    }
    Ok(())
}

fn read(file: &str) -> Outcome<String> {
    let mut text = String::new();
    let result = match file {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(file).map(|read| text = read),
    };
    result.map_err(|e| Failure::file(file, &e))?;
    Ok(text)
}

fn run_lines(shell: &mut Shell, text: &str) -> Outcome<usize> {
    let mut count = 0;
    for (number, line) in lines(text) {
        let words = split(&line).map_err(|e| e.context(format_args!("line {number}")))?;
        if words.is_empty() {
            continue;
        }
        run_line(shell, &words).map_err(|e| e.context(format_args!("line {number}")))?;
        count += 1;
    }
    Ok(count)
}

/// One line; in JSON, an object with the words and what they gave.
fn run_line(shell: &mut Shell, words: &[String]) -> Outcome {
    if !shell.is_json() {
        return super::dispatch(shell, words);
    }
    shell.json.begin_object();
    shell.json.name("command");
    shell.json.begin_array();
    words.iter().for_each(|word| shell.json.string(word));
    shell.json.end_array();
    shell.json.name("output");
    let (said, depth) = (shell.json.values(), shell.json.depth());
    let result = super::dispatch(shell, words);
    match &result {
        Ok(()) if shell.json.values() == said => shell.json.null(),
        Ok(()) => {}
        Err(failure) => {
            if failure.is_absent() && shell.json.values() == said {
                shell.json.null();
            }
            shell.tell(&result);
            shell.json.close_to(depth);
        }
    }
    shell.json.end_object();
    result.map_err(Failure::told)
}

/// Lines with their numbers, continued ones joined, without comments.
fn lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut source = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (number, first) = source.next()?;
        let mut line = first.to_owned();
        while let Some(begun) = line.strip_suffix('\\') {
            let next = source.next().map_or("", |(_, next)| next);
            line = format!("{begun} {next}");
        }
        if let Some(comment) = line.find('#') {
            line.truncate(comment);
        }
        Some((number + 1, line))
    })
}

/// Splits at blanks; single and double quotes keep them.
fn split(line: &str) -> Outcome<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(open) => Err(Failure::new(format!("a quote `{open}` is not closed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_split_and_counted() {
        let text = "# nothing\nmap show \\\n id 1\n\nprog 'a b' \"c\" # why\n";
        let all: Vec<(usize, Vec<String>)> = lines(text)
            .map(|(number, line)| (number, split(&line).unwrap()))
            .filter(|(_, words)| !words.is_empty())
            .collect();
        let expected = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(all, [(2, expected(&["map", "show", "id", "1"])), (5, expected(&["prog", "a b", "c"]))]);
        assert!(split("map 'x").is_err());
    }
}
