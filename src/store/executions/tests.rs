//! The record over a real database: what was written is found by whoever may look for it, and goes when it must.

mod packs;

use super::*;
use crate::limits::{EXECUTION_BLOCK_BYTES, EXECUTION_BLOCK_ROWS};

const NOW_MS: u64 = 1_795_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

struct Rig {
    log: ExecutionLog,
    store: Store,
    now_ms: u64,
}

async fn rig() -> Rig {
    let store = Store::in_memory().await.unwrap();
    Rig {
        log: ExecutionLog::open(&store, false, NOW_MS).await.unwrap(),
        store,
        now_ms: NOW_MS,
    }
}

impl Rig {
    /// A call that took as many milliseconds as its place says, one each second.
    fn call(&mut self, user: &str, gateway: &str, tool: &str, status: Status) -> Execution {
        self.now_ms += 1_000;
        Execution {
            id: self.log.next_id(self.now_ms),
            user: UserId::new(user),
            gateway: GatewayId::new(gateway),
            tool: tool.into(),
            status,
            error: (status == Status::Failed).then(|| "the tool says that it failed".into()),
            started_unix_ms: self.now_ms - 5,
            duration_us: (status != Status::Pending).then_some(5_000),
            request_bytes: 10,
            response_bytes: Some(20),
            session: Some(u64::MAX),
            request_id: Some(RequestId::new("r-1")),
            texts: None,
        }
    }

    async fn write(&mut self, rows: &[Execution]) {
        self.log.write(rows, &[]).await.unwrap();
    }

    async fn rows_left(&self) -> usize {
        let stats = self
            .store
            .executions()
            .stats_of(&Wanted::default(), usize::MAX - 1)
            .await;
        stats.unwrap().total.calls as usize
    }

    async fn find(&self, wanted: &Wanted) -> Vec<Execution> {
        let found = self.store.executions().search(wanted, None, 100).await.unwrap();
        assert_eq!(found.next, None);
        found.items
    }
}

fn of(user: &str) -> Wanted {
    Wanted {
        user: Some(UserId::new(user)),
        ..Wanted::default()
    }
}

