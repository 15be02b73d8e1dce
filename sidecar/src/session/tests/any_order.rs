//! Events in any order.

use super::*;

/// Throws events at a session in any order: it never panics, tells one end, and comes to rest.
#[test]
fn any_order_of_events_comes_to_one_end() {
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut scene = Scene::new();
        for _ in 0..random.usize(1..25) {
            let last = scene.log.iter().rev().map(|(_, effect)| effect.clone()).find(|effect| {
                !matches!(
                    effect,
                    Effect::Report(_) | Effect::Journal(_) | Effect::DeleteSpooled(_) | Effect::DropPut
                )
            });
            // Either what the last effect brings, or something from outside.
            let event = match (random.u8(..8), last) {
                (0, _) => Event::Stop { keep: random.bool(), why: None },
                (1, _) => Event::Connected,
                (2, _) => Event::Grant(grant("v")),
                (3, _) => Event::Shutdown,
                (_, Some(effect)) => answer(&effect, &mut random),
                (_, None) => Event::Tick,
            };
            scene.on(event);
            scene.pass(Duration::from_millis(random.u64(..5000)));
            if scene.session.is_over() {
                break;
            }
        }
        // Then nothing more happens but what was asked for, until the deadline.
        scene.pass(DEADLINE);
        for _ in 0..40 {
            let pending = scene.log.iter().rev().map(|(_, effect)| effect.clone()).find(|effect| {
                matches!(
                    effect,
                    Effect::Prove | Effect::Open { .. } | Effect::Close { .. } | Effect::CloseLate { .. }
                )
            });
            if scene.end().is_some() && !scene.session.occupies_process() {
                break;
            }
            match pending {
                Some(Effect::Prove) => drop(scene.on(proved())),
                Some(Effect::Open { .. }) => {
                    scene.on(Event::Silent(failure(FailureReason::InspectorDidNotOpen, "")));
                }
                _ => drop(scene.on(Event::Closed(Closure::Closed))),
            }
            scene.pass(Duration::from_mins(1));
        }
        assert!(scene.end().is_some(), "seed {seed}: {:#?}", scene.log);
        assert!(!scene.session.occupies_process(), "seed {seed}: {:#?}", scene.log);
        scene.on(Event::Acknowledged);
        assert!(scene.session.is_over(), "seed {seed}");
    }
}

/// What may come of an effect.
fn answer(effect: &Effect, random: &mut fastrand::Rng) -> Event {
    let well = random.u8(..4) > 0;
    let why = || failure(FailureReason::Unknown, "drawn");
    match effect {
        Effect::Prove => {
            if well {
                proved()
            } else {
                Event::Proved(Err(why()))
            }
        }
        Effect::Open { .. } => match random.u8(..4) {
            0 => Event::Found(listener()),
            1 => Event::Silent(why()),
            2 => Event::Unusable(why()),
            _ => Event::NotSignalled(why()),
        },
        Effect::Begin { .. } => {
            if well {
                began()
            } else {
                Event::Began(Err(BeginError::Lost("x".into())))
            }
        }
        Effect::Watch { .. } => {
            if well {
                Event::Tick
            } else {
                Event::Exiting
            }
        }
        Effect::Collect { .. } => {
            if well {
                collected()
            } else {
                Event::Lost("x".into())
            }
        }
        Effect::Close { .. } | Effect::CloseLate { .. } => {
            Event::Closed(if well { Closure::Closed } else { Closure::StillOpen("x".into()) })
        }
        Effect::Put { part, .. } => {
            if well {
                put(part.number)
            } else {
                Event::PutDone(Err(PutError::Transient("x".into())))
            }
        }
        _ => Event::Tick,
    }
}
