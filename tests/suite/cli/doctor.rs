//! What the doctor makes of what it finds: each row a fact and the judgement of it.

use std::path::PathBuf;
use std::time::Duration;

use conveyor::bus::{Greeting, Inspection, Server, StreamState};
use conveyor::config::{Config, Doctor};
use conveyor::doctor::clock::{self, Elapsed, Sample};
use conveyor::doctor::data::{self, Folder, Lock, Space};
use conveyor::doctor::etcd::{self, Answer, Member, Page};
use conveyor::doctor::nats::{self, Sync};
use conveyor::doctor::sqlite::{self, File, State};
use conveyor::doctor::system::{self, Listen};
use conveyor::doctor::{Check, Status};
use jiff::{SignedDuration, Timestamp};

/// The check of this name; whatever is not as it should be says what to do.
fn find(checks: &[Check], name: &str) -> Check {
    let check = checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name} is not in {checks:?}"));
    assert_eq!(check.advice.is_some(), matches!(check.status, Status::Warn | Status::Fail), "{check:?}");
    check.clone()
}

fn folder() -> data::Facts {
    data::Facts {
        path: PathBuf::from("belt"),
        folder: Folder::There(0o700),
        lock: Lock::Free,
        space: Ok(Space { free: 100 << 30, total: 200 << 30, files_free: 1_000, files: 2_000 }),
        flushes: Ok([1, 900, 2].map(Duration::from_millis).to_vec()),
        file_system: 0xef53,
    }
}

