//! Tables for the definitions of [`super`].

use super::*;

const REPOSITORY: &str = "1.dkr.ecr.eu-west-1.amazonaws.com/app";

fn fargate(containers: Value) -> Definition {
    let fields = json!({
        "family": "app", "revision": 4, "status": "ACTIVE",
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:1:task-definition/app:4",
        "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
        "somethingNew": { "kept": true },
        "containerDefinitions": containers,
    });
    Definition::new(fields, None).unwrap()
}

fn image() -> Image {
    Image {
        repository: REPOSITORY.into(),
        digest: "sha256:ab".into(),
    }
}

fn one() -> Definition {
    fargate(json!([{
        "name": "app", "image": format!("{REPOSITORY}:latest"), "memory": 256,
        "environment": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
        "secrets": [{ "name": "KEY", "valueFrom": "arn:old" }],
    }]))
}

#[test]
fn only_what_ecs_takes_is_sent() {
    let mut definition = one();
    definition.tags.set("forge:commit", "c0ffee");
    let request = definition.request();
    assert_eq!(request["somethingNew"]["kept"], true);
    assert_eq!(
        request["tags"],
        json!([{ "key": "forge:commit", "value": "c0ffee" }])
    );
    for key in ["revision", "status", "taskDefinitionArn"] {
        assert!(request.get(key).is_none(), "{key}");
    }
}

#[test]
fn the_image_is_pinned_by_digest() {
    let mut definition = one();
    let name = definition.choose(None, REPOSITORY).unwrap();
    definition.pin(&name, &image());
    assert_eq!(
        definition.image("app"),
        Some("1.dkr.ecr.eu-west-1.amazonaws.com/app@sha256:ab")
    );
    // Once pinned it is found again.
    assert_eq!(definition.choose(None, REPOSITORY).unwrap(), "app");
}

#[test]
fn the_right_container_is_chosen_or_named() {
    let of = |name: &str, image: &str, essential: bool| json!({ "name": name, "image": image, "essential": essential });
    let table: &[(Value, Option<&str>, Result<&str, &str>)] = &[
        (
            json!([
                of("proxy", "envoy:1", true),
                of("app", "1.dkr.ecr.eu-west-1.amazonaws.com/app:1", true)
            ]),
            None,
            Ok("app"),
        ),
        // Another account's registry: the same repository.
        (
            json!([of(
                "app",
                "2.dkr.ecr.us-east-1.amazonaws.com/app@sha256:00",
                true
            )]),
            None,
            Ok("app"),
        ),
        // The exact one wins over the one elsewhere.
        (
            json!([
                of("old", "2.dkr.ecr.us-east-1.amazonaws.com/app", true),
                of("app", "1.dkr.ecr.eu-west-1.amazonaws.com/app", true)
            ]),
            None,
            Ok("app"),
        ),
        (
            json!([
                of("init", "1.dkr.ecr.eu-west-1.amazonaws.com/app:1", false),
                of("app", "1.dkr.ecr.eu-west-1.amazonaws.com/app:1", true)
            ]),
            None,
            Ok("app"),
        ),
        (
            json!([of("web", "nginx", true)]),
            None,
            Err("no essential container"),
        ),
        (
            json!([of("web", "host:5000/other/app", true)]),
            None,
            Err("no essential container"),
        ),
        (
            json!([of("a", "x.io/app", true), of("b", "y.io/app:2", true)]),
            None,
            Err("several containers"),
        ),
        (
            json!([of("web", "nginx", true), of("b", "y", true)]),
            Some("web"),
            Ok("web"),
        ),
        (
            json!([of("web", "nginx", true)]),
            Some("app"),
            Err("no container `app`"),
        ),
    ];
    for (containers, named, expected) in table {
        let chosen = fargate(containers.clone()).choose(*named, REPOSITORY);
        match (chosen, expected) {
            (Ok(chosen), Ok(expected)) => assert_eq!(chosen, *expected),
            (Err(error), Err(said)) => {
                assert!(error.message.contains(said), "{error}");
                let told = error.message.clone() + &error.help;
                for name in fargate(containers.clone()).container_names() {
                    assert!(told.contains(name), "{told}");
                }
            }
            (chosen, expected) => panic!("{chosen:?} {expected:?}"),
        }
    }
}

#[test]
fn the_container_of_an_earlier_deployment_is_found() {
    let two = json!([
        { "name": "init", "image": "i", "essential": false },
        { "name": "proxy", "image": "p" },
        { "name": "app", "image": "a" },
    ]);
    let mut definition = fargate(two);
    assert_eq!(definition.main_container(None), Some("proxy"));
    definition.tags.set(tags::CONTAINER, "app");
    assert_eq!(definition.main_container(None), Some("app"));
    assert_eq!(definition.main_container(Some("init")), Some("init"));
    assert_eq!(definition.main_container(Some("gone")), Some("app"));
}

