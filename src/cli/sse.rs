//! Server-sent events, as far as log streams use them: `data:` fields and comments.

/// A line longer than this is dropped; log lines end at 16 KiB.
const LONGEST: usize = 4 << 20;

/// Takes the bytes of a stream as they come and gives back the data of each whole event.
#[derive(Debug, Default)]
pub struct Frames {
    line: Vec<u8>,
    data: Option<String>,
    /// The line under way is too long, and the rest of it is not kept.
    overlong: bool,
}

impl Frames {
    /// The events that `chunk` completes, wherever the network has cut it.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for part in chunk.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            self.overlong |= self.line.len() + text.len() > LONGEST;
            if !self.overlong {
                self.line.extend_from_slice(text);
            }
            if ends {
                events.extend(self.end_of_line());
            }
        }
        events
    }

    fn end_of_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.overlong) {
            return None;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            return self.data.take();
        }
        // All other fields (event, id, retry) and comments carry nothing that is needed here.
        let value = line.strip_prefix(b"data:")?;
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(&value);
            }
            None => self.data = Some(value.into_owned()),
        }
        None
    }
}
