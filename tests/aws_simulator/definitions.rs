//! Task definitions and tags.

use aws_sdk_ecs::types::{
    ContainerDefinition, SortOrder, Tag, TaskDefinitionField, TaskDefinitionStatus,
};
use serde_json::json;

use crate::aws::Aws;
use crate::clients::{code, ecs, wait};

fn register(aws: &Aws, family: &str) -> String {
    let container = ContainerDefinition::builder()
        .name("app")
        .image("busybox:1")
        .memory(64)
        .build();
    let tag = Tag::builder().key("forge").value("1").build();
    let request = ecs(aws).register_task_definition().family(family);
    let answer = wait(request.container_definitions(container).tags(tag).send()).unwrap();
    answer.task_definition.unwrap().task_definition_arn.unwrap()
}

fn listed(aws: &Aws, status: TaskDefinitionStatus) -> Vec<String> {
    let list = ecs(aws)
        .list_task_definitions()
        .family_prefix("app")
        .status(status);
    let pages = list
        .sort(SortOrder::Desc)
        .into_paginator()
        .page_size(2)
        .items()
        .send();
    let arns = wait(async { pages.collect::<Result<Vec<_>, _>>().await }).unwrap();
    let name = |arn: String| arn.rsplit('/').next().unwrap().to_owned();
    arns.into_iter().map(name).collect()
}

#[test]
fn revisions_are_numbered_and_listed() {
    let aws = Aws::start();
    for family in ["app", "app", "app-worker", "app"] {
        register(&aws, family);
    }
    assert_eq!(
        listed(&aws, TaskDefinitionStatus::Active),
        ["app:3", "app:2", "app:1"]
    );
    wait(
        ecs(&aws)
            .deregister_task_definition()
            .task_definition("app:3")
            .send(),
    )
    .unwrap();
    assert_eq!(listed(&aws, TaskDefinitionStatus::Inactive), ["app:3"]);
    let newest = ecs(&aws).describe_task_definition().task_definition("app");
    let newest = wait(newest.include(TaskDefinitionField::Tags).send()).unwrap();
    assert_eq!(newest.task_definition().unwrap().revision(), 2);
    assert_eq!(newest.tags()[0].key(), Some("forge"));
    assert!(
        newest.task_definition().unwrap().container_definitions()[0]
            .essential()
            .unwrap()
    );
    let old = wait(
        ecs(&aws)
            .describe_task_definition()
            .task_definition("app:3")
            .send(),
    )
    .unwrap();
    assert_eq!(
        old.task_definition().unwrap().status(),
        Some(&TaskDefinitionStatus::Inactive)
    );
    let missing = ecs(&aws)
        .describe_task_definition()
        .task_definition("other");
    assert_eq!(code(wait(missing.send())), "ClientException");
}

#[test]
fn tags_are_changed() {
    let aws = Aws::start();
    let arn = register(&aws, "app");
    let tag = Tag::builder().key("build").value("abc").build();
    wait(ecs(&aws).tag_resource().resource_arn(&arn).tags(tag).send()).unwrap();
    let tags = wait(ecs(&aws).list_tags_for_resource().resource_arn(&arn).send()).unwrap();
    let nothing = aws
        .acts("TagResource", &json!({"resourceArn": arn}))
        .unwrap_err();
    assert_eq!(nothing.code, "InvalidParameterException");
    let keys: Vec<_> = tags.tags().iter().filter_map(|tag| tag.key()).collect();
    assert_eq!(keys, ["build", "forge"]);
}

#[test]
fn what_is_wrong_is_not_registered() {
    let aws = Aws::start();
    let refused = |body| aws.acts("RegisterTaskDefinition", &body).unwrap_err();
    let container = json!([{"name": "app", "image": "busybox:1", "memory": 64}]);
    for body in [
        json!({"family": "app", "containerDefinitions": []}),
        json!({"family": "no spaces", "containerDefinitions": container}),
        json!({"family": "app", "containerDefinitions": [{"name": "app", "memory": 64}]}),
        json!({"family": "app", "containerDefinitions": [{"name": "app", "image": "busybox:1"}]}),
        json!({
            "family": "app", "containerDefinitions": container, "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc", "cpu": "256", "memory": "4096",
        }),
    ] {
        assert_eq!(refused(body.clone()).code, "ClientException", "{body}");
    }
    let answered = json!({"family": "app", "containerDefinitions": container, "revision": 3});
    assert_eq!(refused(answered).code, "SerializationException");
}
