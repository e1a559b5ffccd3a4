-- The record of tool calls. A row is written for every call of every gateway, so it is narrow, all rows are appended, and
-- no index has users or tools in it: each row would touch a page of its own. Blocks of rows stand in for it.

-- Names stand here once; rows have their numbers.
CREATE TABLE execution_users (
    number  INTEGER NOT NULL PRIMARY KEY,
    user_id TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE execution_tools (
    number  INTEGER NOT NULL PRIMARY KEY,
    gateway TEXT    NOT NULL,
    tool    TEXT    NOT NULL,
    UNIQUE (gateway, tool)
) STRICT;

CREATE TABLE executions (
    -- When the row was made, in milliseconds, and which one of that millisecond: see ids::ExecutionId.
    id              INTEGER NOT NULL PRIMARY KEY,
    user            INTEGER NOT NULL,
    tool            INTEGER NOT NULL,
    -- 0 pending, 1 success, 2 failed, 3 the gateway asked the client something.
    status          INTEGER NOT NULL,
    started_unix_ms INTEGER NOT NULL,
    duration_us     INTEGER,
    request_bytes   INTEGER NOT NULL,
    response_bytes  INTEGER,
    -- The first 64 bits of the SHA-256 of the session's id.
    session         INTEGER,
    request_id      TEXT,
    error           TEXT
) STRICT;

-- Found at the next start: what a killed process left.
CREATE INDEX executions_pending ON executions (id) WHERE status = 0;

-- Arguments and results, redacted, where the configuration keeps them.
CREATE TABLE execution_texts (
    id        INTEGER NOT NULL PRIMARY KEY,
    arguments TEXT,
    result    TEXT
) STRICT;

-- Some thousand rows that follow each other, with the numbers of the users and tools that occur in them: 32 bits each, in
-- order. A search leaves out blocks that cannot have what it looks for; the oldest block is what retention deletes.
CREATE TABLE execution_blocks (
    last_id  INTEGER NOT NULL PRIMARY KEY,
    first_id INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    users    BLOB    NOT NULL,
    tools    BLOB    NOT NULL
) STRICT;
