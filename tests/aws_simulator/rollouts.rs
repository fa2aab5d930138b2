//! Services: how a deployment goes on, fails, and goes back. Time stands still but for what a test lets pass.

use std::time::Duration;

use aws_sdk_ecs::operation::update_service::builders::UpdateServiceFluentBuilder;
use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState, Service, ServiceDeployment};
use aws_sdk_ecs::types::{ServiceDeploymentStatus, StopServiceDeploymentStopType};
use serde_json::json;

use crate::aws::Aws;
use crate::aws::ecs::behavior::Behavior;
use crate::aws::faults::{Fault, What};
use crate::aws::seed::Seed;
use crate::clients::{code, ecs, wait};

/// A service of two tasks that has been there for long, and a second revision of its definition.
fn bed(seed: &Seed) -> Aws {
    let aws = Aws::start();
    aws.speed(0.0);
    aws.seed(seed);
    aws.acts("RegisterTaskDefinition", &seed.definition())
        .unwrap();
    aws
}

fn seed() -> Seed {
    Seed::new("production", "app", "busybox:1")
}

fn pass(aws: &Aws, seconds: f64) {
    aws.pass(Duration::from_secs_f64(seconds));
}

fn service(aws: &Aws) -> Service {
    let request = ecs(aws)
        .describe_services()
        .cluster("production")
        .services("app");
    let answer = wait(request.send()).unwrap();
    answer.services()[0].clone()
}

fn updating(aws: &Aws, revision: &str) -> UpdateServiceFluentBuilder {
    let request = ecs(aws)
        .update_service()
        .cluster("production")
        .service("app");
    request.task_definition(revision)
}

/// The deployment that an update began.
fn update(aws: &Aws, revision: &str) -> Deployment {
    let answer = wait(updating(aws, revision).send()).unwrap();
    let service = answer.service.unwrap();
    let primary = service.deployments()[0].clone();
    assert_eq!(primary.status(), Some("PRIMARY"));
    primary
}

fn rollouts(aws: &Aws) -> Vec<ServiceDeployment> {
    let list = ecs(aws)
        .list_service_deployments()
        .cluster("production")
        .service("app");
    let list = wait(list.send()).unwrap();
    let arns = list.service_deployments().iter();
    let arns: Vec<String> = arns
        .map(|one| one.service_deployment_arn().unwrap().into())
        .collect();
    let request = ecs(aws).describe_service_deployments();
    let answer = wait(request.set_service_deployment_arns(Some(arns)).send()).unwrap();
    assert!(answer.failures().is_empty());
    answer.service_deployments.unwrap()
}

fn status(aws: &Aws) -> ServiceDeploymentStatus {
    rollouts(aws)[0].status().unwrap().clone()
}

fn said(aws: &Aws, words: &str) -> bool {
    let service = service(aws);
    service
        .events()
        .iter()
        .any(|event| event.message().unwrap().contains(words))
}

#[test]
fn a_seeded_service_is_stable() {
    let aws = bed(&seed());
    let service = service(&aws);
    assert_eq!((service.running_count(), service.pending_count()), (2, 0));
    let [deployment] = service.deployments() else {
        panic!("{service:?}");
    };
    assert_eq!(
        deployment.rollout_state(),
        Some(&DeploymentRolloutState::Completed)
    );
    assert!(deployment.id().unwrap().starts_with("ecs-svc/"));
    assert_eq!(status(&aws), ServiceDeploymentStatus::Successful);
    assert!(said(&aws, "has reached a steady state."));
}

/// Successful while old tasks still drain; completed once they are gone.
#[test]
fn a_rollout_completes() {
    let aws = bed(&seed());
    let ours = update(&aws, "app:2");
    assert_eq!(rollouts(&aws).len(), 1, "it is listed later");
    pass(&aws, 2.0);
    let rollout = rollouts(&aws).remove(0);
    assert_eq!(rollout.status(), Some(&ServiceDeploymentStatus::InProgress));
    let target = rollout.target_service_revision().unwrap().arn().unwrap();
    assert_eq!(
        target.rsplit('/').next(),
        ours.id().unwrap().rsplit('/').next()
    );
    assert_eq!(service(&aws).pending_count(), 2);

    pass(&aws, 9.0);
    assert_eq!(status(&aws), ServiceDeploymentStatus::Successful);
    let during = service(&aws);
    assert_eq!(during.deployments().len(), 2);
    assert_eq!(during.deployments()[1].status(), Some("ACTIVE"));
    assert_eq!(
        during.deployments()[0].rollout_state(),
        Some(&DeploymentRolloutState::InProgress)
    );

    pass(&aws, 60.0);
    let after = service(&aws);
    let [deployment] = after.deployments() else {
        panic!("{after:?}");
    };
    assert_eq!(deployment.id(), ours.id());
    assert_eq!(
        deployment.rollout_state(),
        Some(&DeploymentRolloutState::Completed)
    );
    assert_eq!((after.running_count(), after.desired_count()), (2, 2));

    let revisions = ecs(&aws)
        .describe_service_revisions()
        .service_revision_arns(target);
    let revision = wait(revisions.send())
        .unwrap()
        .service_revisions
        .unwrap()
        .remove(0);
    assert!(revision.task_definition().unwrap().ends_with("app:2"));
    assert!(
        revision.container_images()[0]
            .image_digest()
            .unwrap()
            .starts_with("sha256:")
    );
}

