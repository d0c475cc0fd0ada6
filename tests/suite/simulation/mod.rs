//! The core against a world that loses, doubles and reorders: after every action the named invariants hold, and when the
//! world behaves again the run ends as it must.

mod engine;
mod plan;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use plan::{Plan, StepPlan};
use world::{Action, World};

fn action() -> impl Strategy<Value = Action> {
    let index = any::<Index>;
    prop_oneof![
        3 => Just(Action::Announce),
        6 => index().prop_map(Action::DriverTakes),
        6 => index().prop_map(Action::DeliverReport),
        2 => index().prop_map(Action::DuplicateDispatch),
        2 => index().prop_map(Action::DuplicateReport),
        2 => (0_usize..4).prop_map(Action::DriverLeaves),
        3 => (0_usize..4).prop_map(Action::DriverComes),
        2 => (index(), 0_usize..4, 0_u32..3, any::<bool>())
            .prop_map(|(step, driver, attempt, success)| Action::Forge { step, driver, attempt, success }),
        2 => Just(Action::Crash),
        3 => (0_i64..20).prop_map(Action::Look),
        1 => Just(Action::Settle),
        1 => Just(Action::Pause(true)),
        1 => Just(Action::Pause(false)),
    ]
}

/// Usually nobody cancels; if somebody does, it is somewhere among the other actions.
fn actions() -> impl Strategy<Value = Vec<Action>> {
    (vec(action(), 0..80), prop::option::weighted(0.15, any::<Index>())).prop_map(|(mut actions, cancel)| {
        if let Some(at) = cancel {
            actions.insert(at.index(actions.len() + 1), Action::Cancel);
        }
        actions
    })
}

/// Pipelines of all shapes: plain lists and graphs, with and without policy.
fn plan() -> impl Strategy<Value = Plan> {
    let step =
        (0_usize..4, any::<u8>(), 0_u32..3, 1_u32..4, prop::option::weighted(0.3, 1_i64..15), any::<(bool, bool)>())
            .prop_map(|(driver, needs, failures, attempts, timeout, (forgiven, finally))| StepPlan {
                driver,
                needs,
                failures,
                attempts,
                timeout,
                forgiven: forgiven && needs % 3 == 0,
                finally: finally && needs % 4 == 1,
            });
    (vec(step, 1..7), any::<bool>(), prop::option::weighted(0.15, 5_i64..60))
        .prop_map(|(steps, graph, deadline)| Plan { steps, graph, deadline })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pipeline_run_survives_a_hostile_world(plan in plan(), actions in actions()) {
        let mut world = World::pipeline(plan);
        for action in actions {
            world.act(&action);
            world.check()?;
        }
        world.settle_down()?;
    }

    #[test]
    fn a_run_without_a_pipeline_survives_a_hostile_world(
        present in vec(any::<bool>(), 4),
        failing in prop::option::weighted(0.4, 0_usize..4),
        actions in actions(),
    ) {
        let mut world = World::broadcast(&present, failing);
        for action in actions {
            world.act(&action);
            world.check()?;
        }
        world.settle_down()?;
    }
}
