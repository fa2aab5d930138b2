//! What is wrong, said so that it can be put right: a code, one sentence, labelled spans, and what to
//! write instead. Rendered by miette.
//!
//! Knows nothing of what the pipeline file means.

use std::fmt;
use std::sync::{Arc, OnceLock};

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, Severity, SourceCode, SourceSpan,
    SpanContents,
};

use super::model::{SourceFile, Span, Workspace};

/// One diagnostic. It stands by itself: what it shows of the pipeline files it carries along.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    code: &'static str,
    message: String,
    labels: Vec<(Span, String)>,
    help: Option<String>,
    cause: Option<Cause>,
    severity: Severity,
    sources: Option<Arc<Sources>>,
}

/// What a label points at, for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As [`SourceFile::name`].
    pub file: String,
    /// From 1, as the column.
    pub line: usize,
    pub column: usize,
    pub label: String,
}

/// Everything that is wrong, in the order of files and lines. Never empty.
#[derive(Clone, Debug)]
pub struct Problems(pub Vec<Problem>);

/// What another layer said: an I/O error, a parser's message.
#[derive(Clone, Debug)]
struct Cause(String);

impl Problem {
    /// An error. `code` is one of [`super::code`], or another room's own `forge::…`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Problem {
        Problem(Box::new(Details {
            code,
            message: message.into(),
            labels: Vec::new(),
            help: None,
            cause: None,
            severity: Severity::Error,
            sources: None,
        }))
    }

    /// Something worth knowing that stops nothing.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Problem {
        let mut problem = Problem::new(code, message);
        problem.0.severity = Severity::Warning;
        problem
    }

    /// Points at `span`. The first label is the primary one.
    #[must_use]
    pub fn label(mut self, span: &Span, text: impl Into<String>) -> Problem {
        self.0.labels.push((span.clone(), text.into()));
        self
    }

    /// What to write instead.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Problem {
        self.0.help = Some(text.into());
        self
    }

    /// [`Problem::help`] where there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, text: Option<String>) -> Problem {
        self.0.help = text.or(self.0.help);
        self
    }

    /// What lies below: shown as the cause.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Problem {
        self.0.cause = Some(Cause(cause.to_string()));
        self
    }

    /// Gives the labels the text they point into.
    #[must_use]
    pub fn with_sources(mut self, sources: &Arc<Sources>) -> Problem {
        self.0.sources = Some(Arc::clone(sources));
        self
    }

    /// [`Problem::with_sources`] for a problem that is found after loading.
    #[must_use]
    pub fn in_workspace(self, ws: &Workspace) -> Problem {
        self.with_sources(&Arc::new(Sources::new(ws.files.clone())))
    }

    /// `forge::unknown-key`.
    pub fn code_str(&self) -> &'static str {
        self.0.code
    }

    /// The sentence, without spans and help.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to write instead, where there is something to say.
    pub fn help_str(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The labelled spans, the primary one first.
    pub fn labels_at(&self) -> &[(Span, String)] {
        &self.0.labels
    }

    /// What its labels point at, the primary one first; nothing where it has no text to point into.
    pub fn places(&self) -> Vec<Place> {
        let Some(sources) = self.0.sources.as_deref() else {
            return Vec::new();
        };
        let place = |(span, label): &(Span, String)| {
            let read = sources.read_span(&sources.place(span), 0, 0).ok()?;
            Some(Place {
                file: read.name()?.to_owned(),
                line: read.line() + 1,
                column: read.column() + 1,
                label: label.clone(),
            })
        };
        self.0.labels.iter().filter_map(place).collect()
    }

    /// Where it belongs among other problems: by file, then by place, those without a place first.
    pub(crate) fn order(&self) -> Option<(u32, usize, usize)> {
        let (span, _) = self.0.labels.first()?;
        Some((span.file.0, span.range.start, span.range.end))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.0.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.help.as_ref()?))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.sources.as_deref().map(|sources| sources as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let sources = self.0.sources.as_deref()?;
        if self.0.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.0.labels.iter().enumerate().map(
            move |(i, (span, text))| {
                let text = Some(text.clone()).filter(|text| !text.is_empty());
                let place = sources.place(span);
                match i {
                    0 => LabeledSpan::new_primary_with_span(text, place),
                    _ => LabeledSpan::new_with_span(text, place),
                }
            },
        )))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

