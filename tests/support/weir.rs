//! The real binary with its own configuration, on free ports. Tests watch its output and its
//! listeners.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::processes;
use super::tools::output;
use super::{Answer, Body, Client, Protocol, client::Failure, until, within};

/// The binary under test. A build with `WEIR_BINARY` tests that one, such as a release.
pub(crate) const WEIR: &str = match option_env!("WEIR_BINARY") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_weir"),
};

/// The configuration of a Weir: one listener with TLS and all protocols, one upstream `app`, one
/// route `all`, two workers, and the additions of a test.
#[derive(Debug)]
pub(crate) struct Setup {
    endpoints: Vec<String>,
    listener: Vec<String>,
    tls: String,
    upstream: Vec<String>,
    upstreams: String,
    routes: String,
    top: Vec<String>,
    telemetry: String,
    log: String,
    text: bool,
    workers: usize,
    grace: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    program: PathBuf,
    launcher: Vec<String>,
    directory: TempDir,
}

/// A running Weir; killed when dropped, with the processes that have taken over from it.
#[derive(Debug)]
pub(crate) struct Weir {
    child: Child,
    /// The processes that have taken over, oldest first.
    successors: Vec<u32>,
    address: SocketAddr,
    metrics: SocketAddr,
    admin: Option<SocketAddr>,
    records: mpsc::UnboundedReceiver<String>,
    log: mpsc::UnboundedReceiver<String>,
    printed: Arc<Mutex<Vec<String>>>,
    text: bool,
    _directory: TempDir,
}

impl Setup {
    /// Proxies to these addresses.
    pub(crate) fn addresses(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let endpoint = |address| format!("{{ address: \"{address}\" }}");
        Self {
            endpoints: addresses.into_iter().map(endpoint).collect(),
            listener: Vec::new(),
            tls: "tls: { self_signed: {} }".to_owned(),
            upstream: Vec::new(),
            upstreams: String::new(),
            routes: "  - { name: all, upstream: app }\n".to_owned(),
            top: Vec::new(),
            telemetry: String::new(),
            log: "level: info".to_owned(),
            text: false,
            workers: 2,
            grace: "10s".to_owned(),
            arguments: Vec::new(),
            variables: Vec::new(),
            program: WEIR.into(),
            launcher: Vec::new(),
            directory: TempDir::new().unwrap(),
        }
    }

