//! Tunnels to origins of HTTP/2 and HTTP/3, by extended CONNECT.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use weir_h3::qpack::{Decoder, Limits, Malformed, Pseudo, Sink, Text};

use crate::support::raw_h3_origin::{RawH3Origin, Step, data, status};
use crate::support::{Protocol, Setup, Weir, spawn, within};
use crate::tunnels::Side;

/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 §5).
const EXTENDED_CONNECT: u64 = 8;

/// A request for a tunnel as it reached the origin.
#[derive(Debug, Default)]
struct Asked {
    method: String,
    protocol: String,
    scheme: String,
    authority: String,
    path: String,
    fields: HeaderMap,
}

/// An origin, the keys of an upstream for it, and the requests that reach it.
struct Tunnels {
    address: SocketAddr,
    upstream: String,
    asked: UnboundedReceiver<Asked>,
    _origin: Option<RawH3Origin>,
}

impl Tunnels {
    /// Origins of HTTP/2 and HTTP/3 that send each byte of a tunnel back.
    async fn echoing() -> [Self; 2] {
        [h2(true).await, h3(200)]
    }

    async fn before(&self) -> Weir {
        Setup::addresses([self.address]).upstream(&self.upstream).start().await
    }
}

/// An origin of HTTP/2, which offers tunnels if it `is_able`.
async fn h2(is_able: bool) -> Tunnels {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, asked) = unbounded_channel();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut builder = h2::server::Builder::new();
            if is_able {
                builder.enable_connect_protocol();
            }
            let told = told.clone();
            spawn(async move {
                let mut connection = builder.handshake::<_, Bytes>(stream).await.ok()?;
                while let Some(Ok((request, respond))) = connection.accept().await {
                    spawn(echo_h2(request, respond, told.clone()));
                }
                Some(())
            });
        }
    });
    Tunnels { address, upstream: "protocol: h2".into(), asked, _origin: None }
}

async fn echo_h2(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    told: UnboundedSender<Asked>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let protocol = head.extensions.get::<h2::ext::Protocol>();
    told.send(Asked {
        method: head.method.to_string(),
        protocol: protocol.map_or_else(String::new, |protocol| protocol.as_str().to_owned()),
        scheme: head.uri.scheme_str().unwrap_or_default().to_owned(),
        authority: head.uri.authority().map_or_else(String::new, ToString::to_string),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        fields: head.headers,
    })
    .ok()?;
    let mut send = respond.send_response(Response::new(()), false).ok()?;
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        send.send_data(data, false).ok()?;
    }
    send.send_data(Bytes::new(), true).ok()
}

/// An origin of HTTP/3 that answers with this status. It sends each byte of a tunnel back.
fn h3(code: u16) -> Tunnels {
    let (told, asked) = unbounded_channel();
    let origin = RawH3Origin::start(&[(EXTENDED_CONNECT, 1)], move |_, section| {
        let _ = told.send(decoded(section));
        let head = status(&code.to_string(), &[("sec-websocket-accept", "of the origin")]);
        match code {
            200..300 => vec![head, Step::Echo],
            _ => vec![head, data(b"no"), Step::Finish],
        }
    });
    Tunnels { address: origin.address(), upstream: origin.upstream(), asked, _origin: Some(origin) }
}

impl Sink for Asked {
    fn pseudo(&mut self, name: Pseudo, value: Text<'_>) -> Result<(), Malformed> {
        let place = match name {
            Pseudo::Method => &mut self.method,
            Pseudo::Protocol => &mut self.protocol,
            Pseudo::Scheme => &mut self.scheme,
            Pseudo::Authority => &mut self.authority,
            Pseudo::Path => &mut self.path,
            Pseudo::Status => panic!("a status in a request"),
        };
        *place = String::from_utf8(value.to_vec()).unwrap();
        Ok(())
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        self.fields.append(name, value);
        Ok(())
    }
}

fn decoded(section: &[u8]) -> Asked {
    let mut asked = Asked::default();
    let section = Bytes::copy_from_slice(section);
    let limits = Limits { bytes: 1 << 16, fields: 100 };
    Decoder::new(0, 0).decode(0, &section, limits, &mut asked).unwrap();
    asked
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_side_closes_by_itself() {
    for mut origin in Tunnels::echoing().await {
        let mut weir = origin.before().await;
        for protocol in Protocol::ALL {
            // An answer to the key of an HTTP/1.1 client is checked here.
            let mut side = Side::open(&weir, protocol).await;
            let asked = within("a request", origin.asked.recv()).await.unwrap();
            assert_eq!((&*asked.method, &*asked.protocol), ("CONNECT", "websocket"));
            assert_eq!((&*asked.path, &*asked.authority), ("/socket?a=b", "localhost"));
            assert!(["http", "https"].contains(&&*asked.scheme), "{}", asked.scheme);
            assert_eq!(asked.fields["sec-websocket-version"], "13");
            for absent in ["sec-websocket-key", "connection", "upgrade", "host"] {
                assert!(!asked.fields.contains_key(absent), "{absent} {protocol:?}");
            }
            for text in ["one", "GET / HTTP/1.1\r\n\r\n", "three"] {
                side.send(text).await;
                side.expect(text).await;
            }
            side.send("last").await;
            side.finish().await;
            side.expect("last").await;
            side.end().await;
            let record = weir.record().await;
            assert_eq!(record["request_bytes"], record["response_bytes"], "{protocol:?}");
            assert_eq!((&record["aborted"], &record["error"]), (&false.into(), &().into()));
        }
    }
}

#[tokio::test]
async fn an_origin_may_refuse_a_tunnel() {
    let origin = h3(403);
    let weir = origin.before().await;
    for protocol in Protocol::ALL {
        assert_eq!(Side::ask(&weir, protocol).await.1, 403, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_origin_that_offers_no_tunnels_is_not_asked_for_one() {
    let silent = RawH3Origin::start(&[], |_, _| vec![status("200", &[]), Step::Echo]);
    let (_, asked) = unbounded_channel();
    let h3 = Tunnels {
        address: silent.address(),
        upstream: silent.upstream(),
        asked,
        _origin: Some(silent),
    };
    for mut origin in [h2(false).await, h3] {
        let weir = origin.before().await;
        for protocol in Protocol::ALL {
            assert_eq!(Side::ask(&weir, protocol).await.1, 502, "{protocol:?}");
        }
        assert!(origin.asked.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_tunnel_to_a_silent_origin_ends_after_the_idle_time() {
    for origin in Tunnels::echoing().await {
        let setup = Setup::addresses([origin.address]).upstream(&origin.upstream);
        let weir = setup.upstream("timeouts: { idle: 200ms }").start().await;
        for protocol in Protocol::ALL {
            let _side = Side::open(&weir, protocol).await;
            weir.until_metric("http_requests_active", &[], |active| active == 0.0).await;
        }
    }
}
