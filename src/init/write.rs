//! A draft as TOML that is pleasant to read. Knows nothing of where the draft came from.

use crate::pipeline::COMMANDS;

use super::draft::{Draft, Target};
use super::found::Found;

/// Lists longer than this are written one entry a line.
const WIDTH: usize = 90;

const EXAMPLE: &str = r#"
# [target.test]
# description = "Runs the tests"
# inputs = ["src/**", "tests/**"]       # left out: every file of the project
# run = "./run-tests.sh"
"#;

/// The whole file, made from what was found.
pub(super) fn text(draft: &Draft, found: &Found) -> String {
    let mut out = header(&found.sources());
    pipeline(&mut out, draft, found.is_member);
    for target in &draft.targets {
        out.push('\n');
        out.push_str(&target_text(target));
    }
    if draft.targets.is_empty() {
        out.push_str(EXAMPLE);
    }
    for target in &draft.suggestions {
        out.push('\n');
        out.push_str(&commented(&target_text(target)));
    }
    for remark in &draft.remarks {
        out.push('\n');
        comment_lines(&mut out, remark);
    }
    out
}

fn header(sources: &[String]) -> String {
    let from = match sources {
        [] => String::new(),
        names => format!(" from {}", names.join(", ")),
    };
    format!("# Proposed by `forge init`{from}; `forge list` shows what is in it.\n\n")
}

fn pipeline(out: &mut String, draft: &Draft, is_member: bool) {
    let head = if is_member { "project" } else { "pipeline" };
    out.push_str(&format!("[{head}]\n"));
    entry(out, "name", &string(&draft.name));
    if let Some(comment) = &draft.default_comment {
        comment_lines(out, comment);
    }
    list_entry(out, "default", &draft.default);
    if let Some(shell) = &draft.shell {
        if let Some(comment) = &draft.shell_comment {
            comment_lines(out, comment);
        }
        list_entry(out, "shell", shell);
    }
    list_entry(out, "dotenv", &draft.dotenv);
    list_entry(out, "inherit-env", &draft.inherit_env);
    table(
        out,
        &format!("{head}.vars"),
        &draft.vars,
        &draft.vars_comment,
    );
    table(out, &format!("{head}.env"), &draft.env, &None);
}

fn table(out: &mut String, name: &str, pairs: &[(String, String)], comment: &Option<String>) {
    if pairs.is_empty() {
        return;
    }
    out.push('\n');
    if let Some(comment) = comment {
        comment_lines(out, comment);
    }
    out.push_str(&format!("[{name}]\n"));
    for (key, value) in pairs {
        entry(out, &bare_or_quoted(key), &string(value));
    }
}

fn target_text(target: &Target) -> String {
    let mut out = String::new();
    target
        .comments
        .iter()
        .for_each(|c| comment_lines(&mut out, c));
    if COMMANDS.contains(&target.name.as_str()) {
        let name = &target.name;
        comment_lines(
            &mut out,
            &format!("`forge run {name}`: `forge {name}` is one of forge's own commands."),
        );
    }
    out.push_str(&format!("[target.{}]\n", bare_or_quoted(&target.name)));
    if let Some(description) = &target.description {
        entry(&mut out, "description", &string(description));
    }
    if target.image.is_some() {
        entry(&mut out, "kind", "\"image\"");
    }
    list_entry(&mut out, "needs", &target.needs);
    if let Some(image) = &target.image {
        entry(&mut out, "repository", &string(&image.repository));
        list_entry(&mut out, "tags", &image.tags);
    }
    if let Some(inputs) = &target.inputs {
        entry(&mut out, "inputs", &list(inputs));
    }
    list_entry(&mut out, "outputs", &target.outputs);
    environment(&mut out, target);
    switches(&mut out, target);
    run(&mut out, &target.run);
    out
}

fn environment(out: &mut String, target: &Target) {
    let pairs = |pairs: Vec<String>| format!("{{ {} }}", pairs.join(", "));
    if !target.tools.is_empty() {
        let tools = target
            .tools
            .iter()
            .map(|tool| format!("{} = \"*\"", bare_or_quoted(tool)));
        entry(out, "tools", &pairs(tools.collect()));
    }
    if !target.env.is_empty() {
        let env = target
            .env
            .iter()
            .map(|(key, value)| format!("{} = {}", bare_or_quoted(key), string(value)));
        entry(out, "env", &pairs(env.collect()));
    }
    list_entry(out, "inherit-env", &target.inherit_env);
    list_entry(out, "secret-env", &target.secret_env);
}

fn switches(out: &mut String, target: &Target) {
    if let Some(why) = &target.uncached {
        entry(out, "cache", &format!("false  # {}", one_line(why)));
    }
    if target.incremental {
        entry(out, "incremental", "true");
    }
    if target.interactive {
        entry(out, "interactive", "true");
    }
    list_entry(out, "locks", &target.locks);
}

fn run(out: &mut String, lines: &[String]) {
    match lines {
        [] => {}
        [line] => entry(out, "run", &string(line)),
        lines => entry(out, "run", &list(lines)),
    }
}

fn entry(out: &mut String, key: &str, value: &str) {
    out.push_str(&format!("{key} = {value}\n"));
}

fn list_entry(out: &mut String, key: &str, values: &[String]) {
    if !values.is_empty() {
        entry(out, key, &list(values));
    }
}

fn list(values: &[String]) -> String {
    let strings: Vec<String> = values.iter().map(|v| string(v)).collect();
    let line = format!("[{}]", strings.join(", "));
    if line.len() <= WIDTH && !line.contains('\n') {
        return line;
    }
    let lines: String = strings.iter().map(|s| format!("    {s},\n")).collect();
    format!("[\n{lines}]")
}

fn comment_lines(out: &mut String, text: &str) {
    for line in text.lines() {
        out.push_str(format!("# {}", one_line(line)).trim_end());
        out.push('\n');
    }
}

fn commented(text: &str) -> String {
    text.lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(comment) => format!("# {comment}\n"),
            None => format!("# {line}\n"),
        })
        .collect()
}

/// Comments may hold no control characters but the tab.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !key.is_empty() && key.chars().all(bare) {
        true => key.to_owned(),
        false => basic(key),
    }
}

/// The plainest form that can hold the text: `"…"` without escapes, `'…'`, their multi-line
/// forms, and escapes only where nothing else goes.
fn string(text: &str) -> String {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains('\n')
        && !text.contains(control)
        && !text.contains("'''")
        && !text.ends_with('\'')
    {
        return format!("'''\n{text}'''");
    }
    let plain = !text.contains(|c: char| c.is_control() && c != '\t');
    if plain && !text.contains(['"', '\\', '\t']) {
        return format!("\"{text}\"");
    }
    if plain && !text.contains('\'') {
        return format!("'{text}'");
    }
    basic(text)
}

fn basic(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::string;

    #[test]
    fn strings_take_the_plainest_form_and_read_back_as_they_were() {
        let cases = [
            ("make", "\"make\""),
            ("echo \"a\"", "'echo \"a\"'"),
            ("a\\b", "'a\\b'"),
            ("it's \"so\"", "\"it's \\\"so\\\"\""),
            ("a \\\n  b", "'''\na \\\n  b'''"),
            ("\u{1}\u{7f}", "\"\\u0001\\u007F\""),
            ("'''\n'", "\"'''\\n'\""),
        ];
        for (text, written) in cases {
            assert_eq!(string(text), written);
            let read: toml::Table = format!("x = {written}").parse().unwrap();
            assert_eq!(read["x"].as_str(), Some(text));
        }
    }
}
