//! Tasks: of their own, and of services that fail.

use std::time::Duration;

use aws_sdk_ecs::types::{
    AwsVpcConfiguration, CapacityProviderStrategyItem, ContainerOverride, DesiredStatus,
    LaunchType, NetworkConfiguration, Task, TaskOverride, TaskStopCode,
};

use crate::aws::Aws;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::seed::Seed;
use crate::clients::{code, ecs, logs, wait};

fn bed() -> Aws {
    let aws = Aws::start();
    aws.speed(0.0);
    aws.seed(&Seed::new("production", "app", "busybox:1"));
    aws
}

fn network() -> NetworkConfiguration {
    let vpc = AwsVpcConfiguration::builder()
        .subnets("subnet-1")
        .build()
        .unwrap();
    NetworkConfiguration::builder()
        .awsvpc_configuration(vpc)
        .build()
}

fn migrate(aws: &Aws, token: &str, command: &[&str]) -> Task {
    let words = command.iter().map(|word| (*word).to_owned()).collect();
    let container = ContainerOverride::builder()
        .name("app")
        .set_command(Some(words));
    let overrides = TaskOverride::builder().container_overrides(container.build());
    let request = ecs(aws)
        .run_task()
        .cluster("production")
        .task_definition("app:1")
        .client_token(token)
        .started_by("forge/migrate")
        .network_configuration(network())
        .overrides(overrides.build());
    wait(request.send()).unwrap().tasks.unwrap().remove(0)
}

fn look(aws: &Aws, arn: &str) -> Task {
    let request = ecs(aws).describe_tasks().cluster("production").tasks(arn);
    wait(request.send()).unwrap().tasks.unwrap().remove(0)
}

#[test]
fn a_task_runs_and_exits_and_its_lines_are_kept() {
    let aws = bed();
    let ends = Behavior::exits(0).after(5.0).says(&["migrating", "done"]);
    aws.ecs(|ecs| ecs.behave(|run| run.command == ["migrate"], ends));
    let arn = migrate(&aws, "one", &["migrate"]).task_arn.unwrap();
    let mut seen = Vec::new();
    for _ in 0..60 {
        let status = look(&aws, &arn).last_status.unwrap();
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        aws.pass(Duration::from_millis(500));
    }
    let steps = [
        "PROVISIONING",
        "PENDING",
        "RUNNING",
        "STOPPING",
        "DEPROVISIONING",
        "STOPPED",
    ];
    assert_eq!(seen, steps);
    let task = look(&aws, &arn);
    assert_eq!(
        task.stop_code(),
        Some(&TaskStopCode::EssentialContainerExited)
    );
    assert_eq!(task.containers()[0].exit_code(), Some(0));
    assert!(
        task.containers()[0]
            .image_digest()
            .unwrap()
            .starts_with("sha256:")
    );
    let stream = format!("ecs/app/{}", arn.rsplit('/').next().unwrap());
    let events = logs(&aws)
        .get_log_events()
        .log_group_name("/ecs/app")
        .log_stream_name(stream);
    let events = wait(events.start_from_head(true).send()).unwrap();
    let lines: Vec<&str> = events
        .events()
        .iter()
        .filter_map(|event| event.message())
        .collect();
    assert_eq!(lines, ["migrating", "done"]);
}

#[test]
fn a_client_token_starts_one_task() {
    let aws = bed();
    let first = migrate(&aws, "one", &["migrate"]);
    assert_eq!(
        migrate(&aws, "one", &["migrate"]).task_arn(),
        first.task_arn()
    );
    assert_ne!(
        migrate(&aws, "two", &["migrate"]).task_arn(),
        first.task_arn()
    );
    let list = ecs(&aws)
        .list_tasks()
        .cluster("production")
        .started_by("forge/migrate");
    assert_eq!(wait(list.send()).unwrap().task_arns().len(), 2);
    let other = ecs(&aws)
        .run_task()
        .cluster("production")
        .task_definition("app:1");
    let other = other.client_token("one").network_configuration(network());
    assert_eq!(code(wait(other.send())), "ConflictException");
}

#[test]
fn what_cannot_run_is_refused() {
    let aws = bed();
    let run = |name: &str| {
        ecs(&aws)
            .run_task()
            .cluster("production")
            .task_definition(name)
    };
    assert_eq!(
        code(wait(run("app:1").send())),
        "InvalidParameterException",
        "no network"
    );
    let run = |name: &str| run(name).network_configuration(network());
    assert_eq!(code(wait(run("app:7").send())), "ClientException");
    assert_eq!(
        code(wait(run("app:1").count(11).send())),
        "InvalidParameterException"
    );
    let stranger = ContainerOverride::builder().name("web").build();
    let overrides = TaskOverride::builder()
        .container_overrides(stranger)
        .build();
    assert_eq!(
        code(wait(run("app:1").overrides(overrides).send())),
        "InvalidParameterException"
    );
}