#[tokio::test]
async fn what_was_written_comes_back_newest_first_and_whole() {
    let mut rig = rig().await;
    let mut first = rig.call("alice", "a", "echo", Status::Success);
    first.texts = Some(Texts {
        arguments: Some(r#"{"a":1}"#.to_owned()),
        result: None,
    });
    let second = rig.call("bob", "b", "echo", Status::Failed);
    rig.write(&[first.clone(), second.clone()]).await;
    let listed = Execution {
        texts: None,
        ..first.clone()
    };
    assert_eq!(rig.find(&Wanted::default()).await, [second.clone(), listed]);
    let records = rig.store.executions();
    assert_eq!(records.get(first.id, None).await.unwrap(), Some(first.clone()));
    let bob = UserId::new("bob");
    assert_eq!(records.get(second.id, Some(&bob)).await.unwrap(), Some(second));
    assert_eq!(records.get(first.id, Some(&bob)).await.unwrap(), None);
}

#[tokio::test]
async fn every_filter_leaves_out_what_is_not_wanted() {
    let mut rig = rig().await;
    let rows = [
        rig.call("alice", "a", "echo", Status::Success),
        rig.call("alice", "b", "b__echo", Status::Failed),
        rig.call("bob", "a", "echo", Status::Pending),
        rig.call("bob", "a", "other", Status::Asked),
    ];
    rig.write(&rows).await;
    let by = |wanted: Wanted, expected: &'static [usize]| (wanted, expected);
    let all = Wanted::default;
    for (wanted, expected) in [
        by(all(), &[3, 2, 1, 0]),
        by(of("alice"), &[1, 0]),
        by(of("nobody"), &[]),
        by(
            Wanted {
                gateway: Some("a".to_owned()),
                ..all()
            },
            &[3, 2, 0],
        ),
        by(
            Wanted {
                tool: Some("echo".to_owned()),
                ..all()
            },
            &[2, 0],
        ),
        by(
            Wanted {
                tool: Some("nothing".to_owned()),
                ..all()
            },
            &[],
        ),
        by(
            Wanted {
                gateway: Some("a".to_owned()),
                ..of("alice")
            },
            &[0],
        ),
        by(
            Wanted {
                tools: Some(ToolNames::new(|name| name.starts_with("b__"))),
                ..all()
            },
            &[1],
        ),
        by(
            Wanted {
                tools: Some(ToolNames::new(|_| false)),
                ..all()
            },
            &[],
        ),
        by(
            Wanted {
                status: Some(Status::Failed),
                ..all()
            },
            &[1],
        ),
        by(
            Wanted {
                status: Some(Status::Pending),
                ..all()
            },
            &[2],
        ),
        by(
            Wanted {
                status: Some(Status::Success),
                ..all()
            },
            &[3, 0],
        ),
        by(
            Wanted {
                from_unix_ms: Some(rows[2].started_unix_ms),
                ..all()
            },
            &[3, 2],
        ),
        by(
            Wanted {
                to_unix_ms: Some(rows[2].started_unix_ms),
                ..all()
            },
            &[1, 0],
        ),
    ] {
        let expected: Vec<ExecutionId> = expected.iter().map(|index| rows[*index].id).collect();
        let stats = rig.store.executions().stats(&wanted).await.unwrap();
        assert_eq!(stats.total.calls as usize, expected.len(), "{wanted:?}");
        let found: Vec<ExecutionId> = rig.find(&wanted).await.iter().map(|row| row.id).collect();
        assert_eq!(found, expected, "{wanted:?}");
    }
}

/// Three blocks and a half: carol has the first row and the last but some.
async fn blocks() -> (Rig, Vec<Execution>) {
    let mut rig = rig().await;
    let mut all = Vec::new();
    for batch in 0..14 {
        let users = if batch == 0 || batch == 12 {
            ["carol", "bob"]
        } else {
            ["alice", "bob"]
        };
        let rows: Vec<Execution> = (0..EXECUTION_BLOCK_ROWS / 4)
            .map(|index| rig.call(users[usize::from(index > 0)], "a", "echo", Status::Success))
            .collect();
        rig.write(&rows).await;
        all.extend(rows);
    }
    all.reverse();
    (rig, all)
}

#[tokio::test]
async fn a_rare_user_is_found_in_old_blocks_and_among_the_newest_rows() {
    let (rig, all) = blocks().await;
    let closed: i64 = sqlx::query_scalar("SELECT count(*) FROM execution_blocks")
        .fetch_one(rig.store.reader())
        .await
        .unwrap();
    assert_eq!(closed, 3);
    let carol: Vec<&Execution> = all.iter().filter(|row| row.user.as_str() == "carol").collect();
    assert_eq!(carol.len(), 2);
    assert_eq!(rig.find(&of("carol")).await.iter().collect::<Vec<_>>(), carol);
    // A block that cannot have her is not looked at: with a bound of two blocks both rows are found.
    let records = rig.store.executions();
    let found = records
        .search_among(&of("carol"), None, 9, EXECUTION_BLOCK_ROWS + 1)
        .await
        .unwrap();
    assert_eq!(found.items.len(), 2);
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip_while_more_is_written() {
    let (mut rig, all) = blocks().await;
    for (wanted, scan) in [
        (Wanted::default(), 1_000_000),
        (of("bob"), 1_000_000),
        (of("alice"), 1),
        (of("carol"), 1),
    ] {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let records = rig.store.executions();
            let found = records.search_among(&wanted, before, 3_000, scan).await.unwrap();
            seen.extend(found.items);
            let Some(next) = found.next else { break };
            before = Some(next);
            let more = rig.call("alice", "a", "echo", Status::Success);
            rig.write(&[more]).await;
        }
        let right: Vec<Execution> = all
            .iter()
            .filter(|row| wanted.user.as_ref().is_none_or(|user| *user == row.user))
            .cloned()
            .collect();
        let new = seen.iter().filter(|row| row.id > all[0].id).count();
        assert_eq!(seen[new..], right, "{wanted:?}");
    }
}

#[tokio::test]
async fn a_call_that_ended_has_its_end_in_the_row_that_it_had() {
    let mut rig = rig().await;
    let pending = rig.call("alice", "a", "slow", Status::Pending);
    rig.write(std::slice::from_ref(&pending)).await;
    let ended = Execution {
        status: Status::Failed,
        error: Some("cancelled".into()),
        duration_us: Some(7),
        response_bytes: None,
        ..pending
    };
    rig.log.write(&[], std::slice::from_ref(&ended)).await.unwrap();
    assert_eq!(rig.find(&Wanted::default()).await, [ended]);
}

#[tokio::test]
async fn what_a_killed_process_left_pending_has_failed_and_ids_go_on() {
    let mut rig = rig().await;
    let rows = [
        rig.call("alice", "a", "slow", Status::Pending),
        rig.call("alice", "a", "echo", Status::Success),
    ];
    rig.write(&rows).await;
    // The clock went back meanwhile.
    let mut log = ExecutionLog::open(&rig.store, true, NOW_MS - DAY_MS)
        .await
        .unwrap();
    assert!(log.next_id(NOW_MS - DAY_MS) > rows[1].id);
    let found = rig.find(&Wanted::default()).await;
    assert_eq!(
        (found[0].status, found[1].status),
        (Status::Success, Status::Failed)
    );
    let error = found[1].error.as_deref().unwrap();
    assert!(error.starts_with("interrupted"), "{error}");
    let row = Execution {
        id: log.next_id(NOW_MS),
        user: UserId::new("dave"),
        ..rows[1].clone()
    };
    log.write(&[row], &[]).await.unwrap();
    assert_eq!(rig.find(&of("dave")).await.len(), 1);
}

#[tokio::test]
async fn a_write_that_fails_leaves_nothing_and_the_next_one_is_whole() {
    let mut rig = rig().await;
    let (good, new) = (
        rig.call("alice", "a", "echo", Status::Success),
        rig.call("bob", "b", "new", Status::Success),
    );
    rig.write(std::slice::from_ref(&good)).await;
    let twice = [new.clone(), good.clone()];
    assert!(rig.log.write(&twice, &[]).await.is_err(), "an id stands once");
    assert_eq!(rig.find(&Wanted::default()).await, std::slice::from_ref(&good));
    rig.write(std::slice::from_ref(&new)).await;
    assert_eq!(rig.find(&of("bob")).await, std::slice::from_ref(&new));
    assert_eq!(rig.find(&Wanted::default()).await, [new, good]);
}

#[tokio::test]
async fn what_is_too_old_is_deleted_to_the_row() {
    let (mut rig, all) = blocks().await;
    let cut = all.len() - 6_000;
    while rig.log.sweep(all[cut].id.unix_ms(), u64::MAX).await.unwrap() {}
    assert_eq!(rig.rows_left().await, cut + 1);
    assert_eq!(rig.find(&of("carol")).await.len(), 1);
}

#[tokio::test]
async fn when_there_is_too_much_the_oldest_goes_with_its_texts() {
    let mut rig = rig().await;
    let text = "x".repeat(16 * 1024);
    for _ in 0..3 {
        let rows: Vec<Execution> = (0..EXECUTION_BLOCK_BYTES / text.len())
            .map(|_| Execution {
                texts: Some(Texts {
                    arguments: None,
                    result: Some(text.clone()),
                }),
                ..rig.call("alice", "a", "echo", Status::Success)
            })
            .collect();
        rig.write(&rows).await;
    }
    let mut sweeps = 0;
    while rig.log.sweep(0, 2 * EXECUTION_BLOCK_BYTES as u64).await.unwrap() {
        sweeps += 1;
    }
    assert_eq!(
        sweeps, 2,
        "two of three blocks are above two mebibytes by their rows"
    );
    let texts: u32 = sqlx::query_scalar("SELECT count(*) FROM execution_texts")
        .fetch_one(rig.store.reader())
        .await
        .unwrap();
    let one_block = EXECUTION_BLOCK_BYTES / text.len();
    assert_eq!((rig.rows_left().await, texts as usize), (one_block, one_block));
}

#[tokio::test]
async fn statistics_are_exact_by_tool_gateway_and_day() {
    let mut rig = rig().await;
    let mut rows = Vec::new();
    for ms in 1..=100_u64 {
        rows.push(Execution {
            duration_us: Some(ms * 1_000),
            ..rig.call("alice", "a", "echo", Status::Success)
        });
    }
    rows.push(rig.call("alice", "a", "other", Status::Failed));
    rows.push(rig.call("bob", "b", "b__echo", Status::Pending));
    rig.now_ms += DAY_MS;
    rows.push(rig.call("alice", "b", "b__echo", Status::Success));
    rig.write(&rows).await;
    let records = rig.store.executions();
    let stats = records.stats(&Wanted::default()).await.unwrap();
    assert!(stats.complete);
    assert_eq!((stats.total.calls, stats.total.failures), (103, 1));
    assert_eq!(stats.oldest_unix_ms, Some(rows[0].started_unix_ms));
    let echo = &stats.tools[0];
    assert_eq!((echo.key.0.as_str(), &*echo.key.1), ("a", "echo"));
    let percentiles = (echo.tally.p50_us, echo.tally.p95_us, echo.tally.p99_us);
    assert_eq!(percentiles, (Some(50_000), Some(95_000), Some(99_000)));
    let calls = |tallies: Vec<&Tally>| tallies.iter().map(|tally| tally.calls).collect::<Vec<_>>();
    assert_eq!(
        calls(stats.gateways.iter().map(|group| &group.tally).collect()),
        [101, 2]
    );
    assert_eq!(
        calls(stats.days.iter().map(|group| &group.tally).collect()),
        [102, 1]
    );
    assert_eq!(stats.days[1].key - stats.days[0].key, 1);
    let of_bob = records.stats(&of("bob")).await.unwrap();
    assert_eq!((of_bob.total.calls, of_bob.total.p50_us), (1, None));
    assert_eq!(of_bob.tools.len(), 1);
    let some = records.stats_of(&Wanted::default(), 3).await.unwrap();
    assert!(!some.complete);
    assert_eq!((some.total.calls, some.days.len()), (3, 2));
    assert_eq!(
        records.stats(&of("nobody")).await.unwrap().total,
        Tally::default()
    );
}
