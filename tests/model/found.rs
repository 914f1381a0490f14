//! Scripts that have shown a defect, each as it was shrunk, with what it showed. They are played before all others.

use super::script::Script;

pub(crate) fn scripts() -> Vec<Script> {
    Vec::new()
}
