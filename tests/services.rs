//! Services as a user has them: started for those that need them, once, and gone afterwards whatever happens. Needs a
//! Docker engine and the images of `tests/setup.sh`; without them these tests fail.

#[path = "support/run.rs"]
mod run;

use std::fs;

use run::{Workspace, alive, output, wait_until};

/// A service that is a process: it leaves its number and a line for each start.
const PROCESS: &str = r#"
[service.db]
run = '''
echo start >> starts
echo $$ > db.pid
echo "db listens on ${service.db.port}"
exec python3 -u -c "
import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()
while True: s.accept()[0].sendall(b'hello\n')
" ${service.db.port}
'''
ports = [5432]
"#;

/// A command that talks to the service.
const TALK: &str = r#"python3 -c "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2]))).makefile().readline())" ${service.db.host} ${service.db.port}"#;

fn with_process(targets: &str) -> Workspace {
    Workspace::new(&format!("{PROCESS}\n{targets}"))
}

/// Containers that a workspace's runs made.
fn containers(of: i32) -> Vec<String> {
    let filter = format!("label=forge.pid={of}");
    let listed = output("docker", &["ps", "-aq", "--filter", &filter]);
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn it_starts_once_for_all_lazily_and_not_for_hits() {
    let workspace = with_process(&format!(
        "[target.a]\ninputs = [\"in\"]\noutputs = [\"a.out\"]\nservices = [\"db\"]\nrun = '''{TALK} > a.out'''\n[target.b]\ninputs = [\"in\"]\noutputs = [\"b.out\"]\nservices = [\"db\"]\nrun = '''{TALK} > b.out'''\n[target.c]\ninputs = []\nrun = \"test ! -e starts\"\n[target.d]\nneeds = [\"c\"]\ninputs = []\nservices = [\"db\"]\nrun = \"true\"\n"
    ));
    workspace.forge(&["c"]).code(0);
    let ran = workspace.forge(&["a", "b", "d", "--json", "-v"]);
    assert_eq!(
        ran.code(0).outcomes(),
        ["a ran", "b ran", "c fresh", "d ran"]
    );
    assert_eq!(workspace.read("starts"), "start\n");
    assert_eq!(workspace.read("a.out"), "hello\n\n");
    assert!(!alive(workspace.pid("db.pid")));
    let names: Vec<String> = ran
        .events()
        .iter()
        .filter_map(|event| event["event"].as_str().map(str::to_owned))
        .filter(|name| name.starts_with("service-"))
        .collect();
    assert_eq!(
        names,
        ["service-starting", "service-ready", "service-stopped"]
    );

    // The port was another, and is in no key; a hit starts nothing.
    let again = workspace.forge(&["a", "b", "d", "--json"]);
    again
        .code(0)
        .outcomes()
        .iter()
        .for_each(|outcome| assert!(outcome.ends_with("fresh"), "{outcome}"));
    fs::remove_file(workspace.path("a.out")).expect("removed");
    let restored = workspace.forge(&["a", "--json"]);
    assert_eq!(restored.code(0).outcomes(), ["a restored"]);
    assert_eq!(workspace.read("starts"), "start\n");

    workspace.write("in", "changed");
    workspace
        .forge(&["a"])
        .code(0)
        .says("service")
        .says("1 ran");
    assert_eq!(workspace.read("starts"), "start\nstart\n");
}

#[test]
fn its_definition_is_in_the_key() {
    let workspace = with_process("[target.a]\ninputs = []\nservices = [\"db\"]\nrun = \"true\"\n");
    workspace.forge(&["a"]).code(0);
    let text = workspace.read("Pipeline.toml");
    workspace.write("Pipeline.toml", &text.replace("hello", "howdy"));
    let ran = workspace.forge(&["a", "--json"]);
    let end = ran.code(0).end_of("a");
    assert_eq!(end["outcome"], "ran");
    assert!(end["reason"].to_string().contains("db"), "{end}");
}

#[test]
fn a_process_is_gone_after_failures_interrupts_and_a_killed_forge() {
    let workspace = with_process(
        "[target.fails]\nservices = [\"db\"]\nrun = \"exit 1\"\n[target.waits]\nservices = [\"db\"]\nrun = \"echo up > up; sleep 600\"\n",
    );
    let failed = workspace.forge(&["fails"]);
    failed
        .code(1)
        .says("last lines of service db:")
        .says("db listens on");
    assert!(!alive(workspace.pid("db.pid")));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let _ = fs::remove_file(workspace.path("up"));
        let forge = workspace.start_forge(&["waits"]);
        workspace.wait_for("up");
        let pid = workspace.pid("db.pid");
        assert!(alive(pid));
        forge.signal(signal);
        let ran = forge.wait();
        if signal == libc::SIGKILL {
            wait_until("the service to die", || !alive(pid));
        } else {
            ran.code(130);
            assert!(!alive(pid), "signal {signal}");
        }
    }
}

