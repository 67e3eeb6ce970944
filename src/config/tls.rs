//! Where the certificate of a listener comes from.

use std::path::PathBuf;

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Files, which are renewed from outside.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made by the pod.
    Development {
        /// Where it is kept between starts; `None`: nowhere.
        state_dir: Option<PathBuf>,
    },
}
