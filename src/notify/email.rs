//! E-mail over SMTP: plain text with a small page of HTML beside it.
//!
//! How the connection is secured follows from the server: port 465 speaks TLS from the first byte; elsewhere
//! STARTTLS is required. Where it is optional, it is used when offered: on port 25, among machines that trust each
//! other, unless there is a password to protect; and on loopback, which nobody else hears.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::response::Response;
use lettre::{Message, SmtpTransport, Transport};

use super::Failure;
use super::excerpt::{cut, one_line};
use super::http::timed_out;
use super::notice::Notice;
use super::outbox::Answer;
use super::settings::Settings;
use super::tries::{Miss, repeat};

/// Where mail is submitted.
const SUBMISSION: u16 = 587;
/// TLS from the first byte.
const IMPLICIT: u16 = 465;
/// From server to server.
const RELAY: u16 = 25;
/// Longest subject, in characters.
const SUBJECT: usize = 150;

/// # Errors
/// It wasn't accepted.
pub fn send(settings: &Settings, notice: &Notice, until: Instant) -> Result<Answer, Failure> {
    let server = Server::parse(settings.required("server")?)?;
    let message = message(settings, &server, notice)?;
    let credentials = credentials(settings)?;
    let security = server.security(credentials.is_some());
    let response = repeat(until, |left| {
        let transport = server.transport(security, credentials.clone(), left);
        let transport = transport.map_err(Miss::Final)?;
        transport
            .send(&message)
            .map_err(|error| miss(&server, &error))
    })?;
    Ok(Answer::new(server.place(), said(&response)))
}

fn credentials(settings: &Settings) -> Result<Option<Credentials>, Failure> {
    match (settings.get("user"), settings.get("password")) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => Ok(Some(Credentials::new(user.into(), password.into()))),
        (Some(_), None) => Err(half("password")),
        (None, Some(_)) => Err(half("user")),
    }
}

fn half(missing: &str) -> Failure {
    Failure::missing(
        format!("`user` and `password` go together, and there is no `{missing}`"),
        format!("set `{missing}`"),
    )
}

/// `smtp.example.com`, `smtp.example.com:465`, `[::1]:1025`.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    host: String,
    port: u16,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    Implicit,
    StartTls,
    /// STARTTLS where the server offers it.
    IfOffered,
}

