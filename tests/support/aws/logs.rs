//! CloudWatch Logs: groups of streams of lines. Knows nothing of who writes them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::clock::Time;
use super::faults::glob;
use super::ids;
use super::wire::{Done, Failure, Input};
use super::world::Place;

pub struct Logs {
    place: Place,
    pub groups: BTreeMap<String, Group>,
}

#[derive(Default)]
pub struct Group {
    pub created: Time,
    pub streams: BTreeMap<String, Stream>,
}

#[derive(Default)]
pub struct Stream {
    pub created: Time,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub at: Time,
    pub ingested: Time,
    pub text: String,
    pub id: String,
}

impl Logs {
    pub fn new(place: Place) -> Self {
        Self {
            place,
            groups: BTreeMap::new(),
        }
    }

    /// Makes sure of a stream; false where there is no such group, and none is to be made.
    pub fn open(&mut self, group: &str, stream: &str, create: bool, now: Time) -> bool {
        if create {
            self.create(group, now);
        }
        let Some(group) = self.groups.get_mut(group) else {
            return false;
        };
        let new = || Stream {
            created: now,
            lines: Vec::new(),
        };
        group.streams.entry(stream.into()).or_insert_with(new);
        true
    }

    pub fn create(&mut self, group: &str, now: Time) {
        let new = || Group {
            created: now,
            streams: BTreeMap::new(),
        };
        self.groups.entry(group.into()).or_insert_with(new);
    }

    /// Adds a line to a stream that is there.
    pub fn write(&mut self, group: &str, stream: &str, at: Time, text: &str) {
        let group = self.groups.get_mut(group);
        if let Some(stream) = group.and_then(|group| group.streams.get_mut(stream)) {
            let id = ids::digits(56);
            stream.lines.push(Line {
                at,
                ingested: at,
                text: text.into(),
                id,
            });
        }
    }

    fn group(&mut self, name: &str) -> Result<&mut Group, Failure> {
        let missing = || not_found("The specified log group does not exist.");
        self.groups.get_mut(name).ok_or_else(missing)
    }

    fn stream(&mut self, input: &Input) -> Result<&mut Stream, Failure> {
        let group = self.group(&group_name(input)?)?;
        let missing = || not_found("The specified log stream does not exist.");
        group
            .streams
            .get_mut(input.needed("logStreamName")?)
            .ok_or_else(missing)
    }
}

fn not_found(message: &str) -> Failure {
    Failure::new("ResourceNotFoundException", message)
}

/// By name, or by ARN where a call takes one.
fn group_name(input: &Input) -> Result<String, Failure> {
    if let Some(name) = input.text("logGroupName")? {
        return Ok(name.to_owned());
    }
    let arn = input.text("logGroupIdentifier")?;
    let name = arn.map(|arn| arn.rsplit(":log-group:").next().unwrap_or(arn));
    let needed =
        || Failure::invalid("Exactly one of logGroupName and logGroupIdentifier is needed.");
    Ok(name.ok_or_else(needed)?.trim_end_matches(":*").to_owned())
}

/// As CloudWatch counts: milliseconds.
fn millis(time: Time) -> i64 {
    (time * 1000.0) as i64
}

pub fn answer(logs: &mut Logs, operation: &str, input: &Value, now: Time) -> Done {
    match operation {
        "CreateLogGroup" => create_group(logs, input, now),
        "CreateLogStream" => create_stream(logs, input, now),
        "PutLogEvents" => put(logs, input, now),
        "GetLogEvents" => get(logs, input),
        "FilterLogEvents" => filter(logs, input),
        "DescribeLogGroups" => describe_groups(logs, input),
        "DescribeLogStreams" => describe_streams(logs, input),
        other => Err(Failure::new(
            "UnknownOperationException",
            format!("{other} isn't simulated"),
        )),
    }
}

fn there(what: &str) -> Failure {
    Failure::new(
        "ResourceAlreadyExistsException",
        format!("The specified {what} already exists"),
    )
}

fn create_group(logs: &mut Logs, input: &Value, now: Time) -> Done {
    let optional = ["kmsKeyId", "tags", "logGroupClass"];
    let input = Input::new(input, &["logGroupName"], &optional)?;
    let name = input.needed("logGroupName")?;
    if logs.groups.contains_key(name) {
        return Err(there("log group"));
    }
    logs.create(name, now);
    Ok(json!({}))
}

