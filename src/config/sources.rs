//! Where the configuration comes from. [`Sources::read`] is the one place of the house that reads the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::CONFIG_VARIABLE;
use super::expand::ReadFile;
use super::file::File;
use super::problem::{ConfigErrors, Place, Problem};
use crate::limits;

/// The file that is read when it is there and none is named.
pub const FILE_DEFAULT: &str = "gateways.toml";

/// Options of the command line that override everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--log`.
    pub log: Option<String>,
}

/// Everything that the configuration is made from.
#[derive(Clone)]
pub struct Sources {
    /// The file, when there is one.
    pub file: Option<File>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The options.
    pub flags: Flags,
    /// Reads what `${file:…}` names.
    pub read_file: ReadFile,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// Makes sources from values alone.
    #[must_use]
    pub fn new(file: Option<File>, env: BTreeMap<String, String>, flags: Flags) -> Self {
        Self {
            file,
            env,
            flags,
            read_file,
        }
    }

    /// Reads the process's environment and the file that the flags or `TOOLGATE_CONFIG` name.
    ///
    /// # Errors
    /// A file that is named and cannot be read.
    pub fn read(flags: Flags) -> Result<Self, ConfigErrors> {
        Self::new(None, environment(), flags).again()
    }

    /// Reads the file once more, with the same environment and flags.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn again(&self) -> Result<Self, ConfigErrors> {
        let path = self.path();
        let named = self.is_named();
        let file = match read_file(&path) {
            Ok(bytes) => Some(text(&path, bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => None,
            Err(error) => return Err(problem(&path, format!("cannot be read: {error}"))),
        };
        Ok(Self { file, ..self.clone() })
    }

    /// Returns the path of the file, whether it is there or not.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let from_env = || {
            self.env
                .get(CONFIG_VARIABLE)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        };
        self.flags
            .config
            .clone()
            .or_else(from_env)
            .unwrap_or_else(|| PathBuf::from(FILE_DEFAULT))
    }

    fn is_named(&self) -> bool {
        self.flags.config.is_some() || self.env.get(CONFIG_VARIABLE).is_some_and(|path| !path.is_empty())
    }
}

/// Returns the environment; variables that are not UTF-8 are left out.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limits::CONFIG_FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<File, ConfigErrors> {
    if bytes.len() > limits::CONFIG_FILE_BYTES_MAX {
        let text = format!("is larger than {} bytes", limits::CONFIG_FILE_BYTES_MAX);
        return Err(problem(path, text));
    }
    let text = String::from_utf8(bytes).map_err(|_| problem(path, "is not UTF-8".to_owned()))?;
    Ok(File {
        name: path.display().to_string(),
        text,
    })
}

fn problem(path: &Path, text: String) -> ConfigErrors {
    ConfigErrors::from(Problem {
        place: Place::File(path.display().to_string()),
        key: String::new(),
        text,
    })
}
