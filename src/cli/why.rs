//! `forge why TARGET`: what the last key held that this one doesn't.

use std::io::{self, Write};

use serde_json::json;

use crate::cache::key::{self, Change};
use crate::engine::look::Look;
use crate::engine::plan::Plan;
use crate::engine::session::Session;
use crate::pipeline::model::{Kind, Target, TargetId};
use crate::report::style::{Paint, printable};

/// Explains targets; exit code 0.
///
/// # Errors
/// `out` can't be written.
pub fn run(
    session: &Session,
    targets: &[TargetId],
    as_json: bool,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<u8> {
    for (number, id) in targets.iter().enumerate() {
        let target = session.ws.target(*id);
        let answer = explain(session, target);
        if as_json {
            writeln!(out, "{}", answer.json(target))?;
        } else {
            if number > 0 {
                writeln!(out)?;
            }
            answer.print(target, paint, out)?;
        }
    }
    Ok(0)
}

/// What there is to say of a target.
struct Answer {
    /// `fresh`, `restore`, `run`, `unknown`.
    verdict: &'static str,
    text: String,
    changes: Vec<Change>,
    key: Option<String>,
}

fn explain(session: &Session, target: &Target) -> Answer {
    let say = |verdict, text: &str| Answer {
        verdict,
        text: text.to_owned(),
        changes: Vec::new(),
        key: None,
    };
    if matches!(target.kind, Kind::Group) {
        return say(
            "unknown",
            "a group: it has nothing to do itself; ask about what it needs",
        );
    }
    if matches!(target.kind, Kind::Deploy(_)) {
        let text = "a deployment: what runs there is asked each time";
        return say("unknown", &format!("{text} (forge {} -n)", target.address));
    }
    // Of needs that a run would skip what lies there counts; what else keeps it from a plan, the look says.
    let _ = Plan::new(session, &[target.id], &[]);
    let look = match session.look(target, None) {
        Ok(look) => look,
        Err(fault) => return say("run", &fault.message),
    };
    let mut answer = judge(session, target, &look);
    answer.key = Some(look.key.hex());
    answer
}

fn judge(session: &Session, target: &Target, look: &Look) -> Answer {
    let say = |verdict, text: String, changes| Answer {
        verdict,
        text,
        changes,
        key: None,
    };
    if !target.cache {
        return say("run", "it always runs: cache = false".into(), Vec::new());
    }
    if look.fresh.is_some() {
        return say(
            "fresh",
            "nothing changed since it last ran".into(),
            Vec::new(),
        );
    }
    let found = match session.found(target, look) {
        Ok(found) => found,
        Err(fault) => return say("run", fault.message, Vec::new()),
    };
    let stored = found.is_some() || session.store.result(&look.key).is_some();
    let found = found.map(|found| found.to_string());
    let Some(state) = session.state(&target.address) else {
        let text = found.unwrap_or_else(|| "it has never run to its end in this workspace".into());
        return say(verdict(stored), text, Vec::new());
    };
    if state.key == look.key {
        let text = found.unwrap_or_else(|| match target.kind {
            Kind::Image(_) => look.reason.clone(),
            _ => "its outputs were changed or removed".into(),
        });
        return say(verdict(stored), text, Vec::new());
    }
    let before = session
        .blobs
        .read(&state.preimage)
        .and_then(|bytes| key::decode(&bytes));
    let after = key::decode(look.preimage.bytes());
    let changes = match (before, after) {
        (Some(before), Some(after)) => key::diff(&before, &after),
        _ => Vec::new(),
    };
    let changed = crate::report::style::count(changes.len(), "thing", "things");
    let text = found.unwrap_or_else(|| format!("since it last ran, {changed} changed"));
    say(verdict(stored), text, changes)
}

fn verdict(stored: bool) -> &'static str {
    if stored { "restore" } else { "run" }
}

impl Answer {
    fn print(&self, target: &Target, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
        let what = match (self.verdict, &target.kind) {
            ("fresh", _) => "is fresh",
            ("restore", Kind::Image(_)) => "needs no build",
            ("run", Kind::Image(_)) => "would be built",
            ("restore", _) => "would be restored from the cache",
            ("run", _) => "would run",
            _ => "",
        };
        writeln!(out, "{} {what}: {}", paint.bold(&target.address), self.text)?;
        for change in &self.changes {
            writeln!(
                out,
                "  {:<16}{}",
                change.section.name(),
                printable(&change.sentence())
            )?;
        }
        Ok(())
    }

    fn json(&self, target: &Target) -> serde_json::Value {
        let changes: Vec<_> = self
            .changes
            .iter()
            .map(|change| json!({ "what": change.section.name(), "name": change.name, "change": change.sentence() }))
            .collect();
        json!({ "target": &*target.address, "verdict": self.verdict, "text": self.text, "key": self.key, "changes": changes })
    }
}
