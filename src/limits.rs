//! Every bound of the house with its unit and its reason. `config` may lower or raise those that `[limits]` names;
//! the others are fixed, because something else leans on them.

use std::time::Duration;

/// One mebibyte.
pub const MIB: usize = 1 << 20;

/// A request body of a client. Larger ones get 413 while they are read.
pub const REQUEST_BODY_BYTES_MAX: usize = 4 * MIB;
/// A result of an upstream: one JSON body, or one message of a stream.
pub const UPSTREAM_RESULT_BYTES_MAX: usize = 16 * MIB;
/// One line of a server-sent event stream.
pub const SSE_LINE_BYTES_MAX: usize = 16 * MIB;
/// One event of a stream, all its lines together: room for one result and its framing.
pub const SSE_EVENT_BYTES_MAX: usize = 17 * MIB;
/// Lines of one event: the decoder behind the framer is quadratic in them.
pub const SSE_EVENT_LINES_MAX: usize = 1_000;
/// One line of a stdio server: a message is a line.
pub const STDIO_LINE_BYTES_MAX: usize = 16 * MIB;
/// One line of a stdio server's stderr that goes into the log; the rest of the line is dropped.
pub const STDERR_LINE_BYTES_MAX: usize = 8 * 1024;

/// The head of a request, all headers together.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Header lines of a request.
pub const HEADER_COUNT_MAX: usize = 100;
/// A request's head must arrive within this.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's body must arrive within this.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection without a request is closed after this.
pub const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// What one client connection buffers in each direction; more than a head.
pub const CONNECTION_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// After our side of a connection is closed, what the client still sends is thrown away for this long,
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// and up to this many bytes, so that it can read our last answer.
pub const LINGER_BYTES_MAX: usize = 16 * MIB;
/// An `X-Request-Id` that we take over.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// After the operating system refused to accept a connection (no descriptors left), we try again after this.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Open client connections.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Requests that are being answered, streams included, over all clients.
pub const IN_FLIGHT_MAX: usize = 1_024;
/// Calls of one principal that are being answered.
pub const IN_FLIGHT_PER_USER_MAX: usize = 64;
/// Calls that one gateway is working on.
pub const IN_FLIGHT_PER_GATEWAY_MAX: usize = 128;
/// How long a call waits for a free place at its gateway before it is refused.
pub const QUEUE_WAIT_MAX: Duration = Duration::from_secs(1);