#[test]
fn data_folders_are_judged() {
    type Change = fn(&mut data::Facts);
    let denied = || Err("denied".to_owned());
    let rows: [(&str, Status, &str, Change); 20] = [
        ("data-folder", Status::Ok, "0700", |_| {}),
        ("data-folder", Status::Warn, "0755", |facts| facts.folder = Folder::There(0o755)),
        ("data-folder", Status::Ok, "makes it", |facts| facts.folder = Folder::Missing(".".into())),
        ("data-folder", Status::Fail, "not a folder", |facts| facts.folder = Folder::NotAFolder),
        ("data-folder", Status::Fail, "loop", |facts| facts.folder = Folder::Unreadable("loop".into())),
        ("data-folder", Status::Fail, "cannot be written: denied", |facts| facts.flushes = Err("denied".into())),
        ("data-folder", Status::Fail, "cannot be made in /srv", |facts| {
            facts.folder = Folder::Missing("/srv".into());
            facts.flushes = Err("denied".into());
        }),
        ("data-lock", Status::Ok, "no process", |_| {}),
        ("data-lock", Status::Ok, "process 7", |facts| facts.lock = Lock::Held("7".into())),
        ("data-lock", Status::Warn, "denied", |facts| facts.lock = Lock::Unknown("denied".into())),
        ("file-system", Status::Ok, "local", |_| {}),
        ("file-system", Status::Warn, "in memory", |facts| facts.file_system = 0x0102_1994),
        ("file-system", Status::Warn, "NFS", |facts| facts.file_system = 0x6969),
        ("free-space", Status::Ok, "100.0 GiB of 200.0 GiB", |_| {}),
        ("free-space", Status::Warn, "1023.0 MiB", |facts| facts.space.as_mut().unwrap().free = 1_023 << 20),
        ("free-space", Status::Fail, "63.0 MiB", |facts| facts.space.as_mut().unwrap().free = 63 << 20),
        ("free-space", Status::Warn, "only 3 of 2000", |facts| facts.space.as_mut().unwrap().files_free = 3),
        ("fsync", Status::Ok, "median 2.00 ms, worst 900 ms of 3", |_| {}),
        ("fsync", Status::Warn, "median 20 ms", |facts| facts.flushes = Ok(vec![Duration::from_millis(20); 3])),
        ("data-folder", Status::Ok, "0700", |facts| facts.space = Err("unknown".into())),
    ];
    for (name, status, part, change) in rows {
        let mut facts = folder();
        change(&mut facts);
        let check = find(&data::judge(&facts, &Doctor::default()), name);
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
    let unwritable = data::Facts { flushes: denied(), space: Err("gone".into()), file_system: 0, ..folder() };
    for name in ["fsync", "free-space", "file-system"] {
        assert_eq!(find(&data::judge(&unwritable, &Doctor::default()), name).status, Status::Skipped);
    }
}

#[test]
fn sqlite_files_are_judged() {
    let read = |version, damage: Option<&[&str]>| State::Read {
        version,
        bytes: 4_096,
        damage: damage.map(|rows| rows.iter().map(|&row| row.to_owned()).collect()),
    };
    for (state, status, part) in [
        (State::Unused("etcd".into()), Status::Skipped, "etcd"),
        (State::Missing, Status::Ok, "makes it"),
        (State::Unreadable("file is not a database".into()), Status::Fail, "not a database"),
        (read(2, Some(&[])), Status::Ok, "whole, 4.0 KiB, tables of version 2"),
        (read(1, Some(&[])), Status::Ok, "version 1"),
        (read(3, Some(&[])), Status::Fail, "versions up to 2"),
        (read(2, None), Status::Warn, "did not end in time"),
        (read(2, Some(&["page 3 is never used"])), Status::Fail, "page 3 is never used"),
    ] {
        let file = File { name: "sqlite-store", path: "conveyor.db".into(), known: 2, state };
        let check = find(&sqlite::judge(&[file]), "sqlite-store");
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
}

fn greeting() -> Greeting {
    Greeting { id: "N".into(), version: "2.10.25".into(), max_payload: 1 << 20, jetstream: true, time: None }
}

fn nats_facts() -> nats::Facts {
    let server = |name: &str| Server { address: format!("{name}:1"), host: name.into(), greeting: Ok(greeting()) };
    let good = StreamState::Good { messages: 3, replicas: 1 };
    let inspection = Inspection {
        servers: vec![server("a"), server("b")],
        jetstream: Some(Ok(())),
        streams: vec![("pipeline", good.clone()), ("messages", good.clone()), ("logs", good)],
    };
    nats::Facts { inspection: Ok(inspection), sync: vec![("a:1".into(), Sync::Always)] }
}

#[test]
fn nats_is_judged() {
    type Change = fn(&mut Inspection, &mut Vec<(String, Sync)>);
    let rows: [(&str, Status, &str, Change); 18] = [
        ("nats-reach", Status::Ok, "a:1, b:1", |_, _| {}),
        ("nats-reach", Status::Warn, "1 of 2", |seen, _| seen.servers[0].greeting = Err("refused".into())),
        ("nats-reach", Status::Fail, "2 of 2", |seen, _| {
            seen.servers.iter_mut().for_each(|server| server.greeting = Err("refused".into()));
        }),
        ("nats-version", Status::Ok, "2.10.25", |_, _| {}),
        ("nats-version", Status::Fail, "2.9.25", |seen, _| {
            seen.servers[1].greeting = Ok(Greeting { version: "2.9.25".into(), ..greeting() });
        }),
        ("nats-version", Status::Ok, "3.0.0-dev", |seen, _| {
            seen.servers[1].greeting = Ok(Greeting { version: "3.0.0-dev".into(), ..greeting() });
        }),
        ("nats-jetstream", Status::Ok, "answers", |_, _| {}),
        ("nats-jetstream", Status::Fail, "not enabled", |seen, _| seen.jetstream = Some(Err("not enabled".into()))),
        ("nats-streams", Status::Ok, "messages: 3 messages", |_, _| {}),
        ("nats-streams", Status::Ok, "makes it", |seen, _| seen.streams[2].1 = StreamState::Missing),
        ("nats-streams", Status::Ok, "updated", |seen, _| seen.streams[2].1 = StreamState::Outdated(vec!["x".into()])),
        ("nats-streams", Status::Fail, "retention", |seen, _| {
            seen.streams[2].1 = StreamState::Foreign(vec!["retention is limits".into()]);
        }),
        ("nats-streams", Status::Warn, "denied", |seen, _| seen.streams[2].1 = StreamState::Unknown("denied".into())),
        ("nats-sync-interval", Status::Ok, "always", |_, _| {}),
        ("nats-sync-interval", Status::Ok, "every 120 s", |_, sync| {
            sync.push(("b:1".into(), Sync::Every(Duration::from_mins(2))));
        }),
        ("nats-max-payload", Status::Ok, "1.0 MiB", |_, _| {}),
        ("nats-max-payload", Status::Warn, "512.0 KiB", |seen, _| {
            seen.servers[1].greeting = Ok(Greeting { max_payload: 512 << 10, ..greeting() });
        }),
        ("nats-streams", Status::Ok, "replicas 3", |seen, _| {
            seen.streams[0].1 = StreamState::Good { messages: 0, replicas: 3 };
        }),
    ];
    for (name, status, part, change) in rows {
        let mut facts = nats_facts();
        change(facts.inspection.as_mut().unwrap(), &mut facts.sync);
        let check = find(&nats::judge(Some(&facts), &Config::default()), name);
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
    let unknown = nats::Facts { sync: Vec::new(), ..nats_facts() };
    let checks = nats::judge(Some(&unknown), &Config::default());
    let sync = checks.iter().find(|check| check.name == "nats-sync-interval").unwrap();
    assert_eq!(sync.status, Status::Skipped);
    assert!(sync.advice.as_ref().is_some_and(|advice| advice.contains("nats_monitor_port")), "{sync:?}");
}

#[test]
fn the_monitoring_page_counts_only_for_its_own_server() {
    let page = |config: &str| format!(r#"{{"server_id": "N", "jetstream": {{{config}}}, "port": 1}}"#);
    for (config, id, expected) in [
        (r#""config": {"sync_interval": 120000000000}"#, "N", Some(Sync::Every(Duration::from_mins(2)))),
        (r#""config": {"sync_interval": 120000000000, "sync_always": true}"#, "N", Some(Sync::Always)),
        ("", "N", Some(Sync::Nothing)),
        (r#""config": {"sync_always": true}"#, "M", None),
    ] {
        assert_eq!(nats::read_monitor(page(config).as_bytes(), id), expected, "{config} {id}");
    }
    assert_eq!(nats::read_monitor(b"<html>", "N"), None);
}

fn member() -> Member {
    let answer = Answer {
        version: "3.5.21".into(),
        has_leader: true,
        bytes: 20 << 20,
        bytes_used: 10 << 20,
        revision: 500,
        ..Answer::default()
    };
    let page = Page { quota: Some(2 << 30), compacted: Some(400), time: None };
    Member { address: "http://a:2379".into(), answer: Ok(answer), page: Some(page) }
}

#[test]
fn etcd_is_judged() {
    type Change = fn(&mut Member);
    let rows: [(&str, Status, &str, Change); 16] = [
        ("etcd-reach", Status::Ok, "http://a:2379", |_| {}),
        ("etcd-reach", Status::Warn, "1 of 2 cannot be reached: http://a:2379: refused", |member| {
            member.answer = Err("refused".into());
        }),
        ("etcd-version", Status::Ok, "3.5.21", |_| {}),
        ("etcd-version", Status::Warn, "3.4.23", |member| member.answer.as_mut().unwrap().version = "3.4.23".into()),
        ("etcd-version", Status::Fail, "3.3.10", |member| member.answer.as_mut().unwrap().version = "3.3.10".into()),
        ("etcd-health", Status::Ok, "leader", |_| {}),
        ("etcd-health", Status::Fail, "no leader", |member| member.answer.as_mut().unwrap().has_leader = false),
        ("etcd-health", Status::Fail, "learner", |member| member.answer.as_mut().unwrap().is_learner = true),
        ("etcd-health", Status::Fail, "NOSPACE", |member| {
            member.answer.as_mut().unwrap().errors = vec!["memberID:1 alarm:NOSPACE ".into()];
        }),
        ("etcd-space", Status::Ok, "20.0 MiB, 10.0 MiB of it in use, at most 2.0 GiB", |_| {}),
        ("etcd-space", Status::Warn, "1.7 GiB", |member| member.answer.as_mut().unwrap().bytes = 1_750 << 20),
        ("etcd-space", Status::Fail, "at most 10.0 MiB", |member| member.answer.as_mut().unwrap().quota = 10 << 20),
        ("etcd-compaction", Status::Ok, "up to revision 400, 100 revisions", |_| {}),
        ("etcd-compaction", Status::Ok, "never compacted", |member| member.page.as_mut().unwrap().compacted = None),
        ("etcd-compaction", Status::Warn, "never compacted", |member| {
            member.page.as_mut().unwrap().compacted = None;
            member.answer.as_mut().unwrap().revision = 1_000_001;
        }),
        ("etcd-compaction", Status::Warn, "compacted up to revision 400", |member| {
            member.answer.as_mut().unwrap().revision = 2_000_000;
        }),
    ];
    for (name, status, part, change) in rows {
        let mut first = member();
        change(&mut first);
        // What one member has compacted, all have.
        let members = if name == "etcd-compaction" { vec![first] } else { vec![first, member()] };
        let check = find(&etcd::judge(&etcd::Facts::Members(members)), name);
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
    let silent = Member { page: None, ..member() };
    for name in ["etcd-space", "etcd-compaction"] {
        let checks = etcd::judge(&etcd::Facts::Members(vec![silent.clone()]));
        let check = checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!((check.status, check.advice.is_some()), (Status::Skipped, true), "{check:?}");
    }
}

#[test]
fn pages_of_etcd_are_read() {
    let page = "# HELP etcd_server_quota_backend_bytes x\netcd_server_quota_backend_bytes 2.147483648e+09\n\
                etcd_debugging_mvcc_compact_revision -1\n";
    let expected = Page { quota: Some(2 << 30), compacted: None, time: None };
    assert_eq!(etcd::read_page(page), expected);
    assert_eq!(etcd::read_page("etcd_debugging_mvcc_compact_revision 2\n").compacted, Some(2));
    assert_eq!(etcd::read_page("404 page not found"), Page::default());
}

#[test]
fn clocks_are_judged() {
    let now: Timestamp = "2026-11-25T01:00:00Z".parse().unwrap();
    let second = Duration::from_secs(1);
    let even = Elapsed { now, wall: SignedDuration::from_secs(1), steady: second };
    for (elapsed, status, part) in [
        (even, Status::Ok, "2026-11-25T01:00:00Z"),
        (Elapsed { wall: SignedDuration::from_secs(-60), ..even }, Status::Warn, "61000 ms"),
        (Elapsed { now: Timestamp::UNIX_EPOCH, ..even }, Status::Fail, "1970"),
    ] {
        let check = find(&clock::judge(&elapsed, &[], 500), "clock");
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
    // Asked at 0, answered at 20 ms; the server said this.
    for (told, resolution, status, part) in [
        (10, 0, Status::Ok, "within 500 ms of NATS a:1"),
        (519, 0, Status::Ok, "within"),
        (520, 0, Status::Warn, "500 ms ahead of"),
        (-500, 0, Status::Warn, "500 ms behind"),
        (-1_499, 1_000, Status::Ok, "within"),
        (-2_000, 1_000, Status::Warn, "1000 ms behind"),
        (31_000, 0, Status::Fail, "30980 ms ahead of"),
    ] {
        let sample = Sample {
            source: "NATS a:1".into(),
            told: now + SignedDuration::from_millis(told),
            resolution: Duration::from_millis(resolution),
            asked: now,
            answered: now + Duration::from_millis(20),
        };
        let check = find(&clock::judge(&even, &[sample], 500), "clock-offset");
        assert_eq!(check.status, status, "{told}: {check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
    assert_eq!(find(&clock::judge(&even, &[], 500), "clock-offset").status, Status::Skipped);
}

#[test]
fn open_files_and_addresses_are_judged() {
    let config = Config::default();
    for (limit, status) in [(None, Status::Ok), (Some(65_536), Status::Ok), (Some(1_024), Status::Warn)] {
        assert_eq!(find(&[system::judge_files(limit, &config)], "open-files").status, status, "{limit:?}");
    }
    let address = config.listen;
    for (listen, running, status, part) in [
        (Listen::Free, false, Status::Ok, "free"),
        (Listen::Conveyor, true, Status::Ok, "a Conveyor answers"),
        (Listen::Conveyor, false, Status::Warn, "another data folder"),
        (Listen::Taken, false, Status::Fail, "another program"),
        (Listen::Taken, true, Status::Fail, "another program"),
        (Listen::Refused("denied".into()), false, Status::Fail, "denied"),
    ] {
        let check = find(&[system::judge_listen(address, &listen, running)], "listen");
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
}
