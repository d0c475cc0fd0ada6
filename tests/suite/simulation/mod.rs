//! The core against a world that loses, doubles and reorders: after every action the named invariants hold, and when the
//! world behaves again the run ends as it must.

mod world;

use proptest::collection::vec;
use proptest::prelude::*;

use world::{Action, World};

fn action() -> impl Strategy<Value = Action> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => Just(Action::Announce),
        6 => index().prop_map(Action::DriverTakes),
        6 => index().prop_map(Action::DeliverReport),
        2 => index().prop_map(Action::DuplicateDispatch),
        2 => index().prop_map(Action::DuplicateReport),
        1 => index().prop_map(Action::LoseDispatch),
        2 => (0_usize..4).prop_map(Action::DriverLeaves),
        3 => (0_usize..4).prop_map(Action::DriverComes),
        2 => (index(), 0_usize..4, 0_u32..3, any::<bool>())
            .prop_map(|(step, driver, attempt, success)| Action::Forge { step, driver, attempt, success }),
        2 => Just(Action::Crash),
        2 => Just(Action::Sweep),
        1 => Just(Action::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pipeline_run_survives_a_hostile_world(
        drivers in vec(0_usize..4, 1..6),
        failing in prop::option::weighted(0.4, any::<prop::sample::Index>()),
        actions in vec(action(), 0..80),
    ) {
        let failing = failing.map(|index| index.index(drivers.len()));
        let mut world = World::pipeline(&drivers, failing);
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
        actions in vec(action(), 0..80),
    ) {
        let mut world = World::broadcast(&present, failing);
        for action in actions {
            world.act(&action);
            world.check()?;
        }
        world.settle_down()?;
    }
}