#[test]
fn a_service_that_never_gets_ready_fails_its_users_alone() {
    let workspace = Workspace::new(
        r#"
[service.db]
run = "echo no luck today; sleep 600"
ports = [1]
ready = { tcp = 1, within = "500ms", every = "50ms" }
[service.dies]
run = "echo I die; exit 9"
ports = [2]
[target.a]
services = ["db"]
run = "echo > a"
[target.b]
services = ["db"]
run = "echo > b"
[target.c]
services = ["dies"]
run = "echo > c"
[target.d]
run = "true"
"#,
    );
    let ran = workspace.forge(&["a", "b", "d", "-k", "--json"]);
    assert_eq!(ran.code(1).outcomes(), ["a failed", "b failed", "d ran"]);
    let starts = ran
        .events()
        .iter()
        .filter(|event| event["event"] == "service-starting")
        .count();
    assert_eq!(starts, 1, "it is tried once");
    let ran = workspace.forge(&["a"]);
    ran.code(1)
        .says("service db")
        .says("last lines of service db:")
        .says("no luck today");
    workspace.forge(&["c"]).code(1).says("I die").says("9");
    assert!(!workspace.has("a") && !workspace.has("c"));
}

#[test]
fn values_of_a_service_reach_its_users() {
    let workspace = Workspace::new(
        r#"
[service.two]
run = "python3 -m http.server --bind 127.0.0.1 ${service.two.port.8000}"
ports = [8000, 9000]
ready = { http = "/" }
[target.a]
services = ["two"]
env = { URL = "http://${service.two.host}:${service.two.port}/" }
run = '''echo "$URL ${service.two.port.8000} ${service.two.port.9000}" > seen'''
"#,
    );
    workspace.forge(&["a"]).code(0);
    let seen = workspace.read("seen");
    let words: Vec<&str> = seen.split_whitespace().collect();
    let [url, first, second] = words[..] else {
        panic!("{seen}")
    };
    assert_eq!(url, format!("http://127.0.0.1:{first}/"));
    assert_ne!(first, second);
}

const CONTAINER: &str = r#"
[service.web]
image = "forge-test/http:1"
ports = [8080]
[target.get]
inputs = ["in"]
services = ["web"]
run = '''python3 -c "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())" http://${service.web.host}:${service.web.port}/health > got'''
[target.fails]
services = ["web"]
run = "echo up > up; exit 1"
[target.waits]
services = ["web"]
run = "echo up > up; sleep 600"
"#;

#[test]
fn a_container_serves_and_is_gone_afterwards() {
    let workspace = Workspace::new(CONTAINER);
    let forge = workspace.start_forge(&["get"]);
    let pid = forge.pid();
    forge
        .wait()
        .code(0)
        .says("container forge-test/http:1 on 127.0.0.1:");
    assert!(workspace.read("got").contains("ok"));
    assert_eq!(containers(pid), [""; 0]);
    workspace.forge(&["get"]).code(0).says("1 fresh");

    let forge = workspace.start_forge(&["fails"]);
    let pid = forge.pid();
    forge.wait().code(1).says("serving on 8080");
    assert_eq!(containers(pid), [""; 0]);

    fs::remove_file(workspace.path("up")).expect("removed");
    let forge = workspace.start_forge(&["waits"]);
    let pid = forge.pid();
    workspace.wait_for("up");
    assert_eq!(containers(pid).len(), 1);
    forge.signal(libc::SIGINT);
    forge.wait().code(130);
    assert_eq!(containers(pid), [""; 0]);
}

