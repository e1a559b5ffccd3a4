//! Newtypes for the names and ids that travel through the house. An id never authenticates.

mod execution;

use std::fmt;
use std::sync::Arc;

pub use self::execution::ExecutionId;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name. Cheap to clone afterwards.
            #[must_use]
            pub fn new(name: &str) -> Self {
                Self(Arc::from(name))
            }

            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the name as text that others may hold.
            #[must_use]
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// The key of a gateway in the configuration: `brave` in `[gateways.brave]`.
    GatewayId
}
name_type! {
    /// A user, as keys name them.
    UserId
}
name_type! {
    /// A legacy client's `Mcp-Session-Id`: sealed, visible ASCII.
    SessionId
}
name_type! {
    /// What `X-Request-Id` carries and error `data` repeats.
    RequestId
}
