//! Starts a server under guard: an argument list without a shell, a process group of its own, and of our environment
//! only what every program needs and what the configuration names.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::guard;
use crate::config::Secret;

/// Variables that every server gets when we have them; `LC_*` too.
const PASSED: [&str; 7] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "SHELL"];

/// What a gateway runs.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// Set for it.
    pub(super) env: Vec<(String, Secret)>,
    /// Taken from our environment beside [`PASSED`].
    pub(super) env_pass: Vec<String>,
    /// Where it runs.
    pub(super) cwd: Option<PathBuf>,
}

impl Program {
    /// Starts it under guard.
    ///
    /// # Errors
    /// What an operator reads when not even the guard could be started.
    pub(super) fn spawn(&self, guard: &OsStr, environment: &[(OsString, OsString)]) -> Result<Child, String> {
        let mut command = Command::new(guard);
        command
            .arg0("toolgate")
            .arg(guard::SUBCOMMAND)
            .arg(std::process::id().to_string())
            .arg("--")
            .args(&self.command)
            .env_clear()
            .envs(self.environment(environment))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.spawn().map_err(|error| match &self.cwd {
            Some(cwd) if !cwd.is_dir() => {
                format!(
                    "the working directory {} does not exist: mend `cwd`",
                    cwd.display()
                )
            }
            _ => format!("its guard cannot be started: {error}"),
        })
    }

    /// Chooses what it gets of our environment, and adds its own.
    fn environment(&self, ours: &[(OsString, OsString)]) -> BTreeMap<OsString, OsString> {
        let passes = |name: &OsStr| {
            PASSED.iter().any(|passed| name == *passed)
                || name.as_encoded_bytes().starts_with(b"LC_")
                || self.env_pass.iter().any(|passed| name == passed.as_str())
        };
        let mut chosen: BTreeMap<OsString, OsString> =
            ours.iter().filter(|(name, _)| passes(name)).cloned().collect();
        chosen.extend(
            self.env
                .iter()
                .map(|(name, value)| (name.into(), value.expose().into())),
        );
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(program: &Program, ours: &[(&str, &str)]) -> Vec<String> {
        let ours: Vec<(OsString, OsString)> = ours
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        program
            .environment(&ours)
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect()
    }

    #[test]
    fn a_server_gets_what_every_program_needs_what_is_named_and_nothing_else() {
        let program = Program {
            command: vec!["x".to_owned()],
            env: vec![
                ("TOKEN".to_owned(), Secret::new("t".to_owned())),
                ("LANG".to_owned(), Secret::new("C".to_owned())),
            ],
            env_pass: vec!["HTTPS_PROXY".to_owned(), "ABSENT".to_owned()],
            cwd: None,
        };
        let ours = [
            ("PATH", "/bin"),
            ("HOME", "/h"),
            ("LANG", "de"),
            ("LC_ALL", "C.UTF-8"),
            ("HTTPS_PROXY", "p"),
            ("ALICE_KEY", "secret"),
            ("COMPOSIO_API_KEY", "secret"),
            ("LD_PRELOAD", "evil"),
            ("NODE_OPTIONS", "evil"),
            ("XPATH", "no"),
            ("PATHX", "no"),
        ];
        assert_eq!(
            environment(&program, &ours),
            [
                "HOME=/h",
                "HTTPS_PROXY=p",
                "LANG=C",
                "LC_ALL=C.UTF-8",
                "PATH=/bin",
                "TOKEN=t"
            ]
        );
    }
}
