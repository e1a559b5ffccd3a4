//! Rows of their own, as earlier releases wrote all and as calls that run for long still have them, beside packs: whichever
//! way a history was written, it reads the same.

use super::*;
use crate::store::migrations;
use crate::store::tests::bare;

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

impl Rig {
    /// Some call or other.
    fn any_call(&mut self, dice: &mut Dice) -> Execution {
        let user = ["alice", "bob", "carol"][dice.below(3) as usize];
        let (gateway, tool) = [("a", "echo"), ("a", "other"), ("b", "b__echo")][dice.below(3) as usize];
        let status = [Status::Success, Status::Failed, Status::Asked][dice.below(3) as usize];
        let call = self.call(user, gateway, tool, status);
        Execution {
            started_unix_ms: call.started_unix_ms - dice.below(30_000),
            duration_us: (dice.below(9) > 0).then(|| dice.below(1 << 40)),
            request_bytes: dice.below(1 << 20),
            response_bytes: (dice.below(3) > 0).then(|| dice.below(1 << 50)),
            session: (dice.below(2) > 0).then(|| dice.below(1 << 60)),
            request_id: (dice.below(2) > 0).then(|| RequestId::new(&format!("r-{}", dice.below(99)))),
            ..call
        }
    }

    /// Writes rows that stay rows: first what runs, then how it ended.
    async fn write_alone(&mut self, rows: &[Execution]) {
        let running = |row: &Execution| Execution {
            status: Status::Pending,
            ..row.clone()
        };
        let pending: Vec<Execution> = rows.iter().map(running).collect();
        self.log.write(&pending, &[]).await.unwrap();
        self.log.write(&[], rows).await.unwrap();
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(self.store.reader())
            .await
            .unwrap()
    }

    /// Every page of what is wanted.
    async fn pages(&self, wanted: &Wanted, limit: usize) -> Vec<Execution> {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let found = self
                .store
                .executions()
                .search(wanted, before, limit)
                .await
                .unwrap();
            assert!(found.items.len() <= limit);
            seen.extend(found.items);
            let Some(next) = found.next else { return seen };
            before = Some(next);
        }
    }
}

fn wants(wanted: &Wanted, row: &Execution) -> bool {
    let status = |status| row.status == status || (status, row.status) == (Status::Success, Status::Asked);
    wanted.user.as_ref().is_none_or(|user| *user == row.user)
        && (wanted.gateway.as_deref()).is_none_or(|gateway| gateway == row.gateway.as_str())
        && wanted.tool.as_deref().is_none_or(|tool| *tool == *row.tool)
        && wanted.status.is_none_or(status)
        && wanted.from_unix_ms.is_none_or(|from| row.started_unix_ms >= from)
        && wanted.to_unix_ms.is_none_or(|to| row.started_unix_ms < to)
}