/// All pipeline files in one line of addresses, so that one diagnostic can point into several of them.
#[derive(Debug)]
pub struct Sources {
    files: Vec<SourceFile>,
    /// Address of each file's first byte.
    starts: Vec<usize>,
    /// Where lines begin, by file: asked for only where there is a problem.
    lines: Vec<OnceLock<Vec<usize>>>,
}

impl Sources {
    pub fn new(files: Vec<SourceFile>) -> Sources {
        let starts = files
            .iter()
            .scan(0, |next, file| {
                let start = *next;
                // The gap keeps one file's end from being the next one's start.
                *next += file.text.len() + 1;
                Some(start)
            })
            .collect();
        let lines = files.iter().map(|_| OnceLock::new()).collect();
        Sources {
            files,
            starts,
            lines,
        }
    }

    fn place(&self, span: &Span) -> SourceSpan {
        let start = self.starts.get(span.file.0 as usize).copied().unwrap_or(0);
        (start + span.range.start, span.range.len()).into()
    }
}

impl SourceCode for Sources {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let index = self.starts.partition_point(|start| *start <= span.offset());
        let index = index.checked_sub(1).ok_or(MietteError::OutOfBounds)?;
        let (file, start) = (&self.files[index], self.starts[index]);
        let local = SourceSpan::from((span.offset() - start, span.len()));
        if local.offset() + local.len() > file.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        // The lines before it are enough to find it: from the beginning of the file it would be far for each of many. One
        // more than is shown, as none stands for the beginning itself.
        let lines = self.lines[index].get_or_init(|| line_starts(&file.text));
        let line = lines.partition_point(|start| *start <= local.offset()) - 1;
        let line = line.saturating_sub(before + 1);
        let (start, rest) = (start + lines[line], &file.text.as_bytes()[lines[line]..]);
        let local = SourceSpan::from((local.offset() - lines[line], local.len()));
        let read = rest.read_span(&local, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            file.name.clone(),
            read.data(),
            (start + read.span().offset(), read.span().len()).into(),
            line + read.line(),
            read.column(),
            line + read.line_count(),
        )))
    }
}

/// Where the lines of a text begin, ended by `\n`, `\r\n` or `\r`.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = |at: &usize| match bytes[*at] {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    let starts = (0..bytes.len()).filter(ends).map(|at| at + 1);
    std::iter::once(0).chain(starts).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::model::FileId;

    /// What is shown of a span: where it begins, its text, its line and column, and the lines up to its end.
    type Shown = (usize, String, usize, usize, usize);

    fn shown(source: &dyn SourceCode, at: usize, len: usize, around: usize) -> Option<Shown> {
        let read = source.read_span(&(at, len).into(), around, around).ok()?;
        Some((
            read.span().offset(),
            String::from_utf8_lossy(read.data()).into_owned(),
            read.line(),
            read.column(),
            read.line_count(),
        ))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_shown_is_what_a_reading_from_the_beginning_shows(
            text in "[ab\r\n]{0,40}", at in 0usize..40, len in 0usize..12, around in 0usize..4,
        ) {
            let file = |text: &str| SourceFile { name: "f".into(), text: text.into() };
            let sources = Sources::new(vec![file(&text)]);
            if at + len <= text.len() {
                prop_assert_eq!(shown(&sources, at, len, around), shown(&text, at, len, around));
            }
        }
    }

    #[test]
    fn as_many_problems_as_lines_are_shown() {
        let n = 200_000;
        let text = "x = 1\n".repeat(n);
        let sources = Sources::new(vec![SourceFile {
            name: "f".into(),
            text: text.as_str().into(),
        }]);
        for line in 0..n {
            let span = Span {
                file: FileId(0),
                range: line * 6..line * 6 + 1,
            };
            let place = sources.place(&span);
            assert_eq!(
                shown(&sources, place.offset(), 1, 1).unwrap().2,
                line.max(1) - 1
            );
        }
    }
}
