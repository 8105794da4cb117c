//! Plugins as packages: pushed to a registry, pulled from it, kept on disk, and refused if they are
//! wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::registry::{Registry, answer, scripted};
use crate::support::tls::Certificate;
use crate::support::tools::builtin;
use crate::support::weir::WEIR;
use crate::support::{Origin, Protocol, Setup, until};

/// A user at a command line: a folder with a cache, and a Docker configuration that is empty at
/// first.
struct User {
    folder: TempDir,
}

impl User {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("docker")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Returns the exit code, standard output without its line end, and standard error.
    fn weir(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(WEIR)
            .args(arguments)
            .current_dir(self.folder.path())
            .env("WEIR_PLUGIN_CACHE", self.path("cache"))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("PASSWORD", "sesame")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// Runs `weir plugin …`, which must succeed, and returns its output.
    fn plugin(&self, arguments: &[&str]) -> String {
        let (code, printed, told) = self.weir(&[&["plugin"], arguments].concat());
        assert_eq!(code, 0, "{arguments:?}: {told}");
        printed
    }

    /// Runs `weir plugin …`, which must fail, and returns its message.
    fn refused(&self, arguments: &[&str]) -> String {
        let (code, _, told) = self.weir(&[&["plugin"], arguments].concat());
        assert_eq!(code, 1, "{arguments:?}: {told}");
        told
    }

    /// Pushes the built-in filter `headers`, and returns its source for a configuration.
    fn push(&self, registry: &Registry, arguments: &[&str]) -> String {
        let target = format!("{}/team/canary:1.2", registry.host());
        self.plugin(&[&["push", builtin("headers").to_str().unwrap(), &target], arguments].concat())
    }

    /// Runs `weir check` on a configuration with one plugin from `source`.
    fn check(&self, source: &str, top: &str) -> (i32, String) {
        let config = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\n{}routes: [{{ filters: [p], respond: {{}} }}]\n{top}\n",
            plugins(source)
        );
        self.write("weir.yaml", config);
        let (code, _, told) = self.weir(&["check", "-c", "weir.yaml"]);
        (code, told)
    }

    fn passes(&self, source: &str, top: &str) -> String {
        let (code, told) = self.check(source, top);
        assert_eq!(code, 0, "{told}");
        told
    }

    /// Returns the message of a configuration that is refused because of its plugin.
    fn fails(&self, source: &str, top: &str) -> String {
        let (code, told) = self.check(source, top);
        assert_eq!(code, 78, "{told}");
        assert!(told.contains("weir.yaml:2:") && told.contains("plugins[0].source"), "{told}");
        told
    }

    /// Makes a pair of keys, `NAME.pem` and `NAME.pub.pem`.
    fn key(&self, name: &str, algorithm: &[&str]) {
        let key = format!("{name}.pem");
        self.openssl(&[&["genpkey", "-out", &key, "-algorithm"], algorithm].concat());
        self.openssl(&["pkey", "-in", &key, "-pubout", "-out", &format!("{name}.pub.pem")]);
    }

    fn openssl(&self, arguments: &[&str]) {
        let made = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output();
        assert!(made.unwrap().status.success(), "openssl {arguments:?}");
    }
}

fn plugins(source: &str) -> String {
    let config = "{ response: { set: { x-packaged: \"yes\" } } }";
    format!("plugins: [{{ name: p, source: \"{source}\", config: {config} }}]\n")
}

/// The configuration of a registry.
fn registries(host: &str, keys: &str) -> String {
    format!("registries: [{{ host: \"{host}\", {keys} }}]")
}

