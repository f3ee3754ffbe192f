//! The figures of the README, held: a common question takes a microsecond at most, and no longer than in Cedar; the
//! time grows no faster than the number of rules.

use std::hint::black_box;
use std::time::{Duration, Instant};

use policy_bench::{QUESTIONS, cedar, odrl};

/// The fastest of many batches, a question: what else the machine does only adds.
fn time(ask: impl Fn() -> bool) -> Duration {
    const BATCH: u32 = 200;
    let batch = || {
        let start = Instant::now();
        (0..BATCH).for_each(|_| {
            black_box(ask());
        });
        start.elapsed() / BATCH
    };
    (0..200).map(|_| batch()).min().unwrap_or_default()
}

#[test]
fn five_questions_in_a_microsecond_and_not_slower_than_cedar() {
    for (((words, permitted), odrl), cedar) in QUESTIONS.iter().zip(odrl::questions()).zip(cedar::questions())
    {
        assert_eq!((odrl.ask(), cedar.ask()), (*permitted, *permitted), "{words}");
        let (ours, theirs) = (time(|| odrl.ask()), time(|| cedar.ask()));
        println!("{words}: {ours:?}, Cedar {theirs:?}");
        assert!(ours <= Duration::from_micros(1) && ours <= theirs, "{words}: {ours:?}, Cedar {theirs:?}");
    }
}

#[test]
fn time_grows_with_the_rules_and_not_faster() {
    let times: Vec<_> = [10, 100, 1000]
        .into_iter()
        .map(|rules| {
            let question = odrl::many(rules);
            time(|| question.ask())
        })
        .collect();
    println!("10, 100, 1,000 rules: {times:?}");
    assert!(times[2] < times[1] * 15 && times[1] < times[0] * 15, "{times:?}");
}
