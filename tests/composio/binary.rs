//! The `toolgate` binary, in an empty environment and a folder of its own.

use std::process::Command;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn toolgate(args: &[&str], env: &[(&str, &str)]) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_toolgate"))
        .args(args)
        .current_dir(folder.path())
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap();
    Done {
        code: output.status.code().expect("the command ends by itself"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
