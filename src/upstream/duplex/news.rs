//! Where an inbox takes what an upstream says outside of calls: changes of lists count up a number, changes of a
//! resource go to those who watch it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::protocol::method::Method;
use crate::upstream::transport::Announced;
use crate::upstream::watches::Watches;

/// What an inbox tells of.
#[derive(Clone, Debug)]
pub(super) struct News {
    /// Counts changes of lists; only the pipe that lists are asked for has it.
    pub(super) changes: Option<watch::Sender<Announced>>,
    /// Who watches resources on this pipe, and on the next one in its place.
    pub(super) watches: Arc<Watches>,
}

impl News {
    /// Counts an announced change of a list; any other method stands for the pipe that lists are asked for.
    pub(super) fn heard(&self, method: Method) {
        if let Some(changes) = &self.changes {
            changes.send_modify(|announced| announced.heard(method));
        }
    }
}
