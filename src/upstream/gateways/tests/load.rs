//! One sick gateway hurts nobody else.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_gateway_that_answers_after_ten_seconds_holds_nobody_up() {
    let house = house(|config| {
        if config.name.as_str() == "slow" {
            return Fake::new()
                .on_list(async |_| {
                    sleep(seconds(10)).await;
                    Ok(listing(&["late"]))
                })
                .on_call(async |_| {
                    sleep(seconds(10)).await;
                    Ok(answer("{}"))
                });
        }
        Fake::new()
    });
    house.apply(&configs(&["slow", "a", "b"]));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        (house.shelf.tools("a").len(), house.shelf.tools("b").len()),
        (1, 1)
    );
    // As many calls as the slow one takes, and more.
    let slow = join_all((0..20).map(|_| house.call("slow")));
    let others = async {
        for _ in 0..1_000 {
            house.call("a").await.expect("an answer");
            house.call("b").await.expect("an answer");
        }
        clock::now() - house.started
    };
    let (_, took) = tokio::join!(slow, others);
    assert!(took < Duration::from_millis(10), "{took:?}");
    assert_eq!(house.shelf.tools("slow"), [["late"]]);
}

#[tokio::test(start_paused = true)]
async fn one_of_three_is_killed_under_load_and_comes_back() {
    let dead = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dead);
    let latency = Duration::from_millis(50);
    let house = house(move |config| {
        if config.name.as_str() == "victim" {
            return mortal(&config.name, &flag, latency);
        }
        mortal(&config.name, &Arc::new(AtomicBool::new(false)), latency)
    });
    house.apply(&configs(&["a", "victim", "b"]));
    sleep(seconds(1)).await;
    // Each gateway is called by four at once, as fast as it answers, for two minutes; one is dead in the second 30 s.
    let load = |name: &'static str| {
        let house = &house;
        async move {
            let (mut answered, mut failed, mut slowest) = (0_u32, 0_u32, Duration::ZERO);
            while clock::now() - house.started < seconds(121) {
                let before = clock::now();
                if house.call(name).await.is_err() {
                    failed += 1;
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
                answered += 1;
                slowest = slowest.max(clock::now() - before);
            }
            (answered, failed, slowest)
        }
    };
    let murder = async {
        sleep(seconds(30)).await;
        dead.store(true, Ordering::SeqCst);
        sleep(seconds(20)).await;
        assert_eq!(house.status("victim").state, LinkState::Down);
        let error = house.call("victim").await.expect_err("refused").to_string();
        assert!(
            error.starts_with("gateway victim") && error.contains("connection refused"),
            "{error}"
        );
        sleep(seconds(10)).await;
        dead.store(false, Ordering::SeqCst);
        sleep(LIST_RETRY_MAX * 2).await;
        assert_eq!(house.status("victim").state, LinkState::Up);
        house.call("victim").await.expect("it is back");
    };
    let loads = join_all(
        ["a", "victim", "b"]
            .into_iter()
            .flat_map(|name| (0..4).map(move |_| name))
            .map(load),
    );
    let (done, ()) = tokio::join!(loads, murder);
    for (answered, failed, slowest) in done.iter().take(4).chain(done.iter().skip(8)) {
        assert!(
            *answered > 2_000 && *failed == 0,
            "{answered} answered, {failed} failed"
        );
        assert!(
            *slowest <= latency + Duration::from_millis(2),
            "slowest {slowest:?}"
        );
    }
    assert!(done.iter().skip(4).take(4).all(|(_, failed, _)| *failed > 0));
    assert_eq!(
        house.shelf.tools("victim").first(),
        house.shelf.tools("victim").last()
    );
    assert!(
        !house.shelf.all().iter().any(|put| matches!(put, Put::Removed(_))),
        "the list stays whole"
    );
}
