//! Notifiers, seen from their receivers: real ones on loopback. What is told, to whom, and that nothing that goes
//! wrong there changes a run.

mod receivers;
mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use forge::deploy::outcome::Now;
use forge::engine::event::{After, Counts, DeployOutcome, Deployment, Ending, Event, Listener};
use forge::notify::{About, Notifying, Source};
use forge::pipeline::interpolate::{Lookup, Unresolved};
use forge::pipeline::model::{ProjectId, Reference, Workspace};
use forge::pipeline::{LoadOptions, load_texts};
use hmac::{Hmac, Mac};
use serde_json::json;

use receivers::Reply::{Cut, Hang, Say};
use receivers::{Certificate, Http, Smtp};
use support::{Bed, Ran};

const FAILS: &str = "[pipeline]\nname = \"shop\"\n[target.test]\ninputs = []\nsecret-env = [\"TOKEN\"]\n\
    run = \"echo begin; echo token $TOKEN; echo 'a < b'; exit 3\"\n[target.fine]\ninputs = []\nrun = \"true\"\n";

/// A workspace whose `test` fails, with one notifier; `${env.HOOK}` is where the receiver is.
fn bed(kind: &str, lines: &str, hook: &str) -> Bed {
    let mut bed = Bed::new(&format!(
        "{FAILS}[notify.team]\nkind = \"{kind}\"\n{lines}\n"
    ));
    bed.set("HOOK", hook).set("TOKEN", "sesame-street");
    bed.set("USER", "ada");
    bed.commit();
    bed
}

/// The exit code and the standard output that a run has without any notifier.
#[track_caller]
fn fails_as_ever(ran: &Ran) {
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("test failed: exit code 3"), "{ran:?}");
}

