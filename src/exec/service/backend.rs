//! What containers and processes have in common once they are started.

use super::definition::Endpoint;
use super::error::ServiceError;

/// A service that has been started. Dropping it ends it the hard way; [`Backend::stop`] asks first.
pub trait Backend: Send + Sync {
    fn name(&self) -> &str;

    /// `container postgres:15`, `process`.
    fn kind(&self) -> String;

    fn endpoint(&self) -> &Endpoint;

    /// Why it can't be used any more.
    fn trouble(&self) -> Result<Option<Trouble>, ServiceError>;

    /// Runs a command where the service is, until `over`: its exit code and output.
    fn exec(
        &self,
        argv: &[String],
        over: &dyn Fn() -> bool,
    ) -> Result<(i64, Vec<u8>), ServiceError>;

    fn log_holds(&self, text: &str) -> Result<bool, ServiceError>;

    /// Its last lines.
    fn tail(&self) -> Vec<u8>;

    /// Ends it, and everything it started; returns when it is gone.
    ///
    /// # Errors
    /// It may still be there.
    fn stop(&self) -> Result<(), ServiceError>;
}

/// Why a started service can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// As a shell counts: 128 and the signal's number for a death by signal.
    Ended { code: i64, why: &'static str },
    /// What its last health check printed.
    Unhealthy(String),
}

impl Trouble {
    /// For a service that isn't ready yet.
    pub fn error(&self, service: &dyn Backend) -> ServiceError {
        let error = ServiceError::failed(service.name(), format!("{self} before it was ready"));
        let error = error.log(service.tail());
        match self {
            Trouble::Ended { code: 0, .. } => {
                error.help("it must stay in the foreground: what it leaves behind is ended with it")
            }
            _ => error,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Ended { code, why } => write!(f, "ended with exit code {code}{why}"),
            Trouble::Unhealthy(said) if said.trim().is_empty() => write!(f, "unhealthy"),
            Trouble::Unhealthy(said) => write!(f, "unhealthy ({})", said.trim()),
        }
    }
}
