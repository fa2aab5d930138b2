//! A service that has been there for an hour, its rollout long over, with all that it needs. Knows nothing of what a
//! test does to it.

use serde_json::{Value, json};

use super::clock::Time;
use super::world::Region;

/// How long ago it was created, in seconds.
const AGE: Time = 3600.0;

#[derive(Clone, Debug)]
pub struct Seed {
    pub cluster: String,
    pub service: String,
    pub family: String,
    pub image: String,
    pub desired: usize,
    /// None, or one that rolls back.
    pub breaker: bool,
    /// Whether its container has a health check.
    pub health_check: bool,
    /// The capacity provider that its tasks come from, instead of a launch type.
    pub provider: Option<String>,
}

impl Seed {
    /// A service of a cluster, whose family and container have the service's name.
    pub fn new(cluster: &str, service: &str, image: &str) -> Self {
        Self {
            cluster: cluster.into(),
            service: service.into(),
            family: service.into(),
            image: image.into(),
            desired: 2,
            breaker: true,
            health_check: false,
            provider: None,
        }
    }

    /// The log group of its tasks.
    pub fn log_group(&self) -> String {
        format!("/ecs/{}", self.family)
    }

    /// What registers its first revision.
    pub fn definition(&self) -> Value {
        let mut container = json!({
            "name": self.service, "image": self.image, "essential": true,
            "portMappings": [{"containerPort": 8000}],
            "environment": [{"name": "MODE", "value": self.cluster}],
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": self.log_group(), "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs",
            }},
        });
        if self.health_check {
            container["healthCheck"] = json!({"command": ["CMD-SHELL", "exit 0"], "interval": 5});
        }
        json!({
            "family": self.family, "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "cpu": "256", "memory": "512", "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
            "containerDefinitions": [container],
        })
    }

    fn creation(&self) -> Value {
        let mut creation = json!({
            "cluster": self.cluster, "serviceName": self.service, "taskDefinition": self.family,
            "desiredCount": self.desired, "platformVersion": "LATEST",
            "networkConfiguration": {"awsvpcConfiguration": {
                "subnets": ["subnet-1", "subnet-2"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED",
            }},
            "deploymentConfiguration": {"deploymentCircuitBreaker": {
                "enable": self.breaker, "rollback": self.breaker,
            }},
        });
        match &self.provider {
            None => creation["launchType"] = "FARGATE".into(),
            Some(name) => {
                let one = json!({"capacityProvider": name, "weight": 1, "base": 0});
                creation["capacityProviderStrategy"] = json!([one]);
            }
        }
        creation
    }
}

/// Has it all created, an hour ago.
///
/// # Panics
/// ECS refuses it.
pub fn plant(region: &mut Region, seed: &Seed, now: Time) {
    let then = now - AGE;
    region.kept.roles.push("execution".into());
    region.logs.create(&seed.log_group(), then);
    region.ecs.rewind(then);
    let calls = [
        ("CreateCluster", json!({"clusterName": seed.cluster})),
        ("RegisterTaskDefinition", seed.definition()),
        ("CreateService", seed.creation()),
    ];
    for (operation, input) in calls {
        let done = region.act(operation, &input, then);
        done.unwrap_or_else(|failure| panic!("{operation}: {failure:?}"));
    }
    region.advance(now);
}
