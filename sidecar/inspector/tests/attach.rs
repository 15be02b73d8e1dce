//! Attaching to real Node processes, recording, and leaving without a trace.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod node;

use std::net::SocketAddr;
use std::time::Duration;

use node::{Attached, Node, Outcome, PATIENCE};
use pitwall_inspector::expression::{self, Identity};
use pitwall_inspector::{Closed, Command, Evaluated, Event, Incoming};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

async fn proves_who_it_is(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    assert_eq!(attached.identity().await, Identity { pid: node.pid(), version: format!("v{version}") });
}

async fn an_app_that_waits_for_a_debugger_before_its_start_is_left_alone(version: &str) {
    let (_node, mut attached) = Node::before_its_start(version).await;
    // It comes to wait for a debugger meanwhile, which is where it would abort.
    for _ in 0..20 {
        assert!(attached.starting().await);
        sleep(Duration::from_millis(5)).await;
    }
}

async fn an_app_that_still_starts_is_left_alone(version: &str) {
    let (mut node, mut attached) = Node::amid_its_start(version).await;
    // It comes to the module meanwhile, through what it is not to be interrupted in.
    for _ in 0..20 {
        assert!(attached.starting().await);
        sleep(Duration::from_millis(5)).await;
    }
    node.says("blocked").await;
    let identity = attached.evaluate(&expression::identity()).await;
    assert_eq!(Identity::from_value(&identity).unwrap(), None);
    assert_eq!(attached.evaluate(&expression::close_now()).await.get(), "false");
    attached.evaluate("globalThis.unblock = true").await;
    assert_eq!(attached.identity().await.pid, node.pid());
    node.ticks_on().await;
}

async fn starts_recording(attached: &mut Attached, interval: Duration) {
    attached.ok(Command::ProfilerEnable).await;
    attached.ok(Command::ProfilerSetSamplingInterval(interval)).await;
    attached.ok(Command::ProfilerStart).await;
}

/// The bytes of a `.cpuprofile`, as JSON.
async fn stops_recording(attached: &mut Attached) -> serde_json::Value {
    match attached.run(Command::ProfilerStop).await {
        Outcome::Streamed(profile) => serde_json::from_slice(&profile).expect("JSON"),
        other => panic!("{other:?} instead of a profile"),
    }
}

async fn records_a_cpu_profile(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    starts_recording(&mut attached, Duration::from_millis(1)).await;
    // By what the app did, not by the clock: a busy machine lets neither it nor V8's sampler run for a while.
    for _ in 0..20 {
        node.ticks_on().await;
    }
    let profile = stops_recording(&mut attached).await;
    let nodes = profile["nodes"].as_array().unwrap();
    // V8 may put a function into its caller, which then has its samples.
    let url = |node: &serde_json::Value| node["callFrame"]["url"].as_str().unwrap().to_owned();
    let own = nodes.iter().filter(|node| url(node).ends_with("/ticking.js"));
    let ticks: u64 = own.map(|node| node["hitCount"].as_u64().unwrap()).sum();
    assert!(ticks > 0, "{profile}");
}

