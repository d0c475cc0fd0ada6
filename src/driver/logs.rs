//! Carries a driver's log lines onto the bus, as the SDK loggers of remote drivers do (wire protocol 2.5).

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Line, LogSink, Parts};
use crate::bus::{Message, subject};
use crate::model::{LogLine, RunId};

/// The end of a [`LogSink`] of one call: publishes every line until the last sink is gone or the call has ended.
pub(super) struct LogPump {
    parts: Parts,
    lines: mpsc::Receiver<Line>,
    /// Lines are taken and thrown away.
    pub(super) silent: bool,
    run: RunId,
    template: LogLine,
    /// Before the number of a line: unique for every call, since an attempt that is made again logs again.
    prefix: String,
}

impl LogPump {
    /// A sink for one call and its pump.
    pub(super) fn new(parts: &Parts, run: RunId, driver: &str, step: &str, pipeline: &str) -> (LogSink, Self) {
        let (sink, lines) = LogSink::channel(parts.config.log.queue);
        let template = LogLine {
            runid: run.to_string(),
            driver: driver.to_owned(),
            pipeline: pipeline.to_owned(),
            step: step.to_owned(),
            ..LogLine::default()
        };
        let prefix = format!("{run}/{step}/{}", uuid::Uuid::new_v4().simple());
        (sink, Self { parts: parts.clone(), lines, silent: false, run, template, prefix })
    }

    /// Publishes until the sinks are gone. Once the call has `ended`, only what was written before: a driver may have left
    /// a sink with a task of its own that never ends. A line that the bus does not take is lost: a log must not stop the
    /// work.
    pub(super) async fn run(mut self, ended: CancellationToken) {
        let subject = subject::logs(self.run);
        let mut number = 0_u64;
        loop {
            let line = tokio::select! {
                () = ended.cancelled(), if !self.lines.is_closed() => {
                    self.lines.close();
                    continue;
                }
                line = self.lines.recv() => line,
            };
            let Some(line) = line else { return };
            if self.silent {
                continue;
            }
            number += 1;
            let mut record = LogLine {
                timestamp: line.at.to_string(),
                message: line.message,
                level: line.level.as_str().to_owned(),
                ..self.template.clone()
            };
            record.cut(self.parts.config.log.line_bytes);
            let Ok(payload) = serde_json::to_vec(&record) else { continue };
            let id = format!("{}/{number}", self.prefix);
            if let Err(error) =
                self.parts.bus.publish(Message { subject: subject.clone(), id, payload: payload.into() }).await
            {
                tracing::warn!(run = %self.run, %error, "a log line is lost");
            }
        }
    }
}
