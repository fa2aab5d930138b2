//! What is wrong, said so that it can be put right: a code, one sentence, labelled spans, and what to
//! write instead. Rendered by miette.
//!
//! Knows nothing of what the pipeline file means.

use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, Severity, SourceCode, SourceSpan,
    SpanContents,
};

use super::model::{SourceFile, Span, Workspace};

/// One diagnostic. It stands by itself: what it shows of the pipeline files it carries along.
#[derive(Clone, Debug)]
pub struct Problem {
    code: &'static str,
    message: String,
    labels: Vec<(Span, String)>,
    help: Option<String>,
    cause: Option<Cause>,
    severity: Severity,
    sources: Option<Arc<Sources>>,
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
        Problem {
            code,
            message: message.into(),
            labels: Vec::new(),
            help: None,
            cause: None,
            severity: Severity::Error,
            sources: None,
        }
    }

    /// Something worth knowing that stops nothing.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Warning,
            ..Problem::new(code, message)
        }
    }

    /// Points at `span`. The first label is the primary one.
    #[must_use]
    pub fn label(mut self, span: &Span, text: impl Into<String>) -> Problem {
        self.labels.push((span.clone(), text.into()));
        self
    }

    /// What to write instead.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Problem {
        self.help = Some(text.into());
        self
    }

    /// [`Problem::help`] where there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, text: Option<String>) -> Problem {
        self.help = text.or(self.help);
        self
    }

    /// What lies below: shown as the cause.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Problem {
        self.cause = Some(Cause(cause.to_string()));
        self
    }

    /// Gives the labels the text they point into.
    #[must_use]
    pub fn with_sources(mut self, sources: &Arc<Sources>) -> Problem {
        self.sources = Some(Arc::clone(sources));
        self
    }

    /// [`Problem::with_sources`] for a problem that is found after loading.
    #[must_use]
    pub fn in_workspace(self, ws: &Workspace) -> Problem {
        self.with_sources(&Arc::new(Sources::new(ws.files.clone())))
    }

    /// `forge::unknown-key`.
    pub fn code_str(&self) -> &'static str {
        self.code
    }

    /// The sentence, without spans and help.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead, where there is something to say.
    pub fn help_str(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The labelled spans, the primary one first.
    pub fn labels_at(&self) -> &[(Span, String)] {
        &self.labels
    }

    /// Where it belongs among other problems: by file, then by place, those without a place first.
    pub(crate) fn order(&self) -> Option<(u32, usize, usize)> {
        let (span, _) = self.labels.first()?;
        Some((span.file.0, span.range.start, span.range.end))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.help.as_ref()?))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.sources.as_deref().map(|sources| sources as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let sources = self.sources.as_deref()?;
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().enumerate().map(
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
        Sources { files, starts }
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
        let read = file.text.read_span(&local, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            file.name.clone(),
            read.data(),
            (start + read.span().offset(), read.span().len()).into(),
            read.line(),
            read.column(),
            read.line_count(),
        )))
    }
}
