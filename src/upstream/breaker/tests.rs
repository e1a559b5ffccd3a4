use tokio::time::advance;

use super::*;

fn fail(breaker: &Breaker, times: u32) -> bool {
    (0..times)
        .map(|_| breaker.admit().expect("let through").failed())
        .fold(false, |_, opened| opened)
}

fn opened() -> Breaker {
    let breaker = Breaker::default();
    assert!(fail(&breaker, BREAKER_FAULTS));
    breaker
}

#[tokio::test(start_paused = true)]
async fn opens_after_faults_in_a_row_and_not_before() {
    let breaker = Breaker::default();
    assert!(!fail(&breaker, BREAKER_FAULTS - 1));
    assert!(breaker.admit().is_ok());
    assert!(fail(&breaker, 1), "the last fault opens it");
    let refused = breaker.admit().expect_err("refused");
    assert!(refused.retry_in >= BREAKER_BACKOFF_MIN && refused.retry_in <= BREAKER_BACKOFF_MIN * 3 / 2);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_faults_starts_the_count_again() {
    let breaker = Breaker::default();
    for _ in 0..4 {
        fail(&breaker, BREAKER_FAULTS - 1);
        assert!(!breaker.admit().expect("closed").answered());
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_call_alone_tries_when_the_back_off_is_over() {
    let breaker = opened();
    advance(BREAKER_BACKOFF_MIN * 2).await;
    let attempt = breaker.admit().expect("the one try");
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(breaker.admit().is_err(), "a second one is refused");
    assert!(attempt.answered(), "its answer closes the breaker");
    assert!(breaker.admit().is_ok() && breaker.admit().is_ok());
    assert_eq!(breaker.faults(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_failed_try_doubles_the_back_off_up_to_its_bound() {
    let breaker = opened();
    let mut longest = Duration::ZERO;
    for opening in 1..8 {
        advance(BREAKER_BACKOFF_MAX * 2).await;
        assert!(breaker.admit().expect("a try").failed());
        let wait = breaker.admit().expect_err("open again").retry_in;
        let plain = BACKOFF.plain(opening);
        assert!(wait >= plain && wait <= plain * 3 / 2, "{wait:?} after {opening}");
        longest = longest.max(wait);
    }
    assert!(longest >= BREAKER_BACKOFF_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_try_leaves_the_next_call_to_try() {
    let breaker = opened();
    advance(BREAKER_BACKOFF_MIN * 2).await;
    drop(breaker.admit().expect("a try"));
    advance(Duration::from_millis(1)).await;
    assert!(breaker.admit().expect("another").answered());
}

#[tokio::test(start_paused = true)]
async fn late_faults_of_calls_from_before_do_not_prolong_the_back_off() {
    let breaker = Breaker::default();
    let late: Vec<Attempt<'_>> = (0..20).map(|_| breaker.admit().expect("closed")).collect();
    fail(&breaker, BREAKER_FAULTS);
    let at = breaker.retry_at().expect("open");
    for attempt in late {
        assert!(!attempt.failed());
    }
    assert_eq!(breaker.retry_at(), Some(at));
}

#[tokio::test(start_paused = true)]
async fn a_good_list_closes_it_once_the_back_off_is_over_and_the_back_off_remembers() {
    let breaker = opened();
    assert!(!breaker.listed(), "not before the back-off is over");
    advance(BREAKER_BACKOFF_MIN * 2).await;
    assert!(breaker.listed());
    assert!(!breaker.listed(), "it is closed already");
    assert!(fail(&breaker, BREAKER_FAULTS), "calls fail though lists do not");
    let wait = breaker.admit().expect_err("open").retry_in;
    assert!(wait >= BREAKER_BACKOFF_MIN * 2, "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_try_does_not_open_what_a_list_has_closed() {
    let breaker = opened();
    advance(BREAKER_BACKOFF_MIN * 2).await;
    let attempt = breaker.admit().expect("a try");
    assert!(breaker.listed());
    assert!(!attempt.failed());
    assert_eq!(breaker.state(), BreakerState::Closed);
}
