//! What BuildKit asks back while it builds: files, credentials and secrets. The engine is given a connection on which it is the
//! client, and this process the server.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::fsutil::types::Packet;
use bollard::health::health_check_response::ServingStatus;
use bollard::health::health_server::{Health, HealthServer};
use bollard::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard::moby::filesync::v1::file_sync_server::{FileSync, FileSyncServer};
use bollard::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::{BuildSpec, files};
use crate::docker::{Credentials, EngineError, credentials};
use crate::image::context::{Context, ContextError};

/// What the engine may ask for.
const METHODS: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.FileSync/DiffCopy",
];
/// Most that is read of the head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// One build's answers.
pub struct Session {
    id: String,
    answers: Arc<Answers>,
}

struct Answers {
    context: Context,
    users: HashMap<String, Credentials>,
    secrets: HashMap<String, Vec<u8>>,
    unsent: files::Unsent,
}

impl Session {
    pub fn new(context: &Context, spec: &BuildSpec) -> Self {
        let random = || RandomState::new().hash_one(0);
        Self {
            id: format!("forge{:016x}{:016x}", random(), random()),
            answers: Arc::new(Answers {
                context: context.clone(),
                users: spec.credentials.clone(),
                secrets: spec.secrets.iter().cloned().collect(),
                unsent: Arc::new(Mutex::new(None)),
            }),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Why a file of the context couldn't be sent.
    pub fn unsent(&self) -> Option<ContextError> {
        let unsent = self.answers.unsent.lock();
        unsent.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands the engine the connection and answers on it, as long as the runtime lives.
    pub async fn serve(&self, socket: &Path) -> Result<(), EngineError> {
        let connection = self.hand_over(socket).await?;
        let answers = || Arc::clone(&self.answers);
        let serving = Server::builder()
            .add_service(HealthServer::from_arc(answers()))
            .add_service(AuthServer::from_arc(answers()))
            .add_service(SecretsServer::from_arc(answers()))
            .add_service(FileSyncServer::from_arc(answers()))
            .serve_with_incoming(stream::iter([Ok::<_, io::Error>(connection)]));
        tokio::spawn(serving);
        Ok(())
    }

    async fn hand_over(&self, socket: &Path) -> Result<UnixStream, EngineError> {
        let mut connection = UnixStream::connect(socket).await.map_err(EngineError::io)?;
        let id = &self.id;
        // The engine keeps files of a key and asks for those only whose time changed. Ours have none: the key is new each time.
        let mut head = format!(
            "POST /session HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\
             X-Docker-Expose-Session-Uuid: {id}\r\nX-Docker-Expose-Session-Name: forge\r\nX-Docker-Expose-Session-Sharedkey: {id}\r\n"
        );
        for method in METHODS {
            head.push_str(&format!(
                "X-Docker-Expose-Session-Grpc-Method: {method}\r\n"
            ));
        }
        head.push_str("\r\n");
        connection
            .write_all(head.as_bytes())
            .await
            .map_err(EngineError::io)?;
        let answer = read_head(&mut connection).await.map_err(EngineError::io)?;
        match answer.split(' ').nth(1) {
            Some("101") => Ok(connection),
            _ => {
                let first = answer.lines().next().unwrap_or_default();
                Err(EngineError::other(format!(
                    "the engine opens no session for BuildKit: {first}"
                )))
            }
        }
    }
}

/// The head of an answer, and not a byte of what follows it.
async fn read_head(connection: &mut UnixStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        head.push(connection.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[tonic::async_trait]
impl Health for Answers {
    type WatchStream = stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = ServingStatus::Serving.into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only checks"))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only checks"))
    }
}

#[tonic::async_trait]
impl Secrets for Answers {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.secrets.get(id) {
            Some(data) => Ok(Response::new(GetSecretResponse { data: data.clone() })),
            None => Err(Status::not_found(format!("no secret {id}"))),
        }
    }
}

/// The engine fetches tokens itself: it is told who one is and nothing more.
#[tonic::async_trait]
impl Auth for Answers {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let known = credentials::of(&self.users, &request.get_ref().host);
        let answer = known.map(|user| CredentialsResponse {
            username: user.user.clone(),
            secret: user.password.clone(),
        });
        Ok(Response::new(answer.unwrap_or_default()))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("only credentials"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("only credentials"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("only credentials"))
    }
}

#[tonic::async_trait]
impl FileSync for Answers {
    type DiffCopyStream = files::Packets;
    type TarStreamStream = files::Packets;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let entries = files::wanted(&self.context, request.metadata())?;
        let unsent = Arc::clone(&self.unsent);
        Ok(Response::new(files::send(
            entries,
            request.into_inner(),
            unsent,
        )))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("only single files"))
    }
}
