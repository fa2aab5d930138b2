//! The Docker engine, for code that waits: a blocking face of bollard with the calls that services and
//! images need. The asynchronous runtime lives in here and nowhere else, and exists only once an engine is
//! connected to; [`local_image`] does without.
//!
//! Knows nothing of services, targets or runs.

mod build;
mod containers;
mod credentials;
mod endpoint;
mod error;
mod images;
mod layers;
mod port;
mod push;
mod socket;

use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::future::{self, Either};
use tokio::runtime::Runtime;

pub use build::{BuildError, BuildSpec, Builder, FailedStep, Progress, StepState};
pub use containers::{ContainerSpec, ContainerState, Listed, Restart};
pub use credentials::Credentials;
pub use error::EngineError;
pub use images::{ImageInfo, Pull};
pub use port::port_answers;
pub use push::{PushError, PushErrorKind};
pub use socket::{LocalImage, image_digest, local_image};

/// For one call, in seconds: the engine can be slow when it is busy, but it answers.
const CALL_TIMEOUT: u64 = 120;
/// For the beginning of the answer to a build, in seconds: the engine takes in all of the context first.
const JOB_TIMEOUT: u64 = 24 * 3600;
/// How often a long call looks whether it should end.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// A connection to the engine; cheap calls from any number of threads.
pub struct Engine {
    runtime: Runtime,
    docker: Docker,
    socket: PathBuf,
}

/// Who the engine is.
#[derive(Clone, Debug)]
pub struct EngineVersion {
    pub version: String,
    pub api: String,
    pub socket: PathBuf,
}

impl Engine {
    /// Connects to the engine that the caller's environment names, and agrees on an API version.
    pub fn connect() -> Result<Engine, EngineError> {
        let socket = endpoint::find(|name| env::var_os(name))?;
        // First by hand: the reason (no socket, no permission, nobody behind it) is clearest so.
        socket::open(&socket)?;
        let runtime = runtime()?;
        let path = socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, CALL_TIMEOUT, API_DEFAULT_VERSION)?
            .with_request_modifier(credentials::for_the_engine);
        let docker = runtime.block_on(docker.negotiate_version())?;
        Ok(Engine {
            runtime,
            docker,
            socket,
        })
    }

    pub fn version(&self) -> Result<EngineVersion, EngineError> {
        let version = self.runtime.block_on(self.docker.version())?;
        Ok(EngineVersion {
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            socket: self.socket.clone(),
        })
    }

    /// A runtime and connections for one long job: whatever is given up ends with them, at the engine too.
    fn job(&self) -> Result<(Runtime, Docker), EngineError> {
        let path = self.socket.to_string_lossy();
        let version = self.docker.client_version();
        let docker = Docker::connect_with_unix(&path, JOB_TIMEOUT, &version)?
            .with_request_modifier(credentials::for_the_engine);
        Ok((runtime()?, docker))
    }

    /// Waits for `work`, or until `cancelled` says that nobody wants it any more.
    fn until<T>(
        &self,
        cancelled: &dyn Fn() -> bool,
        work: impl Future<Output = T>,
    ) -> Result<T, EngineError> {
        self.runtime.block_on(unless(cancelled, work))
    }
}

fn runtime() -> Result<Runtime, EngineError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EngineError::io)
}

/// What `work` gives, unless `cancelled` says first that nobody wants it any more.
async fn unless<T>(
    cancelled: &dyn Fn() -> bool,
    work: impl Future<Output = T>,
) -> Result<T, EngineError> {
    let watch = async {
        while !cancelled() {
            tokio::time::sleep(CANCEL_POLL).await;
        }
    };
    match future::select(pin!(work), pin!(watch)).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(_) => Err(EngineError::cancelled()),
    }
}