impl Server {
    fn parse(text: &str) -> Result<Server, Failure> {
        let wrong = || {
            Failure::undelivered(
                "`server` is no mail server's address",
                "it is a host, and a port where it isn't 587: smtp.example.com:465",
            )
        };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (text, SUBMISSION),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        match !host.is_empty() && port != 0 && host.chars().all(fits) {
            true => Ok(Server {
                host: host.to_owned(),
                port,
            }),
            false => Err(wrong()),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn security(&self, with_password: bool) -> Security {
        match self.port {
            IMPLICIT => Security::Implicit,
            _ if self.is_loopback() => Security::IfOffered,
            RELAY if !with_password => Security::IfOffered,
            _ => Security::StartTls,
        }
    }

    fn is_loopback(&self) -> bool {
        let address: Option<IpAddr> = self.host.parse().ok();
        self.host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }

    fn transport(
        &self,
        security: Security,
        credentials: Option<Credentials>,
        left: Duration,
    ) -> Result<SmtpTransport, Failure> {
        let tls = TlsParameters::new(self.host.clone())
            .map_err(|error| Failure::undelivered(said_of(&self.place(), &error), TLS_HELP))?;
        let mut builder = SmtpTransport::builder_dangerous(&self.host)
            .port(self.port)
            .timeout(Some(left))
            .tls(match security {
                Security::Implicit => Tls::Wrapper(tls),
                Security::StartTls => Tls::Required(tls),
                Security::IfOffered => Tls::Opportunistic(tls),
            });
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        Ok(builder.build())
    }
}

fn message(settings: &Settings, server: &Server, notice: &Notice) -> Result<Message, Failure> {
    let to: Mailboxes = settings
        .required("to")?
        .parse()
        .map_err(|_| wrong_address("to"))?;
    let from = sender(settings, server, &to)?;
    let mut builder = Message::builder()
        .from(from)
        .subject(cut(&notice.headline(), SUBJECT))
        .raw_header(HeaderValue::new(
            // Keeps absence notes from being sent back.
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    for mailbox in to {
        builder = builder.to(mailbox);
    }
    let parts = MultiPart::alternative_plain_html(notice.text(), html(notice));
    builder.multipart(parts).map_err(|error| {
        Failure::undelivered(
            format!(
                "the mail can't be written: {}",
                one_line(&error.to_string())
            ),
            "are `from` and `to` addresses?",
        )
    })
}

/// `from`; else the user, or forge at the recipient's domain.
fn sender(settings: &Settings, server: &Server, to: &Mailboxes) -> Result<Mailbox, Failure> {
    if let Some(from) = settings.get("from") {
        return from.parse().map_err(|_| wrong_address("from"));
    }
    let user = settings.get("user").and_then(|user| user.parse().ok());
    let domain = to
        .iter()
        .next()
        .map_or(server.host.as_str(), |first| first.email.domain());
    user.map_or_else(|| format!("forge@{domain}").parse(), Ok)
        .map_err(|_| wrong_address("from"))
}

fn wrong_address(key: &str) -> Failure {
    Failure::undelivered(
        format!("`{key}` holds something that is no mail address"),
        format!("{key} = \"Team <team@example.com>\"; several in `to` with commas"),
    )
}

fn html(notice: &Notice) -> String {
    let reasons: String = notice
        .reasons()
        .iter()
        .map(|reason| format!("<li>{}</li>", escape(reason)))
        .collect();
    let facts = notice.facts().into_iter();
    let rows: String = facts
        .map(|(name, value)| {
            format!(
                "<tr><td><b>{name}</b>&nbsp;</td><td>{}</td></tr>",
                escape(&value)
            )
        })
        .collect();
    let links = notice.links().into_iter();
    let links: String = links
        .map(|(name, link)| format!("<p><a href=\"{}\">{name}</a></p>", escape(link)))
        .collect();
    let log = notice.log().map(|(whose, log)| {
        format!(
            "<p>The last lines of {}:</p><pre>{}</pre>",
            escape(whose),
            escape(log)
        )
    });
    format!(
        "<html><body><h3>{}</h3><ul>{reasons}</ul><table>{rows}</table>{links}{}</body></html>",
        escape(&notice.headline()),
        log.unwrap_or_default(),
    )
    .replace("<ul></ul>", "")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const TLS_HELP: &str =
    "465 is for TLS, 587 for STARTTLS; its certificate must lead to one that this machine trusts";

fn miss(server: &Server, error: &lettre::transport::smtp::Error) -> Miss {
    let place = server.place();
    if error.is_timeout() {
        return Miss::Final(timed_out(&place));
    }
    let message = said_of(&place, error);
    let help = match (
        error.is_tls(),
        error.is_client(),
        error.status().map(u16::from),
    ) {
        (true, ..) => TLS_HELP,
        (_, _, Some(530 | 534 | 535)) => "are `user` and `password` right?",
        (_, _, Some(_)) => "are `from` and `to` addresses that this server takes?",
        (_, true, _) => "it must offer STARTTLS; port 465 speaks TLS from the first byte",
        _ => "is the server right, and reachable from here?",
    };
    let failure = Failure::undelivered(message, help);
    let hopeless = error.is_permanent() || error.is_tls() || error.is_client();
    match hopeless {
        true => Miss::Final(failure),
        false => Miss::Again(failure, None),
    }
}

/// An error with what is behind it.
fn said_of(place: &str, error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        next = source.source();
    }
    format!("{place}: {}", cut(&one_line(&text), 160))
}

fn said(response: &Response) -> String {
    let lines: Vec<&str> = response.message().collect();
    format!("{} {}", response.code(), lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notice::About;
    use crate::notify::settings::tests::settings;

    #[test]
    fn servers_are_hosts_with_ports() {
        let server = |text: &str| Server::parse(text).ok().map(|it| (it.host, it.port));
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(server("smtp.example.com"), is("smtp.example.com", 587));
        assert_eq!(server("smtp.example.com:465"), is("smtp.example.com", 465));
        assert_eq!(server("[::1]:1025"), is("::1", 1025));
        assert_eq!(server("::1"), is("::1", 587));
        for wrong in [
            "",
            "host:",
            "host:x",
            "host:70000",
            "host:0",
            "smtps://host",
            "a b",
        ] {
            assert_eq!(server(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_sent_in_the_open() {
        let security = |text: &str, password| Server::parse(text).unwrap().security(password);
        for password in [true, false] {
            assert_eq!(security("mx.example.com:465", password), Security::Implicit);
            assert_eq!(security("mx.example.com:587", password), Security::StartTls);
            assert_eq!(
                security("mx.example.com:2525", password),
                Security::StartTls
            );
            assert_eq!(security("127.0.0.1:1025", password), Security::IfOffered);
            assert_eq!(security("localhost:25", password), Security::IfOffered);
        }
        assert_eq!(security("mx.example.com:25", false), Security::IfOffered);
        assert_eq!(security("mx.example.com:25", true), Security::StartTls);
    }

    fn written(lines: &str) -> Result<String, Failure> {
        let settings = settings(&format!("kind = \"email\"\nserver = \"mx:587\"\n{lines}"))?;
        let server = Server::parse("mx:587")?;
        let about = About {
            project: "shop\r\nBcc: evil@example.com <b>".into(),
            ..About::default()
        };
        let message = message(&settings, &server, &Notice::test(about))?;
        Ok(String::from_utf8_lossy(&message.formatted()).into_owned())
    }

    #[test]
    fn mails_have_several_recipients_and_no_smuggled_headers() {
        let mail = written("to = \"a@example.com, Team B <b@example.org>\"").unwrap();
        assert!(mail.contains("From: forge@example.com\r\n"), "{mail}");
        assert!(
            mail.contains("a@example.com, \"Team B\" <b@example.org>"),
            "{mail}"
        );
        assert!(!mail.contains("\nBcc:"), "{mail}");
        assert!(mail.contains("&lt;b&gt;") && mail.contains("Auto-Submitted: auto-generated"));
        assert!(written("to = \"nobody\"").is_err());
        assert!(written("to = \"a@example.com\"\nfrom = \"x\"").is_err());
    }

    #[test]
    fn user_and_password_go_together() {
        for lines in ["user = \"u\"", "password = \"p\""] {
            let lines = format!("kind = \"email\"\nserver = \"mx\"\nto = \"a@b.c\"\n{lines}");
            assert!(credentials(&settings(&lines).unwrap()).is_err());
        }
    }
}
