//! moto knows the shapes of ECS, Secrets Manager, SSM and IAM, and checks what it is asked; its services never roll out.
//! So: what is read is read right, what is registered is taken, and nothing is ever called a success.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::driver::{Run, run_at};
use crate::script::REPOSITORY;

const ECS: &str = "AmazonEC2ContainerServiceV20141113";
const DEADLINE: Duration = Duration::from_secs(60);

/// A moto; it ends with the value.
struct Moto {
    process: Child,
    url: String,
}

impl Moto {
    /// One with a service, and all that its definition relies on.
    fn start() -> Moto {
        let bed = std::env::var_os("FORGE_TESTBED").map(PathBuf::from);
        let bed = bed.expect("tests/setup.sh tells where moto is");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port().to_string();
        let process = Command::new(bed.join("moto/bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests/setup.sh installs moto");
        let moto = Moto {
            process,
            url: format!("http://127.0.0.1:{port}"),
        };
        moto.wait();
        moto.plant();
        moto
    }

    fn wait(&self) {
        let deadline = Instant::now() + DEADLINE;
        while ureq::get(format!("{}/moto-api/", self.url)).call().is_err() {
            assert!(Instant::now() < deadline, "moto doesn't answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn plant(&self) {
        self.ecs("CreateCluster", &json!({"clusterName": "dev-cluster"}));
        let role = "arn:aws:iam::123456789012:role/execution";
        let secret = self.ask(
            "secretsmanager",
            "secretsmanager.CreateSecret",
            &json!({
                "Name": "db", "SecretString": "hidden", "ClientRequestToken": "0".repeat(32),
            }),
        );
        self.ask(
            "ssm",
            "AmazonSSM.PutParameter",
            &json!({
                "Name": "/app/key", "Value": "hidden", "Type": "SecureString",
            }),
        );
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D";
        self.post("iam", None, &format!(
            "Action=CreateRole&Version=2010-05-08&RoleName=execution&AssumeRolePolicyDocument={policy}"
        ));
        self.ecs("RegisterTaskDefinition", &json!({
            "family": "app", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
            "networkMode": "awsvpc", "executionRoleArn": role,
            "containerDefinitions": [{
                "name": "app", "image": format!("{REPOSITORY}@sha256:1"), "essential": true,
                "secrets": [
                    {"name": "DB", "valueFrom": secret["ARN"]},
                    {"name": "KEY", "valueFrom": "/app/key"},
                ],
            }],
        }));
        self.ecs("CreateService", &json!({
            "cluster": "dev-cluster", "serviceName": "app", "taskDefinition": "app", "desiredCount": 1,
        }));
    }

    fn ecs(&self, operation: &str, input: &Value) -> Value {
        self.ask("ecs", &format!("{ECS}.{operation}"), input)
    }

    fn ask(&self, service: &str, target: &str, input: &Value) -> Value {
        let answer = self.post(service, Some(target), &input.to_string());
        serde_json::from_str(&answer).expect("JSON")
    }

    fn post(&self, service: &str, target: Option<&str>, body: &str) -> String {
        let scope = format!("KEY/20260101/us-east-1/{service}/aws4_request");
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none");
        let kind = match target {
            Some(_) => "application/x-amz-json-1.1",
            None => "application/x-www-form-urlencoded",
        };
        let mut request = ureq::post(&self.url)
            .header("Authorization", signature)
            .header("Content-Type", kind);
        if let Some(target) = target {
            request = request.header("X-Amz-Target", target);
        }
        let mut answer = request.send(body).expect("moto answers");
        answer.body_mut().read_to_string().expect("text")
    }

    fn run(&self, action: &str, mut scenario: Value) -> Run {
        // A service of moto's is never done: without that nothing could be begun.
        scenario["takeover"] = json!(true);
        run_at(&self.url, action, scenario)
    }

    fn revision(&self, name: &str) -> Value {
        let input = json!({"taskDefinition": name, "include": ["TAGS"]});
        self.ecs("DescribeTaskDefinition", &input)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_moto_checks_is_right_and_what_never_rolls_out_is_no_success() {
    let moto = Moto::start();
    moto.run("plan", json!({}))
        .ends(0)
        .says("Checked(\"role arn:aws:iam::123456789012:role/execution\")")
        .says("Checked(\"secret arn:aws:secretsmanager:")
        .says("Checked(\"parameter /app/key\")")
        .says("app image: ");

    let run = moto.run("deploy", json!({"timeout": 3000}));
    assert_ne!(run.code, 0, "{}", run.text);
    run.says("registered app:2");
    let registered = moto.revision("app:2");
    let tags = registered["tags"].to_string();
    for tag in ["forge:commit", "c0ffee", "forge:by", "ann", "forge:key"] {
        assert!(tags.contains(tag), "{tag}: {tags}");
    }
    assert!(!tags.contains("forge:completed"), "{tags}");
    let definition = &registered["taskDefinition"];
    let image = &definition["containerDefinitions"][0]["image"];
    assert_eq!(*image, format!("{REPOSITORY}@sha256:2"));
    assert_eq!(definition["cpu"], "256");
}

#[test]
fn what_is_missing_is_found_before_anything_is_registered() {
    let moto = Moto::start();
    moto.ask(
        "ssm",
        "AmazonSSM.DeleteParameter",
        &json!({"Name": "/app/key"}),
    );
    moto.run("deploy", json!({}))
        .ends(1)
        .says("there is no parameter /app/key");
    moto.post(
        "iam",
        None,
        "Action=DeleteRole&Version=2010-05-08&RoleName=execution",
    );
    moto.run("deploy", json!({}))
        .ends(1)
        .says("there is no role arn:aws:iam::123456789012:role/execution");
    let all = moto.ecs("ListTaskDefinitions", &json!({"familyPrefix": "app"}));
    assert_eq!(all["taskDefinitionArns"].as_array().map(Vec::len), Some(1));
}
