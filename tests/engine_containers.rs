//! Containers beside those of services, on a real engine: without one these tests fail.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use forge::docker::{ContainerSpec, Engine, Restart};

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("forge-test-c{}-{number}", std::process::id())
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

/// A container of busybox that runs these words, and goes with this value.
struct Made {
    engine: Engine,
    id: String,
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.engine.remove(&self.id);
    }
}

fn made(spec: ContainerSpec) -> Made {
    let engine = Engine::connect().unwrap();
    let spec = ContainerSpec {
        image: "busybox:1".into(),
        ..spec
    };
    let id = engine.create(spec).unwrap();
    Made { engine, id }
}

#[test]
fn a_task_runs_to_its_end_with_its_output_and_its_code() {
    for code in [0, 7] {
        let task = made(ContainerSpec {
            name: unique(),
            entrypoint: words(&["sh", "-c"]),
            command: words(&[&format!("echo out; echo err >&2; exit {code}")]),
            ..ContainerSpec::default()
        });
        let mut printed = Vec::new();
        let sink = |piece: &[u8]| printed.extend_from_slice(piece);
        let state = task.engine.run(&task.id, sink, &|| false).unwrap();
        assert_eq!((state.exit_code, state.running), (code, false));
        let printed = String::from_utf8(printed).unwrap();
        assert!(
            printed.contains("out\n") && printed.contains("err\n"),
            "{printed}"
        );
    }
}

#[test]
fn giving_up_on_a_task_leaves_it_to_its_owner() {
    let task = made(ContainerSpec {
        name: unique(),
        command: words(&[
            "sh",
            "-c",
            "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done",
        ]),
        ..ContainerSpec::default()
    });
    let up = std::cell::Cell::new(false);
    let error = task.engine.run(&task.id, |_| up.set(true), &|| up.get());
    assert!(error.unwrap_err().is_cancelled());
    assert!(task.engine.state(&task.id).unwrap().running);

    task.engine.stop(&task.id, Duration::from_secs(60)).unwrap();
    let state = task.engine.state(&task.id).unwrap();
    assert_eq!((state.running, state.exit_code), (false, 5));
    task.engine.stop(&task.id, Duration::from_secs(60)).unwrap();
}

#[test]
fn one_that_does_not_listen_is_killed() {
    let task = made(ContainerSpec {
        name: unique(),
        command: words(&["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]),
        ..ContainerSpec::default()
    });
    task.engine.start(&task.id).unwrap();
    task.engine.stop(&task.id, Duration::ZERO).unwrap();
    assert_eq!(task.engine.state(&task.id).unwrap().exit_code, 137);
}

#[test]
fn it_has_its_restart_policy_its_network_and_its_names() {
    let network = unique();
    docker(&["network", "create", &network]);
    let (first, second) = (unique(), unique());
    let made = made(ContainerSpec {
        name: first.clone(),
        command: words(&["sleep", "600"]),
        restart: Restart::UnlessStopped,
        network: Some(network.clone()),
        aliases: vec!["app".into()],
        ..ContainerSpec::default()
    });
    made.engine.start(&made.id).unwrap();
    made.engine.rename(&made.id, &second).unwrap();
    let name = docker(&[
        "inspect",
        "-f",
        "{{.Name}} {{.HostConfig.RestartPolicy.Name}}",
        &made.id,
    ]);
    let looked_up = docker(&[
        "run",
        "--rm",
        "--network",
        &network,
        "busybox:1",
        "nslookup",
        "app",
    ]);
    made.engine.remove(&made.id).unwrap();
    docker(&["network", "rm", &network]);
    assert_eq!(name, format!("/{second} unless-stopped"));
    assert!(looked_up.contains("Address"), "{looked_up}");
}
