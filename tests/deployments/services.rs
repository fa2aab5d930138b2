//! What an environment asks for: several services, a number of tasks, tasks that run first, checks, a definition of
//! one's own; and the same image in every environment.

use serde_json::json;

use crate::aws::Aws;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::seed::Seed;
use crate::bed::Bed;
use crate::mould::{IMAGE, digest};
use crate::receivers::Http;
use crate::receivers::Reply::Say;

#[test]
fn several_services_go_out_together() {
    let bed = Bed::with(&["api", "worker"], "");
    bed.forge(&["deploy"])
        .code(0)
        .says("api runs api:2 (2 of 2), worker runs worker:2 (2 of 2)");
    assert_eq!(bed.updates(), 2);
    bed.settle("api");
    bed.settle("worker");
    // One of them alone is behind.
    let input = json!({"cluster": "production", "service": "worker", "taskDefinition": "worker:1"});
    bed.aws.acts("UpdateService", &input).expect("it is taken");
    bed.settle("worker");
    bed.aws.forget_calls();
    bed.forge(&["deploy"]).code(0).says("api runs this already");
    let calls = bed.aws.calls_of("ecs:UpdateService");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].input["service"], "worker");
}

#[test]
fn when_one_fails_all_go_back() {
    let bed = Bed::with(&["api", "worker"], "");
    bed.aws.ecs(|ecs| {
        ecs.revision_behaves("worker:2", Behavior::exits(5).says(&["no queue"]));
    });
    bed.forge(&["deploy"])
        .code(5)
        .says("worker: worker exited with 5")
        .says("| no queue")
        .says("api: runs api:1 again")
        .says_not("✓ deploy");
    for service in ["api", "worker"] {
        bed.settle(service);
        assert_eq!(bed.primary(service), format!("{service}:1"));
    }
    assert_eq!(bed.updates(), 3, "two there, one back; ECS did the other");
}

#[test]
fn a_rollback_takes_all_services_back() {
    let bed = Bed::with(&["api", "worker"], "");
    bed.deploy("one");
    bed.settle("worker");
    bed.forge(&["rollback", "production", "--yes"]).code(0);
    assert_eq!(
        (&*bed.primary("api"), &*bed.primary("worker")),
        ("api:1", "worker:1")
    );
}

/// How many tasks the service is to have.
fn desired(bed: &Bed) -> usize {
    bed.aws.ecs(|ecs| ecs.service("app").desired)
}

#[test]
fn the_number_of_tasks_goes_along_and_comes_back() {
    let bed = Bed::new("desired-count = 3\nsmoke = [{ run = \"test -e fine\" }]");
    bed.forge(&["deploy"]).code(5).says("tasks: 2 → 3");
    assert_eq!((&*bed.primary("app"), desired(&bed)), ("app:1", 2));
    bed.settle("app");
    bed.ws.write("fine", "");
    bed.aws.forget_calls();
    bed.forge(&["deploy"]).code(0).says("(3 of 3)");
    assert_eq!((desired(&bed), bed.updates()), (3, 1));
    bed.settle("app");
    bed.aws.forget_calls();
    bed.forge(&["deploy"]).code(0);
    assert_eq!(bed.updates(), 0);
    // Without the key it is nobody's business how many there are.
    let text = bed
        .ws
        .read("Pipeline.toml")
        .replace("desired-count = 3\n", "");
    bed.ws.write("Pipeline.toml", &text);
    bed.deploy("two");
    assert_eq!(desired(&bed), 3);
}

/// What RunTask was told to run.
fn commands(bed: &Bed) -> Vec<String> {
    let calls = bed.aws.calls_of("ecs:RunTask").into_iter();
    let command = |input: &serde_json::Value| {
        let command = input["overrides"]["containerOverrides"][0]["command"].as_array();
        let words = command
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str());
        words.collect::<Vec<_>>().join(" ")
    };
    calls
        .map(|call| {
            format!(
                "{} in {}",
                command(&call.input),
                last(&call.input["taskDefinition"])
            )
        })
        .collect()
}

fn last(arn: &serde_json::Value) -> String {
    let arn = arn.as_str().unwrap_or_default();
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}

#[test]
fn one_off_tasks_run_first_with_the_new_revision() {
    let bed = Bed::new("before = [\"./migrate\", \"./warm up\"]");
    bed.aws
        .ecs(|ecs| ecs.behave(|run| !run.command.is_empty(), Behavior::exits(0)));
    bed.forge(&["deploy"])
        .code(0)
        .says("before: `./warm up` is done");
    assert_eq!(
        commands(&bed),
        ["sh -c ./migrate in app:2", "sh -c ./warm up in app:2"]
    );
    let names: Vec<String> = bed.writes();
    let at = |name: &str| names.iter().rposition(|one| one == name).expect("called");
    assert!(at("ecs:RunTask") < at("ecs:UpdateService"));
}

