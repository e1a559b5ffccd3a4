mod load;

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::*;
use crate::clock;
use crate::exchange::{Answer, CallError};
use crate::limits::{LIST_RETRY_MAX, STARTUP_DEADLINE};
use crate::telemetry::BreakerState;
use crate::upstream::fake::{
    Fake, Put, Shelf, answer, broken, client, gateway_config, listing, permit, tool_call,
};
use crate::upstream::health::LinkState;
use crate::upstream::transport::ListError;

/// The links that were made, in their order.
type Links = Arc<Mutex<Vec<Arc<Fake>>>>;

/// A registry whose links are made by the test.
struct House {
    gateways: Arc<Gateways>,
    shelf: Arc<Shelf>,
    links: Links,
    supervisor: Supervisor,
    metrics: Arc<Metrics>,
    started: Instant,
}

fn house(make: impl Fn(&config::Gateway) -> Fake + Send + Sync + 'static) -> House {
    let (shelf, supervisor) = (Arc::new(Shelf::default()), Supervisor::new());
    let links = Links::default();
    let seen = Arc::clone(&links);
    let factory: Factory = Box::new(move |config| {
        let fake = Arc::new(make(config));
        seen.lock().expect("unpoisoned").push(Arc::clone(&fake));
        fake
    });
    let publish: Arc<dyn Publish> = Arc::clone(&shelf) as Arc<dyn Publish>;
    let metrics = Arc::new(Metrics::new());
    let gateways = Gateways::new(factory, publish, supervisor.clone(), Arc::clone(&metrics));
    House {
        gateways: Arc::new(gateways),
        shelf,
        links,
        supervisor,
        metrics,
        started: clock::now(),
    }
}

impl House {
    fn apply(&self, configs: &[config::Gateway]) -> Applied {
        self.gateways.apply(configs)
    }

    fn gateway(&self, name: &str) -> Arc<Gateway> {
        self.gateways.get(&GatewayId::new(name)).expect("configured")
    }

    fn made(&self, at: usize) -> Arc<Fake> {
        Arc::clone(&self.links.lock().expect("unpoisoned")[at])
    }

    fn links(&self) -> usize {
        self.links.lock().expect("unpoisoned").len()
    }

    async fn call(&self, name: &str) -> Result<Answer, CallError> {
        let (call, events) = tool_call();
        drop(events);
        self.gateway(name).call(permit(name), call).await
    }

    fn status(&self, name: &str) -> GatewayStatus {
        let mut all = self.gateways.statuses();
        all.retain(|status| status.name.as_str() == name);
        all.remove(0)
    }
}

fn names(ids: &[&str]) -> Vec<GatewayId> {
    ids.iter().map(|id| GatewayId::new(id)).collect()
}