#[tokio::test]
async fn a_history_reads_the_same_whichever_way_its_rows_were_written() {
    for ways in [1, 2, 3] {
        let (mut rig, mut dice) = (rig().await, Dice(ways));
        let mut all = Vec::new();
        for batch in 0..60 {
            let count = dice.below(40) + if batch % 12 == 0 { 2_000 } else { 0 };
            let mut rows: Vec<Execution> = (0..count).map(|_| rig.any_call(&mut dice)).collect();
            all.extend(rows.iter().cloned());
            match (ways, dice.below(3)) {
                (1, _) | (3, 0) => rig.write_alone(&rows).await,
                (3, 1) => {
                    // Every third runs when the others are written.
                    let ended: Vec<Execution> = rows.iter().step_by(3).cloned().collect();
                    for row in rows.iter_mut().step_by(3) {
                        row.status = Status::Pending;
                    }
                    rig.log.write(&rows, &[]).await.unwrap();
                    rig.log.write(&[], &ended).await.unwrap();
                }
                _ => rig.write(&rows).await,
            }
        }
        all.reverse();
        let middle = all[all.len() / 2].started_unix_ms;
        let mut wanted = vec![Wanted::default()];
        for _ in 0..8 {
            wanted.push(Wanted {
                user: (dice.below(2) > 0).then(|| UserId::new("bob")),
                gateway: (dice.below(3) == 0).then(|| "a".to_owned()),
                tool: (dice.below(3) == 0).then(|| "echo".to_owned()),
                status: [
                    None,
                    Some(Status::Success),
                    Some(Status::Failed),
                    Some(Status::Pending),
                ][dice.below(4) as usize],
                from_unix_ms: (dice.below(3) == 0).then(|| middle - dice.below(2_000_000)),
                to_unix_ms: (dice.below(3) == 0).then(|| middle + dice.below(2_000_000)),
                tools: None,
            });
        }
        for wanted in &wanted {
            let right: Vec<&Execution> = all.iter().filter(|row| wants(wanted, row)).collect();
            let found = rig.pages(wanted, 1 + dice.below(900) as usize).await;
            assert!(found.iter().eq(right.iter().copied()), "{ways}: {wanted:?}");
            let stats = rig.store.executions().stats(wanted).await.unwrap();
            assert_eq!(stats.total.calls as usize, right.len());
            let failed = right.iter().filter(|row| row.status == Status::Failed).count();
            assert_eq!(stats.total.failures as usize, failed);
            assert_eq!(
                stats.oldest_unix_ms,
                right.iter().map(|row| row.started_unix_ms).min()
            );
        }
        let some = rig
            .store
            .executions()
            .stats_of(&Wanted::default(), 700)
            .await
            .unwrap();
        let newest = &all[..700];
        assert!(!some.complete);
        assert_eq!(
            some.oldest_unix_ms,
            newest.iter().map(|row| row.started_unix_ms).min()
        );
        for row in all.iter().step_by(17) {
            assert_eq!(
                rig.store.executions().get(row.id, None).await.unwrap().as_ref(),
                Some(row)
            );
        }
        assert!(rig.number("SELECT count(*) FROM execution_blocks").await > 1);
        let across = "SELECT count(*) FROM execution_packs p JOIN execution_blocks b \
                      ON p.first_id <= b.last_id AND p.last_id > b.last_id";
        assert_eq!(rig.number(across).await, 0, "a pack has rows of one block");
        let (alone, packs) = (
            rig.number("SELECT count(*) FROM executions").await,
            rig.number("SELECT count(*) FROM execution_packs").await,
        );
        assert_eq!((alone > 0, packs > 0), (ways != 2, ways != 1));
    }
}

#[tokio::test]
async fn what_an_earlier_release_recorded_stands_in_one_list_with_what_comes_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toolgate.db");
    let old = bare(&path).await;
    migrations::earlier().nth(3).unwrap().run(&old).await.unwrap();
    let id = |number: i64| ExecutionId::first_of(NOW_MS).bits() + number;
    for sql in [
        "INSERT INTO execution_users VALUES (7, 'alice')".to_owned(),
        "INSERT INTO execution_tools VALUES (9, 'a', 'echo')".to_owned(),
        format!(
            "INSERT INTO executions VALUES ({}, 7, 9, 1, {NOW_MS}, 5, 6, 7, NULL, 'r', NULL)",
            id(1)
        ),
        format!(
            "INSERT INTO execution_blocks VALUES ({0}, {0}, 1, 50, x'00000007', x'00000009')",
            id(1)
        ),
        format!(
            "INSERT INTO executions VALUES ({}, 7, 9, 0, {NOW_MS}, NULL, 6, NULL, -1, NULL, NULL)",
            id(2)
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&old).await.unwrap();
    }
    old.close().await;
    let store = Store::open(&crate::config::StorePlace::File(path), NOW_MS / 1_000)
        .await
        .unwrap();
    let mut rig = Rig {
        log: ExecutionLog::open(&store, false, NOW_MS).await.unwrap(),
        store,
        now_ms: NOW_MS,
    };
    let new = [
        rig.call("alice", "a", "echo", Status::Success),
        rig.call("bob", "a", "echo", Status::Success),
    ];
    rig.write(&new).await;
    let found = rig.find(&Wanted::default()).await;
    assert_eq!(found[..2], [new[1].clone(), new[0].clone()]);
    assert_eq!((found[2].id.bits(), found[2].status), (id(2), Status::Failed));
    assert_eq!((found[2].session, &*found[2].tool), (Some(u64::MAX), "echo"));
    assert_eq!((found[3].id.bits(), found[3].request_bytes), (id(1), 6));
    assert_eq!(found.len(), 4);
    assert_eq!(rig.find(&of("alice")).await.len(), 3);
    let names = rig.number("SELECT count(*) FROM execution_tools").await;
    assert_eq!(names, 1, "numbers stay with their names");
}