#[test]
fn a_one_off_task_that_fails_leaves_the_service_alone() {
    let bed = Bed::new("before = [\"./migrate\", \"./never\"]");
    bed.aws.ecs(|ecs| {
        let fails = Behavior::exits(2).says(&["applying 0042", "duplicate column"]);
        ecs.behave(|run| !run.command.is_empty(), fails);
    });
    bed.forge(&["deploy"])
        .code(1)
        .says("before: `./migrate`: app exited with 2")
        .says("| duplicate column")
        .says("no service was touched")
        .says_not("✓ deploy");
    assert_eq!(commands(&bed).len(), 1);
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 0));
}

#[test]
fn checks_from_outside_decide() {
    let health = Http::new(&[Say(503, "", ""), Say(503, "", ""), Say(200, "", "")]);
    let keys = format!(
        "url = \"{}\"\nsmoke = [{{ http = \"${{environment.url}}/health\", within = \"20s\" }}, {{ run = \"echo checked > {{}}\" }}]",
        health.url("")
    );
    let bed = Bed::new(&keys.replace("{}", "seen"));
    bed.forge(&["deploy"]).code(0).says("/health passed");
    assert_eq!(bed.ws.read("seen"), "checked\n");
    assert_eq!(health.requests().len(), 3);
    assert_eq!(health.requests()[0].path, "/health");
}

#[test]
fn a_check_that_fails_takes_it_back() {
    let sick = Http::new(&[const { Say(500, "", "") }; 64]);
    let keys = format!(
        "smoke = [{{ http = \"{}\", within = \"200ms\" }}]",
        sick.url("/health")
    );
    let bed = Bed::new(&keys);
    bed.forge(&["deploy"])
        .code(5)
        .says("status 500 instead of 200")
        .says("app: runs app:1 again")
        .says_not("✓ deploy");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:1", 2));
    assert_eq!(bed.tag("app:2", "forge:completed"), None);
    bed.settle("app");
    // That it completed once, as ECS sees it, makes it no place to go back to.
    let text = bed.ws.read("Pipeline.toml");
    let at = text.find("smoke =").expect("it is there");
    bed.ws.write("Pipeline.toml", &text[..at]);
    bed.deploy("two");
    bed.settle("app");
    bed.forge(&["rollback", "production", "--yes"]).code(0);
    assert_eq!(bed.primary("app"), "app:1");
}

#[test]
fn who_wants_no_way_back_gets_none() {
    let bed = Bed::new("on-failure = \"stop\"\nsmoke = [{ run = \"echo broken; exit 7\" }]");
    bed.forge(&["deploy"])
        .code(6)
        .says("exit code 7")
        .says("broken")
        .says("not rolled back")
        .says("now app runs app:2 (2 of 2)")
        .says_not("✓ deploy");
    assert_eq!((&*bed.primary("app"), bed.updates()), ("app:2", 1));
}

#[test]
fn a_definition_of_ones_own_is_rendered() {
    let bed = Bed::new(
        "task-definition = \"ecs.json\"\ncontainer = \"app\"\nenv = { MODE = \"${environment.name}\" }",
    );
    let definition = json!({
        "family": "app", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "cpu": "512", "memory": "1024", "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
        "containerDefinitions": [{
            "name": "app", "image": "to be filled in", "essential": true,
            "environment": [
                {"name": "COMMIT", "value": "${git.sha}"}, {"name": "WHERE", "value": "${var.place}"},
                {"name": "PRICE", "value": "$${5}"},
            ],
        }],
    });
    bed.ws.write("ecs.json", &definition.to_string());
    let text = bed.ws.read("Pipeline.toml");
    let text = text.replace(
        "name = \"app\"\n",
        "name = \"app\"\nvars = { place = \"here\" }\n",
    );
    bed.ws.write("Pipeline.toml", &text);
    bed.ws.write(
        "Pipeline.toml",
        &text.replace("environment.name", "environment.cluster"),
    );
    bed.forge(&["deploy", "-n"]).code(0).says("cpu: 256 → 512");
    bed.forge(&["deploy"]).code(0);
    let container = bed
        .aws
        .ecs(|ecs| ecs.families["app"][1].containers()[0].clone());
    assert_eq!(container["image"], bed.image("one"));
    let environment = container["environment"].as_array().expect("a list");
    let value = |name: &str| {
        let found = environment.iter().find(|pair| pair["name"] == name);
        found.expect(name)["value"]
            .as_str()
            .expect("text")
            .to_owned()
    };
    let all = ["COMMIT", "WHERE", "PRICE", "MODE"].map(value);
    assert_eq!(
        all,
        [
            bed.head(),
            "here".into(),
            "${5}".into(),
            "production".into()
        ]
    );
    bed.ws.write(
        "ecs.json",
        &definition.to_string().replace("var.place", "var.plaice"),
    );
    bed.aws.forget_calls();
    bed.forge(&["deploy"]).says("ecs.json").says("var.plaice");
    assert_eq!(bed.updates(), 0);
    bed.ws.write("ecs.json", "{");
    bed.forge(&["deploy"]).says("ecs.json");
    assert_eq!(bed.updates(), 0);
}

