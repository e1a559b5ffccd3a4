//! The methods that we know by name. Everything else is [`Method::Other`] and is answered in the era's way.

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A method of a request or notification.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $($(#[$doc])* $variant,)*
            /// A method that we do not know.
            Other,
        }

        impl Method {
            /// Finds the method of a name. Names are case-sensitive.
            #[must_use]
            pub fn parse(name: &str) -> Self {
                Self::read(name.as_bytes())
            }

            pub(super) fn read(name: &[u8]) -> Self {
                $(if name == $name.as_bytes() {
                    return Self::$variant;
                })*
                Self::Other
            }

            /// Returns the name; empty for [`Method::Other`], whose name stands in its message only.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other => "",
                }
            }
        }
    };
}

methods! {
    /// Legacy handshake.
    Initialize = "initialize",
    /// Legacy handshake, second half.
    Initialized = "notifications/initialized",
    /// Modern: what a server is and can do.
    Discover = "server/discover",
    /// Legacy, both ways.
    Ping = "ping",
    /// Legacy: session-wide level.
    SetLevel = "logging/setLevel",
    /// Lists tools.
    ToolsList = "tools/list",
    /// Calls a tool.
    ToolsCall = "tools/call",
    /// Lists prompts.
    PromptsList = "prompts/list",
    /// Gets a prompt.
    PromptsGet = "prompts/get",
    /// Lists resources.
    ResourcesList = "resources/list",
    /// Lists resource templates.
    TemplatesList = "resources/templates/list",
    /// Reads a resource.
    ResourcesRead = "resources/read",
    /// Legacy: hear of a resource's changes.
    ResourcesSubscribe = "resources/subscribe",
    /// Legacy: the end of that.
    ResourcesUnsubscribe = "resources/unsubscribe",
    /// Completes an argument.
    Complete = "completion/complete",
    /// Modern: hear of changes.
    Listen = "subscriptions/listen",
    /// Tasks extension: how a task stands.
    TasksGet = "tasks/get",
    /// Tasks extension: answers to what a task asks.
    TasksUpdate = "tasks/update",
    /// Tasks extension: a task is no longer wanted.
    TasksCancel = "tasks/cancel",
    /// Question: ask the user.
    ElicitationCreate = "elicitation/create",
    /// Question: ask the client's model.
    SamplingCreateMessage = "sampling/createMessage",
    /// Question: ask for the client's roots.
    RootsList = "roots/list",
    /// Progress of a request.
    Progress = "notifications/progress",
    /// A log message.
    LogMessage = "notifications/message",
    /// The sender no longer wants an answer.
    Cancelled = "notifications/cancelled",
    /// The list of tools changed.
    ToolsListChanged = "notifications/tools/list_changed",
    /// The list of prompts changed.
    PromptsListChanged = "notifications/prompts/list_changed",
    /// The list of resources or templates changed.
    ResourcesListChanged = "notifications/resources/list_changed",
    /// A resource changed.
    ResourcesUpdated = "notifications/resources/updated",
    /// The client's roots changed.
    RootsListChanged = "notifications/roots/list_changed",
    /// 2025-11-25: a url elicitation was finished out of band.
    ElicitationComplete = "notifications/elicitation/complete",
    /// Modern: what a listen stream will carry.
    SubscriptionsAcknowledged = "notifications/subscriptions/acknowledged",
}