    /// Proxies to these origins, by the protocol of the first.
    pub(crate) fn to<'a>(origins: impl IntoIterator<Item = &'a super::Origin>) -> Self {
        let origins: Vec<_> = origins.into_iter().collect();
        let setup = Self::addresses(origins.iter().map(|origin| origin.address()));
        match origins.first().and_then(|origin| origin.upstream()) {
            Some(keys) => setup.upstream(&keys),
            None => setup,
        }
    }

    /// Adds keys to the listener, such as `limits: { body: 1KiB }`.
    pub(crate) fn listener(mut self, yaml: &str) -> Self {
        self.listener.push(yaml.to_owned());
        self
    }

    /// Replaces the listener's `tls`.
    pub(crate) fn tls(mut self, yaml: &str) -> Self {
        self.tls = yaml.to_owned();
        self
    }

    /// Adds keys to the upstream, such as `balancer: weighted`.
    pub(crate) fn upstream(mut self, yaml: &str) -> Self {
        self.upstream.push(yaml.to_owned());
        self
    }

    /// Adds upstreams: lines that begin with `  - `.
    pub(crate) fn upstream_after(mut self, yaml: &str) -> Self {
        self.upstreams.push_str(yaml);
        self
    }

    /// Adds keys to the endpoint of this number, such as `weight: 3`.
    pub(crate) fn endpoint(mut self, number: usize, yaml: &str) -> Self {
        self.endpoints[number] = self.endpoints[number].replace(" }", &format!(", {yaml} }}"));
        self
    }

    /// Replaces the routes: lines that begin with `  - `.
    pub(crate) fn routes(mut self, yaml: &str) -> Self {
        self.routes = format!("{}\n", yaml.trim_end());
        self
    }

    /// Adds top-level keys, such as `plugins: […]`.
    pub(crate) fn top(mut self, yaml: &str) -> Self {
        self.top.push(yaml.to_owned());
        self
    }

    /// Adds keys to `telemetry`, such as `tracing: {…}`.
    pub(crate) fn telemetry(mut self, yaml: &str) -> Self {
        self.telemetry = yaml.to_owned();
        self
    }

    /// Sets the keys of `telemetry.log` besides `format`.
    pub(crate) fn log(mut self, yaml: &str) -> Self {
        self.log = yaml.to_owned();
        self
    }

    /// Writes the log and the records as text.
    pub(crate) fn text(mut self) -> Self {
        self.text = true;
        self
    }

    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    pub(crate) fn grace(mut self, grace: &str) -> Self {
        grace.clone_into(&mut self.grace);
        self
    }

    /// Adds arguments after `weir run -c FILE`.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the most file descriptors of the process.
    pub(crate) fn files(self, files: u32) -> Self {
        let limit = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        self.launcher(&["sh", "-c", &limit])
    }

    /// Starts this program in place of the binary under test.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Starts the program through a command that it follows, which must keep the process.
    pub(crate) fn launcher(mut self, command: &[&str]) -> Self {
        self.launcher = command.iter().map(ToString::to_string).collect();
        self
    }

    /// The folder of the configuration, for files beside it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the configuration and returns its path.
    pub(crate) fn write(&self, metrics: SocketAddr) -> PathBuf {
        let path = self.directory.path().join("weir.yaml");
        std::fs::write(&path, with_fresh_builtins(self.yaml(metrics))).unwrap();
        path
    }

    /// Compiles its plugins before the start: a start has a time limit, and a component with an
    /// interpreter takes long.
    pub(crate) async fn compiled(self) -> Self {
        let mut check = Command::new(WEIR);
        check.env("WEIR_PLUGIN_CACHE", PLUGIN_CACHE);
        check.args(["check", "-c"]).arg(self.write(([127, 0, 0, 1], 0).into()));
        output(check).await;
        self
    }

    /// Starts Weir and waits until it serves.
    pub(crate) async fn start(self) -> Weir {
        // The kernel chooses a free port; the log has its number.
        let metrics = ([127, 0, 0, 1], 0).into();
        let config = self.write(metrics);
        let mut command = match self.launcher.split_first() {
            None => Command::new(&self.program),
            Some((launcher, arguments)) => {
                let mut command = Command::new(launcher);
                command.args(arguments).arg(&self.program);
                command
            }
        };
        command.env("WEIR_PLUGIN_CACHE", PLUGIN_CACHE);
        command.envs(self.variables.iter().cloned());
        command.arg("run").arg("-c").arg(&config).args(&self.arguments).args(self.fresh_plugins());
        Weir::start(command, metrics, self.text, self.directory).await
    }

    /// Declares the built-in plugins that the configuration names without a declaration. CI tests
    /// those built from source in that run, not the embedded ones. [`Self::write`] handles the
    /// declared ones.
    fn fresh_plugins(&self) -> Vec<String> {
        let yaml = self.yaml(([127, 0, 0, 1], 0).into());
        let is_word = |byte: Option<&u8>| {
            byte.is_some_and(|b| b.is_ascii_alphanumeric() || b"-:_.".contains(b))
        };
        let is_named = |name: &str| {
            yaml.match_indices(name).any(|(at, _)| {
                let (before, after) = yaml.as_bytes().split_at(at);
                !is_word(before.last()) && !is_word(after.get(name.len()))
            })
        };
        let defaults = !self.upstream.iter().any(|line| line.starts_with("balancer: "));
        let is_used = |name: &String| {
            let is_declared = yaml.contains(&format!("name: {name},"));
            !is_declared && (is_named(name) || (defaults && name == "round-robin"))
        };
        let argument = |name: String| {
            let fresh = super::tools::fresh_builtin(&name)?;
            Some(["--plugin".to_owned(), format!("{name}=file:{}", fresh.display())])
        };
        let names = super::tools::builtins().into_iter().filter(is_used);
        names.filter_map(argument).flatten().collect()
    }

    fn yaml(&self, metrics: SocketAddr) -> String {
        let lines =
            |all: &[String]| all.iter().map(|line| format!("    {line}\n")).collect::<String>();
        let format = if self.text { "text" } else { "json" };
        let endpoints: String =
            self.endpoints.iter().map(|endpoint| format!("      - {endpoint}\n")).collect();
        format!(
            "listeners:\n  - address: \"127.0.0.1:0\"\n    {}\n{}\
             upstreams:\n  - name: app\n    endpoints:\n{endpoints}{}{}\
             routes:\n{}\
             telemetry:\n  metrics: {{ address: \"{metrics}\" }}\n  log: {{ {}, format: {format} }}\n  {}\n\
             shutdown: {{ grace: {} }}\nworkers: {}\n{}\n",
            self.tls,
            lines(&self.listener),
            lines(&self.upstream),
            self.upstreams,
            self.routes,
            self.log,
            self.telemetry,
            self.grace,
            self.workers,
            self.top.join("\n"),
        )
    }
}