/// A TCP and TLS handshake with an upstream.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The first byte of an upstream's answer.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// A whole call, unless the gateway's `timeout_ms` says otherwise. Many clients give up at 60 s.
pub const CALL_TIMEOUT: Duration = Duration::from_mins(2);
/// The same for a Composio gateway, whose sandboxes and waits for connections may block for 180 s.
pub const COMPOSIO_CALL_TIMEOUT: Duration = Duration::from_mins(4);
/// One request of Composio's API, its body included.
pub const COMPOSIO_API_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer of Composio's API: a session's description is a few kilobytes.
pub const COMPOSIO_API_ANSWER_BYTES_MAX: usize = MIB;
/// Times that a request of Composio's API is sent, when it may be sent again.
pub const COMPOSIO_API_ATTEMPTS_MAX: u32 = 3;
/// The longest wait between them, whatever `retry-after` says: a call waits for it.
pub const COMPOSIO_API_RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Accounts of one toolkit, where a user may have several: Composio's own default.
pub const COMPOSIO_ACCOUNTS_PER_TOOLKIT: usize = 5;
/// Toolkits that one session may be restricted to, and entries of each list of a gateway's options.
pub const COMPOSIO_OPTION_ITEMS_MAX: usize = 1_000;
/// Parts of one multi-execute: Composio takes no more.
pub const COMPOSIO_PARTS_MAX: usize = 50;
/// The slug of a toolkit or a tool.
pub const COMPOSIO_SLUG_BYTES_MAX: usize = 128;
/// Tokens of one session's own URL: each create of the same session gives another, and the oldest beyond these end.
pub const COMPOSIO_SESSION_TOKENS_MAX: u32 = 16;
/// Tool Router sessions of one user at one gateway, each with other toolkits.
pub const COMPOSIO_SESSIONS_PER_USER_MAX: usize = 100;
/// How long a request stays noted that may have made a session which nobody knows.
pub const COMPOSIO_CREATE_NOTED_MAX: Duration = Duration::from_hours(30 * 24);
/// The id of a Tool Router session.
pub const COMPOSIO_SESSION_ID_BYTES_MAX: usize = 128;
/// A stream of an upstream on which nothing arrives.
pub const SSE_IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// How often an HTTP+SSE upstream is pinged, so that a stream on which nothing arrives is known to be dead.
pub const SSE_PING_INTERVAL: Duration = Duration::from_mins(2);
/// Messages of one HTTP+SSE connection that are being posted.
pub const SSE_POSTS_MAX: usize = 16;
/// How long `server/discover` may take on stdio before the server counts as legacy.
pub const STDIO_PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// A gateway that has not given its first list by then does not hold up the first merge.
pub const STARTUP_DEADLINE: Duration = Duration::from_secs(20);
/// Answers to a question of an upstream (elicitation waits for a person).
pub const QUESTION_TIMEOUT: Duration = Duration::from_mins(10);
/// A whole call, however often it reports progress and however long people take to answer its questions.
pub const CALL_AGE_MAX: Duration = Duration::from_hours(1);
/// Events between a transport and the watch over its call: more would only let a slow reader's queue grow.
pub const EVENTS_IN_TRANSIT_MAX: usize = 8;
/// What an upstream is told beside calls: roots that changed, a scope that ended.
pub const NOTICE_TIMEOUT: Duration = Duration::from_secs(5);
/// The end of one gateway's connections, sessions and processes, once its calls are through.
pub const LINK_END_TIMEOUT: Duration = Duration::from_secs(10);
/// Faults of a gateway one after the other, with no answer between, that open its breaker.
pub const BREAKER_FAULTS: u32 = 5;
/// An open breaker lets one call try after this; it doubles with each try that fails.
pub const BREAKER_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The back-off of a breaker grows to this: a gateway that comes back is noticed within it.
pub const BREAKER_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// What we keep of the text of a gateway's last fault: an upstream writes it.
pub const LAST_ERROR_BYTES_MAX: usize = 512;
/// Questions that one call may ask.
pub const QUESTIONS_PER_CALL_MAX: usize = 32;
/// Times that a modern upstream may answer `input_required` to one call of a legacy client.
pub const QUESTION_ROUNDS_MAX: usize = 16;

/// A comment goes out on every open stream this often, so that no hop closes it.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Messages waiting for a slow reader of a stream. The call's upstream waits while the queue is full.
pub const STREAM_QUEUE_EVENTS_MAX: usize = 64;
/// A JSON answer of more bytes goes on to its client as it comes, where it can: less is soon read and written at once.
pub const LARGE_ANSWER_BYTES: usize = 64 * 1024;
/// Pieces of such an answer between the upstream's connection and the client's.
pub const FLOW_PIECES_MAX: usize = 2;
/// Bytes of one stream that wait for its reader, or that it may ask for again.
pub const STREAM_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// A stream that has ended can be asked for again this long.
pub const REPLAY_KEPT_MAX: Duration = Duration::from_mins(1);
/// A reader that takes nothing for this long is dropped.
pub const SLOW_READER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sessions of one user.
pub const SESSIONS_PER_USER_MAX: usize = 100;
/// Sessions of all users.
pub const SESSIONS_MAX: usize = 50_000;
/// Streams of one session that are open or can be asked for again.
pub const STREAMS_PER_SESSION_MAX: usize = 8;
/// A session without a request or an open stream.
pub const SESSION_IDLE_MAX: Duration = Duration::from_mins(30);
/// A session, however busy.
pub const SESSION_AGE_MAX: Duration = Duration::from_hours(24);
/// What a client says of itself, its capabilities and its `Implementation` object each: kept as long as its session.
pub const CLIENT_WORDS_BYTES_MAX: usize = 64 * 1024;
/// Resource subscriptions of one session or listen stream.
pub const RESOURCE_SUBSCRIPTIONS_MAX: usize = 256;