#[test]
fn slack_gets_blocks() {
    let http = Http::new(&[]);
    let mut bed = bed(
        "slack",
        "url = \"${env.HOOK}\"\nchannel = \"#builds\"\non = \"run-failed\"",
        &http.url("/services/T0/B0/secret"),
    );
    bed.set("GITHUB_SERVER_URL", "https://github.com")
        .set("GITHUB_REPOSITORY", "company/app")
        .set("GITHUB_RUN_ID", "77");
    let ran = bed.plain(&["test"]);
    fails_as_ever(&ran);
    assert!(!ran.stderr.contains('!'), "{ran:?}");

    let request = http.only();
    assert_eq!(request.path, "/services/T0/B0/secret");
    let message = request.json();
    assert_eq!(message["channel"], "#builds");
    assert_eq!(message["text"], "❌ shop: test failed on main");
    let blocks = message["blocks"].as_array().expect("blocks");
    let kinds: Vec<&str> = blocks
        .iter()
        .filter_map(|block| block["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        ["header", "section", "section", "section", "actions"]
    );
    let commit = bed.git(&["rev-parse", "HEAD"]);
    let fields = blocks[1]["fields"].to_string();
    for fact in ["*Branch*\\nmain", "*By*\\nada", &commit[..7]] {
        assert!(fields.contains(fact), "no {fact} in {fields}");
    }
    assert_eq!(blocks[2]["text"]["text"], "• test: exit code 3\n");
    assert_eq!(
        blocks[3]["text"]["text"],
        "Last lines of test:\n```\nbegin\ntoken ***\na &lt; b\n```"
    );
    let link = "https://github.com/company/app/actions/runs/77";
    assert_eq!(blocks[4]["elements"][0]["url"], link);
}

#[test]
fn slacks_api_says_no_with_a_200() {
    let http = Http::new(&[Say(200, "", r#"{"ok":false,"error":"not_in_channel"}"#)]);
    let lines =
        "url = \"${env.HOOK}\"\ntoken = \"xoxb-hunter2\"\nchannel = \"#c\"\non = \"run-failed\"";
    let ran = bed("slack", lines, &http.url("/api")).plain(&["test"]);
    fails_as_ever(&ran);
    let host = http.address;
    let warning =
        format!("! notifier team: {host} refused: not_in_channel\n  help: the bot must be");
    assert!(ran.stderr.contains(&warning), "{ran:?}");
    let bearer = http.only().header("authorization");
    assert_eq!(bearer.as_deref(), Some("Bearer xoxb-hunter2"));
}

#[test]
fn a_webhook_gets_a_signed_document() {
    let http = Http::new(&[]);
    let lines = "url = \"${env.HOOK}\"\nkey = \"hush\"\ntoken = \"t0k\"\non = [\"run-failed\"]";
    let bed = bed("webhook", lines, &http.url("/hook"));
    fails_as_ever(&bed.plain(&["test"]));

    let request = http.only();
    let mut document = request.json();
    for duration in [&["duration-ms"][..], &["targets", "0", "duration-ms"]] {
        let pointer = format!("/{}", duration.join("/"));
        let value = document.pointer_mut(&pointer).expect("a duration");
        assert!(value.is_u64());
        *value = json!(0);
    }
    let commit = bed.git(&["rev-parse", "HEAD"]);
    let expected = json!({
        "version": 1,
        "event": "run-failed",
        "title": "shop: test failed on main",
        "project": "shop",
        "branch": "main",
        "commit": commit.trim(),
        "who": "ada",
        "run-url": null,
        "duration-ms": 0,
        "targets": [{
            "target": "test",
            "reason": "exit code 3",
            "duration-ms": 0,
            "log": "begin\ntoken ***\na < b",
        }],
        "deployment": null,
    });
    assert_eq!(document, expected);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"hush").expect("any key");
    mac.update(request.body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = request.header("x-forge-signature-256");
    assert_eq!(signature, Some(format!("sha256={hex}")));
    assert_eq!(
        request.header("x-forge-event").as_deref(),
        Some("run-failed")
    );
    assert_eq!(
        request.header("authorization").as_deref(),
        Some("Bearer t0k")
    );
}

#[test]
fn a_pager_gets_a_trigger() {
    let http = Http::new(&[Say(202, "", "{}")]);
    let lines = "url = \"${env.HOOK}\"\nkey = \"R0UT1NG\"\non = \"target-failed\"";
    fails_as_ever(&bed("pagerduty", lines, &http.url("/v2/enqueue")).plain(&["test"]));
    let event = http.only().json();
    assert_eq!(event["routing_key"], "R0UT1NG");
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["dedup_key"], "forge/shop/target-failed/main/test");
    let payload = &event["payload"];
    assert_eq!(payload["summary"], "shop: test failed on main");
    assert_eq!(payload["severity"], "error");
    assert_eq!(payload["custom_details"]["Why"], "test: exit code 3");
    assert!(!event.to_string().contains("sesame"));
}

fn mail_lines(port: u16, more: &str) -> String {
    format!(
        "server = \"localhost:{port}\"\nfrom = \"forge <forge@example.com>\"\nto = \"a@example.com, b@example.org\"\n{more}on = \"run-failed\""
    )
}

#[test]
fn a_mail_goes_to_everybody() {
    let smtp = Smtp::new(0, None);
    let bed = bed("email", &mail_lines(smtp.port, ""), "");
    fails_as_ever(&bed.plain(&["test"]));
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!((mail.encrypted, mail.auth.as_deref()), (false, None));
    assert_eq!(mail.from, "forge@example.com");
    assert_eq!(mail.to, ["a@example.com", "b@example.org"]);
    let subject = mail.text.lines().find(|line| line.starts_with("Subject:"));
    assert!(
        subject.is_some_and(|line| line.contains("=?utf-8?b?")),
        "{mail:?}"
    );
    for part in [
        "shop: test failed on main",
        "token ***",
        "text/html",
        "a &lt; b",
    ] {
        assert!(mail.text.contains(part), "no {part} in {}", mail.text);
    }
}

#[test]
fn a_password_goes_through_tls() {
    let bed = bed(
        "email",
        "server = \"x\"\nto = \"a@b.c\"\non = \"run-failed\"",
        "",
    );
    let certificate = Certificate::new(bed.base());
    let smtp = Smtp::new(0, Some(&certificate));
    let password = "user = \"forge\"\npassword = \"${env.PASSWORD}\"\n";
    let lines = mail_lines(smtp.port, password);
    bed.write(
        "Pipeline.toml",
        format!("{FAILS}[notify.team]\nkind = \"email\"\n{lines}\n"),
    );
    let run = |roots: &str| {
        let mut command = bed.forge_command(&["test"]);
        command
            .env("PASSWORD", "hunter2")
            .env("SSL_CERT_FILE", roots);
        let output = command.output().expect("forge");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    // Nobody knows the certificate: nothing is said, least of all the password.
    let (code, stderr) = run("/etc/ssl/certs/ca-certificates.crt");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("! notifier team: localhost:"), "{stderr}");
    assert!(
        stderr.contains("certificate") && !stderr.contains("hunter2"),
        "{stderr}"
    );
    assert!(smtp.mails().is_empty());

    let (code, stderr) = run(certificate.file.to_str().expect("UTF-8"));
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].encrypted);
    let sent = base64::engine::general_purpose::STANDARD.encode("\0forge\0hunter2");
    assert_eq!(mails[0].auth.as_ref(), Some(&sent));
}

#[test]
fn what_may_work_in_a_moment_is_tried_again() {
    let script = [Say(503, "", "busy"), Cut, Say(200, "", "ok")];
    let http = Http::new(&script);
    let lines = "url = \"${env.HOOK}\"\non = \"run-failed\"";
    let ran = bed("webhook", lines, &http.url("/")).plain(&["test"]);
    fails_as_ever(&ran);
    let requests = http.requests();
    assert_eq!(requests.len(), 3, "{ran:?}");
    assert!(!ran.stderr.contains("notifier"), "{ran:?}");
    assert!(
        requests
            .iter()
            .all(|request| request.body == requests[0].body)
    );

    let throttled = Http::new(&[Say(429, "Retry-After: 0\r\n", ""), Say(200, "", "ok")]);
    let ran = bed("webhook", lines, &throttled.url("/")).plain(&["test"]);
    assert_eq!(throttled.requests().len(), 2, "{ran:?}");

    let smtp = Smtp::new(1, None);
    let ran = bed("email", &mail_lines(smtp.port, ""), "").plain(&["test"]);
    assert_eq!(smtp.mails().len(), 1, "{ran:?}");
}

#[test]
fn a_failing_receiver_is_a_warning_without_secrets() {
    let script = [
        (
            Say(404, "", "no_service at /services/s3cret"),
            "answered 404: no_service at /***",
            1,
        ),
        (Say(500, "", ""), "answered 500\n", 3),
        (
            Say(429, "Retry-After: 600\r\n", "slow"),
            "answered 429: slow",
            1,
        ),
        (
            Say(302, "Location: http://127.0.0.1:1/\r\n", ""),
            "answered 302",
            1,
        ),
        (Cut, "cut the connection", 3),
    ];
    for (reply, said, tries) in script {
        let http = Http::new(&[reply.clone(), reply.clone(), reply]);
        let lines = "url = \"${env.HOOK}\"\ntoken = \"hunter2\"\non = \"run-failed\"";
        let ran = bed("webhook", lines, &http.url("/services/s3cret")).plain(&["test"]);
        fails_as_ever(&ran);
        assert!(ran.stderr.contains(said), "no {said:?}: {ran:?}");
        assert!(
            ran.stderr
                .contains(&format!("! notifier team: {}", http.address)),
            "{ran:?}"
        );
        assert!(ran.stderr.contains("\n  help: "), "{ran:?}");
        for secret in ["s3cret", "hunter2", "sesame"] {
            assert!(!ran.stderr.contains(secret), "{secret}: {ran:?}");
        }
        assert_eq!(http.requests().len(), tries, "{said}: {ran:?}");
    }
}

#[test]
fn nobody_there_is_a_warning_and_no_reason_to_fail() {
    let lines = "url = \"${env.HOOK}\"\non = \"target-flaky\"";
    let bed = Bed::new(&format!(
        "[target.test]\ninputs = []\nretries = 1\nrun = \"test -e ../once || {{ touch ../once; exit 1; }}\"\n\
         [notify.team]\nkind = \"webhook\"\n{lines}\n"
    ));
    // The lowest port: nobody listens there.
    let mut command = bed.forge_command(&["test"]);
    command.env("HOOK", "http://127.0.0.1:1/x");
    let output = command.output().expect("forge");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("! notifier team: 127.0.0.1:1 can't be reached"),
        "{stderr}"
    );
}