impl Weir {
    /// Starts a command that serves, and waits until it logs that it is ready.
    pub(crate) async fn start(
        mut command: Command,
        metrics: SocketAddr,
        text: bool,
        directory: TempDir,
    ) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {WEIR}: {error}"));
        let printed = Arc::new(Mutex::new(Vec::new()));
        let records = lines(child.stdout.take().unwrap(), printed.clone());
        let log = lines(child.stderr.take().unwrap(), printed.clone());
        let address = ([0, 0, 0, 0], 0).into();
        let mut weir = Self {
            child,
            successors: Vec::new(),
            address,
            metrics,
            admin: None,
            records,
            log,
            printed,
            text,
            _directory: directory,
        };
        loop {
            let Some(line) = within("a start", weir.log.recv()).await else {
                panic!("Weir ended before it was ready: {}", weir.printed());
            };
            let address = |message| {
                let fields = event(&line, message, text)?;
                fields["address"].as_str()?.parse::<SocketAddr>().ok()
            };
            weir.address = address("listening").unwrap_or(weir.address);
            weir.metrics = address("serving metrics").unwrap_or(weir.metrics);
            weir.admin = address("serving the admin API").or(weir.admin);
            if event(&line, "ready", text).is_some() {
                break;
            }
        }
        weir
    }

    /// Starts with a file of configs/, on free ports. `origins` replace its upstreams at
    /// 127.0.0.1:3000 and up, and `edit` changes the rest.
    pub(crate) async fn example(
        name: &str,
        origins: &[&super::Origin],
        edit: impl FnOnce(String, &Path) -> String,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let path = super::tools::root().join("configs").join(name).with_extension("yaml");
        let mut yaml = edit(std::fs::read_to_string(path).unwrap(), directory.path());
        for (port, origin) in (3000..).zip(origins) {
            yaml = yaml
                .replace(&format!("\"127.0.0.1:{port}\""), &format!("\"{}\"", origin.address()));
        }
        assert!(
            !yaml.contains("\"127.0.0.1:30"),
            "an upstream of configs/{name}.yaml is not there"
        );
        yaml = yaml.replace("\"127.0.0.1:8443\"", "\"127.0.0.1:0\"");
        yaml.push_str(
            "\ntelemetry: { metrics: { address: \"127.0.0.1:0\" }, log: { format: json } }\n",
        );
        let yaml = with_fresh_builtins(yaml);
        let file = directory.path().join("weir.yaml");
        std::fs::write(&file, yaml).unwrap();
        let mut command = Command::new(WEIR);
        command.env("WEIR_PLUGIN_CACHE", PLUGIN_CACHE).arg("run").arg("-c").arg(file);
        Self::start(command, ([127, 0, 0, 1], 0).into(), false, directory).await
    }

    /// The address for clients, TCP and UDP alike.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin API.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.expect("an admin API is configured")
    }

    /// The address of the metrics.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// `https://localhost:PORT` and a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// Opens a connection.
    pub(crate) async fn client(&self, protocol: Protocol) -> Client {
        Client::connect(self.address, protocol).await
    }

    /// Sends one GET over a new connection and reads the answer to its end.
    pub(crate) async fn get(&self, protocol: Protocol, path: &str) -> (u16, String) {
        let answer = self.client(protocol).await.get(path).await;
        (answer.status.as_u16(), answer.text().await)
    }

    /// Sends one request over a new connection.
    pub(crate) async fn try_send(
        &self,
        protocol: Protocol,
        request: Request<Body>,
    ) -> Result<Answer, Failure> {
        let client = Client::try_connect(self.address, protocol).await?;
        within("an answer", client.try_send(request)).await
    }

    /// The metrics as text.
    pub(crate) async fn metrics(&self) -> String {
        within("metrics", scrape(self.metrics, "/metrics")).await.1
    }

    /// The sum of the samples of `name` that have all of `labels` (`a="x"`).
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sum(&self.metrics().await, name, labels)
    }

    /// Waits until `good` accepts the value of [`Self::metric`].
    pub(crate) async fn until_metric(
        &self,
        name: &str,
        labels: &[&str],
        good: impl Fn(f64) -> bool,
    ) -> f64 {
        let what = format!("{name}{labels:?}");
        until(what, async || Some(self.metric(name, labels).await).filter(|value| good(*value)))
            .await
    }

    /// The next access record, JSON.
    pub(crate) async fn record(&mut self) -> Value {
        let line = self.record_line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// The next access record as written.
    pub(crate) async fn record_line(&mut self) -> String {
        within("an access record", self.records.recv()).await.expect("Weir still runs")
    }

    /// Waits for the log event with this message, and returns its fields.
    pub(crate) async fn logged(&mut self, message: &str) -> Value {
        loop {
            let Some(line) = within(format!("log event {message:?}"), self.log.recv()).await else {
                panic!("Weir ended before it logged {message:?}");
            };
            if let Some(fields) = event(&line, message, self.text) {
                return fields;
            }
        }
    }

    /// Waits for a log event with this part in its message, and returns its fields.
    pub(crate) async fn said(&mut self, part: &str) -> Value {
        loop {
            let Some(line) = within(format!("log event with {part:?}"), self.log.recv()).await
            else {
                panic!("Weir ended before it logged {part:?}");
            };
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let fields = event.get("fields").unwrap_or(&event);
            if fields["message"].as_str().is_some_and(|message| message.contains(part)) {
                return fields.clone();
            }
        }
    }

    /// Waits until a new process has taken over, and returns its id. Signals and figures concern
    /// that process from then on.
    pub(crate) async fn succeeded(&mut self) -> u32 {
        let fields = self.logged("a new process serves").await;
        let pid = fields["pid"].as_u64().unwrap().try_into().unwrap();
        self.successors.push(pid);
        pid
    }

    /// The id of the process that serves: the first one, or the last that has taken over.
    pub(crate) fn pid(&self) -> u32 {
        self.successors.last().copied().unwrap_or_else(|| self.child.id())
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits until the first process has ended.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        until("the end of the process", async || self.child.try_wait().unwrap()).await
    }

    /// Whether the first process is alive.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Resident memory now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Resident memory now without huge pages: for one byte the kernel may give 2 MiB of those.
    pub(crate) fn memory_in_pages(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = std::fs::read_to_string(path).unwrap();
        let bytes = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        bytes("Rss:") - bytes("AnonHugePages:")
    }

    /// Most resident memory since [`Self::forget_peak`], in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Resets the measured peak.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    /// Processor time used so far, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// The output of both streams so far.
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().unwrap().join("\n")
    }

    fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // A process that has taken over, or is about to, outlives the one that has started it.
        let started = [self.child.id()].into_iter().chain(self.successors.iter().copied());
        let heirs: Vec<u32> = started.flat_map(processes::descendants).collect();
        let _ = self.child.kill();
        let _ = self.child.wait();
        heirs.iter().chain(&self.successors).for_each(|pid| processes::kill(*pid));
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- printed by Weir:\n{}", self.printed());
        }
    }
}