/// Tools, prompts, resources or templates of one gateway; what is beyond is dropped with a warning.
pub const LIST_ITEMS_PER_GATEWAY_MAX: usize = 1_000;
/// Pages of one list of one gateway.
pub const LIST_PAGES_MAX: usize = 100;
/// One entry of a list with its schemas; a larger one is dropped with a warning.
pub const LIST_ITEM_BYTES_MAX: usize = 512 * 1024;
/// Entries of one page that we answer; most merged lists fit in one.
pub const PAGE_ITEMS_MAX: usize = 500;
/// Entries of one page that REST answers, as their gateways wrote them; a page has at least one.
pub const API_PAGE_BYTES_MAX: usize = 4 * MIB;
/// What REST searches tools for: every word is looked for in every description.
pub const SEARCH_BYTES_MAX: usize = 256;
/// Notifications of a tool called by hand that its answer repeats; the others are counted.
pub const TEST_EVENTS_MAX: usize = 100;
/// The same in bytes.
pub const TEST_EVENTS_BYTES_MAX: usize = MIB;
/// Entries of one page together, whatever their number.
pub const PAGE_BYTES_MAX: usize = 8 * MIB;
/// Entries of one list of one gateway together; what is beyond is dropped with a warning.
pub const LIST_BYTES_MAX: usize = 32 * MIB;
/// A cursor of an upstream's list.
pub const UPSTREAM_CURSOR_BYTES_MAX: usize = 16 * 1024;
/// A name that an upstream gives to a tool or prompt.
pub const NAME_BYTES_MAX: usize = 256;
/// An exposed name under `names = "portable"`.
pub const PORTABLE_NAME_BYTES_MAX: usize = 64;
/// Arguments of one tool that are mirrored into headers: a request has no room for more.
pub const PARAM_HEADERS_MAX: usize = 64;
/// A resource URI.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Changes of lists reach clients at most this often.
pub const LIST_CHANGED_INTERVAL: Duration = Duration::from_secs(1);
/// Every gateway's lists are asked for again this often even when it announces nothing.
pub const LIST_POLL_INTERVAL: Duration = Duration::from_mins(5);
/// No `ttlMs` makes us ask more often than this.
pub const LIST_POLL_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// A whole look at a gateway's lists, the start of its process included: `npx` and `uvx` may download first.
pub const LIST_TIMEOUT: Duration = Duration::from_mins(2);
/// After a failed look at a gateway's lists the next one comes after this; it doubles with each that fails.
pub const LIST_RETRY_MIN: Duration = Duration::from_millis(500);
/// A gateway that is down is asked for its lists at least this often.
pub const LIST_RETRY_MAX: Duration = Duration::from_secs(30);