#[test]
fn the_breaker_rolls_back_to_the_old_deployment() {
    let aws = bed(&seed());
    aws.ecs(|ecs| {
        ecs.revision_behaves(
            "app:2",
            Behavior::exits(3).says(&["starting", "no database"]),
        )
    });
    let old = service(&aws).deployments()[0].id().unwrap().to_owned();
    let ours = update(&aws, "app:2");
    pass(&aws, 17.0);
    let during = service(&aws);
    let find = |id: &str| during.deployments().iter().find(|one| one.id() == Some(id));
    let back = find(&old).unwrap();
    assert_eq!(back.status(), Some("PRIMARY"), "{during:#?}");
    let failed = find(ours.id().unwrap()).expect("is there while its tasks go");
    assert_eq!(
        failed.rollout_state(),
        Some(&DeploymentRolloutState::Failed)
    );
    assert_eq!(
        (failed.status(), failed.failed_tasks()),
        (Some("ACTIVE"), 4)
    );

    pass(&aws, 60.0);
    let after = service(&aws);
    assert_eq!(after.deployments().len(), 1, "ours has vanished");
    assert_eq!(after.deployments()[0].id(), Some(&*old));
    assert!(after.task_definition().unwrap().ends_with("app:1"));
    assert_eq!((after.running_count(), after.desired_count()), (2, 2));
    let rollout = rollouts(&aws).remove(0);
    assert_eq!(
        rollout.status(),
        Some(&ServiceDeploymentStatus::RollbackSuccessful)
    );
    let breaker = rollout.deployment_circuit_breaker().unwrap();
    assert_eq!((breaker.failure_count(), breaker.threshold()), (4, 3));
    assert!(rollout.rollback().unwrap().service_revision_arn().is_some());
    assert!(said(&aws, "deployment failed: tasks failed to start"));
}

#[test]
fn without_a_rollback_the_failed_deployment_stays() {
    let aws = bed(&seed());
    let only = json!({"deploymentCircuitBreaker": {"enable": true, "rollback": false}});
    let change =
        json!({"cluster": "production", "service": "app", "deploymentConfiguration": only});
    aws.acts("UpdateService", &change).unwrap();
    assert_eq!(
        service(&aws).deployments().len(),
        1,
        "a setting is no deployment"
    );
    aws.ecs(|ecs| ecs.revision_behaves("app:2", Behavior::no_image()));
    let ours = update(&aws, "app:2");
    pass(&aws, 100.0);
    let after = service(&aws);
    assert_eq!(after.deployments()[0].id(), ours.id());
    assert_eq!(
        after.deployments()[0].rollout_state(),
        Some(&DeploymentRolloutState::Failed)
    );
    assert_eq!(after.running_count(), 2, "the old tasks go on");
    assert_eq!(status(&aws), ServiceDeploymentStatus::Stopped);
}

/// Nobody ends it, but for those who wait.
#[test]
fn without_a_breaker_a_failing_rollout_goes_on() {
    let aws = bed(&Seed {
        breaker: false,
        ..seed()
    });
    aws.ecs(|ecs| ecs.revision_behaves("app:2", Behavior::exits(1)));
    update(&aws, "app:2");
    pass(&aws, 600.0);
    let during = service(&aws);
    assert!(during.deployments()[0].failed_tasks() > 10);
    assert_eq!(status(&aws), ServiceDeploymentStatus::InProgress);
    assert!(said(
        &aws,
        "is unable to consistently start tasks successfully"
    ));
}

