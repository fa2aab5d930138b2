//! A simulated AWS on 127.0.0.1: STS, ECR with a registry that Docker pushes to, ECS whose rollouts roll, CloudWatch
//! Logs, and what of Secrets Manager, SSM and IAM a deploy asks for. Its answers keep to the shapes and the meaning
//! of the real service. Tests set up what exists, look at it, read which calls came in, and say what goes wrong.
//! Knows nothing of who asks.
//!
//! A test file says `#[path = "support/aws/mod.rs"] mod aws;`, and then
//!
//! ```ignore
//! let aws = Aws::start();
//! aws.seed(&Seed::new("production", "app", "busybox:1"));
//! aws.ecs(|ecs| ecs.revision_behaves("app:2", Behavior::exits(3).says(&["no database"])));
//! aws.inject(Fault::new("ecs:Describe*", What::Throttle).every(3));
//! // … a forge with aws.env() …
//! assert_eq!(aws.calls_of("ecs:UpdateService").len(), 1);
//! ```

#![allow(dead_code)] // Every test file uses a part of it.

pub mod backing;
pub mod clock;
pub mod ecr;
pub mod ecs;
pub mod faults;
pub mod http;
pub mod ids;
pub mod kept;
pub mod logs;
mod registry;
pub mod seed;
pub mod sts;
pub mod wire;
pub mod world;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::Time;
use ecr::Ecr;
use ecs::Ecs;
use faults::Fault;
use http::{Reply, Server};
use seed::Seed;
use serde_json::Value;
use sts::Identity;
use wire::Done;
use world::{Place, Region, Seen, World};

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "us-east-1";
const ACCESS_KEY: &str = "AKIAFORGE0SIMULATOR0";
const SECRET_KEY: &str = "forge/simulator/secret/access/key/00000";

/// A running simulator; it ends with the value.
pub struct Aws {
    server: Server,
    world: Arc<Mutex<World>>,
}

impl Aws {
    /// One with nothing in it, on a free port, whose time runs 60 times as fast as the machine's.
    pub fn start() -> Self {
        Self::on("127.0.0.1:0")
    }

    /// As [`Aws::start`], at an address.
    ///
    /// # Panics
    /// Somebody else listens there.
    pub fn on(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let host = listener.local_addr().expect("bound").to_string();
        let mut world = World::new(host);
        let user = Identity::user(ACCOUNT, "forge");
        world.identities.insert(ACCESS_KEY.into(), user);
        let world = Arc::new(Mutex::new(world));
        let served = Arc::clone(&world);
        let handler = move |head: &http::Head, body: &mut http::Incoming| -> Reply {
            if head.word(1).starts_with("/v2/") {
                registry::serve(&served, head, body)
            } else {
                world::serve(&served, head, body)
            }
        };
        let server = Server::start(listener, Arc::new(handler));
        Self { server, world }
    }

    /// `127.0.0.1:PORT`: AWS and the registry.
    pub fn host(&self) -> String {
        self.server.address.to_string()
    }

    /// What lets an SDK or the command line of AWS talk to it, and to nothing else.
    pub fn env(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.host());
        let pairs = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
            ("AWS_CONFIG_FILE", "/nonexistent/aws/config"),
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                "/nonexistent/aws/credentials",
            ),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        pairs.map(owned).into()
    }

    /// Looks at everything, or changes it.
    pub fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = world::lock(&self.world);
        act(&mut world)
    }

    /// The services of the account and region that [`Aws::env`] leads to.
    pub fn region<T>(&self, act: impl FnOnce(&mut Region) -> T) -> T {
        self.world(|world| act(world.region(&Place::home())))
    }

    pub fn ecr<T>(&self, act: impl FnOnce(&mut Ecr) -> T) -> T {
        self.region(|region| act(&mut region.ecr))
    }

    pub fn ecs<T>(&self, act: impl FnOnce(&mut Ecs) -> T) -> T {
        self.region(|region| act(&mut region.ecs))
    }

    /// Somebody else calls ECS: no call is recorded, no fault strikes.
    pub fn acts(&self, operation: &str, input: &Value) -> Done {
        self.world(|world| world.acts(operation, input))
    }

    /// What there is, or was done, before the test begins. See [`seed`].
    pub fn seed(&self, seed: &Seed) {
        let now = self.now();
        self.region(|region| seed::plant(region, seed, now));
    }

    // Time.

    pub fn now(&self) -> Time {
        self.world(|world| world.now())
    }

    /// Simulated seconds in a real one; 0 stands still.
    pub fn speed(&self, speed: f64) {
        self.world(|world| world.clock.set_speed(speed));
    }

    /// Moves the simulated time on.
    pub fn pass(&self, duration: Duration) {
        self.world(|world| world.clock.pass(duration));
    }

    /// Sets its clock apart from the machine's, by seconds. Before anything happens: nothing lives through a jump.
    pub fn skew(&self, seconds: f64) {
        self.world(|world| world.clock.skew(seconds));
    }

    // What goes wrong.

    pub fn inject(&self, fault: Fault) {
        self.world(|world| world.faults.push(fault));
    }

    pub fn heal(&self) {
        self.world(|world| world.faults.clear());
    }

    /// Every token that was given is good no more.
    pub fn expire_tokens(&self) {
        self.world(|world| {
            let now = world.now();
            world
                .tokens
                .values_mut()
                .for_each(|token| token.expires = now);
        });
    }

    /// All credentials that were ever given out are good no more.
    pub fn expire_credentials(&self) {
        self.world(|world| {
            let now = world.now();
            world
                .identities
                .values_mut()
                .for_each(|identity| identity.expires = Some(now));
        });
    }

    /// Whether the registry cuts every connection.
    pub fn registry_gone(&self, gone: bool) {
        self.world(|world| world.registry_gone = gone);
    }

    // What came in.

    pub fn calls(&self) -> Vec<Seen> {
        self.world(|world| world.calls.clone())
    }

    /// The calls of a name such as `ecs:UpdateService`, with `*` for anything.
    pub fn calls_of(&self, name: &str) -> Vec<Seen> {
        let mut calls = self.calls();
        calls.retain(|call| {
            let have = format!("{}:{}", call.service, call.operation);
            faults::glob(name, &have)
        });
        calls
    }

    pub fn forget_calls(&self) {
        self.world(|world| world.calls.clear());
    }
}
