//! What a phony target may be taken from the cache for, and what it takes from the caller.

use super::super::commands::{self, Class};
use super::super::draft::Target;
use super::plan::Job;

/// A phony target: cached only where it does nothing but check.
pub(super) fn action(job: &Job, texts: &[String], target: &mut Target) {
    let because = &job.verdict.because;
    let reason = match job.verdict.class {
        Class::Checks => {
            let reports: Option<Vec<Vec<String>>> =
                texts.iter().map(|t| commands::reports(t)).collect();
            match reports {
                Some(reports) => {
                    reports
                        .iter()
                        .flatten()
                        .for_each(|file| add(&mut target.outputs, file));
                    return;
                }
                None => "name the reports it leaves in `outputs` to have it cached".to_owned(),
            }
        }
        Class::Quiet => "it always runs, as under make".to_owned(),
        Class::Looks => format!("`{because}` looks at more than the project's files"),
        Class::Makes => format!(
            "`{because}`: drop this line if it only checks, or name what it makes in `outputs`"
        ),
        Class::Edits => format!("`{because}` changes the sources"),
        Class::Acts | Class::SignsIn => format!("`{because}` reaches outside the project"),
        Class::Asks => format!("`{because}` talks to whoever runs it"),
        Class::Serves => format!("`{because}` goes on until it is stopped"),
    };
    target.interactive = job.verdict.class.owns_terminal();
    target.uncached = Some(reason);
}

/// A name that the target takes from the caller, by its looks a secret or not.
pub(super) fn pass(target: &mut Target, name: &str) {
    if target
        .inherit_env
        .iter()
        .chain(&target.secret_env)
        .any(|n| n == name)
    {
        return;
    }
    match commands::is_secret(name) {
        true => target.secret_env.push(name.to_owned()),
        false => target.inherit_env.push(name.to_owned()),
    }
}

/// Adds what isn't in the list yet.
pub(super) fn add(list: &mut Vec<String>, item: &str) {
    if !list.iter().any(|i| i == item) {
        list.push(item.to_owned());
    }
}
