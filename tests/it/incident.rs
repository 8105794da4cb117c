//! The commands that an operator needs in an incident: the configuration would not start, and a
//! plugin was exchanged by hand.

use std::path::Path;
use std::process::Command;

use crate::support::tools::builtin;
use crate::support::weir::WEIR;
use crate::support::{Origin, Protocol, Setup, Weir, until};

const TOKEN: &str = "s3cret";

/// A Weir with the filter `v`, and the path of its file, which is deleted.
async fn without_its_file(origin: &Origin) -> Weir {
    let setup = Setup::to([origin]);
    let folder = setup.directory().to_owned();
    std::fs::copy(builtin("headers"), folder.join("v.wasm")).unwrap();
    let top = format!(
        "plugins: [{{ name: v, source: \"file:v.wasm\", watch: false }}]\n\
         admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}\n"
    );
    let setup = setup.top(&top).routes("  - { name: all, filters: [v], upstream: app }");
    let weir = setup.start().await;
    std::fs::remove_file(folder.join("v.wasm")).unwrap();
    weir
}

fn plugin(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(WEIR);
    command.arg("plugin").args(arguments).current_dir(folder);
    let output = command.env_remove("WEIR_ADMIN").env_remove("WEIR_ADMIN_TOKEN").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_commands_read_nothing_of_a_configuration_but_its_admin() {
    let origin = Origin::start().await;
    let weir = without_its_file(&origin).await;
    let folder = tempfile::tempdir().unwrap();
    let command = |arguments: &[&str]| {
        let all = [arguments, &["-c", "weir.yaml"]].concat();
        let (ok, text, errors) = plugin(folder.path(), &all);
        assert!(ok, "{arguments:?}: {errors}");
        text
    };
    // Only the token's file exists, and the last key is wrong.
    let yaml = format!(
        "\u{feff}admin: {{ address: \"{}\", token: \"file:token\" }}\n\
         plugins: [{{ name: v, source: \"file:gone.wasm\", config: {{ x: \"file:gone\" }} }}]\n\
         listeners: [{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: gone.pem, key: gone.key }}] }} }}]\n\
         upstreams: [{{ name: app, endpoints: [{{ address: \"nowhere.invalid:1\" }}] }}]\n\
         geoip: {{ databases: [gone.mmdb] }}\nnonsense: 1\n",
        weir.admin_address()
    );
    std::fs::write(folder.path().join("weir.yaml"), yaml).unwrap();
    std::fs::write(folder.path().join("token"), format!("\u{feff}{TOKEN}\n")).unwrap();
    let next = builtin("headers");

    let rows = command(&["list"]);
    assert!(rows.contains("v.wasm") && !rows.contains("admin API"), "{rows}");
    let text = command(&["swap", "v", next.to_str().unwrap(), "--for", "1s"]);
    assert!(text.contains("generation 2 gets 100%"), "{text}");
    let listed = |wanted: &'static str| {
        let command = &command;
        until(format!("{wanted} in the list"), async move || {
            let rows = command(&["list"]);
            rows.contains(wanted).then_some(rows)
        })
    };
    let rows = listed("admin API, sha256:").await;
    assert!(!rows.contains("v.wasm"), "what serves, not what is configured: {rows}");
    let status: serde_json::Value = serde_json::from_str(&command(&["list", "--json"])).unwrap();
    let status = status["plugins"].as_array().unwrap().iter().find(|p| p["name"] == "v").unwrap();
    assert_eq!(status["generation"]["source"], "admin API");
    assert_eq!(status["previous"]["source"], status["source"]);
    assert_eq!(command(&["rollback", "v"]), "v: generation 1 serves\n");
    listed("v.wasm").await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await.0, 200);
    }
}

#[test]
fn what_is_wrong_with_the_admin_of_a_configuration_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for (yaml, expected) in [
        ("listeners: []\n", "weir.yaml has no `admin:`"),
        (
            "a: 1\nadmin: { adress: \"127.0.0.1:1\", token: x }\n",
            "weir.yaml:2:10: unknown key \"adress\" in admin; did you mean \"address\"?",
        ),
        ("admin: { address: \"127.0.0.1:1\" }\n", "weir.yaml:1:8: missing key \"token\" in admin"),
        ("admin: { token: \"file:gone\" }\n", "weir.yaml:1:17: admin.token: cannot read"),
        ("admin:\n", "weir.yaml:1:6: admin: has no value"),
        ("admin: { token: [ }\n", "weir.yaml:1:"),
    ] {
        std::fs::write(folder.path().join("weir.yaml"), yaml).unwrap();
        for command in [&["list"][..], &["rollback", "v"], &["swap", "v", "weir.yaml"]] {
            let (ok, _, errors) = plugin(folder.path(), &[command, &["-c", "weir.yaml"]].concat());
            assert!(!ok && errors.contains(expected), "{yaml}: {errors}");
        }
    }
}

#[tokio::test]
async fn a_swap_is_held_to_the_bounds_of_the_configuration_wherever_it_is_asked_for() {
    let origin = Origin::start().await;
    let weir = without_its_file(&origin).await;
    let address = weir.admin_address().to_string();
    let component = builtin("headers");
    let component = component.to_str().unwrap();
    for (option, value, query) in [
        ("--for", "0s", "for=0s"),
        ("--for", "1ms", "for=1ms"),
        ("--for", "25h", "for=25h"),
        ("--share", "0%", "share=0"),
        ("--share", "0.001", "share=0.001%25"),
        ("--share", "101%", "share=101"),
    ] {
        let (ok, _, errors) = plugin(
            Path::new("."),
            &["swap", "v", component, option, value, "--admin", &address, "--token", TOKEN],
        );
        assert!(!ok && errors.contains("invalid value"), "{option} {value}: {errors}");
        // The API itself, without the command's check.
        let (status, body) = put(&address, query, component);
        assert_eq!(status, "400", "{query}: {body}");
        let (key, value) = query.split_once('=').unwrap();
        let value = value.trim_end_matches("%25");
        assert!(body.contains(&format!("{key}: ")) && body.contains(value), "{query}: {body}");
    }
    for query in ["share=10&share=20", "share=10&shadow=true", "shares=10"] {
        assert_eq!(put(&address, query, component).0, "400", "{query}");
    }
    let (status, body) = put(&address, "for=1s&share=0.01", component);
    assert_eq!(status, "200", "{body}");
    let refused = weir.metric("weir_plugin_swaps_total", &["outcome=\"refused\""]).await;
    assert!(refused.abs() < f64::EPSILON, "a wrong query is no swap");
}

/// Swaps by the admin API itself. Returns status and body.
fn put(address: &str, query: &str, component: &str) -> (String, String) {
    let output = Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}", "-X", "PUT", "--data-binary"])
        .arg(format!("@{component}"))
        .args(["-H", &format!("Authorization: Bearer {TOKEN}")])
        .arg(format!("http://{address}/api/plugins/v?{query}"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}