/// The loop that waits is woken all the time by another branch, and nothing is lost.
async fn a_large_profile_is_streamed_while_other_things_happen(version: &str) {
    let mut node = Node::start(version, "wide.js").await;
    let mut attached = node.attach().await;
    starts_recording(&mut attached, Duration::from_micros(100)).await;
    sleep(Duration::from_secs(1)).await;
    let sent = attached.connection.send(&Command::ProfilerStop).unwrap();
    let mut profile = Vec::new();
    let mut interruptions = 0;
    let size = timeout(PATIENCE, async {
        let mut interrupt = tokio::time::interval(Duration::from_micros(100));
        loop {
            tokio::select! {
                biased;
                _ = interrupt.tick() => interruptions += 1,
                incoming = attached.connection.next() => match incoming.unwrap() {
                    Incoming::StreamChunk { id, bytes } if id == sent => profile.extend_from_slice(bytes),
                    Incoming::StreamEnd { id, bytes } if id == sent => return bytes,
                    other => panic!("{other:?}"),
                },
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(size, profile.len() as u64);
    assert!(size > 1 << 20, "{size} bytes are more than a message may have");
    assert!(interruptions > 10);
    let profile: serde_json::Value = serde_json::from_slice(&profile).unwrap();
    assert!(profile["nodes"].as_array().unwrap().len() > 1000);
}

/// Waits until nothing listens at `addr`.
async fn is_gone(addr: SocketAddr) {
    let gone = async {
        while TcpStream::connect(addr).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the port is closed in the end");
}

async fn closing_soon_leaves_no_port_and_a_living_app(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    attached.evaluate(&expression::arm(Duration::from_hours(1))).await;
    assert_eq!(attached.evaluate(&expression::close_soon()).await.get(), "true");
    let addr = attached.addr;
    drop(attached);
    is_gone(addr).await;
    node.ticks_on().await;
    // And it can be opened again.
    let mut again = node.attach().await;
    let switch = again.evaluate(&format!("{SWITCH} === undefined")).await;
    assert_eq!(switch.get(), "true", "nothing is left in the app");
}

/// The signal wakes the event loop too, and where JavaScript blocked that since, Node opens the port once more as
/// soon as the loop turns.
async fn closing_now_while_javascript_blocks_leaves_no_port(version: &str) {
    let mut node = Node::start(version, "blocked.js").await;
    let mut attached = node.attach().await;
    let expression = format!("globalThis.unblock = true; {}", expression::close_now());
    let outcome = attached
        .run(Command::Evaluate {
            expression: &expression,
            timeout: Duration::from_secs(5),
            command_line_api: true,
        })
        .await;
    assert!(matches!(outcome, Outcome::Closed(Closed::ByFrame { .. })), "{outcome:?}");
    let addr = attached.addr;
    drop(attached);
    node.ticks_on().await;
    assert!(TcpStream::connect(addr).await.is_err(), "the port is closed for good");
}

/// The same, but the loop turns before the inspector is closed.
async fn closing_soon_after_javascript_blocked_leaves_no_port(version: &str) {
    let mut node = Node::start(version, "blocked.js").await;
    let mut attached = node.attach().await;
    // The loop is blocked until long after the time at which it should close.
    attached.evaluate(&expression::close_soon()).await;
    sleep(Duration::from_millis(50)).await;
    attached.evaluate("globalThis.unblock = true").await;
    let addr = attached.addr;
    drop(attached);
    node.ticks_on().await;
    assert!(TcpStream::connect(addr).await.is_err(), "the port is closed for good");
}

async fn a_dead_mans_switch_closes_the_inspector_by_itself(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    assert_eq!(attached.evaluate(&expression::arm(Duration::from_millis(50))).await.get(), "true");
    assert_eq!(attached.closed().await, Closed::ByFrame { code: None });
    let addr = attached.addr;
    drop(attached);
    is_gone(addr).await;
    node.ticks_on().await;
}

const SWITCH: &str = "globalThis[Symbol.for('pitwall.deadMansSwitch')]";

async fn arming_again_replaces_the_switch_and_disarming_removes_it(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    attached.evaluate(&expression::arm(Duration::from_hours(1))).await;
    attached.evaluate(&format!("void (globalThis.first = {SWITCH})")).await;
    attached.evaluate(&expression::arm(Duration::from_hours(2))).await;
    attached.evaluate(&format!("void (globalThis.second = {SWITCH})")).await;
    let seen =
        attached.evaluate("[first === second, first._destroyed, second._destroyed, second.hasRef()]").await;
    assert_eq!(seen.get(), "[false,true,false,false]");
    attached.evaluate(&expression::disarm()).await;
    let seen = attached.evaluate(&format!("[second._destroyed, {SWITCH} === undefined]")).await;
    assert_eq!(seen.get(), "[true,true]");
}

async fn an_app_that_replaced_its_globals_is_closed_as_well(version: &str) {
    let mut node = Node::start(version, "patched.mjs").await;
    let mut attached = node.attach().await;
    assert_eq!(attached.identity().await, Identity { pid: node.pid(), version: format!("v{version}") });
    attached.evaluate(&expression::arm(Duration::from_millis(50))).await;
    assert!(matches!(attached.closed().await, Closed::ByFrame { .. }));
    let addr = attached.addr;
    drop(attached);
    is_gone(addr).await;
    node.ticks_on().await;

    let mut attached = node.attach().await;
    attached.evaluate(&expression::close_soon()).await;
    let addr = attached.addr;
    drop(attached);
    is_gone(addr).await;
    node.ticks_on().await;
}

async fn an_app_that_exits_is_not_held_back_and_still_gives_its_profile(version: &str) {
    let mut node = Node::start(version, "exiting.js").await;
    let mut attached = node.attach().await;
    match attached.run(Command::NodeRuntimeEnable).await {
        Outcome::Refused(_) if version.starts_with("18.") => {}
        outcome => assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}"),
    }
    attached.ok(Command::NotifyWhenWaitingForDisconnect { enabled: true }).await;
    starts_recording(&mut attached, Duration::from_millis(1)).await;
    node.hears("exit\n").await;
    match timeout(PATIENCE, attached.connection.next()).await.unwrap().unwrap() {
        Incoming::Event(Event::WaitingForDisconnect) => {}
        other => panic!("{other:?}"),
    }
    let profile = stops_recording(&mut attached).await;
    assert!(profile["nodes"].as_array().unwrap().len() > 1);
    drop(attached);
    let status = timeout(PATIENCE, node.child.wait()).await.expect("it exits at once").unwrap();
    assert_eq!(status.code(), Some(7));
}

async fn an_app_that_dies_ends_the_connection(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    node.child.kill().await.unwrap();
    assert_eq!(attached.closed().await, Closed::Dropped { within_message: false });
}

async fn a_runaway_expression_is_ended(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    let outcome = attached
        .run(Command::Evaluate {
            expression: "for(;;);",
            timeout: Duration::from_millis(50),
            command_line_api: true,
        })
        .await;
    let Outcome::Refused(message) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("terminated"), "{message}");
    node.ticks_on().await;
}

async fn lone_surrogates_cost_nothing(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    let value = attached.evaluate(r"'a\ud800b'").await;
    assert!(value.get().starts_with("\"a") && value.get().ends_with("b\""), "{value}");
    let expression = r"throw new Error('a\ud800b')";
    let outcome = attached
        .run(Command::Evaluate { expression, timeout: Duration::from_secs(5), command_line_api: true })
        .await;
    let Outcome::Result(result) = outcome else { panic!("{outcome:?}") };
    let Evaluated::Threw(text) = Evaluated::from_result(&result).unwrap() else { panic!("{result}") };
    assert!(text.starts_with("Error: a"), "{text}");
}

macro_rules! on_every_version {
    ($($test:ident)*) => {$(
        mod $test {
            #[tokio::test]
            async fn node_18() { super::$test("18.20.8").await }
            #[tokio::test]
            async fn node_20() { super::$test("20.20.2").await }
            #[tokio::test]
            async fn node_22() { super::$test("22.23.3").await }
            #[tokio::test]
            async fn node_24() { super::$test("24.21.0").await }
            #[tokio::test]
            async fn node_26() { super::$test("26.10.0").await }
        }
    )*};
}
on_every_version! {
    proves_who_it_is
    an_app_that_waits_for_a_debugger_before_its_start_is_left_alone
    an_app_that_still_starts_is_left_alone
    records_a_cpu_profile
    a_large_profile_is_streamed_while_other_things_happen
    closing_soon_leaves_no_port_and_a_living_app
    closing_now_while_javascript_blocks_leaves_no_port
    closing_soon_after_javascript_blocked_leaves_no_port
    a_dead_mans_switch_closes_the_inspector_by_itself
    arming_again_replaces_the_switch_and_disarming_removes_it
    an_app_that_replaced_its_globals_is_closed_as_well
    an_app_that_exits_is_not_held_back_and_still_gives_its_profile
    an_app_that_dies_ends_the_connection
    a_runaway_expression_is_ended
    lone_surrogates_cost_nothing
}