#[test]
fn containers_of_a_killed_forge_are_swept_by_the_next() {
    let workspace = Workspace::new(CONTAINER);
    let forge = workspace.start_forge(&["waits"]);
    let pid = forge.pid();
    workspace.wait_for("up");
    forge.signal(libc::SIGKILL);
    forge.wait();
    workspace.forge(&["get"]).code(0);
    assert_eq!(containers(pid), [""; 0]);
}

#[test]
fn an_image_that_moved_is_another_key() {
    let tag = format!("forge-test/moving:{}", std::process::id());
    let tagged = |image: &str| output("docker", &["tag", image, &tag]);
    tagged("forge-test/http:1");
    let workspace = Workspace::new(&format!(
        "[service.web]\nimage = \"{tag}\"\nports = [8080]\nready = {{ log = \"\", within = \"20s\" }}\n[target.a]\ninputs = []\nservices = [\"web\"]\nrun = \"true\"\n"
    ));
    let outcome = || {
        let ran = workspace.forge(&["a", "--json"]);
        ran.code(0).end_of("a")["outcome"].clone()
    };
    let (first, second) = (outcome(), outcome());
    tagged("forge-test/unhealthy:1");
    let third = outcome();
    output("docker", &["rmi", &tag]);
    assert_eq!([first, second, third], ["ran", "fresh", "ran"]);
}

#[test]
fn without_an_engine_it_says_so_and_how_to_get_one() {
    let workspace = Workspace::new(&format!(
        "{CONTAINER}\n[service.both]\nimage = \"forge-test/http:1\"\nrun = \"python3 -m http.server --bind 127.0.0.1 ${{service.both.port}}\"\nports = [8080]\n[target.fallback]\ninputs = []\nservices = [\"both\"]\nrun = \"true\"\n"
    ));
    let nowhere = [("DOCKER_HOST", "unix:///no/such/docker.sock")];
    let ran = workspace.forge_with(&nowhere, &["get"]);
    ran.code(3).says("/no/such/docker.sock").says("help: ");
    let ran = workspace.forge_with(&nowhere, &["fallback"]);
    ran.code(0)
        .says("`run` is used instead")
        .says("process on 127.0.0.1:");
    let with = workspace.forge(&["fallback", "--force"]);
    with.code(0).says("container forge-test/http:1");
}

#[test]
fn containers_that_crash_or_are_never_well_fail_with_their_last_lines() {
    let workspace = Workspace::new(
        r#"
[service.crash]
image = "forge-test/crash:1"
ports = [8080]
[service.unhealthy]
image = "forge-test/unhealthy:1"
ports = [8080]
[target.a]
services = ["crash"]
run = "true"
[target.b]
services = ["unhealthy"]
run = "true"
"#,
    );
    workspace
        .forge(&["a"])
        .code(1)
        .says("fatal: no configuration");
    workspace
        .forge(&["b"])
        .code(1)
        .says("started but never well");
}

#[test]
fn postgres_and_redis_serve_together() {
    let workspace = Workspace::new(
        r#"
[service.postgres]
image = "postgres:15"
env = { POSTGRES_PASSWORD = "postgres" }
ports = [5432]
ready = { exec = "pg_isready -U postgres" }
[service.redis]
image = "redis:7"
ports = [6379]
[target.a]
services = ["postgres", "redis"]
run = '''python3 -c "
import socket
r = socket.create_connection(('${service.redis.host}', ${service.redis.port})); r.sendall(b'PING\r\n'); print(r.recv(9))
socket.create_connection(('${service.postgres.host}', ${service.postgres.port}))
" > seen'''
"#,
    );
    let forge = workspace.start_forge(&["a"]);
    let pid = forge.pid();
    forge.wait().code(0);
    assert!(workspace.read("seen").contains("PONG"));
    assert_eq!(containers(pid), [""; 0]);
}