fn create_stream(logs: &mut Logs, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["logGroupName", "logStreamName"], &[])?;
    let (group, name) = (
        input.needed("logGroupName")?,
        input.needed("logStreamName")?,
    );
    if logs.group(group)?.streams.contains_key(name) {
        return Err(there("log stream"));
    }
    logs.open(group, name, false, now);
    Ok(json!({}))
}

fn put(logs: &mut Logs, input: &Value, now: Time) -> Done {
    let required = ["logGroupName", "logStreamName", "logEvents"];
    let input = Input::new(input, &required, &["sequenceToken", "entity"])?;
    let stream = logs.stream(&input)?;
    for event in input.list("logEvents")? {
        let (Some(at), Some(text)) = (event["timestamp"].as_i64(), event["message"].as_str())
        else {
            return Err(Failure::invalid(
                "a log event has a timestamp and a message",
            ));
        };
        let (at, text, id) = (at as Time / 1000.0, text.to_owned(), ids::digits(56));
        stream.lines.push(Line {
            at,
            ingested: now,
            text,
            id,
        });
    }
    stream.lines.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(json!({"nextSequenceToken": ids::digits(56)}))
}

/// Whether a line's time is in the range of a call: from `startTime`, before `endTime`.
fn in_range(input: &Input, line: &Line) -> Result<bool, Failure> {
    let (start, end) = (input.number("startTime")?, input.number("endTime")?);
    let at = millis(line.at);
    Ok(start.is_none_or(|start| at >= start) && end.is_none_or(|end| at < end))
}

fn limit(input: &Input) -> Result<usize, Failure> {
    let limit = input.number("limit")?.unwrap_or(10_000);
    match usize::try_from(limit) {
        Ok(limit @ 1..=10_000) => Ok(limit),
        _ => Err(Failure::invalid("limit must be between 1 and 10000")),
    }
}

/// The newest lines, or from a token `f/N` on and before a token `b/N`; the same token again says that there is no
/// more.
fn get(logs: &mut Logs, input: &Value) -> Done {
    let optional = [
        "logGroupName",
        "logGroupIdentifier",
        "startTime",
        "endTime",
        "nextToken",
        "limit",
        "startFromHead",
        "unmask",
    ];
    let input = Input::new(input, &["logStreamName"], &optional)?;
    let (limit, from_head) = (limit(&input)?, input.flag("startFromHead")?);
    let stream = logs.stream(&input)?;
    let mut lines: Vec<&Line> = Vec::new();
    for line in &stream.lines {
        if in_range(&input, line)? {
            lines.push(line);
        }
    }
    let invalid = || Failure::invalid("The specified nextToken is invalid.");
    let (begin, end) = match input
        .text("nextToken")?
        .map(|token| token.split_at_checked(2))
    {
        None if from_head => (0, limit.min(lines.len())),
        None => (lines.len().saturating_sub(limit), lines.len()),
        Some(Some(("f/", at))) => {
            let at: usize = at.parse().map_err(|_| invalid())?;
            (at.min(lines.len()), (at + limit).min(lines.len()))
        }
        Some(Some(("b/", at))) => {
            let at: usize = at.parse().map_err(|_| invalid())?;
            (at.saturating_sub(limit), at.min(lines.len()))
        }
        _ => return Err(invalid()),
    };
    let events = lines[begin..end].iter().map(|line| {
        json!({"timestamp": millis(line.at), "message": line.text, "ingestionTime": millis(line.ingested)})
    });
    Ok(json!({
        "events": events.collect::<Vec<_>>(),
        "nextForwardToken": format!("f/{end}"),
        "nextBackwardToken": format!("b/{begin}"),
    }))
}

/// Words that must all be there, or one text in quotes.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(quoted) => text.contains(quoted),
        None => pattern.split_whitespace().all(|word| text.contains(word)),
    }
}