fn configs(ids: &[&str]) -> Vec<config::Gateway> {
    ids.iter().map(|id| gateway_config(id)).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn shut_downs(fake: &Fake) -> usize {
    fake.shut_downs.load(Ordering::SeqCst)
}

/// A link that answers after `latency` unless `dead` is set; then nothing of it works.
fn mortal(name: &GatewayId, dead: &Arc<AtomicBool>, latency: Duration) -> Fake {
    let (on_call, on_list) = (Arc::clone(dead), Arc::clone(dead));
    let name = name.clone();
    Fake::new()
        .on_call(move |_| {
            let (dead, name) = (on_call.load(Ordering::SeqCst), name.clone());
            async move {
                if dead {
                    return Err(broken(name.as_str()));
                }
                sleep(latency).await;
                Ok(answer("{}"))
            }
        })
        .on_list(move |_| {
            let dead = on_list.load(Ordering::SeqCst);
            async move {
                if dead {
                    return Err(ListError("connection refused".to_owned()));
                }
                Ok(listing(&["echo"]))
            }
        })
}

#[tokio::test(start_paused = true)]
async fn gateways_keep_the_order_of_the_configuration() {
    let house = house(|_| Fake::new());
    let applied = house.apply(&configs(&["c", "a", "b"]));
    assert_eq!(applied.started, names(&["c", "a", "b"]));
    let statuses = house.gateways.statuses();
    let order: Vec<&str> = statuses.iter().map(|status| status.name.as_str()).collect();
    assert_eq!(order, ["c", "a", "b"]);
    assert!(house.gateways.get(&GatewayId::new("d")).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_equal_configuration_touches_nothing() {
    let house = house(|_| Fake::new());
    house.apply(&configs(&["a", "b"]));
    sleep(seconds(1)).await;
    assert_eq!(house.apply(&configs(&["b", "a"])), Applied::default());
    sleep(seconds(1)).await;
    assert_eq!(house.links(), 2);
    assert_eq!(house.made(0).lists.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn names_and_rights_change_without_touching_the_link() {
    let house = house(|_| Fake::new());
    house.apply(&configs(&["a"]));
    let mut changed = gateway_config("a");
    changed.allow = Some(vec!["echo".to_owned()]);
    changed.deny = vec!["x*".to_owned()];
    changed.rename.insert("echo".to_owned(), "say".to_owned());
    changed.prefix = Some(config::Prefix::Always);
    changed.required = true;
    assert_eq!(house.apply(std::slice::from_ref(&changed)), Applied::default());
    assert_eq!(house.links(), 1);
    assert_eq!(*house.gateway("a").config(), changed);
    assert!(house.status("a").required);
}

#[tokio::test(start_paused = true)]
async fn a_changed_gateway_gets_a_new_link_and_calls_on_the_old_one_end() {
    let house = house(|_| {
        Fake::new().on_call(async |_| {
            sleep(seconds(10)).await;
            Ok(answer("{}"))
        })
    });
    house.apply(&configs(&["a", "b"]));
    sleep(seconds(1)).await;
    let change = async {
        sleep(seconds(1)).await;
        let mut changed = configs(&["a", "b"]);
        changed[0].timeout = seconds(7);
        let applied = house.apply(&changed);
        assert_eq!(applied.replaced, names(&["a"]));
        assert_eq!(house.links(), 3, "b keeps its link");
        let late = house.call("a").await;
        assert!(
            matches!(
                late,
                Err(CallError::Timeout {
                    timeout_ms: 7_000,
                    ..
                })
            ),
            "{late:?}"
        );
        assert_eq!(shut_downs(&house.made(0)), 0, "one call is still in flight there");
    };
    let (done, ()) = tokio::join!(house.call("a"), change);
    assert!(done.is_ok(), "{done:?}");
    sleep(seconds(1)).await;
    assert_eq!(shut_downs(&house.made(0)), 1);
    assert_eq!((shut_downs(&house.made(1)), shut_downs(&house.made(2))), (0, 0));
    let removed = house.shelf.all().contains(&Put::Removed("a".to_owned()));
    assert!(!removed, "its last good list stands until the new link gives one");
    assert_eq!(house.shelf.tools("a").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_removed_gateway_is_gone_at_once_and_publishes_no_more() {
    let house = house(|_| Fake::new());
    house.apply(&configs(&["a", "b"]));
    sleep(seconds(1)).await;
    assert_eq!(house.apply(&configs(&["b"])).removed, names(&["a"]));
    assert!(house.gateways.get(&GatewayId::new("a")).is_none());
    sleep(seconds(1_000)).await;
    assert_eq!(shut_downs(&house.made(0)), 1);
    let puts = house.shelf.all();
    let removed = puts.iter().position(|put| *put == Put::Removed("a".to_owned()));
    let last = puts
        .iter()
        .rposition(|put| matches!(put, Put::Tools(name, _) if name == "a"));
    assert!(last < removed, "{puts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_comes_at_the_moment_of_removal_is_not_published() {
    let comes = Arc::new(tokio::sync::Notify::new());
    let gate = Arc::clone(&comes);
    let house = house(move |_| {
        let gate = Arc::clone(&gate);
        Fake::new().on_list(move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                Ok(listing(&["late"]))
            }
        })
    });
    house.apply(&configs(&["a"]));
    sleep(seconds(1)).await;
    comes.notify_one();
    house.apply(&[]);
    sleep(seconds(1)).await;
    assert_eq!(house.shelf.all(), [Put::Removed("a".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_required_gateways_alone() {
    let dead = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&dead);
    let house = house(move |config| {
        if config.name.as_str() == "slow" {
            return Fake::new().on_list(async |_| std::future::pending().await);
        }
        mortal(&config.name, &flag, Duration::ZERO)
    });
    let mut all = configs(&["needed", "slow"]);
    all[0].required = true;
    house.apply(&all);
    sleep(STARTUP_DEADLINE * 2).await;
    assert!(
        !house.gateways.ready(),
        "its deadline does not make a required gateway ready"
    );
    dead.store(false, Ordering::SeqCst);
    sleep(LIST_RETRY_MAX * 2).await;
    assert!(house.gateways.ready());
    dead.store(true, Ordering::SeqCst);
    sleep(seconds(700)).await;
    assert_eq!(house.status("needed").state, LinkState::Down);
    assert!(house.gateways.ready(), "it was looked at once");
}

#[tokio::test(start_paused = true)]
async fn a_status_tells_what_is_known_without_asking() {
    let dead = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dead);
    let house = house(move |config| mortal(&config.name, &flag, Duration::from_millis(20)));
    house.apply(&configs(&["a"]));
    sleep(seconds(2)).await;
    house.call("a").await.expect("an answer");
    let status = house.status("a");
    assert_eq!(
        (status.state, status.transport, status.in_flight),
        (LinkState::Up, "http", 0)
    );
    assert_eq!(status.latency, Some(Duration::from_millis(20)));
    assert_eq!(status.listed.expect("a list").tools, 1);
    assert!(status.list_age >= Some(seconds(2)) && status.looked);
    dead.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        let _ = house.call("a").await;
    }
    let status = house.status("a");
    assert_eq!(
        (status.state, status.breaker),
        (LinkState::Down, BreakerState::Open)
    );
    assert_eq!(status.last_fault.expect("a fault").text, "connection refused");
    assert_eq!(status.faults_in_a_row, 5);
}

#[tokio::test(start_paused = true)]
async fn metrics_show_each_gateway_and_forget_the_removed_one() {
    let dead = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dead);
    let house = house(move |config| mortal(&config.name, &flag, seconds(3)));
    let shows = |line: &str| house.metrics.encode().lines().any(|found| found == line);
    house.apply(&configs(&["a"]));
    assert!(shows(r#"toolgate_upstream_up{gateway="a"} 0"#));
    assert!(shows(r#"toolgate_breaker_state{gateway="a"} 0"#));
    sleep(seconds(1)).await;
    assert!(shows(r#"toolgate_upstream_up{gateway="a"} 1"#));
    assert!(shows(
        r#"toolgate_list_refreshes_total{gateway="a",outcome="ok"} 1"#
    ));
    house.call("a").await.expect("an answer");
    let page = house.metrics.encode();
    let line = page
        .lines()
        .find(|line| line.starts_with("mcp_client_operation_duration_seconds_sum"));
    let line = line.expect("an operation");
    assert!(
        line.contains(r#"mcp_method_name="tools/call""#) && line.ends_with(" 3.0"),
        "{line}"
    );
    dead.store(true, Ordering::SeqCst);
    let old = house.gateway("a");
    for _ in 0..5 {
        let _ = house.call("a").await;
    }
    assert!(shows(r#"toolgate_upstream_up{gateway="a"} 0"#));
    assert!(shows(r#"toolgate_breaker_state{gateway="a"} 2"#));
    house.apply(&[]);
    old.is_up();
    let page = house.metrics.encode();
    assert!(!page.contains("toolgate_upstream_up{"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn notices_reach_every_gateway() {
    let house = house(|_| Fake::new());
    house.apply(&configs(&["a", "b"]));
    house.gateways.roots_changed(&client()).await;
    house.gateways.scope_ended(&client()).await;
    let told: Vec<usize> = (0..2)
        .map(|at| house.made(at).notices.load(Ordering::SeqCst))
        .collect();
    assert_eq!(told, [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_house_ends_every_link_once_its_calls_are_through() {
    let house = house(|_| {
        Fake::new().on_call(async |_| {
            sleep(seconds(4)).await;
            Ok(answer("{}"))
        })
    });
    house.apply(&configs(&["a", "b"]));
    let end = async {
        house.gateways.shut_down(seconds(30)).await;
        clock::now() - house.started
    };
    let (done, took) = tokio::join!(house.call("a"), end);
    assert!(done.is_ok() && took == seconds(4), "{took:?}");
    assert_eq!((shut_downs(&house.made(0)), shut_downs(&house.made(1))), (1, 1));
    house.supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_house_hurries_what_still_drains() {
    let house = house(|_| Fake::new().on_call(async |_| std::future::pending().await));
    house.apply(&configs(&["a"]));
    let stuck = house.call("a");
    let end = async {
        sleep(seconds(1)).await;
        house.apply(&[]);
        sleep(seconds(1)).await;
        house.supervisor.stop().await;
        clock::now() - house.started
    };
    tokio::select! {
        biased;
        _ = stuck => panic!("no answer ever comes"),
        took = end => assert_eq!(took, seconds(2)),
    }
    assert_eq!(shut_downs(&house.made(0)), 1);
}
