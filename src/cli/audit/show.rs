//! An audit's answer, for people and for programs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::engine::audit::{Findings, Origin, Read, Write as Written};
use crate::engine::event::Outcome;
use crate::pipeline::model::Workspace;
use crate::report::style::{Paint, count, printable};

use super::{Audited, One};

/// So many lines of a kind are shown without `-v`.
const MOST: usize = 20;

/// One JSON document.
pub fn json(audited: &Audited, ok: bool) -> Value {
    let edits = audited.edits.iter();
    json!({
        "ok": ok,
        "targets": audited.targets.iter().map(|one| json_of(audited.ws, one)).collect::<Vec<_>>(),
        "edits": edits.map(|edit| json!({ "file": edit.file, "diff": edit.diff })).collect::<Vec<_>>(),
        "fixed": audited.fixed,
    })
}

fn json_of(ws: &Workspace, one: &One) -> Value {
    let mut value = json!({
        "target": &*one.target.address,
        "ok": one.is_ok(),
        "outcome": one.outcome.name(),
        "reason": one.reason,
    });
    if let (Some(findings), Some(fields)) = (&one.findings, value.as_object_mut()) {
        let reads = findings.reads.iter().map(|read| {
            json!({ "path": read.path, "how": if read.looked { "looked" } else { "read" }, "what": what(ws, read.origin) })
        });
        let writes = findings.writes.iter().map(|write| {
            json!({ "path": write.path, "how": verb(write), "what": what(ws, write.origin) })
        });
        fields.insert("reads".into(), reads.collect());
        fields.insert("writes".into(), writes.collect());
        fields.insert("never-read".into(), json!(findings.unread));
        fields.insert("listed".into(), json!(findings.listed));
        fields.insert("missing".into(), json!(findings.missing));
        fields.insert("outside-read".into(), json!(by_top(&findings.outside_read)));
        fields.insert("outside-written".into(), json!(findings.outside_written));
        fields.insert("unseen".into(), json!(findings.missed));
    }
    value
}

fn what(ws: &Workspace, origin: Origin) -> Cow<'_, str> {
    match origin {
        Origin::Source => "file".into(),
        Origin::Ignored => "git-ignored".into(),
        Origin::Git => "git".into(),
        Origin::MadeBy(maker) => format!("made by {}", ws.target(maker).address).into(),
    }
}

fn verb(write: &Written) -> &'static str {
    match (write.removed, write.edited) {
        (true, _) => "removed",
        (false, true) => "edited",
        (false, false) => "wrote",
    }
}

/// How many files, by the first directory.
fn by_top(paths: &[PathBuf]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for path in paths {
        let top = path.iter().take(2).collect::<PathBuf>();
        *counts.entry(top.display().to_string()).or_default() += 1;
    }
    counts
}

/// Lines for people.
///
/// # Errors
/// `out` can't be written.
pub fn text(audited: &Audited, verbose: bool, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    for one in &audited.targets {
        writeln!(out)?;
        one_target(audited.ws, one, verbose, paint, out)?;
    }
    for edit in &audited.edits {
        writeln!(out)?;
        for line in edit.diff.lines() {
            let line = printable(line);
            match line.as_bytes().first() {
                Some(b'+') => writeln!(out, "{}", paint.good(&line))?,
                Some(b'-') => writeln!(out, "{}", paint.bad(&line))?,
                _ => writeln!(out, "{line}")?,
            }
        }
    }
    if let Some(why) = &audited.no_edit {
        writeln!(out, "\nno edit is proposed: {}", printable(why))?;
    }
    match (audited.edits.is_empty(), audited.fixed) {
        (true, _) => Ok(()),
        (false, true) => writeln!(out, "\nwritten; audit again to see that nothing is left"),
        (false, false) => writeln!(out, "\n`--fix` writes this"),
    }
}