/// Returns a source by digest, and the same source by tag.
fn both(pinned: &str) -> (String, String) {
    let (tagged, digest) = pinned.split_once('@').unwrap();
    (format!("{}@{digest}", tagged.strip_suffix(":1.2").unwrap()), tagged.to_owned())
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_package_is_pushed_and_serves_by_digest_and_by_tag() {
    let (registry, user, origin) = (Registry::start(), User::new(), Origin::start().await);
    let pinned = user.push(&registry, &["--annotation", "org.example.team=edge"]);
    let (by_digest, by_tag) = both(&pinned);
    assert_eq!(user.push(&registry, &["--annotation", "org.example.team=edge"]), pinned, "again");
    for source in [&by_digest, &by_tag, &pinned] {
        let cache = tempfile::tempdir().unwrap();
        let admin = "admin: { address: \"127.0.0.1:0\", token: t }\n";
        let setup = Setup::to([&origin]).top(&format!("{}{admin}", plugins(source)));
        let setup = setup.routes("  - { name: all, filters: [p], upstream: app }");
        let weir = setup
            .variable("WEIR_PLUGIN_CACHE", cache.path().to_str().unwrap())
            .variable("DOCKER_CONFIG", cache.path().to_str().unwrap())
            .start()
            .await;
        let answer = weir.client(Protocol::H3).await.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-packaged")), (200, "yes"), "{source}");
        // Everything is there before anything is served, and the log shows the progress.
        let log = weir.printed();
        let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
        assert!(place("KiB)") < place("listening") && place("\"pulling ") < place("\"ready\""));
        let admin = weir.admin_address().to_string();
        let list = user.plugin(&["list", "--admin", &admin, "--token", "t"]);
        assert!(list.contains(by_digest.split_once('@').unwrap().1), "{list}");
    }
}

#[test]
fn what_is_pulled_is_what_was_pushed() {
    let (registry, user) = (Registry::start(), User::new());
    let pinned = user.push(&registry, &[]);
    let (by_digest, by_tag) = both(&pinned);
    assert_eq!(user.plugin(&["pull", &by_tag]), pinned);
    assert_eq!(user.plugin(&["pull", &by_digest, "-o", "other.wasm"]), by_digest);
    let component = std::fs::read(builtin("headers")).unwrap();
    for file in ["canary.wasm", "other.wasm"] {
        assert_eq!(std::fs::read(user.path(file)).unwrap(), component, "{file}");
    }
}

#[test]
fn what_is_no_plugin_is_not_pushed() {
    let (registry, user) = (Registry::start(), User::new());
    user.write("no.wasm", b"\0asm");
    let target = format!("{}/team/no:1", registry.host());
    assert!(user.refused(&["push", "no.wasm", &target]).contains("no.wasm"));
    let told = user.refused(&["pull", &target]);
    assert!(told.contains("404") && told.contains("check the name"), "{told}");
    let (code, _, told) = user.weir(&["plugin", "push", "no.wasm", "team/no:1"]);
    assert!(code == 2 && told.contains("docker.io/team"), "{told}");
}

#[test]
fn what_was_pulled_once_needs_no_registry() {
    let (mut registry, user) = (Registry::start(), User::new());
    let pinned = user.push(&registry, &[]);
    let (by_digest, by_tag) = both(&pinned);
    assert!(user.passes(&by_tag, "").contains("pulling "));
    let told = user.passes(&by_digest, "");
    assert!(!told.contains("pulling "), "{told}");

    // A damaged file counts as missing.
    let component = std::fs::read(builtin("headers")).unwrap();
    let blob = user.path("cache/oci/blobs").join(sha256(&component));
    std::fs::write(&blob, &component[..100]).unwrap();
    let told = user.passes(&by_digest, "");
    assert!(told.contains("damaged") && told.contains("pulling "), "{told}");
    assert_eq!(std::fs::read(&blob).unwrap(), component);

    registry.stop();
    let told = user.passes(&by_digest, "");
    assert_eq!(told, "", "by digest nothing is asked");
    let told = user.passes(&by_tag, "");
    assert!(told.contains("the tag's last known digest is used"), "{told}");
    let told = user.fails(&by_tag.replace("1.2", "1.3"), "");
    assert!(told.contains("no answer from"), "{told}");
    std::fs::remove_file(&blob).unwrap();
    assert!(user.fails(&by_digest, "").contains("no answer from"));
}

#[test]
fn credentials_come_from_the_configuration_or_from_dockers() {
    let (registry, user) = (Registry::with_password(), User::new());
    let host = registry.host();
    let target = format!("{host}/team/canary:1.2");
    let told = user.refused(&["push", "builtin:headers", &target]);
    assert!(told.contains("401") && told.contains("--password-from"), "{told}");
    user.write("wrong", "simsim\n");
    let wrong = ["--username", "weir", "--password-from", "file:wrong"];
    let told = user.refused(&[&["push", "builtin:headers", &target], &wrong[..]].concat());
    assert!(told.contains("rejects the credentials"), "{told}");
    let (_, by_tag) =
        both(&user.push(&registry, &["--username", "weir", "--password-from", "env:PASSWORD"]));

    let told = user.fails(&by_tag, "");
    assert!(told.contains("401") && told.contains("under registries"), "{told}");
    let with =
        |password: &str| registries(&host, &format!("username: weir, password: \"{password}\""));
    assert!(user.fails(&by_tag, &with("file:wrong")).contains("rejects the credentials"));
    user.passes(&by_tag, &with("env:PASSWORD"));
    user.write("right", "sesame\n");
    user.passes(&by_tag, &with("file:right"));

    // "weir:sesame", as `docker login` writes it.
    let auths = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"d2VpcjpzZXNhbWU=\"}}}}}}");
    user.write("docker/config.json", auths);
    user.passes(&by_tag, "");
    user.write("docker/config.json", "{\"auths\": 1}");
    let told = user.fails(&by_tag, "");
    assert!(told.contains("config.json is not a Docker configuration"), "{told}");
}