#[test]
fn the_environment_lies_over_what_runs() {
    let keys = "env = { MODE = \"loud\", LEVEL = \"info\" }\nsecrets = { KEY = \"/app/key\" }\n\
        cpu = 512\nmemory = 1024";
    let bed = Bed::new(keys);
    bed.aws.region(|here| {
        let parameters = &mut here.kept.parameters;
        parameters.insert("/app/key".into(), "hush".into())
    });
    bed.forge(&["deploy", "-n"])
        .code(0)
        .says("~ app env MODE: production → loud")
        .says("+ app env LEVEL = info")
        .says("✓ parameter /app/key");
    bed.forge(&["deploy"]).code(0);
    let (old, new) = bed.aws.ecs(|ecs| {
        let all = &ecs.families["app"];
        (all[0].body.clone(), all[1].body.clone())
    });
    let said = |list: &serde_json::Value, name: &str| {
        let one = list.as_array()?.iter().find(|one| one["name"] == name)?;
        Some(one.get("value").or(one.get("valueFrom"))?.clone())
    };
    let container = &new["containerDefinitions"][0];
    for (key, name, value) in [
        ("environment", "MODE", "loud"),
        ("environment", "LEVEL", "info"),
        ("secrets", "KEY", "/app/key"),
    ] {
        assert_eq!(
            said(&container[key], name),
            Some(value.into()),
            "{container}"
        );
    }
    assert_eq!(
        (&new["cpu"], &new["memory"]),
        (&"512".into(), &"1024".into())
    );
    for key in ["portMappings", "logConfiguration", "essential"] {
        assert_eq!(container[key], old["containerDefinitions"][0][key], "{key}");
    }
    assert_eq!(new["executionRoleArn"], old["executionRoleArn"]);
}

#[test]
fn staging_and_production_get_the_same_digest() {
    let bed = Bed::new("");
    bed.aws
        .seed(&Seed::new("staging", "web", &bed.image("zero")));
    bed.ws.write(
        "Pipeline.toml",
        &format!(
            "{}[target.stage]\nkind = \"deploy\"\nneeds = [\"image\"]\nenvironment = \"staging\"\n\
             [environment.staging]\ncluster = \"staging\"\nservice = \"web\"\n",
            bed.ws.read("Pipeline.toml")
        ),
    );
    bed.ws.git(&["commit", "-q", "-a", "-m", "staging"]);
    bed.forge(&["stage"]).code(0);
    // What its tag says now is somebody else's.
    let head = bed.head();
    bed.aws.ecr(|ecr| {
        let repository = ecr
            .repository(crate::mould::REPOSITORY)
            .expect("it is there");
        for image in repository.images.values_mut() {
            image.tags.remove(&head);
            if image.digest == digest("three") {
                image.tags.insert(head.clone());
            }
        }
    });
    bed.forge(&["deploy"]).code(0);
    assert_eq!(bed.pinned("web"), bed.image("one"));
    assert_eq!(bed.pinned("app"), bed.image("one"));
    assert_eq!(
        bed.aws.calls_of("registry:PUT*").len(),
        0,
        "nothing is built for it"
    );
    assert!(bed.ws.read("Pipeline.toml").contains(IMAGE));
}

/// Where the tasks of a group came from.
fn providers(bed: &Bed, group: &str) -> Vec<serde_json::Value> {
    bed.aws.ecs(|ecs| {
        let tasks = ecs.tasks.iter().filter(|task| task.group == group);
        tasks
            .map(|task| task.shown["capacityProviderName"].clone())
            .collect()
    })
}

#[test]
fn a_service_of_a_capacity_provider_keeps_it() {
    let keys = "before = [\"./migrate\"]";
    let bed = Bed::seeded(Aws::start(), &["app"], keys, |seed| {
        seed.provider = Some("FARGATE_SPOT".into());
    });
    bed.aws
        .ecs(|ecs| ecs.behave(|run| !run.command.is_empty(), Behavior::exits(0)));
    let settings = |bed: &Bed| {
        bed.aws.ecs(|ecs| {
            let settings = &ecs.service("app").settings;
            let get = |name: &str| settings.get(name).cloned();
            (get("launchType"), get("capacityProviderStrategy"))
        })
    };
    let before = settings(&bed);
    assert!(before.0.is_none() && before.1.is_some());
    bed.forge(&["deploy"]).code(0);
    assert_eq!(
        (&*bed.primary("app"), settings(&bed)),
        ("app:2", before.clone())
    );
    bed.settle("app");
    bed.forge(&["rollback", "production", "--yes"]).code(0);
    assert_eq!((&*bed.primary("app"), settings(&bed)), ("app:1", before));
    // Nothing else is said of where tasks run, and one-off tasks run there, too.
    for call in bed.aws.calls_of("ecs:UpdateService") {
        for key in [
            "launchType",
            "capacityProviderStrategy",
            "forceNewDeployment",
        ] {
            assert!(call.input[key].is_null(), "{key}: {}", call.input);
        }
    }
    let spot = |group: &str| {
        let all = providers(&bed, group);
        !all.is_empty() && all.iter().all(|one| one == "FARGATE_SPOT")
    };
    assert!(spot("service:app") && spot("family:app"));
}
