-- What a user has connected at a gateway, an account for each toolkit. `slot` is empty for the one account of a toolkit
-- and the account's id where several are allowed: so that the schema keeps it at one where only one may be.
CREATE TABLE connections (
    gateway         TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    toolkit         TEXT    NOT NULL,
    slot            TEXT    NOT NULL DEFAULT '',
    account_id      TEXT    NOT NULL,
    alias           TEXT,
    status          TEXT    NOT NULL CHECK (status IN ('PENDING', 'ACTIVE', 'INACTIVE', 'FAILED', 'REVOKED')),
    reason          TEXT,
    chosen          INTEGER NOT NULL DEFAULT 0 CHECK (chosen IN (0, 1)),
    -- When a PENDING one is given up.
    pending_until_unix_s INTEGER,
    updated_unix_s  INTEGER NOT NULL,
    PRIMARY KEY (gateway, user_id, toolkit, slot),
    -- An account is one user's, and no other's.
    UNIQUE (gateway, account_id),
    CHECK (slot IN ('', account_id))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX connections_chosen ON connections (gateway, user_id, toolkit) WHERE chosen = 1;

-- Connect flows that wait for their browser. The state itself is not here, only its SHA-256. Used ones stay until they
-- expire, so that a page that is loaded again says the same.
CREATE TABLE connect_states (
    id              INTEGER PRIMARY KEY,
    state_sha256    BLOB    NOT NULL UNIQUE CHECK (length(state_sha256) = 32),
    gateway         TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    toolkit         TEXT    NOT NULL,
    account_id      TEXT    NOT NULL,
    -- Sealed: whoever opens it connects an account for this user.
    auth_url        TEXT    NOT NULL,
    expires_unix_s  INTEGER NOT NULL,
    used_unix_s     INTEGER
) STRICT;

CREATE INDEX connect_states_by_user ON connect_states (gateway, user_id, toolkit);
CREATE INDEX connect_states_by_expiry ON connect_states (expires_unix_s);

-- Webhooks that were taken, so that one that comes again has no effect.
CREATE TABLE webhook_ids (
    gateway         TEXT    NOT NULL,
    webhook_id      TEXT    NOT NULL,
    received_unix_s INTEGER NOT NULL,
    PRIMARY KEY (gateway, webhook_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_ids_by_time ON webhook_ids (received_unix_s);