#[test]
fn a_registry_with_tls_is_trusted_by_its_ca() {
    let certificate = Certificate::new();
    let (registry, user) = (Registry::with_tls(&certificate), User::new());
    let host = registry.host().replace("127.0.0.1", "localhost");
    let target = format!("{host}/team/canary:1.2");
    let ca = certificate.cert();
    let pinned = user.plugin(&["push", "builtin:headers", &target, "--ca", &ca]);
    let secure = registries(&host, &format!("ca: \"{ca}\""));
    user.passes(&both(&pinned).1, &secure);
    let told = user.fails(&both(&pinned).1, &registries(&host, "plain_http: false"));
    assert!(told.contains("set ca (--ca)"), "{told}");
}

#[test]
fn a_package_that_must_be_signed_is_refused_without_the_right_signature() {
    let (registry, user) = (Registry::start(), User::new());
    user.key("release", &["ed25519"]);
    user.key("second", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    user.key("other", &["ed25519"]);
    let by =
        |keys: &str| registries(&registry.host(), &format!("signatures: {{ keys: [{keys}] }}"));
    let (by_digest, by_tag) = both(&user.push(&registry, &[]));
    let told = user.fails(&by_digest, &by("file:release.pub.pem"));
    assert!(told.contains("it has no signature"), "{told}");

    user.push(&registry, &["--sign", "release.pem"]);
    let told = user.passes(&by_digest, &by("file:release.pub.pem"));
    assert!(
        told.contains("pulling "),
        "the signature is checked before the component is pulled: {told}"
    );
    let told = user.fails(&by_tag, &by("file:other.pub.pem"));
    assert!(told.contains("none of its signatures (1)"), "{told}");

    // A further signature is added to the first.
    user.push(&registry, &["--sign", "second.pem"]);
    user.passes(&by_digest, &by("file:second.pub.pem"));
    user.passes(&by_tag, &by("file:other.pub.pem, file:release.pub.pem"));
    let key = |name: &str| format!("{name}.pub.pem");
    user.plugin(&["pull", &by_tag, "--key", &key("other"), "--key", &key("second")]);
    let told = user.refused(&["pull", &by_tag, "--key", &key("other")]);
    assert!(told.contains("none of its signatures (2)"), "{told}");
}

#[test]
fn a_signature_that_was_checked_once_needs_no_registry() {
    let (mut registry, user) = (Registry::start(), User::new());
    user.key("release", &["ed25519"]);
    user.key("other", &["ed25519"]);
    let host = registry.host();
    let by = |key: &str, required: bool| {
        let keys = format!("signatures: {{ keys: [\"file:{key}\"], required: {required} }}");
        registries(&host, &keys)
    };
    let (by_digest, _) = both(&user.push(&registry, &["--sign", "release.pem"]));
    user.passes(&by_digest, &by("release.pub.pem", true));
    let unsigned = format!("{host}/team/plain:1");
    let unsigned = user.plugin(&["push", "builtin:headers", &unsigned]);
    let told = user.passes(&unsigned, &by("release.pub.pem", false));
    assert!(told.contains("it has no signature, and none is required"), "{told}");
    registry.stop();
    assert_eq!(user.passes(&by_digest, &by("release.pub.pem", true)), "");
    user.passes(&unsigned, &by("release.pub.pem", false));
    // Kept components are checked against the present keys.
    let told = user.fails(&by_digest, &by("other.pub.pem", true));
    assert!(told.contains("no answer from"), "{told}");
}

#[tokio::test]
async fn a_registry_that_lies_is_found_out() {
    let component = std::fs::read(builtin("headers")).unwrap();
    let digest = |bytes: &[u8]| format!("sha256:{}", sha256(bytes));
    let manifest = |layer: &str, size: usize, digest: &str| {
        format!(
            r#"{{"schemaVersion": 2, "config": {{"mediaType": "a/b", "digest": "{digest}", "size": 2}},
                "layers": [{{"mediaType": "{layer}", "digest": "{digest}", "size": {size}}}]}}"#
        )
    };
    let good = manifest("application/wasm", component.len(), &digest(&component));
    let old = manifest(
        "application/vnd.wasm.content.layer.v1+wasm",
        component.len(),
        &digest(&component),
    );
    let other = manifest("application/wasm", 4, &digest(b"asdf"));
    let image = manifest("application/vnd.oci.image.layer.v1.tar", 4, &digest(b"asdf"));
    let large = manifest("application/wasm", 1 << 30, &digest(b"asdf"));
    let (served, whole) =
        ([good.clone(), old.clone(), image.clone(), large.clone()], component.clone());
    let zeros = sha256(&vec![0; component.len()]);
    let host = scripted(move |_, head| {
        let path = head.split(' ').nth(1).unwrap();
        let (kind, name) = path.rsplit_once('/').unwrap();
        match kind.rsplit_once('/').unwrap().1 {
            "manifests" => {
                let right = served.iter().find(|text| digest(text.as_bytes()) == name);
                answer("200 OK", "", right.unwrap_or(&other))
            }
            _ if name == digest(&whole) && path.contains("/short/") => {
                // The answer ends before its length.
                let mut short = answer("200 OK", "", &whole);
                short.truncate(short.len() - 10);
                short
            }
            _ if name == digest(&whole) && path.contains("/true/") => answer("200 OK", "", &whole),
            _ if path.contains("/long/") => answer("200 OK", "", vec![0; whole.len() + 1]),
            _ => answer("200 OK", "", vec![0; whole.len()]),
        }
    })
    .await;
    let user = User::new();
    let at = move |name: &str, text: &str| {
        format!("oci:{host}/{name}/canary@sha256:{}", sha256(text.as_bytes()))
    };
    tokio::task::spawn_blocking(move || {
        let unknown = at("true", "never stored");
        let told = user.fails(&unknown, "");
        assert!(told.contains("damaged or forged"), "{told}");
        let told = user.fails(&at("false", &good), "");
        assert!(told.contains("expected sha256:") && told.contains("damaged or forged"), "{told}");
        assert!(user.fails(&at("long", &good), "").contains("larger than"));
        assert!(user.fails(&at("short", &good), "").contains("no answer from"));
        assert!(user.fails(&at("true", &image), "").contains("no layer is application/wasm"));
        assert!(user.fails(&at("true", &large), "").contains("larger than"));
        assert!(!user.path("cache/oci/blobs").join(&zeros).exists(), "a lie is kept");
        user.passes(&at("true", &good), "");
        user.passes(&at("true", &old), "");
    })
    .await
    .unwrap();
}