#[test]
fn an_overlay_changes_in_place_and_adds() {
    let mut definition = one();
    let pairs = |list: &[(&str, &str)]| {
        let pairs = list.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    definition.overlay(
        "app",
        &Overlay {
            env: pairs(&[("A", "9"), ("KEY", "plain"), ("Z", "0")]),
            secrets: pairs(&[("B", "arn:b")]),
            cpu: Some(512),
            memory: Some(1024),
        },
    );
    let app = definition.container("app").unwrap();
    assert_eq!(
        app["environment"],
        json!([{ "name": "A", "value": "9" }, { "name": "KEY", "value": "plain" }, { "name": "Z", "value": "0" }])
    );
    assert_eq!(
        app["secrets"],
        json!([{ "name": "B", "valueFrom": "arn:b" }])
    );
    assert_eq!(app["memory"], 1024);
    assert!(app.get("cpu").is_none());
    assert_eq!(definition.fields()["cpu"], "512");
    assert_eq!(definition.fields()["memory"], "1024");
    assert!(definition.check().is_ok());
}

#[test]
fn sizes_are_the_containers_where_the_task_has_none() {
    let fields = json!({ "family": "app", "containerDefinitions": [{ "name": "app", "image": "app", "memory": 64 }] });
    let mut definition = Definition::new(fields, None).unwrap();
    definition.overlay(
        "app",
        &Overlay {
            cpu: Some(128),
            memory: Some(256),
            ..Overlay::default()
        },
    );
    assert!(definition.fields().get("memory").is_none());
    let app = definition.container("app").unwrap();
    assert_eq!((&app["cpu"], &app["memory"]), (&json!(128), &json!(256)));
}

#[test]
fn sizes_that_dont_fit_are_refused() {
    let mut definition = one();
    definition.fields.insert("memory".into(), "1536".into());
    assert!(definition.check().unwrap_err().message.contains("1536"));
    definition.fields.insert("memory".into(), "0.5 GB".into());
    assert!(definition.check().is_ok());
    let greedy = fargate(json!([{ "name": "app", "image": "app", "memory": 513 }]));
    let error = greedy.check().unwrap_err();
    assert!(error.message.contains("513 MiB"), "{error}");
}

#[test]
fn a_file_is_read_filled_and_refused_with_a_reason() {
    let fill = |raw: &str| match raw {
        "${bad}" => Err("${bad} means nothing".to_owned()),
        raw => Ok(raw.replace("${git.sha}", "c0\"ffee")),
    };
    let read = |text: &str| Definition::from_file(text, &fill);
    let containers = r#""containerDefinitions":[{"name":"a","image":"a:${git.sha}"}]"#;
    let plain = read(&format!(r#"{{"family":"f",{containers}}}"#)).unwrap();
    assert_eq!(plain.image("a"), Some("a:c0\"ffee"));
    let printed = format!(
        r#"{{"taskDefinition":{{"family":"f","revision":3,{containers}}},"tags":[{{"key":"team","value":"x"}}]}}"#
    );
    let printed = read(&printed).unwrap();
    assert_eq!(printed.tags.get("team"), Some("x"));
    assert!(!printed.fields().contains_key("revision"));
    for (text, said) in [
        ("{", "isn't JSON"),
        ("[]", "isn't a JSON object"),
        (r#"{"family":"f"}"#, "no `containerDefinitions`"),
        (
            r#"{"containerDefinitions":[{"name":"a"}]}"#,
            "has no `family`",
        ),
        (
            r#"{"family":"${bad}","containerDefinitions":[{"name":"a"}]}"#,
            "means nothing",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.message.contains(said), "{text}: {error}");
    }
}

#[test]
fn names_of_images_are_taken_apart() {
    for (image, repository, digest) in [
        ("redis", "redis", None),
        ("redis:7", "redis", None),
        ("h:5000/redis", "h:5000/redis", None),
        ("h:5000/redis:7@sha256:a", "h:5000/redis", Some("sha256:a")),
        ("h.io/a/b@sha256:a", "h.io/a/b", Some("sha256:a")),
    ] {
        assert_eq!(repository_of(image), repository);
        assert_eq!(digest_of(image), digest);
    }
    assert_eq!(without_host("library/redis"), "library/redis");
    assert_eq!(without_host("localhost/redis"), "redis");
}
