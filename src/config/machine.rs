//! What the machine of a pod decides where the settings do not.

use std::path::PathBuf;

use super::{api_key::ApiKey, memory_ceiling::MemoryCeiling};

/// What the machine and the process give where the settings leave it open.
#[derive(Debug, Clone)]
pub struct Machine {
    /// How many threads can run at once.
    pub cores: usize,
    /// The hard limit of open files: the pod raises its soft limit to it.
    pub open_files: u64,
    /// How much memory this process may use.
    pub memory: MemoryCeiling,
    /// Where state of this user is kept.
    pub state_dir: Option<PathBuf>,
    /// The API key of development mode, made once a process, so that a reload keeps it.
    pub api_key: ApiKey,
}