fn one_target(
    ws: &Workspace,
    one: &One,
    verbose: bool,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = paint.bold(&one.target.address);
    let Some(findings) = &one.findings else {
        return writeln!(out, "{name} didn't run: {}", printable(&one.reason));
    };
    let (reads, writes) = (findings.reads.len(), findings.writes.len());
    let but = if one.outcome == Outcome::Ran {
        ""
    } else {
        ", as far as it came"
    };
    match (reads, writes) {
        (0, 0) => writeln!(out, "{name} declares all that it reads and writes{but}")?,
        _ => {
            let mut parts = Vec::new();
            if reads > 0 {
                parts.push(format!("reads {}", count(reads, "file", "files")));
            }
            if writes > 0 {
                parts.push(format!("writes {}", count(writes, "file", "files")));
            }
            let parts = parts.join(" and ");
            writeln!(out, "{name} {parts} that it doesn't declare{but}")?;
        }
    }
    details(ws, findings, verbose, out)
}

fn details(
    ws: &Workspace,
    findings: &Findings,
    verbose: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let reads = findings.reads.iter().map(|read| read_line(ws, read));
    let writes = findings.writes.iter().map(|write| write_line(ws, write));
    lines(reads, verbose, out)?;
    lines(writes, verbose, out)?;
    for why in &findings.missed {
        writeln!(out, "  something went by unseen: {why}")?;
    }
    let note = |what: &str, text: String| format!("  {what:<12}{text}");
    let mut notes = Vec::new();
    for pattern in &findings.unread {
        notes.push(note("never read", pattern.clone()));
    }
    for directory in &findings.listed {
        let name = if directory.is_empty() { "." } else { directory };
        notes.push(note(
            "listed",
            format!("{name}/, where no pattern would see a new file"),
        ));
    }
    for path in &findings.outside_written {
        notes.push(note(
            "wrote",
            format!("{}, outside of the workspace", path.display()),
        ));
    }
    if verbose {
        notes.extend(
            findings
                .missing
                .iter()
                .map(|path| note("not there", path.clone())),
        );
        let outside = findings
            .outside_read
            .iter()
            .map(|path| path.display().to_string());
        notes.extend(outside.map(|path| note("outside", path)));
    } else if !findings.outside_read.is_empty() {
        notes.push(note("outside", summary(&findings.outside_read)));
    }
    lines(notes.into_iter(), true, out)
}

/// `/usr (120 files), /etc (3 files)`.
fn summary(paths: &[PathBuf]) -> String {
    let tops = by_top(paths);
    let tops = tops
        .iter()
        .map(|(top, files)| match Path::new(top).is_dir() {
            true => format!("{top} ({})", count(*files, "file", "files")),
            false => top.clone(),
        });
    tops.collect::<Vec<_>>().join(", ")
}

fn lines(
    all: impl ExactSizeIterator<Item = String>,
    every: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let total = all.len();
    let shown = if every || total <= MOST { total } else { MOST };
    for line in all.take(shown) {
        writeln!(out, "{}", printable(&line))?;
    }
    match total - shown {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more; -v lists them"),
    }
}

fn read_line(ws: &Workspace, read: &Read) -> String {
    let remark = match read.origin {
        Origin::Source if read.looked => "only whether it is there".into(),
        Origin::Source => String::new(),
        Origin::Ignored => "git ignores it: only its name or its directory's declares it".into(),
        Origin::Git => "git's own: ask for ${git.sha} and the like, or set cache = false".into(),
        Origin::MadeBy(maker) => format!(
            "made by {}, which it doesn't need directly",
            ws.target(maker).address
        ),
    };
    with_remark(
        if read.looked { "looked at" } else { "read" },
        &read.path,
        &remark,
    )
}

fn write_line(ws: &Workspace, write: &Written) -> String {
    let remark = match write.origin {
        Origin::MadeBy(maker) => format!("an output of {}", ws.target(maker).address),
        Origin::Git => "git's own".into(),
        _ if write.removed => "and didn't make it".into(),
        _ if write.edited => {
            "what it reads itself: a result that depends on this can't be kept".into()
        }
        _ => String::new(),
    };
    with_remark(verb(write), &write.path, &remark)
}

fn with_remark(verb: &str, path: &str, remark: &str) -> String {
    match remark {
        "" => format!("  {verb:<12}{path}"),
        remark => format!("  {verb:<12}{path}  ({remark})"),
    }
}
