-- Calls that had ended when they were written: all of one transaction in a value, whose form store::executions::pack has.
-- A row of its own costs a call ten times as much. In `executions` stay the calls that are pending when they are written,
-- what becomes of them, and what earlier releases wrote. Packs do not overlap, and none has rows of two blocks.
CREATE TABLE execution_packs (
    -- The ids of its last and its first row.
    last_id   INTEGER NOT NULL PRIMARY KEY,
    first_id  INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    rows      BLOB    NOT NULL
) STRICT;
