//! The command line as a person or a container uses it: the real binary, an empty environment, a folder of its own.

mod client;
mod connect;
mod import;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder in which commands run.
pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(config: &str) -> Self {
        let desk = Self::empty();
        desk.write("gateways.toml", config);
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, &[], "")
    }

    pub(crate) fn run_with(&self, args: &[&str], env: &[(&str, &str)], stdin: &str) -> Done {
        let mut child = Command::new(env!("CARGO_BIN_EXE_toolgate"))
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its stdin may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Done {
            code: output.status.code().expect("the command ends by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn without_a_command_the_help_says_where_to_begin_and_what_the_exit_codes_mean() {
    let done = Desk::empty().run(&[]);
    assert_eq!(done.code, 2);
    assert!(
        done.err.contains("toolgate serve") && done.err.contains("Exit codes:"),
        "{}",
        done.err
    );
    let help = Desk::empty().run(&["--help"]);
    assert_eq!((help.code, help.out), (0, done.err));
}

#[test]
fn every_command_has_help() {
    for command in [
        "serve",
        "check",
        "tools",
        "call",
        "import",
        "connect",
        "health",
        "keys",
        "completions",
    ] {
        let done = Desk::empty().run(&[command, "--help"]);
        assert_eq!(done.code, 0, "{command}");
        assert!(done.out.contains("Usage: toolgate"), "{command}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let done = Desk::empty().run(&["--version"]);
    assert_eq!(done.out, format!("toolgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_word_on_the_command_line_ends_with_2() {
    for args in [
        &["serv"][..],
        &["check", "--colour"],
        &["connect", "netscape"],
        &["call"],
    ] {
        let done = Desk::empty().run(args);
        assert_eq!(done.code, 2, "{args:?}: {}", done.err);
        assert!(done.out.is_empty() && !done.err.is_empty(), "{args:?}");
    }
}

#[test]
fn completions_are_there_for_the_common_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let done = Desk::empty().run(&["completions", shell]);
        assert_eq!(done.code, 0);
        assert!(
            done.out.contains("toolgate") && done.out.contains("completions"),
            "{shell}"
        );
    }
}

#[test]
fn check_prints_what_the_configuration_comes_to_without_secrets() {
    let desk = Desk::with(
        "[auth]\nkeys = [{ user = 'alice', key = 's3cret-s3cret-s3cret' }]\n[tools]\npermitted = ['brave_*']\n\
         [gateways.brave]\nurl = 'http://mcp-brave:8080/mcp?token=s3cret'\nheaders = { Authorization = 's3cret' }\n\
         timeout_ms = 60_000\nrequired = true\ndeny = ['brave_summarizer']\n\
         [gateways.fetch]\ncommand = ['no-such-program', '--api-key', 's3cret']\nera = 'legacy'\n\
         [gateways.off]\nenabled_if_env = 'OFF_KEY'\ncommand = ['x']\n",
    );
    let done = desk.run_with(
        &["check"],
        &[("PATH", "/usr/bin:/bin"), ("TOOLGATE_LISTEN", "0.0.0.0:81")],
        "",
    );
    assert_eq!(done.code, 0, "{}", done.err);
    let right = "\
file       gateways.toml
listen     0.0.0.0:81
users      alice
permitted  brave_*

GATEWAY  TRANSPORT  ERA     TIMEOUT  IN FLIGHT  REQUIRED  PERMITTED              TARGET
brave    http       auto    60s      128        yes       all, not brave_summarizer  http://mcp-brave:8080/mcp?***
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed(&done.out).starts_with(&squeezed(right)), "{}", done.out);
    assert!(done.out.contains("no-such-program --api-key ***"), "{}", done.out);
    assert!(done.out.contains("OFF_KEY is not set"), "{}", done.out);
    assert!(
        done.err.contains("goes unencrypted over http:// to mcp-brave"),
        "{}",
        done.err
    );
    assert!(
        done.err
            .contains("gateways.fetch.command: no-such-program is not there"),
        "{}",
        done.err
    );
    assert!(!format!("{done:?}").contains("s3cret"), "{done:?}");
}

#[test]
fn check_ends_with_2_and_one_line_for_each_problem() {
    let desk = Desk::with("[server]\nlisen = 'x'\n[gateways.a]\nurl = 'mcp'\n");
    let done = desk.run(&["check"]);
    assert_eq!(done.code, 2);
    assert_eq!(
        done.err,
        "gateways.toml:2: server.lisen: unknown key, did you mean listen?\n\
         gateways.toml:4: gateways.a.url: must be a whole URL, such as http://127.0.0.1:3001/mcp\n"
    );
    assert_eq!(done.out, "");
    let other = desk.run(&["check", "--config", "nowhere.toml"]);
    assert_eq!(other.code, 2);
    assert!(
        other.err.starts_with("nowhere.toml: cannot be read"),
        "{}",
        other.err
    );
}

#[test]
fn check_says_how_to_serve_other_machines() {
    let done = Desk::empty().run(&["check", "--listen", "0.0.0.0:8080"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("toolgate keys new"), "{}", done.err);
    let key = [("TOOLGATE_KEY", "0123456789abcdef")];
    assert_eq!(
        Desk::empty()
            .run_with(&["check", "--listen", "0.0.0.0:8080"], &key, "")
            .code,
        0
    );
}

#[test]
fn check_prints_the_reference_of_all_keys() {
    let done = Desk::with("not toml").run(&["check", "--keys"]);
    assert_eq!((done.code, done.out), (0, toolgate::config::keys::reference()));
}

#[test]
fn the_configuration_at_the_top_of_the_project_is_right() {
    let desk = Desk::empty();
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/gateways.toml");
    let done = desk.run(&["check", "--config", top]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("BRAVE_API_KEY is not set"), "{}", done.out);
    let with_key = desk.run_with(&["check", "--config", top], &[("BRAVE_API_KEY", "s3cret")], "");
    assert!(
        with_key.out.contains("brave-search-mcp-server"),
        "{}",
        with_key.out
    );
    assert!(!with_key.out.contains("s3cret"));
}

#[test]
fn a_key_that_is_hashed_is_the_key_that_the_configuration_accepts() {
    let made = Desk::empty().run(&["keys", "new"]);
    let mut lines = made.out.lines();
    let key = lines
        .next()
        .unwrap()
        .strip_prefix("key = \"")
        .unwrap()
        .strip_suffix('"')
        .unwrap();
    let hash = lines.next().unwrap();
    assert!(key.starts_with("tg_") && key.len() > 40, "{key}");
    let by_argument = Desk::empty().run(&["keys", "hash", key]);
    let by_stdin = Desk::empty().run_with(&["keys", "hash"], &[], &format!("{key}\n"));
    assert_eq!((by_argument.out.trim(), by_stdin.out.trim()), (hash, hash));
    let both = format!("[auth]\nkeys = [{{ user = 'a', key = '{key}' }}, {{ user = 'b', {hash} }}]\n");
    let done = Desk::with(&both).run(&["check"]);
    assert!(done.err.contains("the same key as auth.keys[0]"), "{}", done.err);
    let other = Desk::empty().run(&["keys", "new"]);
    assert_ne!(other.out, made.out);
}

#[test]
fn a_hash_is_the_sha256_and_no_key_is_no_hash() {
    let done = Desk::empty().run(&["keys", "hash", "test"]);
    assert_eq!(
        done.out,
        "key_sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n"
    );
    for stdin in ["", "\n", "two words\n"] {
        assert_eq!(
            Desk::empty().run_with(&["keys", "hash"], &[], stdin).code,
            2,
            "{stdin:?}"
        );
    }
}
