//! Helpers of the telemetry tests: a client, a stream that can be read back, a collector that
//! speaks real OTLP.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;

use crate::config::{Log, Tracing};
use crate::message::body::Body;
use crate::message::peer::{Peer, Protocol};
use crate::telemetry::Telemetry;
use crate::telemetry::access::AccessLog;
use crate::telemetry::otlp::ExportGuard;
use crate::telemetry::trace::Tracer;
use crate::telemetry::writer::{Writer, WriterGuard};

/// Returns an HTTP/3 client.
pub(crate) fn peer() -> Peer {
    Peer {
        client: "192.0.2.7:50123".parse().unwrap(),
        local: "198.51.100.1:443".parse().unwrap(),
        protocol: Protocol::H3,
        version: http::Version::HTTP_3,
        tls: true,
        listener: crate::config::ListenerId::new(0),
        via: None,
    }
}

/// Returns `GET https://example.com:8443/items?page=2` with these fields.
pub(crate) fn request(fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().uri("https://example.com:8443/items?page=2");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// A stream that keeps the bytes that are written to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub(crate) fn read(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns telemetry with access records as JSON on the returned paper. The paper is complete once
/// the guard is dropped.
pub(crate) fn with_access() -> (Arc<Telemetry>, WriterGuard, Paper) {
    let mut telemetry = Telemetry::quiet(&Log::default());
    let paper = Paper::default();
    let dropped = telemetry.metrics.access_dropped.clone();
    let (writer, guard) = Writer::start("test", paper.clone(), Duration::ZERO, dropped).unwrap();
    telemetry.access = Some(AccessLog::new(writer, Arc::clone(&telemetry.switches)));
    (Arc::new(telemetry), guard, paper)
}

/// Returns telemetry with traces to `otlp`. All have arrived once the guard is dropped.
pub(crate) fn with_traces(otlp: &str, sample: f64) -> (Arc<Telemetry>, ExportGuard) {
    let mut telemetry = Telemetry::quiet(&Log::default());
    let config = Tracing { otlp: otlp.to_owned(), sample, service: "edge".to_owned() };
    let (tracer, guard) = Tracer::start(&config, &telemetry.metrics).unwrap();
    telemetry.tracer = Some(tracer);
    (Arc::new(telemetry), guard)
}

/// An OTLP/gRPC receiver made from the published protobufs.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    received: mpsc::Receiver<ExportTraceServiceRequest>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Service(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) fn start() -> Self {
        let (sender, received) = mpsc::channel();
        let (bound, address) = mpsc::channel::<SocketAddr>();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                bound.send(incoming.local_addr().unwrap()).unwrap();
                tonic::transport::Server::builder()
                    .add_service(TraceServiceServer::new(Service(sender)))
                    .serve_with_incoming_shutdown(incoming, async {
                        let _ = stopped.await;
                    })
                    .await
                    .unwrap();
            });
        });
        let endpoint = format!("http://{}", address.recv().unwrap());
        Self { endpoint, received, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns all that has arrived: the name of the service and the spans.
    pub(crate) fn received(&self) -> (String, Vec<Span>) {
        let mut service = String::new();
        let mut spans = Vec::new();
        for resource_spans in self.received.try_iter().flat_map(|r| r.resource_spans) {
            let resource = resource_spans.resource.unwrap();
            service = attribute(&resource.attributes, "service.name").unwrap();
            spans.extend(resource_spans.scope_spans.into_iter().flat_map(|s| s.spans));
        }
        (service, spans)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// Returns the value of an attribute as text.
pub(crate) fn attribute(
    attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue],
    name: &str,
) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}