#[tokio::test]
async fn a_user_of_packs_that_had_no_block_is_found_after_a_restart() {
    let mut rig = rig().await;
    let carol = rig.call("carol", "a", "echo", Status::Success);
    rig.write(std::slice::from_ref(&carol)).await;
    rig.log = ExecutionLog::open(&rig.store, false, NOW_MS).await.unwrap();
    rig.now_ms += DAY_MS;
    for _ in 0..3 {
        let rows: Vec<Execution> = (0..EXECUTION_BLOCK_ROWS)
            .map(|_| rig.call("bob", "a", "echo", Status::Success))
            .collect();
        rig.write(&rows).await;
    }
    assert_eq!(rig.number("SELECT count(*) FROM execution_blocks").await, 3);
    assert_eq!(rig.find(&of("carol")).await, [carol]);
}

#[tokio::test]
async fn retention_takes_rows_of_either_kind_to_the_row() {
    let (mut rig, mut dice) = (rig().await, Dice(5));
    let mut all = Vec::new();
    for batch in 0..12 {
        let rows: Vec<Execution> = (0..800).map(|_| rig.any_call(&mut dice)).collect();
        if batch % 3 == 0 {
            rig.write_alone(&rows).await;
        } else {
            rig.write(&rows).await;
        }
        all.extend(rows);
    }
    for cut in [1, 799, 800, 1_300, 1_301, 5_000, 9_599] {
        while rig.log.sweep(all[cut].id.unix_ms(), u64::MAX).await.unwrap() {}
        let mut left = rig.pages(&Wanted::default(), 3_000).await;
        left.reverse();
        assert!(left == all[cut..], "{cut}: {} are left", left.len());
        let late = rig.call("dave", "a", "echo", Status::Success);
        rig.write(std::slice::from_ref(&late)).await;
        all.push(late);
    }
}

#[tokio::test]
async fn a_pack_that_cannot_be_read_is_named_and_nothing_else_is_lost() {
    let mut rig = rig().await;
    let mut all = Vec::new();
    for _ in 0..3 {
        let rows = [
            rig.call("alice", "a", "echo", Status::Success),
            rig.call("bob", "a", "echo", Status::Success),
        ];
        rig.write(&rows).await;
        all.extend(rows);
    }
    for broken in [
        "UPDATE execution_packs SET rows = CAST(x'02' || substr(rows, 2) AS BLOB) WHERE last_id = ?",
        "UPDATE execution_packs SET row_count = -1 WHERE last_id = ?",
    ] {
        let query = sqlx::query(broken).bind(all[3].id.bits());
        query.execute(rig.store.quick()).await.unwrap();
    }
    let records = rig.store.executions();
    let all_of = Wanted::default();
    let failed = records.get(all[2].id, None).await.unwrap_err();
    let text = failed.to_string();
    assert!(text.contains(&all[3].id.bits().to_string()), "{text}");
    assert!(matches!(failed, StoreError::Pack { .. }));
    let stats = records.stats(&all_of).await.unwrap();
    assert_eq!((stats.total.calls, stats.complete), (4, false));
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = records.search(&all_of, before, 1).await.unwrap();
        seen.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 1, 0].map(|at: usize| all[at].clone()));
    // The next process records all the same, and deletes what is too old.
    rig.log = ExecutionLog::open(&rig.store, false, NOW_MS).await.unwrap();
    let late = rig.call("alice", "a", "echo", Status::Success);
    rig.write(std::slice::from_ref(&late)).await;
    while rig.log.sweep(all[3].id.unix_ms(), u64::MAX).await.unwrap() {}
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM execution_packs WHERE last_id = ?")
        .bind(all[3].id.bits())
        .fetch_one(rig.store.quick())
        .await
        .unwrap();
    assert_eq!(kept, 1, "a part of it is not too old");
    while rig.log.sweep(all[4].id.unix_ms(), u64::MAX).await.unwrap() {}
    assert_eq!(rig.find(&all_of).await, [late, all[5].clone(), all[4].clone()]);
}

#[tokio::test]
async fn rows_behind_greater_ids_are_refused() {
    let mut rig = rig().await;
    let rows = [
        rig.call("alice", "a", "echo", Status::Success),
        rig.call("alice", "a", "echo", Status::Success),
    ];
    let turned = [rows[1].clone(), rows[0].clone()];
    let refused = rig.log.write(&turned, &[]).await;
    assert!(matches!(refused, Err(StoreError::Order)), "{refused:?}");
    rig.write(&rows).await;
    let again = rig.log.write(&rows[1..], &[]).await;
    assert!(matches!(again, Err(StoreError::Order)), "{again:?}");
    assert_eq!(rig.find(&Wanted::default()).await, turned);
}
