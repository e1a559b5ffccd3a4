use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::clock;
use crate::upstream::fake::{Fake, answer, listing, tool_call};
use crate::upstream::transport::Announced;

/// What the two links do, as the test sets it.
#[derive(Default)]
struct Weather {
    newer_works: AtomicBool,
    older_works: AtomicBool,
    found_older: AtomicBool,
}

struct FakeNewer(Fake, Arc<Weather>);

impl Newer for FakeNewer {
    fn should_be_older(&self) -> bool {
        self.1.found_older.load(Ordering::SeqCst)
    }
}

impl Transport for FakeNewer {
    fn call<'a>(&'a self, route: &'a Route, call: Call) -> BoxFuture<'a, Result<Answer, CallError>> {
        self.0.call(route, call)
    }
    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>> {
        self.0.list()
    }
    fn changes(&self) -> watch::Receiver<Announced> {
        self.0.changes()
    }
    fn watch_resource<'a>(
        &'a self,
        route: &'a Route,
        client: &'a Arc<Client>,
        wanted: bool,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        self.0.watch_resource(route, client, wanted)
    }
    fn roots_changed<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        self.0.roots_changed(client)
    }
    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()> {
        self.0.scope_ended(client)
    }
    fn era(&self) -> Option<Era> {
        self.0.era()
    }
    fn shut_down(&self) -> BoxFuture<'_, ()> {
        self.0.shut_down()
    }
}

struct House {
    fallover: Fallover<FakeNewer>,
    weather: Arc<Weather>,
    olders: Arc<Mutex<Vec<Arc<Fake>>>>,
    made: Arc<AtomicUsize>,
}

fn link(name: &'static str, weather: &Arc<Weather>, works: fn(&Weather) -> &AtomicBool) -> Fake {
    let weather = Arc::clone(weather);
    Fake::new()
        .on_list(move |_| {
            let works = works(&weather).load(Ordering::SeqCst);
            std::future::ready(if works {
                Ok(listing(&[name]))
            } else {
                Err(ListError(format!("{name} failed")))
            })
        })
        .on_call(move |_| std::future::ready(Ok(answer(&format!(r#"{{"by":"{name}"}}"#)))))
}

fn house() -> House {
    let weather = Arc::new(Weather::default());
    let newer = FakeNewer(
        link("newer", &weather, |weather| &weather.newer_works),
        Arc::clone(&weather),
    );
    let (olders, made) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (keep, count, seen) = (Arc::clone(&olders), Arc::clone(&made), Arc::clone(&weather));
    let factory: MakeOlder = Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let older = Arc::new(link("older", &seen, |weather| &weather.older_works));
        keep.lock().expect("unpoisoned").push(Arc::clone(&older));
        older
    });
    House {
        fallover: Fallover::new(&GatewayId::new("a"), newer, factory, &Supervisor::new()),
        weather,
        olders,
        made,
    }
}

impl House {
    async fn lists(&self) -> Result<String, String> {
        let listed = self.fallover.list().await;
        listed
            .map(|listing| listing.tools[0].own.to_string())
            .map_err(|error| error.0)
    }

    async fn called(&self) -> String {
        let (call, _events) = tool_call();
        let permit = crate::upstream::fake::permit("a");
        let answer = self.fallover.call(permit.route(), call).await.expect("an answer");
        String::from_utf8(answer.response.raw.to_vec()).expect("text")
    }

    fn set(&self, newer: bool, older: bool, found_older: bool) {
        self.weather.newer_works.store(newer, Ordering::SeqCst);
        self.weather.older_works.store(older, Ordering::SeqCst);
        self.weather.found_older.store(found_older, Ordering::SeqCst);
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_that_fails_is_not_taken_for_the_older_transport() {
    let house = house();
    house.set(false, true, false);
    assert_eq!(house.lists().await, Err("newer failed".to_owned()));
    assert_eq!(house.made(), 0);
    house.set(true, true, false);
    assert_eq!(house.lists().await, Ok("newer".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_url_that_speaks_the_older_transport_is_used_over_it() {
    let house = house();
    house.set(false, true, true);
    assert_eq!(house.lists().await, Ok("older".to_owned()));
    assert!(house.called().await.contains("older"));
    assert_eq!(house.lists().await, Ok("older".to_owned()));
    assert_eq!(house.made(), 1, "one older link is made and kept");
}

#[tokio::test(start_paused = true)]
async fn an_older_link_that_fails_stays_until_the_newer_one_answers() {
    let house = house();
    house.set(false, true, true);
    assert_eq!(house.lists().await, Ok("older".to_owned()));
    house.set(false, false, true);
    assert_eq!(house.lists().await, Err("older failed".to_owned()));
    house.set(false, true, true);
    assert_eq!(house.lists().await, Ok("older".to_owned()));
    house.set(true, false, false);
    assert_eq!(house.lists().await, Ok("newer".to_owned()));
    assert!(house.called().await.contains("newer"));
    let older = Arc::clone(&house.olders.lock().expect("unpoisoned")[0]);
    assert_eq!((older.shut_downs.load(Ordering::SeqCst), house.made()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn announcements_of_both_links_are_heard() {
    let house = house();
    let mut changes = house.fallover.changes();
    house.fallover.newer.0.announce();
    heard(&mut changes).await;
    house.set(false, true, true);
    assert!(house.lists().await.is_ok());
    let older = Arc::clone(&house.olders.lock().expect("unpoisoned")[0]);
    older.announce();
    heard(&mut changes).await;
}

async fn heard(changes: &mut watch::Receiver<Announced>) {
    let started = clock::now();
    let heard = tokio::time::timeout(std::time::Duration::from_secs(1), changes.changed()).await;
    assert!(heard.is_ok_and(|heard| heard.is_ok()), "not heard");
    assert_eq!(clock::now(), started);
}

#[tokio::test(start_paused = true)]
async fn both_links_end() {
    let house = house();
    house.set(false, true, true);
    assert!(house.lists().await.is_ok());
    house.fallover.shut_down().await;
    let older = Arc::clone(&house.olders.lock().expect("unpoisoned")[0]);
    let ended = |fake: &Fake| fake.shut_downs.load(Ordering::SeqCst);
    assert_eq!((ended(&older), ended(&house.fallover.newer.0)), (1, 1));
}