/// stdio processes of all gateways.
pub const STDIO_PROCESSES_MAX: usize = 32;
/// How often unused upstream sessions and processes are looked for.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How long a call that was given up still counts when it must be clear whom a question on a shared link concerns.
pub const ABANDONED_CALL_AGE_MAX: Duration = Duration::from_mins(1);
/// A stdio server gets this long to end by itself after its stdin was closed, before it is told to.
pub const STDIO_CLOSE_GRACE: Duration = Duration::from_secs(2);
/// A stdio server and its descendants get this long after SIGTERM before they are killed.
pub const STDIO_TERM_GRACE: Duration = Duration::from_secs(2);
/// Lines of a stdio server's stdout that are no messages; a server that writes more is ended.
pub const STDIO_GARBAGE_LINES_MAX: usize = 1_000;
/// Lines of a stdio server's stderr that go into the log in one second; the others are counted.
pub const STDERR_LINES_PER_SECOND_MAX: usize = 50;
/// The last lines of stderr that are kept, to name the reason when a server ends.
pub const STDERR_TAIL_LINES: usize = 8;
/// The first wait before a lost process or connection is opened anew; doubled each time.
pub const RECONNECT_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait before a lost process or connection is opened anew.
pub const RECONNECT_BACKOFF_MAX: Duration = Duration::from_mins(1);
/// A process or connection that held for this long starts its waits from the shortest again.
pub const RECONNECT_HEALTHY_AFTER: Duration = Duration::from_mins(1);
/// A `per_user` or `per_session` process or an upstream session that nobody used for this long is ended.
pub const UPSTREAM_SESSION_IDLE_MAX: Duration = Duration::from_mins(30);
/// The id that an upstream gives to a session: it goes back with every request.
pub const UPSTREAM_SESSION_ID_BYTES_MAX: usize = 4 * 1024;
/// Idle upstream sessions are looked for this often.
pub const UPSTREAM_SESSION_SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// A pooled connection to an upstream without a request. Node closes its own after 5 s; a request that crosses that
/// is lost without anyone knowing whether it arrived.
pub const UPSTREAM_POOL_IDLE_MAX: Duration = Duration::from_secs(4);
/// The head of an upstream's answer, or the lines behind its last chunk.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields of an upstream's answer.
pub const UPSTREAM_HEADERS_MAX: usize = 100;
/// The line before a chunk of an upstream's answer, its extensions with it.
pub const UPSTREAM_CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;
/// Heads with a status of 1xx before an answer (RFC 9110 §15.2).
pub const UPSTREAM_INTERIM_ANSWERS_MAX: usize = 16;
/// What is read of an upstream at once, to begin with: most answers fit.
pub const UPSTREAM_READ_BYTES: usize = 4 * 1024;
/// What is read of an upstream at once where more is always there. A connection holds no more of a body than this.
pub const UPSTREAM_READ_BYTES_MAX: usize = 256 * 1024;
/// A request of at most so many bytes is copied behind its head and written in one piece.
pub const REQUEST_BYTES_IN_ONE_PIECE: usize = 4 * 1024;
/// An answer of at most so many bytes is copied together and written in one piece.
pub const ANSWER_BYTES_IN_ONE_PIECE: usize = 4 * 1024;
/// How often pooled connections without a request are looked at: too old ones and those that the upstream closed go.
pub const UPSTREAM_POOL_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// A connection to an upstream on which nothing comes for this long is asked whether its other end is still there, and
/// again every so often: a listen stream is silent for hours.
pub const UPSTREAM_KEEPALIVE: Duration = Duration::from_secs(15);
/// It is given up after so many such questions without an answer.
pub const UPSTREAM_KEEPALIVE_RETRIES: u32 = 3;
/// What we sent may stay unacknowledged by the upstream's machine for this long.
pub const UPSTREAM_UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
/// Waiting before a dropped stream is resumed, unless the upstream says otherwise (`retry`).
pub const RESUME_WAIT: Duration = Duration::from_secs(1);
/// No `retry` of an upstream makes us resume sooner or later than between these.
pub const RESUME_WAIT_MIN: Duration = Duration::from_millis(50);
/// See [`RESUME_WAIT_MIN`].
pub const RESUME_WAIT_MAX: Duration = Duration::from_secs(30);
/// A stream whose answer was read gets this long to end by itself, so that its connection can be used again.
pub const STREAM_END_WAIT: Duration = Duration::from_secs(1);
/// The first call of a new upstream session waits this long for the session's GET stream, if its client can be asked
/// something: what a server sends there before is lost.
pub const GET_STREAM_WAIT: Duration = Duration::from_millis(300);
/// Requests of an upstream (pings, what is refused) that are being answered on one session or call at the same time;
/// what is beyond stays unanswered.
pub const ANSWERS_AT_ONCE_MAX: usize = 16;
/// Messages of a call that came on its session's GET stream and wait for the call to read them.
pub const ASIDES_MAX: usize = 16;
/// Failed attempts in a row to resume a stream.
pub const RESUME_FAILURES_MAX: u32 = 5;
/// Upstream sessions of one gateway.
pub const UPSTREAM_SESSIONS_MAX: usize = 4_096;

/// Nesting of the envelope and of `_meta`.
pub const JSON_ENVELOPE_DEPTH_MAX: usize = 64;
/// Nesting of arguments and results.
pub const JSON_DEPTH_MAX: usize = 512;
/// Members of an object that we read ourselves (envelope, params, `_meta`).
pub const JSON_MEMBERS_MAX: usize = 128;
/// Messages in one batch of a 2025-03-26 client.
pub const BATCH_MESSAGES_MAX: usize = 64;
/// A JSON-RPC id that is a string.
pub const RPC_ID_BYTES_MAX: usize = 256;

