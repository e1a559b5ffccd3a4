-- Sessions of legacy clients. The id itself is not here, only its SHA-256: what is read here opens nothing.
CREATE TABLE client_sessions (
    id_sha256       BLOB    NOT NULL PRIMARY KEY,
    user_id         TEXT    NOT NULL,
    protocol        TEXT    NOT NULL,
    capabilities    TEXT    NOT NULL,
    client_info     TEXT,
    log_level       INTEGER NOT NULL,
    opened_unix_s   INTEGER NOT NULL,
    used_unix_s     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX client_sessions_by_user ON client_sessions (user_id);

-- Which gateway and which of its own names an exposed name was given to.
CREATE TABLE name_claims (
    kind        INTEGER NOT NULL,
    exposed     TEXT    NOT NULL,
    gateway     TEXT    NOT NULL,
    own         TEXT    NOT NULL,
    PRIMARY KEY (kind, exposed)
) STRICT, WITHOUT ROWID;
