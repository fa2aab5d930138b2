//! Slack: an incoming webhook, or `chat.postMessage` with a bot's token. Messages are made of blocks.
//!
//! <https://docs.slack.dev/reference/block-kit/blocks>

use std::time::Instant;

use serde_json::{Value, json};

use super::Failure;
use super::excerpt::{cut, last};
use super::http::Post;
use super::notice::Notice;
use super::outbox::Answer;
use super::settings::{Settings, place};

const API: &str = "https://slack.com/api/chat.postMessage";

/// Slack's limits, in characters.
const HEADER: usize = 150;
const TEXT: usize = 3000;
const FIELD: usize = 2000;
/// Fields of one section.
const FIELDS: usize = 10;
/// Reasons that are listed one by one.
const REASONS: usize = 10;

/// # Errors
/// It didn't arrive.
pub fn send(settings: &Settings, notice: &Notice, until: Instant) -> Result<Answer, Failure> {
    let token = settings.get("token");
    let uri = settings.url(token.map(|_| API))?;
    let bearer = token.map(|token| ("Authorization", format!("Bearer {token}")));
    let host = place(&uri);
    let post = Post {
        uri,
        headers: bearer.into_iter().collect(),
        body: message(notice, settings.get("channel")).to_string(),
    };
    let reply = post.send(until)?;
    // The API answers 200 to everything; a webhook just says `ok`.
    let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    if answer["ok"] == false {
        let error = answer["error"].as_str().unwrap_or("no reason given");
        return Err(Failure::undelivered(
            format!("{host} refused: {error}"),
            "the bot must be in the channel and allowed to write there (chat:write)",
        ));
    }
    Ok(Answer::new(
        host,
        format!("{} {}", reply.status, reply.body),
    ))
}

fn message(notice: &Notice, channel: Option<&str>) -> Value {
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&notice.headline(), HEADER), "emoji": true },
    })];
    blocks.extend(fields(notice));
    blocks.extend(reasons(notice).map(|text| section(&text)));
    if let Some((whose, log)) = notice.log() {
        blocks.push(section(&code(whose, log)));
    }
    blocks.extend(buttons(notice));
    let mut message = json!({
        // What notifications and screen readers say.
        "text": escape(&notice.headline()),
        "blocks": blocks,
    });
    if let Some(channel) = channel {
        message["channel"] = channel.into();
    }
    message
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

fn fields(notice: &Notice) -> Option<Value> {
    let facts = notice.facts().into_iter().take(FIELDS);
    let field = |(name, value): (&str, String)| {
        let value = escape(&cut(&value, FIELD / 8));
        json!({ "type": "mrkdwn", "text": format!("*{name}*\n{value}") })
    };
    let fields: Vec<Value> = facts.map(field).collect();
    (!fields.is_empty()).then(|| json!({ "type": "section", "fields": fields }))
}

fn reasons(notice: &Notice) -> Option<String> {
    let all = notice.reasons();
    let mut text = String::new();
    let mut told = 0;
    for reason in all.iter().take(REASONS) {
        let line = format!("• {}\n", escape(reason));
        if text.len() + line.len() > TEXT - 100 {
            break;
        }
        text += &line;
        told += 1;
    }
    if told < all.len() {
        text += &format!("• and {} more\n", all.len() - told);
    }
    (!text.is_empty()).then_some(text)
}

/// A block of code; what would end it early is taken apart.
fn code(whose: &str, log: &str) -> String {
    let head = format!("Last lines of {}:\n```\n", escape(&cut(whose, 200)));
    let mut log = escape(&log.replace("```", "`\u{200b}`\u{200b}`"));
    let room = TEXT - head.len() - "\n```".len();
    if log.len() > room {
        // Escapes are cut in the middle only where a line is longer than everything else.
        let end = last(&log, room);
        let end = end.split_once('\n').map_or(end, |(_, whole)| whole);
        log = end.to_owned();
    }
    format!("{head}{log}\n```")
}

fn buttons(notice: &Notice) -> Option<Value> {
    let links = notice.links().into_iter();
    let button = |(name, link): (&str, &str)| json!({ "type": "button", "text": { "type": "plain_text", "text": name }, "url": link });
    let elements: Vec<Value> = links.map(button).collect();
    (!elements.is_empty()).then(|| json!({ "type": "actions", "elements": elements }))
}

/// The three characters that mean something in every text: nothing becomes a link or calls a channel.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::notify::notice::{About, Trouble};

    fn notice(log: &str, targets: usize) -> Notice {
        let about = About {
            project: "shop <!channel>".into(),
            link: Some("https://ci.example.com/1?a=1&b=2".into()),
            ..About::default()
        };
        let trouble = |n: usize| {
            let reason = "expected <1> & got 2 ".repeat(20);
            Trouble::new(&format!("t{n}"), &reason, log.as_bytes(), Duration::ZERO)
        };
        Notice::run(about, (0..targets).map(trouble).collect(), Duration::ZERO)
    }

    /// Every text of a message with its limit.
    fn check(message: &Value) {
        let blocks = message["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50);
        for block in blocks {
            let text = block["text"]["text"].as_str().unwrap_or_default();
            let limit = if block["type"] == "header" { 150 } else { 3000 };
            assert!(text.chars().count() <= limit, "{block:#}");
            assert!(
                block["type"] == "header" || !text.contains("<"),
                "{block:#}"
            );
        }
    }

    #[test]
    fn messages_keep_slacks_limits_whatever_is_told() {
        let hostile = "<&>```<!channel>\n".repeat(500);
        for targets in [0, 1, 9, 200] {
            check(&message(&notice(&hostile, targets), Some("#c")));
        }
        let many = message(&notice("", 200), None);
        assert!(many.to_string().contains("more"));
        assert!(many["channel"].is_null());
    }

    #[test]
    fn a_log_stays_in_its_block() {
        let text = code("test", "a ``` b <x>");
        assert_eq!(text.matches("```").count(), 2);
        assert!(text.ends_with("b &lt;x&gt;\n```"));
        let long = code("test", &"<".repeat(5000));
        assert!(long.len() <= TEXT);
    }
}