/// Calls of modern clients that wait for answers to questions of a legacy upstream, all users together. Each holds its
/// texts, one upstream stream, and not more than [`PARKED_CALL_BYTES`] around them.
pub const PARKED_CALLS_MAX: usize = 4_096;
/// The texts of one parked call: its request, its open questions, and what its upstream said before them. Room for a
/// sampling request with a picture.
pub const PARKED_CALL_TEXT_BYTES_MAX: usize = 4 * MIB;
/// The texts of all parked calls.
pub const PARKED_TEXT_BYTES_MAX: usize = 512 * MIB;
/// What a parked call takes beside its texts. Two queues that hold a block of 32 events of 280 bytes each (18 KiB), the
/// task of the call (about 25 KiB), the connection that its upstream's stream comes over (two buffers of 8 KiB, the
/// heads, a task), and what the allocator loses between them: 70 to 106 KiB were seen in builds without optimisation. A
/// test holds 1,000 calls against this bound.
pub const PARKED_CALL_BYTES: usize = 256 * 1024;
/// Sealed `requestState` that a client hands back, upstream's own state included.
pub const REQUEST_STATE_BYTES_MAX: usize = 64 * 1024;
/// Sealed `requestState` and cursors are refused when older than this.
pub const SEALED_AGE_MAX: Duration = Duration::from_hours(1);

/// A sealed session id, cursor or event id: it travels in headers, URLs and lists.
pub const SEALED_ID_BYTES_MAX: usize = 4 * 1024;
/// Keys that still open what was sealed with them; the newest seals.
pub const SEAL_KEYS_MAX: usize = 3;
/// A secret in the store, sealed: a token or a URL.
pub const STORED_SECRET_BYTES_MAX: usize = 64 * 1024;
/// How often it is looked at whether the store should take another key.
pub const STORE_KEY_LOOK_INTERVAL: Duration = Duration::from_hours(1);
/// The newest key of the store seals for this long.
pub const STORE_KEY_AGE_MAX: Duration = Duration::from_hours(30 * 24);
/// The file with the store's keys: some lines.
pub const STORE_KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Connections that read the store at the same time, each with a thread.
pub const STORE_READERS_MAX: u32 = 2;
/// What each connection to the store keeps of it in memory, in KiB.
pub const STORE_CACHE_KIB: u32 = 512;
/// How long a writer of the store waits for another one.
pub const STORE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Changes of sessions that wait to be written: a burst of clients that come or go.
pub const SESSION_WRITES_MAX: usize = 4 * 1024;
/// Changes of sessions that are written in one go.
pub const SESSION_WRITES_TOGETHER_MAX: usize = 256;
/// How often sessions that nobody will ask for again are dropped from the store.
pub const KEPT_SESSIONS_SWEEP_INTERVAL: Duration = Duration::from_mins(10);
/// How long a resource that a client watched before a restart is looked for again: its gateway may still be starting.
pub const WATCH_AGAIN_MAX: Duration = Duration::from_mins(1);
/// How long one waits for a connection to the store.
pub const STORE_WAIT_MAX: Duration = Duration::from_secs(10);

/// A connect flow: as long as Composio's own links are good.
pub const CONNECT_STATE_AGE_MAX: Duration = Duration::from_mins(10);
/// Connect flows of one user and toolkit that nobody has come back from: each has an account of its own at Composio.
pub const CONNECT_FLOWS_OPEN_MAX: u64 = 5;
/// A link that was made for a call before is told again when it is good for this much longer.
pub const CONNECT_LINK_LEFT_MIN: Duration = Duration::from_mins(3);
/// A browser that came back waits this long for Composio to say what came of it.
pub const CONNECT_SETTLE_WAIT: Duration = Duration::from_secs(5);
/// A call that sent its user to connect something waits this long for it once the user said yes.
pub const CONNECT_CALL_WAIT: Duration = Duration::from_mins(2);
/// Toolkits that one call may ask its user to connect, one after the other.
pub const CONNECT_ASKS_MAX: usize = 5;
/// How often an account that is being connected is looked at: each look counts against the project's rate.
pub const CONNECT_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// An id of an account, auth config or server of Composio: it goes into paths.
pub const COMPOSIO_ID_BYTES_MAX: usize = 128;
/// The slug of a toolkit.
pub const TOOLKIT_BYTES_MAX: usize = 64;
/// A `session_uri` of Composio, of which the form is not documented.
pub const COMPOSIO_SESSION_URI_BYTES_MAX: usize = 512;
/// A user's own name for an account.
pub const ACCOUNT_ALIAS_BYTES_MAX: usize = 100;
/// What Composio says of why a connection stands as it does.
pub const CONNECTION_REASON_CHARS_MAX: usize = 240;
/// A webhook, which comes without a key.
pub const WEBHOOK_BODY_BYTES_MAX: usize = MIB;
/// A webhook's time may differ from ours by this much.
pub const WEBHOOK_AGE_MAX: Duration = Duration::from_mins(5);
/// A webhook's id, and its signatures together.
pub const WEBHOOK_HEADER_BYTES_MAX: usize = 1024;
/// Ids of webhooks are kept this long: senders try again for hours.
pub const WEBHOOK_ID_AGE_MAX: Duration = Duration::from_hours(72);

