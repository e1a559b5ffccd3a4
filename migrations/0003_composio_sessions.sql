-- Tool Router sessions at Composio: one for each user and set of toolkits of a gateway. `toolkits` is empty for the set
-- that the gateway's configuration says, else slugs in order with commas between. `id` is ours; theirs is sealed, and
-- NULL while there is none.
CREATE TABLE composio_sessions (
    id              TEXT    NOT NULL PRIMARY KEY,
    gateway         TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    toolkits        TEXT    NOT NULL,
    session_id      TEXT,
    mcp_url         TEXT,
    -- What Composio was told when it was made, as JSON.
    options         TEXT    NOT NULL DEFAULT '{}',
    made_unix_s     INTEGER NOT NULL,
    UNIQUE (gateway, user_id, toolkits),
    CHECK ((session_id IS NULL) = (mcp_url IS NULL))
) STRICT;

-- Requests to make a session whose end we do not know: written before each one, gone when it was answered. What is left
-- may have made a session that nobody knows; Composio lists sessions to nobody. The id went with the request.
CREATE TABLE composio_creates (
    request_id      TEXT    NOT NULL PRIMARY KEY,
    gateway         TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    toolkits        TEXT    NOT NULL,
    began_unix_s    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What opens a session's own URL. Not the token: its SHA-256.
CREATE TABLE composio_session_tokens (
    token_sha256    BLOB    NOT NULL PRIMARY KEY CHECK (length(token_sha256) = 32),
    id              TEXT    NOT NULL REFERENCES composio_sessions (id) ON DELETE CASCADE,
    made_unix_s     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX composio_session_tokens_by_session ON composio_session_tokens (id);
