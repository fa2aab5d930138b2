//! An ECS with one service, played by a script: a deployment moves on with each look at it, to an end that the test has
//! chosen. So nothing depends on time. Knows nothing of who asks.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::aws::http::{self, Answer, Reply, Server};
use crate::aws::wire::{Call, Done, Failure};

const TASKS: &str = "arn:aws:ecs:us-east-1:123456789012:task-definition";
const SERVICE: &str = "arn:aws:ecs:us-east-1:123456789012:service/dev-cluster/app";
/// What every image's digest begins with.
pub const REPOSITORY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/app";

/// What becomes of a deployment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Completes,
    /// Its task crashes, and ECS goes back by itself.
    Breaker,
    /// Its task crashes, and nothing else ever happens.
    Stuck,
    /// Another one takes its place.
    Overtaken,
    /// It is gone from the list, and so is everything else.
    Vanishes,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wrong {
    Denied,
    Expired,
    Throttled,
    /// 500, and nothing was done.
    Fails,
    /// 500, but it was done.
    FailsAfter,
    /// The connection is cut, but it was done.
    CutAfter,
}

#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: String,
    pub revision: usize,
    pub state: &'static str,
    pub fate: Fate,
    pub record: &'static str,
    created: u64,
    looks: u32,
    failed: u32,
    /// Still in the service's list.
    pub listed: bool,
}

#[derive(Default)]
pub struct State {
    /// Revision n is at n - 1.
    pub revisions: Vec<Value>,
    /// In the order in which they began.
    pub deployments: Vec<Deployment>,
    pub primary: Option<usize>,
    pub fates: VecDeque<Fate>,
    pub calls: Vec<(String, Value)>,
    /// Operation, what, and how often still.
    pub wrong: Vec<(&'static str, Wrong, u32)>,
    /// What one-off tasks exit with.
    pub exit_code: i32,
    pub breaker: bool,
    /// Somebody else deploys right before this operation.
    pub intruder: Option<&'static str>,
    /// And is done at once.
    pub quick: bool,
}

/// A running script; it ends with the value.
pub struct Script {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Script {
    /// A service that runs revision 1 with image `sha256:1`, and the fates of the deployments to come.
    pub fn new(fates: &[Fate]) -> Script {
        let mut state = State::default();
        state.register(first_revision(), &json!([]));
        state.begin(0, Fate::Completes);
        state.finish(0);
        state.fates = fates.iter().copied().collect();
        let state = Arc::new(Mutex::new(state));
        let played = Arc::clone(&state);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let handler = move |head: &http::Head, body: &mut http::Incoming| -> Reply {
            let bytes = body.all().unwrap_or_default();
            match Call::parse(head, &bytes) {
                Some(call) => lock(&played).reply(&call),
                None => Reply::Answer(Answer::new(404, "text/plain", "what?")),
            }
        };
        let server = Server::start(listener, Arc::new(handler));
        Script { server, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut lock(&self.state))
    }

    pub fn goes_wrong(&self, operation: &'static str, what: Wrong, times: u32) {
        self.state(|state| state.wrong.push((operation, what, times)));
    }

    /// What was sent with an operation, call by call.
    pub fn calls(&self, operation: &str) -> Vec<Value> {
        self.state(|state| {
            let calls = state.calls.iter().filter(|(name, _)| name == operation);
            calls.map(|(_, input)| input.clone()).collect()
        })
    }

    /// Every operation that writes, in order.
    pub fn writes(&self) -> Vec<String> {
        const READS: &[&str] = &["Describe", "List", "Get"];
        self.state(|state| {
            let names = state.calls.iter().map(|(name, _)| name.clone());
            names
                .filter(|name| !READS.iter().any(|read| name.starts_with(read)))
                .collect()
        })
    }