/// A key as a client presents it.
pub const KEY_BYTES_MAX: usize = 1024;
/// A user id that `X-User-Id` names.
pub const USER_ID_BYTES_MAX: usize = 128;

/// A record of a call is deleted after this.
pub const EXECUTION_AGE_MAX: Duration = Duration::from_hours(30 * 24);
/// Records of calls together; past it the oldest are deleted.
pub const EXECUTIONS_BYTES_MAX: usize = 1 << 30;
/// Records that wait for the writer, calls in flight included: a second and a half of 10,000 calls a second. Past it
/// records are dropped, or calls refused where the record is required.
pub const EXECUTIONS_QUEUED_MAX: usize = 16_384;
/// Arguments and results that wait with them, where they are kept; past it a record goes without.
pub const EXECUTIONS_QUEUED_TEXT_BYTES_MAX: usize = 64 * MIB;
/// The writer writes at the latest after this: what is read of the records waits no longer for them.
pub const EXECUTION_FLUSH_WAIT: Duration = Duration::from_millis(250);
/// So many records wake the writer before that. A batch costs seven turns of SQLite's thread, and half a millisecond.
pub const EXECUTION_BATCH_ROWS: usize = 1_024;
/// A call that runs for longer than this is shown as pending.
pub const EXECUTION_PENDING_AFTER: Duration = Duration::from_secs(1);
/// A call whose record is required waits this long for it.
pub const EXECUTION_AUDIT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Digests of session ids that the writer of records keeps; beyond that it begins anew.
pub const SESSION_DIGESTS_MAX: usize = 4_096;
/// Times that the writer tries to write the same records, one second apart, before it drops them.
pub const EXECUTION_WRITE_TRIES_MAX: u32 = 10;
/// What is kept of a call's arguments, and of its result.
pub const EXECUTION_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Arguments and results beyond this are not read for what they hold of secrets: nothing is kept of them.
pub const EXECUTION_TEXT_READ_BYTES_MAX: usize = MIB;
/// What is kept of why a call failed.
pub const EXECUTION_ERROR_BYTES_MAX: usize = 256;
/// Records of one page; also the default of `limit`.
pub const EXECUTIONS_PAGE_MAX: usize = 200;
/// Records that one search looks at. A page that ends here has a cursor and goes on from there.
pub const EXECUTIONS_SCAN_MAX: usize = 50_000;
/// The newest records of the wanted time that statistics are made of.
pub const EXECUTION_STATS_ROWS_MAX: usize = 100_000;
/// Rows of the record that are summed up together: what a search that has no use for them leaves out.
pub const EXECUTION_BLOCK_ROWS: usize = 4_096;
/// The same in bytes, where arguments and results are kept: what is deleted at once when there are too many.
pub const EXECUTION_BLOCK_BYTES: usize = MIB;
/// Rows of one pack: what is read to find one of them. A batch, and what comes until it is taken.
pub const EXECUTION_PACK_ROWS: usize = 1_280;
/// A pack with more bytes than this takes no more rows.
pub const EXECUTION_PACK_BYTES: usize = 128 * 1024;
/// Blocks that a search reads at a time.
pub const EXECUTION_BLOCKS_READ: usize = 64;
/// A call is recorded at the latest so long after it began to be shown: where `to` is asked for, newer rows are not read.
pub const EXECUTION_RECORD_LAG_MAX: Duration = Duration::from_mins(1);
/// Names of users or tools whose numbers the writer of records remembers.
pub const EXECUTION_NAMES_KEPT_MAX: usize = 65_536;
/// How often records that are too old or too many are looked for.
pub const EXECUTION_SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// Distinct tool names that become metric labels; the others are counted as `other`.
pub const METRIC_TOOL_NAMES_MAX: usize = 500;