/// Listed as stopped for an hour, with why.
#[test]
fn a_task_that_cannot_start_says_why() {
    let aws = bed();
    aws.ecs(|ecs| {
        ecs.behave(
            |run| run.started_by == "forge/migrate",
            Behavior::no_image(),
        )
    });
    let arn = migrate(&aws, "one", &["migrate"]).task_arn.unwrap();
    aws.pass(Duration::from_secs(30));
    let stopped = || {
        let list = ecs(&aws)
            .list_tasks()
            .cluster("production")
            .desired_status(DesiredStatus::Stopped);
        wait(list.send()).unwrap().task_arns.unwrap()
    };
    assert_eq!(stopped(), std::slice::from_ref(&arn));
    let task = look(&aws, &arn);
    assert_eq!(task.stop_code(), Some(&TaskStopCode::TaskFailedToStart));
    assert!(
        task.stopped_reason()
            .unwrap()
            .starts_with("CannotPullContainerError")
    );
    assert_eq!(task.containers()[0].exit_code(), None);
    aws.pass(Duration::from_secs(3700));
    assert!(stopped().is_empty());
}

#[test]
fn a_log_group_that_is_missing_keeps_a_task_from_starting() {
    let aws = bed();
    aws.region(|region| region.logs.groups.clear());
    let arn = migrate(&aws, "one", &["migrate"]).task_arn.unwrap();
    aws.pass(Duration::from_secs(30));
    let reason = look(&aws, &arn).stopped_reason.unwrap();
    assert!(
        reason.starts_with("ResourceInitializationError"),
        "{reason}"
    );
}

#[test]
fn a_task_is_stopped_by_hand() {
    let aws = bed();
    let arn = migrate(&aws, "one", &["serve"]).task_arn.unwrap();
    aws.pass(Duration::from_secs(10));
    let stop = ecs(&aws)
        .stop_task()
        .cluster("production")
        .task(&arn)
        .reason("enough");
    wait(stop.send()).unwrap();
    aws.pass(Duration::from_secs(30));
    let task = look(&aws, &arn);
    assert_eq!(
        (task.last_status(), task.stopped_reason()),
        (Some("STOPPED"), Some("enough"))
    );
    assert_eq!(task.stop_code(), Some(&TaskStopCode::UserInitiated));
}

#[test]
fn a_secret_that_is_missing_keeps_a_task_from_starting() {
    let aws = bed();
    let mut definition = Seed::new("production", "app", "busybox:1").definition();
    let arn = aws.region(|region| region.kept.secret_arn("app/key"));
    let secret = serde_json::json!([{"name": "KEY", "valueFrom": format!("{arn}:field::")}]);
    definition["containerDefinitions"][0]["secrets"] = secret;
    aws.acts("RegisterTaskDefinition", &definition).unwrap();
    let run = || {
        let run = ecs(&aws)
            .run_task()
            .cluster("production")
            .task_definition("app:2");
        let answer = wait(run.network_configuration(network()).send()).unwrap();
        let arn = answer.tasks.unwrap().remove(0).task_arn.unwrap();
        aws.pass(Duration::from_secs(30));
        look(&aws, &arn)
    };
    assert!(
        run()
            .stopped_reason()
            .unwrap()
            .contains("unable to retrieve secret")
    );
    aws.region(|region| region.kept.secrets.insert("app/key".into(), "{}".into()));
    assert_eq!(run().last_status(), Some("RUNNING"));
}

#[test]
fn a_capacity_provider_takes_the_place_of_a_launch_type() {
    let aws = Aws::start();
    aws.speed(0.0);
    let mut seed = Seed::new("production", "app", "busybox:1");
    seed.provider = Some("FARGATE_SPOT".into());
    aws.seed(&seed);
    let request = ecs(&aws).list_tasks().cluster("production");
    let arns = wait(request.send()).unwrap().task_arns.unwrap();
    let shown = look(&aws, &arns[0]);
    assert_eq!(shown.capacity_provider_name(), Some("FARGATE_SPOT"));
    let item = CapacityProviderStrategyItem::builder().capacity_provider("FARGATE_SPOT");
    let both = ecs(&aws)
        .run_task()
        .cluster("production")
        .task_definition("app:1")
        .network_configuration(network())
        .launch_type(LaunchType::Fargate)
        .capacity_provider_strategy(item.build().unwrap());
    assert_eq!(code(wait(both.send())), "InvalidParameterException");
}
