-- Sessions of legacy clients. The id itself is not here, only its SHA-256 in base64url: what is read here opens nothing.
CREATE TABLE client_sessions (
    id_sha256       TEXT    NOT NULL PRIMARY KEY,
    user_id         TEXT    NOT NULL,
    protocol        TEXT    NOT NULL,
    capabilities    TEXT    NOT NULL,
    client_info     TEXT,
    log_level       INTEGER NOT NULL,
    watched         TEXT    NOT NULL,
    opened_unix_s   INTEGER NOT NULL,
    used_unix_s     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which gateway and which of its own names an exposed name was given to, under which rules.
CREATE TABLE name_claims (
    kind        TEXT    NOT NULL,
    exposed     TEXT    NOT NULL,
    gateway     TEXT    NOT NULL,
    own         TEXT    NOT NULL,
    own_first   INTEGER NOT NULL,
    rules       TEXT    NOT NULL,
    PRIMARY KEY (kind, exposed),
    UNIQUE (kind, gateway, own)
) STRICT, WITHOUT ROWID;