    /// The image that the service runs.
    pub fn runs(&self) -> String {
        self.state(|state| {
            let primary = state.primary.expect("something runs");
            let revision = &state.revisions[state.deployments[primary].revision];
            let image = revision["containerDefinitions"][0]["image"].as_str();
            image.unwrap_or_default().to_owned()
        })
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_revision() -> Value {
    json!({
        "family": "app", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
        "cpu": "256", "memory": "512", "newerThanTheSdk": { "kept": [1, 2] },
        "containerDefinitions": [{
            "name": "app", "image": format!("{REPOSITORY}@sha256:1"), "essential": true,
            "environment": [{ "name": "LOG_LEVEL", "value": "INFO" }],
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": "/ecs/app", "awslogs-stream-prefix": "ecs" } },
        }],
    })
}

impl State {
    pub fn register(&mut self, mut definition: Value, tags: &Value) -> Value {
        let number = self.revisions.len() + 1;
        definition["taskDefinitionArn"] = json!(format!("{TASKS}/app:{number}"));
        definition["revision"] = json!(number);
        definition["status"] = json!("ACTIVE");
        definition["registeredAt"] = json!(1_700_000_000.5 + number as f64);
        definition["registeredBy"] = json!("arn:aws:iam::123456789012:user/forge");
        definition["tags"] = tags.clone();
        self.revisions.push(definition.clone());
        definition
    }

    /// A new deployment of a revision is the primary one.
    pub fn begin(&mut self, revision: usize, fate: Fate) -> usize {
        let at = self.deployments.len();
        for one in &mut self.deployments {
            if one.record == "IN_PROGRESS" {
                one.record = "STOPPED";
            }
        }
        self.deployments.push(Deployment {
            id: format!("ecs-svc/{:04}", at + 1),
            revision,
            state: "IN_PROGRESS",
            fate,
            record: "IN_PROGRESS",
            created: 1_700_000_000 + 60 * at as u64,
            looks: 0,
            failed: 0,
            listed: true,
        });
        self.primary = Some(at);
        at
    }

    /// It completes, and the others go.
    pub fn finish(&mut self, at: usize) {
        self.deployments
            .iter_mut()
            .for_each(|one| one.listed = false);
        let one = &mut self.deployments[at];
        (one.state, one.record, one.listed) = ("COMPLETED", "SUCCESSFUL", true);
    }

    /// Somebody looks: what goes on goes one step further.
    fn step(&mut self) {
        let Some(at) = self.primary else { return };
        let one = &mut self.deployments[at];
        if one.state != "IN_PROGRESS" {
            return;
        }
        one.looks += 1;
        let looks = one.looks;
        one.failed = u32::from(matches!(one.fate, Fate::Breaker | Fate::Stuck));
        if looks < 3 {
            return;
        }
        match one.fate {
            Fate::Completes => self.finish(at),
            Fate::Stuck => {}
            Fate::Breaker => {
                (one.state, one.record, one.listed) = ("FAILED", "ROLLBACK_SUCCESSFUL", false);
                let mut earlier = self.deployments[..at].iter();
                self.primary = earlier.rposition(|one| one.record == "SUCCESSFUL");
                if let Some(back) = self.primary {
                    self.deployments[back].listed = true;
                }
            }
            Fate::Overtaken => {
                one.listed = false;
                let other = self.begin(0, Fate::Completes);
                self.deployments[other].created += 1;
            }
            Fate::Vanishes => {
                self.deployments
                    .iter_mut()
                    .for_each(|one| one.listed = false);
                self.primary = None;
            }
        }
    }

    fn reply(&mut self, call: &Call) -> Reply {
        let operation = call.operation.as_str();
        self.calls.push((operation.to_owned(), call.input.clone()));
        if self.intruder == Some(operation) {
            self.intruder = None;
            let at = self.begin(0, Fate::Completes);
            if self.quick {
                self.finish(at);
            }
        }
        let mut wrong = self.wrong.iter_mut();
        let wrong = wrong.find(|(name, _, times)| *name == operation && *times > 0);
        let what = wrong.map(|(_, what, times)| {
            *times -= 1;
            *what
        });
        let failure = |status, code| Err(Failure::with_status(status, code, "so says the script"));
        let instead = match what {
            Some(Wrong::Denied) => Some(failure(400, "AccessDeniedException")),
            Some(Wrong::Expired) => Some(failure(400, "ExpiredTokenException")),
            Some(Wrong::Throttled) => Some(failure(400, "ThrottlingException")),
            Some(Wrong::Fails) => Some(failure(500, "ServerException")),
            _ => None,
        };
        let done = instead.unwrap_or_else(|| self.answer(operation, &call.input));
        match what {
            Some(Wrong::FailsAfter) => Reply::Answer(call.answer(failure(500, "ServerException"))),
            Some(Wrong::CutAfter) => Reply::Cut,
            _ => Reply::Answer(call.answer(done)),
        }
    }

    fn answer(&mut self, operation: &str, input: &Value) -> Done {
        Ok(match operation {
            "GetCallerIdentity" => {
                json!({ "Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/forge", "UserId": "U" })
            }
            "DescribeServices" => {
                self.step();
                json!({ "services": [self.service()], "failures": [] })
            }
            "DescribeTaskDefinition" => return self.describe(input),
            "RegisterTaskDefinition" => {
                let mut definition = input.clone();
                definition
                    .as_object_mut()
                    .expect("an object")
                    .remove("tags");
                let tags = input.get("tags").cloned().unwrap_or(json!([]));
                let registered = self.register(definition, &tags);
                json!({ "taskDefinition": registered, "tags": tags })
            }
            "UpdateService" => {
                let revision = self.number(&input["taskDefinition"])?;
                let fate = self.fates.pop_front().unwrap_or(Fate::Completes);
                self.breaker |=
                    !input["deploymentConfiguration"]["deploymentCircuitBreaker"].is_null();
                self.begin(revision, fate);
                json!({ "service": self.service() })
            }
            "ListServiceDeployments" => {
                let all = self.deployments.iter().rev();
                json!({ "serviceDeployments": all.map(record).collect::<Vec<_>>() })
            }
            "DescribeServiceDeployments" => {
                let asked = input["serviceDeploymentArns"][0].clone();
                let all = self.deployments.iter().map(described);
                let found = all.filter(|one| one["serviceDeploymentArn"] == asked);
                json!({ "serviceDeployments": found.collect::<Vec<_>>(), "failures": [] })
            }
            "DescribeServiceRevisions" => self.service_revisions(input),
            "StopServiceDeployment" => {
                if let Some(at) = self.primary {
                    self.deployments[at].fate = Fate::Breaker;
                }
                json!({ "serviceDeploymentArn": input["serviceDeploymentArn"] })
            }
            "TagResource" => {
                let at = self.number(&input["resourceArn"])?;
                let tags = input["tags"].as_array().cloned().unwrap_or_default();
                let own = self.revisions[at]["tags"].as_array_mut();
                own.expect("a list").extend(tags);
                json!({})
            }
            "ListTaskDefinitions" => {
                let active = self
                    .revisions
                    .iter()
                    .filter(|one| one["status"] == "ACTIVE");
                let mut arns: Vec<Value> =
                    active.map(|one| one["taskDefinitionArn"].clone()).collect();
                arns.reverse();
                json!({ "taskDefinitionArns": arns })
            }
            "ListTasks" => json!({ "taskArns": self.tasks(input) }),
            "DescribeTasks" => {
                let arns = input["tasks"].as_array().cloned().unwrap_or_default();
                let tasks: Vec<Value> = arns.iter().map(|arn| self.task(arn)).collect();
                json!({ "tasks": tasks, "failures": [] })
            }
            "RunTask" => {
                json!({ "tasks": [{ "taskArn": "arn:task/dev-cluster/before" }], "failures": [] })
            }
            "DescribeLogGroups" => json!({ "logGroups": [{ "logGroupName": "/ecs/app" }] }),
            "GetLogEvents" => json!({
                "events": [{ "timestamp": 1_700_000_000_000_u64, "message": format!("said {}", input["logStreamName"]) }],
                "nextForwardToken": "f/1", "nextBackwardToken": "b/1",
            }),
            other => return Err(Failure::new("UnknownOperationException", other)),
        })
    }

    fn number(&self, name: &Value) -> Result<usize, Failure> {
        let name = name.as_str().unwrap_or_default();
        let number: Option<usize> = name.rsplit(':').next().and_then(|text| text.parse().ok());
        let number = number.unwrap_or(self.revisions.len());
        match (1..=self.revisions.len()).contains(&number) {
            true => Ok(number - 1),
            false => Err(Failure::new(
                "ClientException",
                "Unable to describe task definition.",
            )),
        }
    }

    fn describe(&self, input: &Value) -> Done {
        let mut definition = self.revisions[self.number(&input["taskDefinition"])?].clone();
        let tags = definition["tags"].take();
        definition
            .as_object_mut()
            .expect("an object")
            .remove("tags");
        Ok(json!({ "taskDefinition": definition, "tags": tags }))
    }

    fn service(&self) -> Value {
        let mut deployments: Vec<Value> = Vec::new();
        for (at, one) in self.deployments.iter().enumerate() {
            if one.listed {
                let done = one.state == "COMPLETED";
                deployments.push(json!({
                    "id": one.id, "status": if self.primary == Some(at) { "PRIMARY" } else { "ACTIVE" },
                    "taskDefinition": format!("{TASKS}/app:{}", one.revision + 1),
                    "rolloutState": one.state, "rolloutStateReason": "", "createdAt": one.created,
                    "desiredCount": 1, "runningCount": u8::from(done), "pendingCount": u8::from(!done),
                    "failedTasks": one.failed,
                }));
            }
        }
        let events = self.deployments.iter().rev().filter(|one| one.failed > 0);
        let events = events.map(|one| {
            json!({
                "id": format!("event of {}", one.id), "createdAt": one.created,
                "message": format!("(service app) {} was unable to place a task", one.id),
            })
        });
        json!({
            "serviceArn": SERVICE, "serviceName": "app", "status": "ACTIVE", "desiredCount": 1,
            "runningCount": 1, "pendingCount": 0, "launchType": "FARGATE", "deployments": deployments,
            "events": events.collect::<Vec<_>>(), "deploymentController": { "type": "ECS" },
            "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } },
            "deploymentConfiguration": {
                "maximumPercent": 200, "minimumHealthyPercent": 100,
                "deploymentCircuitBreaker": { "enable": self.breaker, "rollback": self.breaker } },
        })
    }

    fn service_revisions(&self, input: &Value) -> Value {
        let asked = input["serviceRevisionArns"].as_array().cloned();
        let all = self.deployments.iter().map(|one| {
            let image = &self.revisions[one.revision]["containerDefinitions"][0]["image"];
            let digest = image.as_str().unwrap_or_default().rsplit('@').next();
            json!({
                "serviceRevisionArn": revision_arn(one),
                "taskDefinition": format!("{TASKS}/app:{}", one.revision + 1),
                "containerImages": [{ "containerName": "app", "image": image,
                    "imageDigest": digest.filter(|text| text.starts_with("sha256")).unwrap_or("sha256:resolved") }],
            })
        });
        let asked = asked.unwrap_or_default();
        let found = all.filter(|one| asked.contains(&one["serviceRevisionArn"]));
        json!({ "serviceRevisions": found.collect::<Vec<_>>(), "failures": [] })
    }

    fn tasks(&self, input: &Value) -> Vec<String> {
        let stopped = input["desiredStatus"] == "STOPPED";
        let all = self.deployments.iter();
        let these = all.filter(|one| match stopped {
            true => one.failed > 0,
            false => one.state == "COMPLETED" && one.listed,
        });
        let word = if stopped { "stopped" } else { "running" };
        let arn =
            |one: &Deployment| format!("arn:task/dev-cluster/{word}-{}", one.id.replace('/', "-"));
        these.map(arn).collect()
    }

    fn task(&self, arn: &Value) -> Value {
        let arn = arn.as_str().unwrap_or_default();
        let mut owners = self.deployments.iter();
        let owner = owners.find(|one| arn.ends_with(&one.id.replace('/', "-")));
        let (code, reason) = match owner {
            Some(_) => (1, "Essential container in task exited"),
            None => (self.exit_code, "it is done"),
        };
        let revision = owner.map_or(0, |one| one.revision);
        json!({
            "taskArn": arn, "lastStatus": if arn.contains("running") { "RUNNING" } else { "STOPPED" },
            "startedBy": owner.map_or("forge-before", |one| &one.id),
            "taskDefinitionArn": format!("{TASKS}/app:{}", revision + 1),
            "stopCode": "EssentialContainerExited", "stoppedReason": reason,
            "containers": [{ "name": "app", "exitCode": code, "imageDigest": "sha256:resolved" }],
        })
    }
}

fn revision_arn(one: &Deployment) -> String {
    let id = one.id.trim_start_matches("ecs-svc/");
    format!(
        "{}/{id}",
        SERVICE.replace(":service/", ":service-revision/")
    )
}

fn record(one: &Deployment) -> Value {
    json!({
        "serviceDeploymentArn": format!("arn:service-deployment/{}", one.id),
        "targetServiceRevisionArn": revision_arn(one), "status": one.record,
        "statusReason": "as the script has it", "createdAt": one.created, "finishedAt": one.created + 30,
    })
}

fn described(one: &Deployment) -> Value {
    let mut record = record(one);
    record["targetServiceRevision"] = json!({ "arn": revision_arn(one) });
    record
}
