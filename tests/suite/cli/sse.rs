//! The parser of log streams.

use conveyor::cli::follow::Shown;
use conveyor::cli::sse::Frames;
use conveyor::model::LogLine;

const STREAM: &str =
    "data: {\"message\":\"é\"}\n\n: heartbeat\n\nevent: x\nid: 7\ndata:one\r\ndata: two\r\n\r\ndata: cut off";

fn all(chunks: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
    let mut frames = Frames::default();
    chunks.flat_map(|chunk| frames.push(&chunk)).collect()
}

#[test]
fn frames_are_whole_wherever_the_stream_is_cut() {
    let expected = ["{\"message\":\"é\"}", "one\ntwo"];
    let bytes = STREAM.as_bytes();
    for size in 1..=bytes.len() {
        assert_eq!(all(bytes.chunks(size).map(<[u8]>::to_vec)), expected, "in chunks of {size}");
    }
}

#[test]
fn comments_and_unfinished_frames_are_nothing() {
    assert!(all([b": heartbeat\n\n\n\n".to_vec(), b"data: x\n".to_vec()].into_iter()).is_empty());
}

#[test]
fn an_endless_line_is_dropped_and_what_follows_is_not() {
    let endless = std::iter::repeat_n(vec![b'x'; 1 << 20], 6);
    let rest = [b"data: no\ndata: a\n\n".to_vec()];
    let start = [b"data: ".to_vec()];
    let events = all(start.into_iter().chain(endless).chain(rest));
    assert_eq!(events, ["a"]);
}

#[test]
fn a_replayed_log_shows_only_what_is_new() {
    let line = |message: &str| LogLine { message: message.to_owned(), ..LogLine::default() };
    let mut shown = Shown::default();
    let mut stream = |messages: &[&str]| -> Vec<bool> {
        shown.reopen();
        messages.iter().map(|message| shown.is_new(&line(message))).collect()
    };
    assert_eq!(stream(&["a", "b", "b"]), [true, true, true]);
    assert_eq!(stream(&["b", "a", "b", "b", "c"]), [false, false, false, true, true]);
}
