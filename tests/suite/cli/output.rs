//! How things are written for people.

use conveyor::cli::output::{clean, elapsed, log_line};
use conveyor::model::LogLine;
use jiff::Timestamp;

#[test]
fn times_are_short() {
    let start = Timestamp::UNIX_EPOCH;
    for (milliseconds, expected) in
        [(0, "0ms"), (999, "999ms"), (1_250, "1.2s"), (61_000, "1m01s"), (3_600_000, "1h00m"), (90_061_000, "25h01m")]
    {
        let end = Timestamp::from_millisecond(milliseconds).unwrap();
        assert_eq!(elapsed(Some(start), Some(end), start), expected);
        assert_eq!(elapsed(Some(start), None, end), expected);
    }
    let later = Timestamp::from_second(5).unwrap();
    assert_eq!(elapsed(Some(later), None, start), "0ms", "a clock that is behind");
    assert_eq!(elapsed(None, None, later), "-");
}

#[test]
fn log_lines_of_every_sdk_look_alike() {
    for (timestamp, shown) in [
        ("1795479250", "2026-11-24T00:14:10Z"),
        ("2026-11-24T00:14:10.123456Z", "2026-11-24T00:14:10Z"),
        ("2026-11-24T00:14:10.123456", "2026-11-24T00:14:10.123456"),
        ("", ""),
    ] {
        let line = LogLine {
            driver: "fetch".to_owned(),
            timestamp: timestamp.to_owned(),
            message: "hello".to_owned(),
            ..LogLine::default()
        };
        assert_eq!(log_line(&line), format!("{shown} fetch | hello"));
        let warning = LogLine { level: "warn".to_owned(), ..line };
        assert!(log_line(&warning).ends_with("fetch | warn: hello"));
    }
}

#[test]
fn strangers_cannot_steer_the_terminal() {
    for (text, expected) in [
        ("plain é\tx\ny", "plain é\tx\ny"),
        ("\u{1b}[31mred\u{1b}[0m", "red"),
        ("\u{1b}]0;title\u{7}", "]0;title"),
        ("a\rb\u{8}\u{9b}1m", "ab1m"),
        ("cut \u{1b}[", "cut "),
    ] {
        assert_eq!(clean(text), expected);
    }
}