/// Tests the scheme of the large registries: a token for each repository, from a separate server.
#[tokio::test]
async fn a_token_is_fetched_for_the_repository_and_nothing_else() {
    let component = std::fs::read(builtin("headers")).unwrap();
    let digest = sha256(&component);
    let size = component.len();
    let manifest = format!(
        r#"{{"schemaVersion": 2, "config": {{"mediaType": "a/b", "digest": "sha256:{digest}", "size": 2}},
            "layers": [{{"mediaType": "application/wasm", "digest": "sha256:{digest}", "size": {size}}}]}}"#
    );
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let host = scripted(move |address, head| {
        seen.lock().unwrap().push(head.to_owned());
        let path = head.split(' ').nth(1).unwrap();
        if path.starts_with("/token") {
            return answer("200 OK", "", "{\"token\": \"for-canary\"}");
        }
        if !head.contains("authorization: Bearer for-canary\r\n") {
            let challenge = format!(
                "www-authenticate: Bearer realm=\"http://{address}/token\",service=\"reg\",scope=\"x\"\r\n"
            );
            return answer("401 Unauthorized", &challenge, "");
        }
        if path.contains("/manifests/") {
            answer("200 OK", "", &manifest)
        } else {
            answer("200 OK", "", &component)
        }
    })
    .await;
    let user = User::new();
    let source = format!("oci:{host}/team/canary:1.2");
    let login = registries(&host.to_string(), "username: weir, password: sesame");
    tokio::task::spawn_blocking(move || user.passes(&source, &login)).await.unwrap();
    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 4, "asked, token, manifest, component: {heads:#?}");
    assert!(
        heads[1].starts_with("GET /token?scope=repository%3Ateam%2Fcanary%3Apull&service=reg ")
    );
    assert!(heads[1].contains("authorization: Basic d2VpcjpzZXNhbWU=\r\n"), "{}", heads[1]);
    let passwords = heads.iter().filter(|head| head.contains("Basic ")).count();
    assert_eq!(passwords, 1, "the password goes to the login alone");
}

