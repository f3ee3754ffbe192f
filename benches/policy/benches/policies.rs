//! `cargo bench --manifest-path benches/policy/Cargo.toml`: ours beside Cedar.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy_bench::{QUESTIONS, cedar, odrl};

fn five_questions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("question");
    for (((words, permitted), odrl), cedar) in QUESTIONS.iter().zip(odrl::questions()).zip(cedar::questions())
    {
        assert_eq!((odrl.ask(), cedar.ask()), (*permitted, *permitted), "{words}");
        group.bench_function(BenchmarkId::new("concordat", words), |bench| bench.iter(|| odrl.ask()));
        group.bench_function(BenchmarkId::new("cedar", words), |bench| bench.iter(|| cedar.ask()));
    }
    group.finish();
}

fn growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules");
    for rules in [10, 100, 1000] {
        let (odrl, cedar) = (odrl::many(rules), cedar::many(rules));
        assert!(odrl.ask() && cedar.ask());
        group.bench_function(BenchmarkId::new("concordat", rules), |bench| bench.iter(|| odrl.ask()));
        group.bench_function(BenchmarkId::new("cedar", rules), |bench| bench.iter(|| cedar.ask()));
    }
    group.finish();
}

criterion_group!(benches, five_questions, growth);
criterion_main!(benches);
