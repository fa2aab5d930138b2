//! Secrets, parameters and roles, asked for as an SDK asks: forge has no client of theirs.

use serde_json::{Value, json};

use crate::aws::Aws;

const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=AKIAFORGE0SIMULATOR0/20260101/us-east-1/x/aws4_request, \
                     SignedHeaders=host, Signature=0";

fn ask(aws: &Aws, target: &str, input: &Value) -> (u16, Value) {
    let request = ureq::post(format!("http://{}/", aws.host()))
        .config()
        .http_status_as_error(false)
        .build()
        .header("x-amz-target", target)
        .header("authorization", SCOPE);
    let mut answer = request.send(input.to_string()).unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    (
        answer.status().as_u16(),
        serde_json::from_str(&body).unwrap(),
    )
}

#[test]
fn what_is_kept_is_there() {
    let aws = Aws::start();
    let arn = aws.region(|region| {
        region
            .kept
            .secrets
            .insert("app/key".into(), "s3cret".into());
        region
            .kept
            .parameters
            .insert("/app/mode".into(), "fast".into());
        region.kept.roles.push("execution".into());
        region.kept.secret_arn("app/key")
    });
    for id in ["app/key", &arn] {
        let (status, secret) = ask(
            &aws,
            "secretsmanager.DescribeSecret",
            &json!({"SecretId": id}),
        );
        assert_eq!((status, secret["ARN"].as_str()), (200, Some(&*arn)));
    }
    let (status, error) = ask(
        &aws,
        "secretsmanager.GetSecretValue",
        &json!({"SecretId": "other"}),
    );
    assert_eq!(
        (status, error["__type"].as_str()),
        (400, Some("ResourceNotFoundException"))
    );
    let names = json!({"Names": ["/app/mode", "/app/other"]});
    let (_, answer) = ask(&aws, "AmazonSSM.GetParameters", &names);
    assert_eq!(answer["Parameters"][0]["Value"], "fast");
    assert_eq!(answer["InvalidParameters"], json!(["/app/other"]));
}

#[test]
fn a_role_is_there() {
    let aws = Aws::start();
    aws.region(|region| region.kept.roles.push("execution".into()));
    let get = |name: &str| {
        let request = ureq::post(format!("http://{}/", aws.host()))
            .config()
            .http_status_as_error(false)
            .build();
        let body = format!("Action=GetRole&Version=2010-05-08&RoleName={name}");
        let mut answer = request.header("authorization", SCOPE).send(body).unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().unwrap(),
        )
    };
    assert!(
        get("execution")
            .1
            .contains("<Arn>arn:aws:iam::123456789012:role/execution</Arn>")
    );
    let (status, body) = get("other");
    assert!(
        status == 404 && body.contains("<Code>NoSuchEntity</Code>"),
        "{body}"
    );
}
