//! HTTP/2 over plain TCP with prior knowledge, one connection a request: what the SDK's own client does only after TLS has
//! negotiated it. In: a request of the SDK. Out: the answer, its body streamed.

use std::error::Error;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// The connector, and the client that hands it out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PriorKnowledge;

impl HttpClient for PriorKnowledge {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(*self)
    }
}

impl HttpConnector for PriorKnowledge {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(async move {
            exchange(request).await.map_err(|error| ConnectorError::other(error, None))
        })
    }
}

async fn exchange(request: HttpRequest) -> Result<HttpResponse, Box<dyn Error + Send + Sync>> {
    let request = request.try_into_http1x()?;
    let authority = request.uri().authority().ok_or("a request without a host")?.as_str();
    let socket = TokioIo::new(TcpStream::connect(authority).await?);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await?;
    // The connection lives as long as somebody holds the answer's body; its end is told there.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    Ok(HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))?)
}