fn filter(logs: &mut Logs, input: &Value) -> Done {
    let optional = [
        "logGroupName",
        "logGroupIdentifier",
        "logStreamNames",
        "logStreamNamePrefix",
        "startTime",
        "endTime",
        "filterPattern",
        "nextToken",
        "limit",
        "interleaved",
        "unmask",
    ];
    let input = Input::new(input, &[], &optional)?;
    let names = input.texts("logStreamNames")?;
    let prefix = input.text("logStreamNamePrefix")?;
    if prefix.is_some() && !names.is_empty() {
        return Err(Failure::invalid(
            "logStreamNames and logStreamNamePrefix can't be used together",
        ));
    }
    let (pattern, limit) = (
        input.text("filterPattern")?.unwrap_or_default(),
        limit(&input)?,
    );
    let group = logs.group(&group_name(&input)?)?;
    let wanted = |name: &String| {
        prefix.is_none_or(|prefix| name.starts_with(prefix))
            && (names.is_empty() || names.contains(name))
    };
    let mut found: Vec<(&String, &Line)> = Vec::new();
    for (name, stream) in group.streams.iter().filter(|(name, _)| wanted(name)) {
        for line in stream.lines.iter().filter(|line| fits(pattern, &line.text)) {
            if in_range(&input, line)? {
                found.push((name, line));
            }
        }
    }
    found.sort_by(|(_, a), (_, b)| a.at.total_cmp(&b.at));
    let begin = input
        .text("nextToken")?
        .and_then(|token| token.parse().ok())
        .unwrap_or(0);
    let events = found.iter().skip(begin).take(limit).map(|(name, line)| {
        json!({
            "logStreamName": name, "timestamp": millis(line.at), "message": line.text,
            "ingestionTime": millis(line.ingested), "eventId": line.id,
        })
    });
    let mut answer = json!({"events": events.collect::<Vec<_>>(), "searchedLogStreams": []});
    if begin + limit < found.len() {
        answer["nextToken"] = (begin + limit).to_string().into();
    }
    Ok(answer)
}

fn describe_groups(logs: &mut Logs, input: &Value) -> Done {
    let optional = [
        "logGroupNamePrefix",
        "logGroupNamePattern",
        "nextToken",
        "limit",
    ];
    let input = Input::new(input, &[], &optional)?;
    let prefix = input.text("logGroupNamePrefix")?.unwrap_or_default();
    let pattern = input
        .text("logGroupNamePattern")?
        .map(|pattern| format!("*{pattern}*"));
    let groups = logs.groups.iter().filter(|(name, _)| {
        name.starts_with(prefix) && pattern.as_ref().is_none_or(|pattern| glob(pattern, name))
    });
    let shown = groups.map(|(name, group)| {
        let arn = logs.place.arn("logs", &format!("log-group:{name}"));
        json!({
            "logGroupName": name, "creationTime": millis(group.created), "metricFilterCount": 0,
            "arn": format!("{arn}:*"), "logGroupArn": arn, "storedBytes": 0, "logGroupClass": "STANDARD",
        })
    });
    input.page("logGroups", shown.collect(), 50)
}

fn describe_streams(logs: &mut Logs, input: &Value) -> Done {
    let optional = [
        "logGroupName",
        "logGroupIdentifier",
        "logStreamNamePrefix",
        "orderBy",
        "descending",
        "nextToken",
        "limit",
    ];
    let input = Input::new(input, &[], &optional)?;
    let (prefix, name) = (
        input.text("logStreamNamePrefix")?.unwrap_or_default(),
        group_name(&input)?,
    );
    let place = logs.place.clone();
    let group = logs.group(&name)?;
    let mut streams: Vec<_> = group
        .streams
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    if input.text("orderBy")? == Some("LastEventTime") {
        let last = |stream: &Stream| stream.lines.last().map_or(0.0, |line| line.at);
        streams.sort_by(|(_, a), (_, b)| last(a).total_cmp(&last(b)));
    }
    if input.flag("descending")? {
        streams.reverse();
    }
    let shown = streams.into_iter().map(|(stream_name, stream)| {
        let mut shown = json!({
            "logStreamName": stream_name, "creationTime": millis(stream.created), "storedBytes": 0,
            "arn": place.arn("logs", &format!("log-group:{name}:log-stream:{stream_name}")),
        });
        if let (Some(first), Some(last)) = (stream.lines.first(), stream.lines.last()) {
            shown["firstEventTimestamp"] = millis(first.at).into();
            shown["lastEventTimestamp"] = millis(last.at).into();
            shown["lastIngestionTime"] = millis(last.ingested).into();
        }
        shown
    });
    input.page("logStreams", shown.collect(), 50)
}
