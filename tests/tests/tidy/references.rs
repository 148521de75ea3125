//! What one file says about another, or about the world: tests named in ARCHITECTURE.md, paths, hosts.

use system_tests::binaries::workspace;

use crate::sources::{Source, assert_clean, everything, sources};

/// Where documents and examples may point. A host that is not here is a private one or a typing error.
const HOSTS: [&str; 17] = [
    "127.0.0.1",
    "localhost",
    "github.com",
    "docs.rs",
    "docs.aws.amazon.com",
    "kinesis.us-east-1.amazonaws.com",
    "rustup.rs",
    "www.rust-lang.org",
    "doc.rust-lang.org",
    "www.apache.org",
    "docs.oasis-open.org",
    "semver.org",
    "keepachangelog.com",
    "mosquitto.org",
    "nats.io",
    "www.raspberrypi.com",
    "www.usenix.org",
];

#[test]
fn every_test_that_architecture_names_exists() {
    let page = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md exists");
    let named: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|word| word.contains("::") && word.chars().all(|c| c.is_alphanumeric() || "_:".contains(c)))
        .filter(|word| {
            word.rsplit("::").next().is_some_and(|last| last.starts_with(|c: char| c.is_lowercase()))
        })
        .collect();
    assert!(
        named.len() >= 8,
        "ARCHITECTURE.md names {} tests in its tables, expected one per invariant",
        named.len()
    );
    let code = sources(&["rs", "py"]);
    let breaches: Vec<String> =
        named.iter().filter(|name| !is_somewhere(name, &code)).map(ToString::to_string).collect();
    assert_clean("ARCHITECTURE.md names tests that do not exist", &breaches);
}

/// `module::name` is the function `name` in a file below or called `module`, or that declares `mod module`.
fn is_somewhere(name: &str, code: &[Source]) -> bool {
    let (module, function) = name.rsplit_once("::").unwrap_or(("", name));
    let module = module.rsplit("::").next().unwrap_or_default();
    code.iter().any(|source| {
        let here =
            source.path.split(['/', '.']).any(|part| part == module || part.replace('-', "_") == module);
        let declared = source.text.contains(&format!("mod {module} {{"));
        let calls = [format!("fn {function}("), format!("def {function}(")];
        (here || declared) && calls.iter().any(|call| source.text.contains(call))
    })
}

#[test]
fn every_program_has_a_sample_of_its_configuration() {
    for sample in ["gateway/headwater.sample.toml", "agent/headwater-agent.sample.toml"] {
        let text = std::fs::read_to_string(workspace().join(sample))
            .unwrap_or_else(|error| panic!("{sample}: {error}"));
        let (keys, explained) = (text.matches(" = ").count(), text.matches('#').count());
        assert!(keys >= 10 && explained >= keys, "{sample}: {keys} keys, {explained} comments");
    }
}

#[test]
fn nothing_points_to_a_private_place() {
    // A home, a scratch folder or a mirror of whoever wrote the line means nothing to anyone else.
    let private =
        ["/ho me/", "/ro ot/", "/wo rk/", "/op t/", "/mn t/", "/sr v/"].map(|path| path.replace(' ', ""));
    let mut breaches = Vec::new();
    for source in everything() {
        for (number, line) in source.text.lines().enumerate() {
            let at = format!("{}:{}", source.path, number + 1);
            if let Some(path) = private.iter().find(|path| line.contains(path.as_str())) {
                breaches.push(format!("{at}: {path} in {}", line.trim()));
            }
            let unknown = hosts(line).filter(|host| is_private_host(host));
            breaches.extend(unknown.map(|host| format!("{at}: unknown host {host}")));
        }
    }
    assert_clean("private places", &breaches);
}

/// Host names after `http://` and `https://`; templates like `{host}` and `<pi>` are no names.
fn hosts(line: &str) -> impl Iterator<Item = String> {
    let parts: Vec<&str> = line.split("://").collect();
    let pairs: Vec<_> = parts.windows(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
    pairs.into_iter().filter(|(scheme, _)| scheme.ends_with("http") || scheme.ends_with("https")).map(
        |(_, rest)| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect(),
    )
}

/// Names without a dot are machines of an example (`http://pi:4567`); reserved names cannot be anybody's.
fn is_private_host(host: &str) -> bool {
    let reserved = [".example", ".example.com", ".local", ".test", ".invalid", ".amazonaws.com"];
    let addresses = ["127.", "10.", "169.254.", "192.168.", "192.0.2."];
    host.contains('.')
        && !HOSTS.contains(&host)
        && host != "example.com"
        && !reserved.iter().any(|end| host.ends_with(end))
        && !addresses.iter().any(|start| host.starts_with(start))
}

#[test]
fn a_private_host_and_an_invented_test_are_seen() {
    let line = ["see https:", "//mirror.corp.internal/simple and http:", "//127.0.0.1:1"].concat();
    let hosts: Vec<String> = hosts(&line).collect();
    assert_eq!(hosts, ["mirror.corp.internal", "127.0.0.1"]);
    assert!(is_private_host(&hosts[0]) && !is_private_host(&hosts[1]));
    let code =
        [Source { path: "journal/tests/power_cut.rs".to_owned(), text: "fn ten_cuts() {}".to_owned() }];
    assert!(is_somewhere("power_cut::ten_cuts", &code));
    assert!(!is_somewhere("power_cut::eleven_cuts", &code) && !is_somewhere("other::ten_cuts", &code));
}
