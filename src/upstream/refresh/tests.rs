use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::sleep;

use super::*;
use crate::limits::{BREAKER_BACKOFF_MAX, BREAKER_FAULTS};
use crate::supervisor::Supervisor;
use crate::telemetry::{BreakerState, Metrics};
use crate::upstream::fake::{Fake, Put, Shelf, broken, gateway_config, listing, permit, tool_call};
use crate::upstream::transport::Transport;

struct House {
    gateway: Arc<Gateway>,
    fake: Arc<Fake>,
    shelf: Arc<Shelf>,
    started: Instant,
    _supervisor: Supervisor,
}

fn start(fake: Fake) -> House {
    let (fake, shelf) = (Arc::new(fake), Arc::new(Shelf::default()));
    let transport: Arc<dyn Transport> = Arc::clone(&fake) as Arc<dyn Transport>;
    let gateway = Arc::new(Gateway::new(
        &gateway_config("a"),
        transport,
        Arc::new(Metrics::new()),
    ));
    let supervisor = Supervisor::new();
    let publish: Arc<dyn Publish> = Arc::clone(&shelf) as Arc<dyn Publish>;
    supervisor.spawn("gateway refresh", run(Arc::clone(&gateway), publish));
    House {
        gateway,
        fake,
        shelf,
        started: clock::now(),
        _supervisor: supervisor,
    }
}

impl House {
    fn lists(&self) -> usize {
        self.fake.lists.load(Ordering::SeqCst)
    }

    fn looked(&self) -> bool {
        self.shelf.all().contains(&Put::Looked("a".to_owned()))
    }

    async fn until(&self, after: Duration) {
        tokio::time::sleep_until(self.started + after).await;
    }