#[test]
fn health_checks_decide() {
    let aws = bed(&Seed {
        health_check: true,
        ..seed()
    });
    aws.ecs(|ecs| ecs.revision_behaves("app:2", Behavior::never_healthy()));
    update(&aws, "app:2");
    pass(&aws, 12.0);
    assert_eq!(service(&aws).running_count(), 4);
    assert_eq!(status(&aws), ServiceDeploymentStatus::InProgress);
    pass(&aws, 200.0);
    assert_eq!(status(&aws), ServiceDeploymentStatus::RollbackSuccessful);
    assert!(said(&aws, "failed container health checks"));
}

/// Where there is no room, old tasks go first, and nothing is done until new ones are well.
#[test]
fn limits_hold() {
    let aws = bed(&seed());
    let limits = json!({"minimumHealthyPercent": 0, "maximumPercent": 100});
    let change =
        json!({"cluster": "production", "service": "app", "deploymentConfiguration": limits});
    aws.acts("UpdateService", &change).unwrap();
    update(&aws, "app:2");
    pass(&aws, 2.0);
    assert_eq!(service(&aws).running_count(), 0);
    assert_eq!(status(&aws), ServiceDeploymentStatus::InProgress);
    pass(&aws, 60.0);
    assert_eq!(status(&aws), ServiceDeploymentStatus::Successful);
    assert_eq!(service(&aws).running_count(), 2);
}

#[test]
fn another_update_supersedes_ours() {
    let aws = bed(&seed());
    let ours = update(&aws, "app:2");
    let theirs = json!({"cluster": "production", "service": "app", "taskDefinition": "app:1"});
    aws.inject(
        Fault::happens("ecs:DescribeServices", move |world| {
            world.acts("UpdateService", &theirs).unwrap();
        })
        .skip(1)
        .once(),
    );
    assert_eq!(service(&aws).deployments()[0].id(), ours.id());
    let during = service(&aws);
    assert_ne!(during.deployments()[0].id(), ours.id());
    pass(&aws, 100.0);
    let all = rollouts(&aws);
    assert_eq!(all[0].status(), Some(&ServiceDeploymentStatus::Successful));
    assert_eq!(all[1].status(), Some(&ServiceDeploymentStatus::Stopped));
    assert_eq!(service(&aws).deployments().len(), 1);
}

#[test]
fn a_rollout_is_stopped_and_goes_back() {
    let aws = bed(&seed());
    aws.ecs(|ecs| ecs.revision_behaves("app:2", Behavior::runs().slow(500.0)));
    update(&aws, "app:2");
    pass(&aws, 3.0);
    let arn = rollouts(&aws)[0]
        .service_deployment_arn()
        .unwrap()
        .to_owned();
    let stop = || {
        let request = ecs(&aws)
            .stop_service_deployment()
            .service_deployment_arn(&arn);
        request
            .stop_type(StopServiceDeploymentStopType::Rollback)
            .send()
    };
    wait(stop()).unwrap();
    assert_eq!(status(&aws), ServiceDeploymentStatus::RollbackRequested);
    pass(&aws, 60.0);
    assert_eq!(status(&aws), ServiceDeploymentStatus::RollbackSuccessful);
    assert_eq!(code(wait(stop())), "ConflictException");
    assert!(service(&aws).task_definition().unwrap().ends_with("app:1"));
}

#[test]
fn what_cannot_be_deployed_is_refused() {
    let aws = bed(&seed());
    let done = |revision: &str| code(wait(updating(&aws, revision).send()));
    assert_eq!(done("app:9"), "ClientException");
    aws.acts(
        "DeregisterTaskDefinition",
        &json!({"taskDefinition": "app:2"}),
    )
    .unwrap();
    assert_eq!(done("app:2"), "ClientException");
    let other = ecs(&aws)
        .update_service()
        .cluster("production")
        .service("other");
    assert_eq!(code(wait(other.send())), "ServiceNotFoundException");
    let other = ecs(&aws).update_service().cluster("other").service("app");
    assert_eq!(code(wait(other.send())), "ClusterNotFoundException");
    aws.ecs(|ecs| ecs.service("app").status = "DRAINING");
    assert_eq!(done("app:1"), "ServiceNotActiveException");
    assert_eq!(aws.ecs(|ecs| ecs.service("app").rollouts.len()), 1);
}