/// The cache of compiled code for all tests; the tests of the cache itself have their own.
pub(crate) const PLUGIN_CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins");

/// Returns a configuration with the built-in plugins of a fresh build, if there is one.
fn with_fresh_builtins(mut yaml: String) -> String {
    for name in super::tools::builtins() {
        if let Some(fresh) = super::tools::fresh_builtin(&name) {
            let fresh = format!("source: \"file:{}\"", fresh.display());
            // The whole name: a name may begin with another.
            for end in ["\n", ",", " "] {
                yaml =
                    yaml.replace(&format!("source: builtin:{name}{end}"), &format!("{fresh}{end}"));
            }
        }
    }
    yaml
}

/// Returns an address with a port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Returns an address that refuses connections, and a guard. While the guard lives, no other
/// process can use the address.
pub(crate) fn refusing_address() -> (SocketAddr, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// Runs Weir to its end. Returns exit code, standard output and standard error.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(WEIR).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Sends a plain GET by HTTP/1.1. Returns status and body.
pub(crate) async fn scrape(address: SocketAddr, path: &str) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut requests, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    super::spawn(async move { drop(connection.await) });
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    let answer = requests.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

/// The sum of the samples of `name` that have all of `labels`.
pub(crate) fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let fits = found == name && labels.iter().all(|label| rest.contains(label));
        fits.then(|| value.parse::<f64>().unwrap())
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).sum()
}

fn lines(
    stream: impl Read + Send + 'static,
    printed: Arc<Mutex<Vec<String>>>,
) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            printed.lock().unwrap().push(line.clone());
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Returns the fields of an event, if the line is one with this message.
fn event(line: &str, message: &str, text: bool) -> Option<Value> {
    if text {
        let after = line.split_once(&format!(" {message}"))?.1;
        let pairs = after.split_whitespace().filter_map(|word| word.split_once('='));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').into()));
        return Some(Value::Object(pairs.collect()));
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    (fields.get("message")?.as_str()? == message).then(|| fields.clone())
}