    async fn call(&self) {
        let (call, _events) = tool_call();
        let _ = self.gateway.call(permit("a"), call).await;
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn down() -> Result<Listing, ListError> {
    Err(ListError("connection refused".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_list_is_published_at_start_and_asked_for_slowly_afterwards() {
    let house = start(Fake::new());
    house.until(millis(1)).await;
    assert_eq!(
        house.shelf.all(),
        [
            Put::Tools("a".to_owned(), vec!["echo".to_owned()]),
            Put::Looked("a".to_owned())
        ]
    );
    assert_eq!(house.gateway.health.condition().state, LinkState::Up);
    house.until(LIST_POLL_INTERVAL.mul_f64(0.99)).await;
    assert_eq!(house.lists(), 1);
    house.until(LIST_POLL_INTERVAL * 11 / 10 + seconds(1)).await;
    assert_eq!(house.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_down_at_start_joins_when_it_comes_up() {
    let house = start(Fake::new().on_list(async |number| {
        if number < 4 {
            down()
        } else {
            Ok(listing(&["late"]))
        }
    }));
    house.until(millis(1)).await;
    assert_eq!(house.gateway.health.condition().state, LinkState::Down);
    assert_eq!(
        house.gateway.health.last_fault().expect("a fault").text,
        "connection refused"
    );
    assert!(!house.looked(), "it may still come up before its deadline");
    // 0.5 + 1 + 2 + 4 s, and half as much again by chance at most.
    house.until(millis(11_300)).await;
    assert_eq!(house.shelf.tools("a"), [["late"]]);
    assert!(house.looked());
    assert_eq!(house.gateway.health.condition().state, LinkState::Up);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_never_answers_is_looked_at_when_its_start_up_deadline_passes() {
    let house = start(Fake::new().on_list(async |_| std::future::pending().await));
    house.until(STARTUP_DEADLINE.mul_f64(0.99)).await;
    assert!(!house.looked() && !house.gateway.looked());
    house.until(STARTUP_DEADLINE + millis(1)).await;
    assert!(house.looked() && house.gateway.looked());
    assert_eq!(house.lists(), 1);
    house.until(LIST_TIMEOUT + seconds(1)).await;
    assert_eq!(
        house.lists(),
        2,
        "a list that hangs is given up and asked for again"
    );
}

#[tokio::test(start_paused = true)]
async fn waits_between_looks_grow_to_their_bound_while_it_is_down() {
    let house = start(Fake::new().on_list(async |_| down()));
    house.until(seconds(600)).await;
    // 6 looks in the first 15.5 to 23 s, then one every 30 to 45 s.
    let lists = house.lists();
    assert!((18..=27).contains(&lists), "{lists} looks in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn an_announced_change_is_looked_at_at_once_and_a_storm_of_them_once_a_second() {
    let house = start(Fake::new().on_list(async |number| Ok(listing(&[&format!("v{number}")]))));
    house.until(seconds(10)).await;
    house.fake.announce();
    sleep(millis(1)).await;
    assert_eq!(house.lists(), 2, "the first one at once");
    for _ in 0..500 {
        house.fake.announce();
        sleep(millis(10)).await;
    }
    let lists = house.lists();
    assert!(
        (6..=8).contains(&lists),
        "{lists} looks after 5 s of announcements"
    );
    sleep(seconds(2)).await;
    let last = house.shelf.tools("a").pop().expect("a list");
    assert_eq!(
        last,
        [format!("v{}", house.lists() - 1)],
        "the last change is not missed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_look_leads_to_another_look() {
    let house = start(Fake::new().on_list(async |number| {
        sleep(seconds(3)).await;
        Ok(listing(&[&format!("v{number}")]))
    }));
    house.until(seconds(2)).await;
    house.fake.announce();
    house.until(seconds(7)).await;
    assert_eq!(house.shelf.tools("a"), [["v0"], ["v1"]]);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_the_upstream_is_kept_within_bounds() {
    for (ttl, at_least, at_most) in [
        (Duration::ZERO, LIST_POLL_INTERVAL_MIN, LIST_POLL_INTERVAL_MIN),
        (seconds(60), seconds(60), seconds(60)),
        (seconds(86_400), LIST_POLL_INTERVAL, LIST_POLL_INTERVAL),
    ] {
        let house = start(Fake::new().on_list(move |_| {
            std::future::ready(Ok(Listing {
                ttl: Some(ttl),
                ..listing(&["echo"])
            }))
        }));
        house.until(at_least.mul_f64(0.99)).await;
        assert_eq!(house.lists(), 1, "{ttl:?}");
        house.until(at_most * 11 / 10 + millis(2)).await;
        assert_eq!(house.lists(), 2, "{ttl:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_goes_down_keeps_its_last_good_list_and_comes_back_by_itself() {
    let sick = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&sick);
    let house = start(Fake::new().on_list(move |number| {
        let sick = flag.load(Ordering::SeqCst);
        async move {
            if sick {
                down()
            } else {
                Ok(listing(&[&format!("v{number}")]))
            }
        }
    }));
    house.until(seconds(10)).await;
    sick.store(true, Ordering::SeqCst);
    house.fake.announce();
    house.until(seconds(20)).await;
    assert_eq!(house.gateway.health.condition().state, LinkState::Down);
    assert_eq!(house.shelf.tools("a"), [["v0"]]);
    let listed = house.gateway.health.last_list().expect("a list");
    assert_eq!((listed.tools, listed.at), (1, house.started));
    sick.store(false, Ordering::SeqCst);
    sleep(LIST_RETRY_MAX * 2).await;
    assert_eq!(house.gateway.health.condition().state, LinkState::Up);
    assert_eq!(house.shelf.tools("a").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn announcements_of_a_link_that_fails_do_not_make_us_ask_in_a_loop() {
    let fake = Arc::new(std::sync::OnceLock::<std::sync::Weak<Fake>>::new());
    let own = Arc::clone(&fake);
    let house = start(Fake::new().on_list(move |_| {
        let fake = own.get().and_then(std::sync::Weak::upgrade);
        async move {
            if let Some(fake) = fake {
                fake.announce();
            }
            down()
        }
    }));
    fake.set(Arc::downgrade(&house.fake)).expect("set once");
    house.until(seconds(600)).await;
    assert!(house.lists() <= 27, "{} looks in ten minutes", house.lists());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_look_waits_for_one_that_began_after_asking() {
    let house = start(Fake::new().on_list(async |number| {
        sleep(seconds(2)).await;
        Ok(listing(&[&format!("v{number}")]))
    }));
    house.until(seconds(1)).await;
    house.gateway.refresh_now().await;
    assert_eq!(
        clock::now() - house.started,
        seconds(4),
        "the first look had begun before"
    );
    assert_eq!(house.shelf.tools("a"), [["v0"], ["v1"]]);
    let all = futures_util::future::join_all((0..100).map(|_| house.gateway.refresh_now()));
    all.await;
    assert_eq!(house.lists(), 3, "a hundred who ask share one look");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_look_at_a_gateway_that_is_gone() {
    let house = start(Fake::new());
    house.until(seconds(1)).await;
    house.gateway.retire();
    house.gateway.refresh_now().await;
    house.fake.announce();
    house.until(seconds(1_000)).await;
    assert_eq!(house.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_for_a_gateway_that_retired_during_a_look() {
    let house = start(Fake::new().on_list(async |_| {
        sleep(seconds(5)).await;
        Ok(listing(&["late"]))
    }));
    house.until(seconds(1)).await;
    house.gateway.retire();
    house.until(seconds(60)).await;
    assert_eq!(house.shelf.all(), []);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_is_followed_by_a_look_which_closes_it() {
    let house = start(Fake::new().on_call(async |_| Err(broken("a"))));
    house.until(seconds(10)).await;
    for _ in 0..BREAKER_FAULTS {
        house.call().await;
    }
    assert_eq!(house.gateway.breaker.state(), BreakerState::Open);
    assert_eq!(house.gateway.health.condition().state, LinkState::Down);
    sleep(BREAKER_BACKOFF_MAX).await;
    assert_eq!(house.gateway.breaker.state(), BreakerState::Closed);
    assert_eq!(house.gateway.health.condition().state, LinkState::Up);
    assert_eq!(house.lists(), 2);
}