#[test]
fn the_same_again_is_no_deployment_unless_it_is_forced() {
    let aws = bed(&seed());
    let before = service(&aws).deployments()[0].id().unwrap().to_owned();
    assert_eq!(update(&aws, "app:1").id(), Some(&*before));
    let more = updating(&aws, "app:1").desired_count(3);
    wait(more.send()).unwrap();
    pass(&aws, 60.0);
    assert_eq!(service(&aws).running_count(), 3);
    assert_eq!(service(&aws).deployments()[0].id(), Some(&*before));
    let forced = updating(&aws, "app:1").force_new_deployment(true);
    let forced = wait(forced.send()).unwrap().service.unwrap();
    assert_ne!(forced.deployments()[0].id(), Some(&*before));
}

/// The SDK sends what was lost once more, and there are two deployments.
#[test]
fn a_lost_answer_took_effect() {
    let aws = bed(&seed());
    aws.inject(Fault::new("ecs:UpdateService", What::ServerErrorAfter).once());
    let forced = updating(&aws, "app:2").force_new_deployment(true);
    wait(forced.send()).unwrap();
    assert_eq!(aws.ecs(|ecs| ecs.service("app").rollouts.len()), 3);
    aws.ecs(|ecs| ecs.service("app").deployments.remove(0));
    assert_eq!(
        service(&aws).deployments().len(),
        2,
        "somebody took it out of the list"
    );
}

#[test]
fn what_is_missing_or_unknown_is_refused() {
    let aws = bed(&seed());
    let update = |body| aws.acts("UpdateService", &body).unwrap_err().code;
    assert_eq!(
        update(json!({"cluster": "production"})),
        "InvalidParameterException"
    );
    let odd = json!({"cluster": "production", "service": "app", "taskDef": "app:2"});
    assert_eq!(update(odd), "SerializationException");
    let wrong = json!({"cluster": "production", "service": "app", "desiredCount": "2"});
    assert_eq!(update(wrong), "SerializationException");
    let refused = ecs(&aws).describe_services().cluster("production");
    let refused = refused.set_services(Some(vec!["app".into(); 11]));
    assert_eq!(code(wait(refused.send())), "InvalidParameterException");
}

/// An image is what its name stands for when the deployment begins, and has to be there when a task starts.
#[test]
fn images_of_this_registry_are_resolved() {
    let aws = Aws::start();
    aws.speed(0.0);
    let image = format!("{}/app:latest", aws.host());
    let manifest = |text: &str| text.as_bytes().to_vec();
    let (one, other) = (manifest("{}"), manifest("{ }"));
    aws.ecr(|ecr| {
        ecr.create("app")
            .store(&one, "application/json", Some("latest"), 0.0)
    });
    let seed = Seed::new("production", "app", &image);
    aws.seed(&seed);
    let digest = |aws: &Aws| {
        let arn = rollouts(aws)
            .remove(0)
            .target_service_revision
            .unwrap()
            .arn
            .unwrap();
        let request = ecs(aws)
            .describe_service_revisions()
            .service_revision_arns(arn);
        let revision = wait(request.send())
            .unwrap()
            .service_revisions
            .unwrap()
            .remove(0);
        revision.container_images()[0]
            .image_digest()
            .unwrap()
            .to_owned()
    };
    let first = digest(&aws);
    aws.ecr(|ecr| {
        ecr.create("app")
            .store(&other, "application/json", Some("latest"), 0.0)
    });
    wait(updating(&aws, "app:1").force_new_deployment(true).send()).unwrap();
    pass(&aws, 100.0);
    assert_ne!(digest(&aws), first);

    let gone = digest(&aws);
    aws.ecr(|ecr| ecr.create("app").images.remove(&gone));
    wait(updating(&aws, "app:1").force_new_deployment(true).send()).unwrap();
    pass(&aws, 100.0);
    let stopped = aws.ecs(|ecs| {
        let failed = ecs.tasks.iter().filter(|task| task.failed);
        failed
            .filter_map(|task| task.stopped_reason.clone())
            .collect::<Vec<_>>()
    });
    assert!(
        stopped
            .iter()
            .all(|reason| reason.starts_with("CannotPullContainerError")),
        "{stopped:?}"
    );
    assert!(!stopped.is_empty());
}

/// Years apart from the machine's clock, a rollout is the same.
#[test]
fn a_wrong_clock_changes_nothing() {
    let aws = Aws::start();
    aws.speed(0.0);
    aws.skew(-3.0e7);
    aws.seed(&seed());
    let created = service(&aws).created_at().unwrap().secs();
    let machine = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(created + 29_000_000 < i64::try_from(machine.as_secs()).unwrap());
    update(&aws, "app:1");
    assert_eq!(status(&aws), ServiceDeploymentStatus::Successful);
}