/// The configuration file, or one file that `${file:…}` names.
pub const CONFIG_FILE_BYTES_MAX: usize = MIB;
/// Gateways of one configuration.
pub const GATEWAYS_MAX: usize = 256;
/// A gateway's name: it stands before `__` in exposed names of at most 64 characters.
pub const GATEWAY_NAME_BYTES_MAX: usize = 32;
/// The configuration file is looked at this often; looking is one `stat`.
pub const CONFIG_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// A changed file must stand still for this long before it is read: editors write in pieces.
pub const CONFIG_SETTLE: Duration = Duration::from_millis(200);
/// `toolgate health` gives up after this.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Once no client is left, gateways get this long to end what they are doing for nobody.
pub const GATEWAY_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A task's id is good this long.
pub const TASK_AGE_MAX: Duration = Duration::from_hours(24);
/// Calls in flight get this long to end after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

const _: () = assert!(
    HEADER_BYTES_MAX < CONNECTION_BUFFER_BYTES_MAX,
    "a head fits into the buffer of its connection"
);
const _: () = assert!(
    SSE_LINE_BYTES_MAX < SSE_EVENT_BYTES_MAX,
    "an event holds at least one line"
);
const _: () = assert!(
    UPSTREAM_RESULT_BYTES_MAX <= SSE_LINE_BYTES_MAX,
    "a result is one line of an event"
);
const _: () = assert!(
    LIST_ITEM_BYTES_MAX < PAGE_BYTES_MAX && PAGE_BYTES_MAX <= LIST_BYTES_MAX,
    "a page holds at least one entry"
);
const _: () = assert!(
    JSON_ENVELOPE_DEPTH_MAX < JSON_DEPTH_MAX,
    "arguments lie inside the envelope"
);
const _: () = assert!(
    IN_FLIGHT_PER_USER_MAX < IN_FLIGHT_MAX,
    "one user cannot take every place"
);
const _: () = assert!(
    IN_FLIGHT_PER_USER_MAX * PARKED_CALL_TEXT_BYTES_MAX < PARKED_TEXT_BYTES_MAX,
    "one user's parked calls leave room for others"
);
const _: () = assert!(
    RECONNECT_BACKOFF_MIN.as_millis() < RECONNECT_BACKOFF_MAX.as_millis(),
    "waits grow"
);
const _: () = assert!(
    CALL_TIMEOUT.as_secs() < CALL_AGE_MAX.as_secs() && QUESTION_TIMEOUT.as_secs() < CALL_AGE_MAX.as_secs(),
    "a call may outlive one silence and one question"
);
const _: () = assert!(
    COMPOSIO_CALL_TIMEOUT.as_secs() > 200 && COMPOSIO_CALL_TIMEOUT.as_secs() < CALL_AGE_MAX.as_secs(),
    "a call outlasts what Composio's tools may block"
);
const _: () = assert!(
    BREAKER_BACKOFF_MIN.as_secs() < BREAKER_BACKOFF_MAX.as_secs(),
    "a breaker's back-off grows"
);
const _: () = assert!(
    SSE_PING_INTERVAL.as_secs() * 2 < SSE_IDLE_TIMEOUT.as_secs(),
    "a lost ping alone does not end a stream"
);
const _: () = assert!(
    PARAM_HEADERS_MAX < HEADER_COUNT_MAX,
    "mirrored arguments leave room for the other headers"
);
const _: () = assert!(
    SESSION_AGE_MAX.as_secs() < (SEAL_KEYS_MAX as u64 - 1) * STORE_KEY_AGE_MAX.as_secs(),
    "what clients hold opens for as long as it is good"
);
const _: () = assert!(
    CONNECT_LINK_LEFT_MIN.as_secs() < CONNECT_STATE_AGE_MAX.as_secs()
        && CONNECT_CALL_WAIT.as_secs() < CONNECT_LINK_LEFT_MIN.as_secs(),
    "a call waits for a link that is good for as long"
);
