//! What single customers' systems need beside the core: a folder each, behind two seams.
//!
//! A customer's module may observe what the hub delivers (`metrics::DeliveryObserver`), and add routes, gRPC services and tasks to a
//! pod (`extension`). Owns the list of customers. Never used by `hub`, `metrics` or `api`. Always holds: the pod runs as well without
//! any of the folders; what to delete with one says docs/ARCHITECTURE.md.

mod extension;
pub mod loomio;
pub mod ticketing;

pub use extension::{ExtensionError, Extensions, Route, Routes, Task};

use crate::{config::Config, metrics::Exposition};

/// What each customer's module adds, where its settings ask for it.
const CUSTOMERS: &[Extend] = &[loomio::extend, ticketing::extend];

/// Adds to a pod what the customer's settings ask for.
type Extend = fn(&Config, &Exposition, &mut Extensions) -> Result<(), ExtensionError>;

/// What the customers' modules add to a pod of this configuration.
///
/// # Errors
/// A customer's settings cannot be used.
pub fn extensions(config: &Config, exposition: &Exposition) -> Result<Extensions, ExtensionError> {
    let mut extensions = Extensions::default();
    for extend in CUSTOMERS {
        extend(config, exposition, &mut extensions)?;
    }
    Ok(extensions)
}