#[test]
fn a_receiver_that_never_answers_holds_nobody_up() {
    let (http, other) = (Http::new(&[Hang, Hang, Hang, Hang]), Http::new(&[]));
    let lines = format!(
        "url = \"${{env.HOOK}}\"\non = [\"run-failed\", \"target-failed\"]\n\
         [notify.other]\nkind = \"webhook\"\nurl = \"{}\"\non = \"run-failed\"\n\
         [target.test2]\nrun = \"exit 1\"\n[target.test3]\nrun = \"exit 1\"",
        other.url("/")
    );
    let ran = bed("webhook", &lines, &http.url("/")).plain(&["-k", "test*"]);
    fails_as_ever(&ran);
    let late = format!(
        "! notifier team: {} didn't answer within 10 s",
        http.address
    );
    assert!(ran.stderr.contains(&late), "{ran:?}");
    assert_eq!(ran.stderr.matches("! notifier").count(), 1, "{ran:?}");
    other.only();
    // Four messages, and the time of one: nobody waited for all of them in turn.
    assert!(http.requests().len() <= 2, "{ran:?}");
}

#[test]
fn ten_failures_are_one_failed_run() {
    let http = Http::new(&[]);
    let mut text = String::from(
        "[notify.team]\nkind = \"webhook\"\nurl = \"${env.HOOK}\"\non = \"run-failed\"\n",
    );
    for n in 0..10 {
        text += &format!("[target.t{n}]\ninputs = []\nrun = \"exit 1\"\n");
    }
    let mut bed = Bed::new(&text);
    bed.set("HOOK", &http.url("/"));
    let ran = bed.plain(&["-k", "t*"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let document = http.only().json();
    assert_eq!(document["targets"].as_array().map(Vec::len), Some(10));
    assert!(document["branch"].is_null());
}

/// Told once, at the third failure; a success begins again.
#[test]
fn what_keeps_failing_is_told_at_the_third_time() {
    let http = Http::new(&[]);
    let lines = "url = \"${env.HOOK}\"\non = \"target-keeps-failing\"\n\
                 [target.unit]\ncache = false\nrun = \"test -e good\"";
    let bed = bed("webhook", lines, &http.url("/"));
    let told = |wanted: usize| {
        bed.plain(&["unit"]);
        assert_eq!(http.requests().len(), wanted);
    };
    told(0);
    told(0);
    told(1);
    told(1);
    bed.write("good", "");
    told(1);
    bed.remove("good");
    told(1);
    told(1);
    told(2);
    let document = http.requests()[0].json();
    assert_eq!(document["event"], "target-keeps-failing");
    assert_eq!(document["title"], "shop: unit keeps failing on main");
    assert_eq!(
        document["targets"][0]["reason"],
        "exit code 1, the third time in a row"
    );
}

#[test]
fn filters_and_fine_runs_keep_quiet() {
    let http = Http::new(&[]);
    let cases = [
        ("on = \"run-failed\"", &["fine"][..], 0),
        ("on = \"run-failed\"", &["test", "-n"], 0),
        ("on = [\"target-flaky\", \"deploy-failed\"]", &["test"], 0),
        (
            "on = \"run-failed\"\nbranches = [\"release/*\"]",
            &["test"],
            0,
        ),
        ("on = \"run-failed\"\ntargets = [\"lint\"]", &["test"], 0),
        (
            "on = \"run-failed\"\nbranches = [\"ma*\"]\ntargets = [\"te*\"]",
            &["test"],
            1,
        ),
        ("on = [\"run-failed\", \"target-failed\"]", &["test"], 2),
    ];
    for (lines, args, told) in cases {
        let before = http.requests().len();
        let bed = bed(
            "webhook",
            &format!("url = \"${{env.HOOK}}\"\n{lines}"),
            &http.url("/"),
        );
        bed.plain(args);
        let after = http.requests().len();
        assert_eq!(after - before, told, "{lines} {args:?}");
    }
}

#[test]
fn an_unset_variable_is_an_oversight_in_ci_alone() {
    let mut bed = bed(
        "slack",
        "url = \"${env.SLACK_WEBHOOK}\"\non = \"run-failed\"",
        "",
    );
    let ran = bed.plain(&["test"]);
    fails_as_ever(&ran);
    assert!(!ran.stderr.contains("notifier"), "{ran:?}");
    bed.set("CI", "true");
    for set in [false, true] {
        if set {
            // What GitHub makes of a secret that isn't there.
            bed.set("SLACK_WEBHOOK", "");
        }
        let ran = bed.plain(&["test"]);
        fails_as_ever(&ran);
        let said = ran.stderr.contains("! notifier team: `url`");
        assert!(
            said && ran.stderr.contains("help: set SLACK_WEBHOOK;"),
            "{ran:?}"
        );
    }
}

#[test]
fn a_test_message_says_what_came_back() {
    let http = Http::new(&[Say(200, "", "ok"), Say(403, "", "invalid_token")]);
    let lines = "url = \"${env.HOOK}\"\non = \"deploy-failed\"\nbranches = \"never\"";
    let mut bed = bed("slack", lines, &http.url("/secret"));
    let tested = bed.plain(&["notify", "test", "team"]);
    let host = http.address;
    assert_eq!(tested.code, 0, "{tested:?}");
    assert_eq!(
        tested.stdout,
        format!("sent a test message to {host} (slack): 200 ok\n")
    );
    assert_eq!(
        http.only().json()["text"],
        "👋 shop: a test of this notifier"
    );

    let tested = bed.plain(&["notify", "test", "team"]);
    assert_eq!(tested.code, 1, "{tested:?}");
    let said = format!("forge: notifier team: {host} answered 403: invalid_token\n  help: ");
    assert!(tested.stderr.starts_with(&said), "{tested:?}");

    let tested = bed.plain(&["notify", "test", "team", "-n"]);
    assert_eq!((tested.code, http.requests().len()), (0, 2), "{tested:?}");

    bed.unset("HOOK");
    let tested = bed.plain(&["notify", "test", "team"]);
    assert_eq!(tested.code, 3, "{tested:?}");
    let tested = bed.plain(&["notify", "test", "taem"]);
    assert_eq!(tested.code, 2, "{tested:?}");
    assert!(tested.stderr.contains("did you mean `team`?"), "{tested:?}");
}

#[test]
fn a_test_page_is_closed_again() {
    let http = Http::new(&[]);
    let lines = "url = \"${env.HOOK}\"\nkey = \"k\"\non = \"deploy-failed\"";
    let tested = bed("pagerduty", lines, &http.url("/")).plain(&["notify", "test", "team"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    let requests = http.requests();
    let actions: Vec<_> = requests
        .iter()
        .map(|request| request.json()["event_action"].clone())
        .collect();
    assert_eq!(actions, ["trigger", "resolve"]);
}

// Deployments have no events yet: these are told by the listener's own door for them.

struct Here {
    asked: Cell<bool>,
}

struct Nothing;

impl Lookup for Nothing {
    fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
        Err(Unresolved::new(reference, "the variable is not set"))
    }
}

impl Source for Here {
    fn about(&self) -> About {
        self.asked.set(true);
        About {
            project: "shop".into(),
            branch: Some("main".into()),
            ..About::default()
        }
    }

    fn failures_before(&self, _: &str) -> usize {
        0
    }

    fn values(&self, _: ProjectId) -> Box<dyn Lookup + '_> {
        Box::new(Nothing)
    }

    fn is_ci(&self) -> bool {
        false
    }
}

fn workspace(notify: &str) -> Workspace {
    let text = format!("[target.t]\nrun = \"true\"\n{notify}");
    let loaded = load_texts(&[("", &text)], &LoadOptions::default());
    loaded
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .workspace
}

/// A deployment that concerns these notifiers.
fn prod(notify: &[usize]) -> Arc<Deployment> {
    Arc::new(Deployment {
        environment: "prod".into(),
        target: Some("deploy-prod".into()),
        url: Some("https://app.example.com".into()),
        notify: notify.to_vec(),
        digest: Some("sha256:abc".into()),
        commit: None,
        previous: Some("app:41".into()),
    })
}

fn ended(notify: &[usize], result: Ending) -> Event {
    Event::DeployFinished {
        deployment: prod(notify),
        outcome: Arc::new(DeployOutcome {
            result,
            now: vec![Now {
                service: "app".into(),
                revision: "app:42".parse().ok(),
                running: 1,
                desired: 1,
            }],
        }),
        duration: Duration::from_secs(65),
        log: Arc::from(*b"Traceback\nKeyError: 'DB'\n"),
    }
}

fn failed(notify: &[usize], after: After) -> Event {
    let reason = "tasks stop: exit code 1".to_owned();
    ended(notify, Ending::Failed { reason, after })
}

#[test]
fn whoever_interrupts_a_run_knows() {
    let http = Http::new(&[]);
    let ws = workspace(&format!(
        "[notify.hook]\nkind = \"webhook\"\nurl = \"{}\"\non = \"run-failed\"\n",
        http.url("/")
    ));
    let here = Here {
        asked: Cell::new(false),
    };
    for (exit_code, told) in [(130, 0), (1, 1)] {
        let mut notifying = Notifying::new(&ws, &here).expect("somebody listens");
        notifying.on(&Event::RunFinished {
            ok: false,
            counts: Counts::default(),
            duration: Duration::ZERO,
            saved: Duration::ZERO,
            exit_code,
        });
        assert_eq!(notifying.finish(), []);
        assert_eq!(http.requests().len(), told, "{exit_code}");
    }
}

#[test]
fn an_environment_tells_its_own_notifiers() {
    let (pager, hook, deaf) = (Http::new(&[]), Http::new(&[]), Http::new(&[]));
    let ws = workspace(&format!(
        "[notify.on-call]\nkind = \"pagerduty\"\nkey = \"k\"\nurl = \"{}\"\non = \"deploy-failed\"\n\
         [notify.hook]\nkind = \"webhook\"\nurl = \"{}\"\non = [\"deploy-started\", \"deploy-failed\", \"rolled-back\"]\n\
         [notify.deaf]\nkind = \"webhook\"\nurl = \"{}\"\non = \"deploy-failed\"\n",
        pager.url("/"),
        hook.url("/"),
        deaf.url("/")
    ));
    let here = Here {
        asked: Cell::new(false),
    };
    let mut notifying = Notifying::new(&ws, &here).expect("somebody listens");
    assert!(!here.asked.get());
    notifying.on(&Event::DeployStarted {
        deployment: prod(&[0, 1]),
    });
    notifying.on(&failed(&[0, 1], After::RolledBack));
    notifying.on(&ended(&[0, 1], Ending::Done));
    let goes_on = "it goes on".to_owned();
    notifying.on(&ended(&[0, 1], Ending::Interrupted { goes_on }));
    assert_eq!(notifying.finish(), []);
    assert!(deaf.requests().is_empty());

    let events: Vec<_> = pager
        .requests()
        .iter()
        .map(receivers::Request::json)
        .collect();
    let actions: Vec<_> = events
        .iter()
        .map(|event| event["event_action"].clone())
        .collect();
    assert_eq!(actions, ["trigger", "resolve", "resolve"]);
    assert!(
        events
            .iter()
            .all(|event| event["dedup_key"] == "forge/shop/environment/prod")
    );
    assert_eq!(events[0]["payload"]["severity"], "critical");
    assert_eq!(
        events[0]["payload"]["custom_details"]["Image"],
        "sha256:abc"
    );

    let told: Vec<_> = hook
        .requests()
        .iter()
        .map(receivers::Request::json)
        .collect();
    let order: Vec<_> = told.iter().map(|told| told["event"].clone()).collect();
    assert_eq!(order, ["deploy-started", "deploy-failed", "rolled-back"]);
    let failed = &told[1];
    assert_eq!(failed["title"], "shop: the deployment to prod failed");
    assert_eq!(
        failed["deployment"],
        json!({
            "environment": "prod", "target": "deploy-prod", "url": "https://app.example.com", "image": "sha256:abc",
            "revision": "app:42", "previous": "app:41", "reason": "tasks stop: exit code 1",
            "log": "Traceback\nKeyError: 'DB'",
        })
    );
}

#[test]
fn a_deployment_that_nobody_hears_of_is_never_kept_quiet() {
    let ws = workspace(
        "[notify.a]\nkind = \"slack\"\nurl = \"${env.X}\"\non = \"deploy-failed\"\n\
         [notify.b]\nkind = \"webhook\"\nurl = \"not an address\"\non = \"deploy-failed\"\n\
         [notify.c]\nkind = \"email\"\nserver = \"smtps://x\"\nto = \"a@b.c\"\non = \"deploy-failed\"\n\
         [notify.d]\nkind = \"slack\"\ntoken = \"a\\nb\"\nchannel = \"#c\"\nurl = \"http://127.0.0.1:1\"\non = \"deploy-failed\"\n",
    );
    let here = Here {
        asked: Cell::new(false),
    };
    let mut notifying = Notifying::new(&ws, &here).expect("somebody listens");
    notifying.on(&failed(&[0, 1, 2, 3, 99], After::Untouched));
    let reports = notifying.finish();
    let names: Vec<&str> = reports
        .iter()
        .map(|report| report.notifier.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c", "d"], "{reports:#?}");
    assert!(Notifying::new(&workspace(""), &here).is_none());
}