#[tokio::test]
async fn a_registry_that_is_out_of_order_is_asked_three_times() {
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    let host = scripted(move |_, _| {
        *counted.lock().unwrap() += 1;
        answer("503 Service Unavailable", "", "{\"errors\": [{\"code\": \"UNAVAILABLE\"}]}")
    })
    .await;
    let user = User::new();
    let source = format!("oci:{host}/team/canary:1.2");
    let told = tokio::task::spawn_blocking(move || user.fails(&source, "")).await.unwrap();
    assert!(told.contains("503 Service Unavailable (UNAVAILABLE)"), "{told}");
    assert_eq!(*count.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_packaged_plugin_is_swapped_like_any_other() {
    let (registry, user, origin) = (Registry::start(), User::new(), Origin::start().await);
    let (by_digest, _) = both(&user.push(&registry, &[]));
    let top = format!("{}admin: {{ address: \"127.0.0.1:0\", token: t }}\n", plugins(&by_digest));
    let setup = Setup::to([&origin]).top(&top);
    let setup = setup.routes("  - { name: all, filters: [p], upstream: app }");
    let weir =
        setup.variable("WEIR_PLUGIN_CACHE", user.path("cache").to_str().unwrap()).start().await;
    let component: &Path = &builtin("headers");
    let admin = weir.admin_address().to_string();
    let swap = [
        "swap",
        "p",
        component.to_str().unwrap(),
        "--for",
        "1s",
        "--admin",
        &admin,
        "--token",
        "t",
    ];
    user.plugin(&swap);
    until("the second generation", async || {
        let list = user.plugin(&["list", "--json", "--admin", &admin, "--token", "t"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        (list["plugins"][0]["generation"]["number"] == 2).then_some(())
    })
    .await;
}
